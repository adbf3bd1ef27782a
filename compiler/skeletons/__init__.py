"""What surrounds the cells."""

from compiler.skeletons.classification import CIFAR, IMAGENET
from compiler.skeletons.segmentation import SEGMENTATION
from compiler.skeletons.skeleton import Skeleton

SKELETONS: dict[str, Skeleton] = {
    "cifar": CIFAR,
    "imagenet": IMAGENET,
    "segmentation": SEGMENTATION,
}

__all__ = ["SKELETONS", "Skeleton"]
