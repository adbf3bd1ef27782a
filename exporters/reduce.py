"""One place of an engine, cut out as a small ONNX with its inputs and what it should answer.

What lies in the folder is what a runtime's developers ask for in a bug report: the model, and a
`test_data_set_0` of tensors in ONNX's own form, which ONNX Runtime's `onnx_test_runner` reads.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from compiler.graph import Graph
from compiler.interpreter import Interpreter
from compiler.lower import INPUT
from compiler.places import region
from datac.documents.sentences import counted
from datac.errors import BadInput
from datac.output_folder import check_replaceable, replaced_whole, write_beside
from exporters.build_folder import read_manifest
from exporters.check_build import look_inside, run_part
from exporters.engine_files import ONNX_FILES, PLANS, engine_difference
from exporters.engines import Built, open_engines
from exporters.onnx_file import read_onnx
from exporters.places import TOLERATED, PlaceError, Seen, judge_places
from exporters.rounding import ARITHMETIC, rms
from exporters.subject import Subject, open_subject
from exporters.targets.cores import available_cores
from exporters.targets.openvino import settings_of
from exporters.targets.specialise import write_model
from exporters.targets.target import BuildOptions

DATA = "test_data_set_0"


@dataclass(frozen=True)
class Reduction:
    """What was cut out. alone: its RMS error when it runs by itself; whole: within the engine."""

    engine: str
    place: str
    nodes: int
    whole: float
    alone: float
    predicted: float

    @property
    def sentence(self) -> str:
        """Whether the small model shows what the engine does."""
        limit = TOLERATED * self.predicted
        # NaN is wrong.
        wrong, wrong_alone = not self.whole <= limit, not self.alone <= limit
        if wrong and wrong_alone:
            shows = "and is as wrong by itself"
        elif wrong:
            shows = "but is right by itself: only within the engine it is wrong"
        elif wrong_alone:
            shows = f"but is wrong by itself, off by {self.alone:.3g}"
        else:
            shows = "and is right, as it is in the engine"
        return (
            f"{self.place} in {self.engine} is off by {self.whole:.3g} (RMS), and its arithmetic "
            f"explains {self.predicted:.3g}; cut out, it has {counted(self.nodes, 'node')} {shows}"
        )


def reduce(
    build: Path, out: Path, *, engine: str | None, place: str | None, threads: int | None = None
) -> Reduction:
    """Cut out the first place that is wrong, or the one that is named.

    BadInput where there is none such, or no engine that is an ONNX file and runs here.
    """
    check_replaceable(out, "reduction")
    manifest = read_manifest(build)
    subject = open_subject(build, manifest)
    engines = open_engines(build, manifest, BuildOptions(subject.input_shape, threads=threads))
    built = _engine(engines, engine, subject)
    subject.require_known_plan(built)
    graph = subject.deployed(built.plan)
    cases = subject.reference.fitting(built.sizes)
    if not cases:
        raise BadInput(f"the reference has no input that {built.name} takes; compile again")
    seen = look_inside(built, graph, cases[0])
    error = _error(judge_places(graph, seen, ARITHMETIC[built.plan.precision]), place, built)
    model, inputs, exact = _cut(built, graph, seen, error.value)
    answer = run_part(built, model, inputs)[model.graph.output[0].name]
    with np.errstate(invalid="ignore"):
        alone = rms(answer.astype(np.float64) - exact)
    nodes = len(model.graph.node)
    found = Reduction(built.name, error.place, nodes, error.rms, alone, error.predicted)
    with replaced_whole(out, "reduction") as folder:
        _write(folder, model, inputs, exact, found, built)
    return found


def _engine(engines: list[Built], name: str | None, subject: Subject) -> Built:
    usable = {b.name: b for b in engines if b.runs and b.result.target in ONNX_FILES}
    if name is not None and name not in usable:
        known = ", ".join(usable) or "none"
        why = "".join(f" ({_why_not(built)})" for built in engines if built.name == name)
        raise BadInput(f"{name} is no engine that can be reduced here{why}; there are: {known}")
    if not usable:
        raise BadInput(
            "no engine of this build is an ONNX file that runs here; add one: "
            f"datac compile {subject.folder} --target onnx"
        )
    built = next(iter(usable.values())) if name is None else usable[name]
    expected = subject.model_for(built)
    difference = engine_difference(built, subject.folder, expected, subject.source)
    if difference is not None:
        raise BadInput(f"{difference}; the file is at fault, not what runs it")
    return built


def _why_not(built: Built) -> str:
    """What it is instead of an ONNX file that runs here."""
    if built.result.target in PLANS:
        rtx = "POLYGRAPHY_USE_TENSORRT_RTX=1 " if built.result.target == "trt-rtx" else ""
        return (
            "it is a TensorRT plan, and nothing can be cut out of one; reduce another engine at "
            f"this place and try its model.onnx by: {rtx}polygraphy run model.onnx --trt --onnxrt"
        )
    if built.result.target not in ONNX_FILES:
        return "it is run by PyTorch, and is no ONNX file"
    return str(built.result.reason)


def _error(errors: list[PlaceError], place: str | None, built: Built) -> PlaceError:
    if place is None:
        wrong = [error for error in errors if error.ratio > TOLERATED]
        if not wrong:
            raise BadInput(f"no place of {built.name} is wrong; name one by --place")
        return _comparable(wrong[0])
    named = [e for e in errors if e.place == place or e.place.startswith(f"{place}/")]
    if not named:
        raise BadInput(
            f'{built.name} has no place "{place}"; there are {errors[0].place}, '
            f"{errors[len(errors) // 2].place}, ..., {errors[-1].place}"
        )
    return _comparable(named[-1])


def _comparable(error: PlaceError) -> PlaceError:
    if not error.shape:
        raise BadInput(f"{error.place} has values of another shape, which datac check says as well")
    return error


def _cut(
    built: Built, graph: Graph, seen: Seen, value: str
) -> tuple[onnx.ModelProto, dict[str, NDArray[np.generic]], NDArray[np.float64]]:
    """The engine's own nodes between the value and what is seen before it."""
    part = region(graph, value, seen.keys())
    assert built.engine is not None
    model = read_onnx(built.folder / built.engine.file)
    ends = {key: name for key, name in graph.outputs.items()}
    label = next((k for k, name in ends.items() if name == value), graph[value].label)
    labels = {name: INPUT if name == INPUT else graph[name].label for name in part.reads}
    inputs = {labels[name]: np.asarray(seen[name]) for name in sorted(part.reads)}
    given = {name: seen[name] for name in part.reads}
    exact = Interpreter(graph).run(given, wanted=[value], names=part.nodes)[value]
    small = _between(model, inputs, label, np.asarray(seen[value]))
    return small, inputs, exact.astype(np.float64)


def _between(
    model: onnx.ModelProto,
    inputs: dict[str, NDArray[np.generic]],
    output: str,
    answer: NDArray[np.generic],
) -> onnx.ModelProto:
    makers = {name: node for node in model.graph.node for name in node.output}
    needed: set[str] = set()
    left = [output]
    while left:
        name = left.pop()
        if name in inputs or name not in makers or name in needed:
            continue
        needed.add(name)
        left += makers[name].input
    nodes = [node for node in model.graph.node if needed & {*node.output}]
    read = {name for node in nodes for name in node.input}
    body = helper.make_graph(
        nodes,
        "datac_reduction",
        [_info(name, array) for name, array in inputs.items()],
        [_info(output, answer)],
        [tensor for tensor in model.graph.initializer if tensor.name in read],
    )
    small = helper.make_model(
        body, producer_name="datac", opset_imports=model.opset_import, ir_version=model.ir_version
    )
    onnx.checker.check_model(small)
    return small


def _info(name: str, array: NDArray[np.generic]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
    )


def _write(
    folder: Path,
    model: onnx.ModelProto,
    inputs: dict[str, NDArray[np.generic]],
    exact: NDArray[np.float64],
    found: Reduction,
    built: Built,
) -> None:
    write_model(model, folder / "model.onnx")
    (folder / DATA).mkdir()
    for index, (name, array) in enumerate(inputs.items()):
        tensor = numpy_helper.from_array(array, name)
        write_beside(folder / DATA / f"input_{index}.pb", tensor.SerializeToString())
    name = model.graph.output[0].name
    single = numpy_helper.from_array(exact.astype(np.float32), name)
    write_beside(folder / DATA / "output_0.pb", single.SerializeToString())
    write_beside(folder / "README.md", _readme(found, built, [*inputs], name))


def _readme(found: Reduction, built: Built, inputs: list[str], output: str) -> str:
    script = _script(built)
    version = import_module(script.module).__version__
    return f"""# {found.place}

{found.sentence}.

`model.onnx` is that part of the engine {found.engine}. What runs it is {script.runtime}
{version} {script.how}.
`{DATA}` holds what it was given ({", ".join(f"`{name}`" for name in inputs)}) and what it makes of
that in float64, rounded to float32 (`{output}`). Errors are root mean squares.

```python
import glob, numpy as np, onnx, {script.module}
from onnx import numpy_helper

def load(path):
    tensor = onnx.TensorProto()
    tensor.ParseFromString(open(path, "rb").read())
    return numpy_helper.to_array(tensor)

paths = sorted(glob.glob("{DATA}/input_*.pb"), key=lambda path: int(path.split("_")[-1][:-3]))
inputs = dict(zip({json.dumps(inputs)}, map(load, paths)))
{script.lines}
error = found.astype(np.float64) - load("{DATA}/output_0.pb")
print("RMS error", np.sqrt(np.mean(error**2)), "where {found.predicted:.3g} is explained")
```
"""


@dataclass(frozen=True)
class _Script:
    """How the README runs the part as the engine was run. lines: of `inputs` make `found`."""

    runtime: str
    module: str
    how: str
    lines: str


def _script(built: Built) -> _Script:
    assert built.options is not None
    if built.result.target == "openvino":
        return _openvino_script(built.options)
    return _onnx_runtime_script(built.options)


def _openvino_script(options: BuildOptions) -> _Script:
    settings = settings_of(options)
    lines = f"""settings = {json.dumps(settings, indent=4)}
core = openvino.Core()
compiled = core.compile_model(core.read_model("model.onnx"), "CPU", settings)
found = compiled(inputs)[0]"""
    hint = settings["INFERENCE_PRECISION_HINT"]
    return _Script("OpenVINO", "openvino", f"on the CPU, with the precision hint {hint}", lines)


def _onnx_runtime_script(options: BuildOptions) -> _Script:
    if options.device == "cuda":
        how, threads = "on CUDA without TF32", ""
        providers = '[("CUDAExecutionProvider", {"use_tf32": "0"})]'
    else:
        how, providers = "on the CPU", '["CPUExecutionProvider"]'
        threads = f"options.intra_op_num_threads = {options.threads or available_cores()}\n"
    lines = f"""options = onnxruntime.SessionOptions()
{threads}session = onnxruntime.InferenceSession("model.onnx", options, providers={providers})
(found,) = session.run(None, inputs)"""
    return _Script("ONNX Runtime", "onnxruntime", how, lines)
