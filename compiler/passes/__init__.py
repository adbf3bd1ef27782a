"""The rewrites, one file each. The table's order is the order in which they run."""

from compiler.passes.balance_sums import BalanceSums
from compiler.passes.drop_padding_taps import DropPaddingTaps
from compiler.passes.fold_batch_norm import FoldBatchNorm
from compiler.passes.merge_depthwise import MergeDepthwise
from compiler.passes.merge_pointwise import MergePointwise
from compiler.passes.merge_sums import MergeSums
from compiler.passes.pad_channels import PadChannels
from compiler.passes.relu_above_concat import ReluAboveConcat
from compiler.passes.remove_dead_channels import RemoveDeadChannels
from compiler.passes.remove_zero_paths import RemoveZeroPaths
from compiler.passes.share_relu import ShareRelu
from compiler.passes.split_pointwise import SplitPointwise
from compiler.passes.sum_halves import SumHalves
from compiler.rewrite import Rewrite

CANONICAL = (FoldBatchNorm(),)
"""What makes the canonical graph: nothing that a target asked for."""

REWRITES: dict[str, Rewrite] = {
    "remove_zero_paths": RemoveZeroPaths(),
    "remove_dead_channels": RemoveDeadChannels(),
    "drop_padding_taps": DropPaddingTaps(),
    "share_relu": ShareRelu(),
    "sum_halves": SumHalves(),
    "merge_depthwise": MergeDepthwise(),
    "merge_pointwise": MergePointwise(),
    "relu_above_concat": ReluAboveConcat(),
    "split_pointwise": SplitPointwise(),
    "merge_sums": MergeSums(),
    "merge_sums_with_skips": MergeSums(skips=True),
    "balance_sums": BalanceSums(),
    "pad_channels": PadChannels(),
}
"""What an engine's own model may be rewritten by, on request or by its target's plan."""

__all__ = ["CANONICAL", "REWRITES", "FoldBatchNorm"]
