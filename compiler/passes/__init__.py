"""The rewrites, one file each. Their order is the tuple's."""

from compiler.passes.fold_batch_norm import FoldBatchNorm

CANONICAL = (FoldBatchNorm(),)
"""What makes the canonical graph: nothing that a target asked for."""

__all__ = ["CANONICAL", "FoldBatchNorm"]
