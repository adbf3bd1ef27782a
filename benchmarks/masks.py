"""How many pixels of each engine's masks differ from those of another.

datac predict build CAMVID/test --engine torch-f32 --out masks/torch-f32
datac predict build CAMVID/test --engine onnx-int8 --out masks/onnx-int8
python benchmarks/masks.py masks --reference torch-f32
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("masks", type=Path, help="a folder with one of masks for each engine")
    parser.add_argument("--reference", required=True, metavar="ENGINE")
    options = parser.parse_args()
    expected = {
        path.name: np.asarray(Image.open(path))
        for path in sorted((options.masks / options.reference).glob("*.png"))
    }
    print(f"{len(expected)} images, {sum(mask.size for mask in expected.values()):,} pixels\n")
    print("| engine | pixels that differ | images with any |\n|---|---|---|")
    for folder in sorted(options.masks.iterdir()):
        if folder.name == options.reference:
            continue
        found = [
            int((np.asarray(Image.open(folder / name)) != mask).sum())
            for name, mask in expected.items()
        ]
        print(f"| {folder.name} | {sum(found):,} | {sum(count > 0 for count in found)} |")


if __name__ == "__main__":
    main()
