"""What surrounds the cells in a canonical ONNX: the stem and the head, read backwards.

Written from DARTS (stems, classifier) and DeepLab v3 (arXiv 1706.05587), not from the compiler.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from datac.documents.network import Network
from exporters.onnx_view import OnnxNode, OnnxView
from exporters.path_patterns import attribute_faults, conv_faults

ATROUS_RATES = {8: (12, 24, 36), 16: (6, 12, 18), 32: (3, 6, 9)}
"""By output stride (arXiv 1706.05587, section 3.3; halved once more at 32)."""

RESIZE = {
    "mode": "linear",
    "coordinate_transformation_mode": "half_pixel",
    "antialias": 0,
    "exclude_outside": 0,
    "keep_aspect_ratio_policy": "stretch",
    "axes": None,
}


@dataclass
class FrameReader:
    """Walks stem and head; collects what differs, and which node belongs where."""

    view: OnnxView
    network: Network
    differences: list[str] = field(default_factory=list)
    claims: list[tuple[str, OnnxNode]] = field(default_factory=list)

    # ---- the head ----------------------------------------------------------------------------

    def features(self) -> str | None:
        """What the head reads: the output of the last cell. None where no head is found."""
        for what, names in (("input", self.view.inputs), ("output", self.view.outputs)):
            if len(names) != 1:
                self.differences.append(f"model: has {len(names)} {what}s where 1 is expected")
        if not self.view.inputs or not self.view.outputs:
            return None
        value = self._step("head", self.view.outputs[0], "Identity")
        if self.network.task == "segmentation":
            return self._deeplab(value)
        return self._classifier(value)

    def _classifier(self, value: str) -> str:
        attributes = {"transA": 0, "transB": 1, "alpha": 1.0, "beta": 1.0}
        node = self._take("head", value, "Gemm")
        if node is not None:
            self._report("head", attribute_faults("linear", node, attributes))
            weight = self.view.shape(node.inputs[1])
            if weight[:1] != (self.network.classes,) or len(node.inputs) != 3:
                self._report("head", ["linear does not answer one logit for each class"])
            value = node.inputs[0]
        value = self._step("head", value, "Flatten", axis=1)
        return self._step("head", value, "GlobalAveragePool")

    def _deeplab(self, value: str) -> str | None:
        width = self.network.head_channels or 0
        value = self._resize("head", value, self.view.inputs[0])
        value = self._conv("head/classifier", value, self.network.classes)
        value = self._conv_relu("head/project", value, width)
        joined = self._take("head", value, "Concat", axis=1)
        if joined is None:
            return None
        rates = ATROUS_RATES[self.network.output_stride or 16]
        if len(joined.inputs) != len(rates) + 2:
            wanted = len(rates) + 2
            self._report("head", [f"joins {len(joined.inputs)} branches, not {wanted}"])
        *branches, image = joined.inputs
        read = {}
        for index, branch in enumerate(branches):
            wanted_conv: dict[str, Any] = {}
            if 0 < index <= len(rates):
                pair = [rates[index - 1]] * 2
                wanted_conv = {"kernel_shape": [3, 3], "pads": pair * 2, "dilations": pair}
            place = f"head/branch{index}"
            read[place] = self._conv_relu(place, branch, width, **wanted_conv)
        return self._agreed(read, image, width)

    def _agreed(self, read: dict[str, str], image: str, width: int) -> str:
        """The features that most branches read, the image branch counted with them."""
        known = Counter(read.values()).most_common(1)
        features = known[0][0] if known else ""
        pooled = self._resize("head/image", image, features)
        pooled = self._conv_relu("head/image", pooled, width)
        read |= {"head/image": self._step("head/image", pooled, "GlobalAveragePool")}
        for place, value in read.items():
            if value != features:
                self._report(place, [f'reads "{value}" where the others read "{features}"'])
        return features

    def _resize(self, place: str, value: str, like: str) -> str:
        node = self._take(place, value, "Resize", **RESIZE)
        if node is None:
            return value
        source = node.inputs[0]
        sizes = self.view.maker(node.inputs[3], "Concat") if len(node.inputs) == 4 else None
        shapes = [self.view.maker(name, "Shape") for name in sizes.inputs] if sizes else []
        found = [
            (shape.inputs[0], shape.attributes.get("start"), shape.attributes.get("end"))
            for shape in shapes
            if shape is not None
        ]
        if found != [(source, 0, 2), (like, 2, 4)] or any(node.inputs[1:3]):
            self._report(place, [f'the resize is not to the height and width of "{like}"'])
        if sizes is not None:
            self.claims += [(place, part) for part in (sizes, *shapes) if part is not None]
        return source

    # ---- the stem ----------------------------------------------------------------------------

    def stem_depth(self, value: str) -> int | None:
        """How many convolutions lie between the model's input and this value, nothing else."""
        depth, seen = 0, self.view.maker(value)
        while seen is not None and seen.op_type in ("Conv", "Relu") and depth <= 4:
            depth += seen.op_type == "Conv"
            value = seen.inputs[0]
            seen = self.view.maker(value)
        return depth if value in self.view.inputs else None

    def expected_depth(self, at: int) -> int:
        """Of the stem's results: `at` -2 is input 0 of the first cell, -1 its input 1."""
        if self.network.skeleton == "cifar":
            return 1
        return 2 if at == -2 else 3

    def read_stem(self, results: dict[int, str]) -> None:
        """The stem from its results, as far as the cells read them."""
        value = results.get(-1, results.get(-2))
        if value is None:
            return
        if self.network.skeleton == "cifar":
            ends = {self._stem_conv(value, 3 * self.network.channels, 1)}
            self._same_stem(results, -2, value)
        else:
            ends = self._long_stem(results)
        if ends != set(self.view.inputs):
            self._report("stem", ["does not begin at the model's input"])

    def _long_stem(self, results: dict[int, str]) -> set[str]:
        width = self.network.channels
        quarter = results.get(-2)
        if -1 in results:
            before = self._step("stem", self._stem_conv(results[-1], width, 2), "Relu")
            self._same_stem(results, -2, before)
            quarter = before
        half = self._step("stem", self._stem_conv(quarter or "", width, 2), "Relu")
        return {self._stem_conv(half, width // 2, 2)}

    def _same_stem(self, results: dict[int, str], at: int, value: str) -> None:
        if results.get(at, value) != value:
            self._report("stem", [f'cell 0 reads "{results[at]}" where "{value}" is expected'])

    def _stem_conv(self, value: str, width: int, stride: int) -> str:
        wanted = {"kernel_shape": [3, 3], "strides": [stride] * 2, "pads": [1] * 4}
        return self._conv("stem", value, width, **wanted)

    # ---- steps -------------------------------------------------------------------------------

    def _conv_relu(self, place: str, value: str, width: int, **wanted: Any) -> str:
        return self._conv(place, self._step(place, value, "Relu"), width, **wanted)

    def _conv(self, place: str, value: str, width: int, **wanted: Any) -> str:
        node = self._take(place, value, "Conv")
        if node is None:
            return value
        self._report(place, conv_faults(self.view, "conv", node, width, **wanted))
        return node.inputs[0]

    def _step(self, place: str, value: str, op_type: str, **wanted: Any) -> str:
        """What a node of this type reads; where it is missing the walk goes on without it."""
        node = self._take(place, value, op_type, **wanted)
        return value if node is None else node.inputs[0]

    def _take(self, place: str, value: str, op_type: str, **wanted: Any) -> OnnxNode | None:
        node = self.view.maker(value, op_type)
        if node is None:
            other = self.view.maker(value)
            found = f"{other.op_type} {other.label}" if other else f'the value "{value}"'
            self._report(place, [f"expected {op_type}, found {found}"])
            return None
        self.claims.append((place, node))
        self._report(place, attribute_faults(op_type, node, wanted))
        return node

    def _report(self, place: str, phrases: list[str]) -> None:
        self.differences += [f"{place}: {phrase}" for phrase in phrases]
