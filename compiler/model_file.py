"""The whole of `model.py`: what it is, its classes, and a loader for its weights."""

from __future__ import annotations

from compiler.graph import Graph
from compiler.ops import Concat
from compiler.skeletons import SKELETONS
from compiler.torch_source import print_classes
from datac.documents.genotype import Cell, Genotype
from datac.documents.network import Network

_LOADER = '''

def load(path="weights.safetensors"):
    """The network with its weights, ready for inference; strict about every tensor."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = bytearray(file.read())
    header.pop("__metadata__", None)
    kinds = {"F32": torch.float32, "I64": torch.int64}
    weights = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensor = torch.frombuffer(data[begin:end], dtype=kinds[entry["dtype"]])
        weights[name] = tensor.reshape(entry["shape"])
    network = Network()
    network.load_state_dict(weights, strict=True)
    return network.eval()


if __name__ == "__main__":
    network = load(Path(__file__).with_name("weights.safetensors"))
    with torch.inference_mode():
        print(tuple(network(torch.rand(1, {size})).shape))
'''


def print_model(graph: Graph, genotype: Genotype, network: Network) -> str:
    """The file as text: `Network` and `load`, importable where there is torch alone."""
    names = _class_names(graph, network)
    imports = "import json\nfrom pathlib import Path\n\nimport torch\n"
    imports += "import torch.nn.functional as F\nfrom torch import nn\n"
    size = ", ".join(map(str, network.input))
    classes = print_classes(graph, names)
    return f'"""{_docstring(genotype, network)}"""\n\n{imports}\n\n{classes}' + _LOADER.replace(
        "{size}", size
    )


def _class_names(graph: Graph, network: Network) -> dict[str, str]:
    """Scope → class: paths after their operation, cells and their nodes after the cell's kind."""
    kinds = {
        plan.index: plan.kind.capitalize() for plan in SKELETONS[network.skeleton].plan(network)
    }
    names = {}
    for node in graph.nodes():
        origin, path = node.origin[0], node.name.rpartition("/")[0]
        if origin.cell is None:
            continue
        kind = kinds[origin.cell]
        names[f"cell{origin.cell}"] = f"{kind}Cell"
        if origin.node is not None:
            names[f"cell{origin.cell}/node{origin.node}"] = f"{kind}Node{origin.node}"
        if isinstance(node.op, Concat) and (origin.part or origin.operation):
            names[path] = "FactorizedReduce"
        elif origin.operation is not None:
            words = origin.operation.split("_")
            names.setdefault(path, "".join(word[:1].upper() + word[1:] for word in words))
        elif origin.part:
            names.setdefault(path, "ReluConvNorm")
    return names


def _docstring(genotype: Genotype, network: Network) -> str:
    rows = [
        "Written by datac: a searched network for inference. Needs torch alone.",
        "",
        f"Genotype {genotype.hash[:16]} ({genotype.aggregation} of the paths of a node):",
    ]
    for kind, cell in genotype.cells.items():
        rows += ["", f"    {kind} cell, output = nodes {', '.join(map(str, cell.output))}"]
        rows += _nodes(cell)
    rows += [
        "",
        f"Input: (N, {network.input[0]}, H, W) float32, {_preprocessing(network)}.",
        f"Output: {_output(network)}.",
    ]
    if network.class_info is not None:
        rows += ["", "Classes:", *_filled(", ".join(network.class_info.names))]
    return "\n".join(rows).replace("\\", "\\\\").replace('"""', "'''") + "\n"


def _nodes(cell: Cell) -> list[str]:
    rows = []
    for number, node in cell.numbered():
        paths = " + ".join(f"{path.operation}({path.input})" for path in node.paths)
        first, *rest = _filled(f"node {number} = {paths}", indent=" " * 8)
        rows += [first, *(f"    {row}" for row in rest)]
    return rows


def _filled(text: str, indent: str = "    ") -> list[str]:
    rows, row = [], indent
    for word in text.split(" "):
        if len(row) + len(word) > 96 and row.strip():
            rows.append(row.rstrip())
            row = indent
        row += f"{word} "
    return [*rows, row.rstrip()]


def _preprocessing(network: Network) -> str:
    steps = network.preprocessing
    if steps is None:
        return "any height and width"
    return (
        f"{steps.color_order}, (pixel / 255 - mean) / deviation\nwith mean "
        f"{steps.mean} and deviation {steps.standard_deviation}"
    )


def _output(network: Network) -> str:
    if network.task == "segmentation":
        return f"logits (N, {network.classes}, H, W)"
    return f"logits (N, {network.classes})"
