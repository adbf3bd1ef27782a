"""`report.json`: what was built, whether it is right, how fast it is (`datac.report/1`)."""

from typing import Literal

from pydantic import Field

from datac.documents.document import Document
from datac.documents.engine_plan import EnginePlan
from datac.documents.environment import Environment
from datac.documents.genotype import Genotype
from datac.documents.precision import Precision
from datac.documents.profile import Shape
from datac.documents.quantisation import Quantisation

Verdict = Literal["pass", "fail", "inconclusive"]
Status = Literal["run", "built", "missing", "failed"]
"""run: built, loaded and checked here. built: made, but nothing here can run it.
missing: its platform is not here. failed: the build or the run broke."""


class OutputError(Document):
    """The worst output of a target against float64, over every input of the check.

    All three are in the output's own units; `tolerance` bounds `rms`.
    """

    max_abs: float
    rms: float
    tolerance: float
    output: str = ""
    input: str = ""


class PlaceResult(Document):
    """A path, sum or layer: how far its values are from what it makes of what it is given.

    Root-mean-square, in the values' own units; `predicted` is what its arithmetic explains.
    """

    place: str
    rms: float | None = Field(
        default=None, description="absent where it is not finite, or of another shape"
    )
    predicted: float
    kind: str | None = Field(
        default=None, description="the fault that would give just these values, where one would"
    )


class PlacesResult(Document):
    """The check build of an engine: its own model, with the value behind every place exposed."""

    judged: int = Field(description="values compared")
    unseen: tuple[str, ...] = Field(
        default=(), description="places whose value the model does not have"
    )
    tolerated: float = Field(description="times the prediction that is accepted")
    count_wrong: int = Field(default=0, description="`wrong` holds the first of them")
    reason: str | None = Field(default=None, description="why nothing could be compared")
    worst: PlaceResult | None = None
    wrong: tuple[PlaceResult, ...] = Field(
        default=(), description="beyond what is accepted, in the network's order"
    )


class Latency(Document):
    """Milliseconds for one call, over all rounds."""

    median: float
    p90: float
    p99: float
    spread: float = Field(description="interquartile range of the rounds' medians / their median")
    conclusive: bool
    rounds: int
    round_medians: tuple[float, ...] = Field(
        default=(), description="of the rounds that went over all engines in turn"
    )
    calls: int
    batch: int
    threads: int | None = None
    device: str
    transfer_median: float | None = Field(
        default=None, description="host to device and back, shown apart; None on a CPU"
    )


class SizedLatency(Document):
    """The latency at one size of a profile, (N, C, H, W)."""

    shape: Shape
    latency_ms: Latency


class Disagreement(Document):
    """Decisions that differ from the reference's, of pixels or of images."""

    count: int
    clear: int = Field(description="those whose margin rounding cannot explain")
    largest_margin: float = Field(
        description="of the reference's best two logits, in predicted RMS errors of a logit"
    )
    at_border: float | None = Field(
        default=None, description="share of them within two pixels of another label"
    )


class Metric(Document):
    """The task's own measure on a split of the data, in 0..1."""

    name: Literal["miou", "accuracy"]
    value: float
    samples: int
    agreement: float | None = Field(
        default=None,
        description="share of predictions equal to those of eager torch on the build's model.py "
        "(the torch engine where there is one); absent where torch cannot run",
    )
    disagreement: Disagreement | None = None
    per_class: dict[str, float] = Field(default_factory=dict)


class Comparison(Document):
    """An engine in lower precision against its control, measured in the same rounds."""

    control: str = Field(description="target and precision")
    speedup: float | None = Field(default=None, description="median of the rounds' ratios")
    speedup_low: float | None = Field(
        default=None, description="with speedup_high the 95 % interval of that median"
    )
    speedup_high: float | None = None
    drop: float | None = Field(default=None, description="the control's metric less this one's")
    class_drops: dict[str, float] = Field(default_factory=dict)
    max_drop: float
    outcome: Literal["better", "not faster", "too much lost", "not measured"] = Field(
        description="better: faster beyond the noise, and the metric falls by no more than max_drop"
    )


class StructureResult(Document):
    """Whether the ONNX holds exactly the genotype's paths; each difference is one sentence."""

    verdict: Verdict
    paths_found: int
    paths_expected: int
    differences: tuple[str, ...] = ()


class RewriteResult(Document):
    """A rewrite of an engine's own model. What it did and its proof are known where it was made."""

    name: str
    places: int | None = Field(default=None, description="how often it fired")
    max_relative: float | None = Field(
        default=None, description="difference from the network in float64, of the outputs' size"
    )


class TargetResult(Document):
    """One target in one precision."""

    target: str
    precision: Precision
    float32_nodes: tuple[str, ...] = Field(
        default=(), description="of an engine in f16: what stays float32, since it leaves the range"
    )
    quantisation: Quantisation | None = Field(default=None, description="of an engine in int8")
    embedded: tuple[Literal["preprocess", "argmax"], ...] = Field(
        default=(), description="what is in the engine besides the network"
    )
    rewrites: tuple[RewriteResult, ...] = Field(
        default=(), description="of its own model, in the order in which they ran"
    )
    opset: int | None = Field(default=None, description="of its own model, where it was chosen")
    tuning: EnginePlan | None = Field(
        default=None, description="where it was made by a plan: what was decided, by which figures"
    )
    status: Status
    verdict: Verdict | None = None
    reason: str | None = None
    defects: tuple[str, ...] = Field(
        default=(), description="what is wrong whatever is tolerated, a sentence each"
    )
    error: OutputError | None = None
    outputs: tuple[OutputError, ...] = ()
    places: PlacesResult | None = Field(
        default=None, description="absent where no check build could be made"
    )
    metric: Metric | None = None
    latency_ms: Latency | None = None
    predicted_ms: float | None = Field(
        default=None, description="by the latency table that the compile was given"
    )
    latency_at: tuple[SizedLatency, ...] = Field(
        default=(), description="at the other sizes of its profile, each over its own rounds"
    )
    comparison: Comparison | None = Field(
        default=None, description="of an engine below float32 whose control was judged beside it"
    )
    device: str | None = None
    version: str | None = None
    digest: str | None = Field(default=None, description="SHA-256 of what was gated and timed")
    size_bytes: int | None = None
    build_seconds: float | None = None


class Fastest(Document):
    """The fastest engine that passes the gate, beside the first in float32 that does."""

    engine: str = Field(description="target and precision")
    median_ms: float
    than: str
    speedup: float = Field(description="median of the rounds' ratios")
    speedup_low: float = Field(description="with speedup_high the 95 % interval of that median")
    speedup_high: float
    metric: float | None = None
    than_metric: float | None = None


class Masks(Document):
    """One sample of the report's figure: base64 PNGs of input, label and each runtime's answer.

    Eager torch is the first of them, wherever torch can run.
    """

    sample: str
    input: str
    label: str | None = None
    predictions: dict[str, str] = Field(default_factory=dict)


class Report(Document):
    """The whole report of a build (`datac.report/1`)."""

    schema_: Literal["datac.report/1"] = Field(default="datac.report/1", alias="schema")
    verdict: Verdict
    name: str
    genotype: Genotype
    genotype_hash: str
    weights: str = Field(description="where the weights came from, in a few words")
    parameters: int = Field(
        description="of what the build computes; datac show also counts cells that nothing reads"
    )
    multiply_adds: int = Field(description="for one input, of what the build computes")
    structure: StructureResult
    canonical: TargetResult | None = Field(
        default=None,
        description="model.onnx itself under ONNX Runtime, at every size of the reference",
    )
    targets: tuple[TargetResult, ...]
    reference_metric: Metric | None = Field(
        default=None,
        description="of eager torch on the build's model.py, which every agreement is with",
    )
    fastest: Fastest | None = Field(
        default=None, description="where several engines pass and were timed side by side"
    )
    masks: tuple[Masks, ...] = ()
    environment: Environment
    command: str

    @property
    def results(self) -> tuple[TargetResult, ...]:
        """The canonical ONNX first, then every target."""
        canonical = () if self.canonical is None else (self.canonical,)
        return (*canonical, *self.targets)
