"""How far the logits' gradient of a float32 step is from that of the dense step in float64.

    python benchmarks/gradient_error.py

For the same weights, images and draws: max|difference| / max|reference| over the logits of a kind
of cell, the worse of the two kinds; median and largest over the draws. Dense and sparse steps, both
layouts in memory.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the checkout that this file stands in

import torch
from dense_supernet import DenseSupernet
from torch import Tensor, nn

from compiler.candidates import SEARCH_SPACE
from compiler.torch_module import stock_module
from datac.documents.network import Network
from searcher.fast_modules import fast_module
from searcher.method_options import MethodOptions
from searcher.methods import Drawing, Method
from searcher.supernet import Supernet, frozen

LAYOUTS = {"first": torch.contiguous_format, "last": torch.channels_last}
DEVIATION = 0.5
"""Of the logits: those of a search under way."""


def gradients(
    method: Method, network: Network, seed: int, *, dense: bool, dtype: torch.dtype, last: bool
) -> list[Tensor]:
    """dL/dlogits of one draw, (G, n) for each kind of cell, in float64."""
    torch.manual_seed(seed)
    layout = LAYOUTS["last" if last else "first"]
    build = stock_module if dense else fast_module
    supernet = Supernet(network, method.layout, build=build).train()
    supernet = supernet.to(dtype).to(memory_format=layout)  # type: ignore[call-overload]
    images = torch.randn(8, *network.input).to(dtype).contiguous(memory_format=layout)
    generator = torch.Generator().manual_seed(seed)
    logits = {
        kind: (DEVIATION * torch.randn(values.shape, generator=generator)).to(dtype)
        for kind, values in method.initial_logits(generator).items()
    }
    leaves = [values.requires_grad_() for values in logits.values()]
    drawn = method.for_architecture(Drawing(logits, generator, 1.0, torch.device("cpu")))
    with frozen(supernet):
        if dense:
            weights = {kind: mixture.weights for kind, mixture in drawn.items()}
            answer = DenseSupernet(supernet)(images, weights)
        else:
            answer = supernet(images, drawn)
        loss = nn.functional.cross_entropy(answer, torch.arange(8))
        found = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    return [gradient.double() for gradient in found]


def error(found: list[Tensor], reference: list[Tensor]) -> float:
    """max|difference| / max|reference|, the worst of the tensors."""
    pairs = zip(found, reference, strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=4, metavar="M")
    parser.add_argument("--granularity", nargs="+", default=["node", "edge"])
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--cells", type=int, default=5)
    parser.add_argument("--input", type=int, default=32, help="height and width")
    parser.add_argument("--seeds", type=int, default=8, help="draws that are compared")
    options = parser.parse_args()
    torch.set_num_threads(1)
    size = (3, options.input, options.input)
    network = Network(
        skeleton="cifar", channels=options.channels, cells=options.cells, classes=10, input=size
    )
    print("| granularity | step | channels | median error | largest |\n|---|---|---|---|---|")
    for granularity in options.granularity:
        asked = MethodOptions("data", granularity=granularity, draws=options.draws)
        method = asked.make(SEARCH_SPACE, 4, "sum", network)
        errors: dict[tuple[bool, bool], list[float]] = {}
        for seed in range(options.seeds):
            reference = gradients(
                method, network, seed, dense=True, dtype=torch.float64, last=False
            )
            for dense in (True, False):
                for last in (False, True):
                    found = gradients(
                        method, network, seed, dense=dense, dtype=torch.float32, last=last
                    )
                    errors.setdefault((dense, last), []).append(error(found, reference))
        for (dense, last), values in errors.items():
            print(
                f"| {granularity} | {'dense' if dense else 'sparse'} | "
                f"{'last' if last else 'first'} | {statistics.median(values):.0e} | "
                f"{max(values):.0e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
