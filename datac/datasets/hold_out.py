"""A validation split where the data set brings none."""

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

from datac.datasets.samples import Chosen, ImagesWithClasses, ImagesWithMaps, Samples

SHARE = 10
"""One sample of SHARE is held out."""


def hold_out(names: Sequence[str], groups: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """Indices (train, val): of each group the tenth with the smallest SHA-256 of the name.

    So the split is the same on every machine, does not follow the order of the files (frames
    of a video, say), and a file added later moves few others. A group of one stays in train.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    val: set[int] = set()
    for indices in members.values():
        count = max(1, len(indices) // SHARE) if len(indices) > 1 else 0
        val.update(sorted(indices, key=lambda index: _key(names[index]))[:count])
    return [i for i in range(len(names)) if i not in val], sorted(val)


def with_val(splits: Mapping[str, ImagesWithMaps | ImagesWithClasses]) -> dict[str, Samples]:
    """The splits as they are, or with a tenth of train (of each class) held out as val."""
    if "val" in splits:
        return dict(splits)
    source = splits["train"]
    if isinstance(source, ImagesWithClasses):
        train, val = hold_out([name for name, _ in source.items], [n for _, n in source.items])
    else:
        train, val = hold_out([image for image, _ in source.pairs], [0] * len(source))
    held_out = {"train": Chosen(source, tuple(train)), "val": Chosen(source, tuple(val))}
    return {**held_out, **{name: samples for name, samples in splits.items() if name != "train"}}


def _key(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
