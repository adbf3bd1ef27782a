"""Building, counting, printing, rewriting and writing a graph need no torch."""

import json
import subprocess
import sys

SCRIPT = """
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "onnxruntime"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())

import numpy as np
from compiler.lower import lower
from compiler.model_file import print_model
from compiler.passes import CANONICAL
from compiler.rewrite import apply
from compiler.text import parse_graph, print_graph
from compiler.verify import verify
from datac.documents.network import DEFAULTS
from datac.published import load
from exporters.onnx_writer import write_onnx

genotype, network = load("data-m7"), DEFAULTS["cifar"]
graph = lower(genotype, network)
generator = np.random.default_rng(0)
graph.weights = {
    name: generator.uniform(0.5, 1.5, spec.shape).astype(spec.dtype)
    for name, spec in graph.weight_specs().items()
}
verify(graph)
text = print_graph(graph)
folded, log = apply(graph, CANONICAL)
print(json.dumps({
    "parameters": graph.cost().parameters,
    "text": print_graph(parse_graph(text)) == text,
    "folded": len(log),
    "onnx_nodes": len(write_onnx(folded, {}).graph.node),
    "model_py": "class Network(nn.Module)" in print_model(graph, genotype, network),
    "torch": "torch" in sys.modules,
}))
"""


def test_all_but_running_works_where_there_is_no_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer.pop("folded") > 100
    assert answer.pop("onnx_nodes") > 1000
    assert answer == {"parameters": 3_436_390, "text": True, "model_py": True, "torch": False}
