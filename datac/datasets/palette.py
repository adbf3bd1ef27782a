"""Colours for classes that bring none."""

from datac.documents.network import Classes, Color

IGNORED: Color = (224, 224, 192)
"""What Pascal VOC paints its borders with (index 255 of its colour map)."""


def voc_colors(count: int) -> tuple[Color, ...]:
    """The colour map of the Pascal VOC development kit, `VOClabelcolormap`.

    The bits of the index, three at a time, become the high bits of red, green and blue.
    """
    return tuple(_color(index) for index in range(count))


def class_colors(classes: Classes) -> tuple[Color, ...]:
    """The classes' own colours, else those of Pascal VOC."""
    return classes.colors or voc_colors(len(classes.names))


def _color(index: int) -> Color:
    red = green = blue = 0
    for bit in range(7, -1, -1):
        red |= (index & 1) << bit
        green |= (index >> 1 & 1) << bit
        blue |= (index >> 2 & 1) << bit
        index >>= 3
    return red, green, blue
