"""A small data set to segment: discs and squares on grey, 24 to train with and 8 to validate.

Stands for your own photographs and masks; writes images/ and masks/, and nothing else.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

HEIGHT, WIDTH = 45, 60  # odd on purpose: any size will do
COLORS = {"disc": (200, 0, 0), "square": (0, 0, 200)}  # those of data.toml


def picture(seed: int) -> tuple[Image.Image, Image.Image]:
    """One image and its mask."""
    draw = np.random.default_rng(seed)
    noise = draw.integers(90, 160, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image, mask = Image.fromarray(noise), Image.new("RGB", (WIDTH, HEIGHT))
    for shape, color in COLORS.items():
        x, y, side = (
            int(draw.integers(0, 40)),
            int(draw.integers(0, 25)),
            int(draw.integers(14, 22)),
        )
        box = (x, y, x + side, y + side)
        fill = tuple(int(value) for value in draw.integers(0, 256, 3))
        for canvas, paint in ((image, fill), (mask, color)):
            pen = ImageDraw.Draw(canvas)
            (pen.ellipse if shape == "disc" else pen.rectangle)(box, fill=paint)
    return image, mask


def main() -> None:
    """Write all of them, the last eight under names that begin with `val`."""
    for folder in ("images", "masks"):
        Path(folder).mkdir(exist_ok=True)
    for seed in range(32):
        name = f"{'train' if seed < 24 else 'val'}{seed:02}.png"
        image, mask = picture(seed)
        image.save(Path("images") / name)
        mask.save(Path("masks") / name)


if __name__ == "__main__":
    main()
