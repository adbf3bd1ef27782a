"""What a search tells at the end of each epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

Table = list[list[float]]


@dataclass(frozen=True)
class SearchRecord:
    """One line of `metrics.jsonl`. epoch: from 1. seconds: of this epoch.

    logits, selected: (G, n) by kind of cell, as the method's layout orders them. The softmax of
    the logits of a group are its probabilities, whatever the method makes them of; selected counts
    the weight steps of the epoch that ran a path. paths: the code derived at the end, by kind and
    node, as `sep_conv_3x3:1`. validation: None where the split is too small for batch statistics.
    cost: by bounded quantity, the bound, what a draw costs on average, and what the child of
    `paths` does. multiplier: by bounded quantity, see `searcher/constraint.py`.
    """

    epoch: int
    steps: int
    seconds: float
    architecture_loss: float | None
    weight_loss: float
    validation: dict[str, float] | None
    temperature: float
    entropy: dict[str, float]
    paths: dict[str, list[list[str]]]
    logits: dict[str, Table] = field(default_factory=dict)
    selected: dict[str, list[list[int]]] = field(default_factory=dict)
    cost: dict[str, dict[str, float]] = field(default_factory=dict)
    multiplier: dict[str, float] = field(default_factory=dict)

    def line(self) -> dict[str, Any]:
        """For `metrics.jsonl`."""
        return asdict(self)

    def sentence(self, epochs: int) -> str:
        """For the terminal."""
        measured = {
            "architecture": self.architecture_loss,
            "weights": self.weight_loss,
            **(self.validation or {}),
        }
        known = {name: value for name, value in measured.items() if value is not None}
        numbers = [f"{name} {value:.3f}" for name, value in known.items()]
        numbers += [
            f"{quantity.replace('_', '-')} {cost['expected'] / cost['bound']:.0%} of the bound"
            for quantity, cost in self.cost.items()
        ]
        return f"epoch {self.epoch}/{epochs}: {', '.join(numbers)} ({self.seconds:.0f} s)"

    def scalars(self) -> dict[str, float]:
        """For TensorBoard: name → value, a group before the slash."""
        values = {
            "loss/architecture": self.architecture_loss,
            "loss/weights": self.weight_loss,
            "temperature": self.temperature,
            **{f"entropy/{kind}": value for kind, value in self.entropy.items()},
            **{f"validation/{name}": value for name, value in (self.validation or {}).items()},
            **{
                f"cost/{quantity}/{name}": value
                for quantity, cost in self.cost.items()
                for name, value in cost.items()
            },
            **{f"multiplier/{quantity}": value for quantity, value in self.multiplier.items()},
        }
        return {name: value for name, value in values.items() if value is not None}
