"""Guesses at what was meant."""

import pytest

from compiler.candidates import CANDIDATES
from datac.documents.sentences import closest, counted, nearest, signed


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sepconv3x3", ["sep_conv_3x3"]),
        ("skip", ["skip_connect"]),
        ("maxpool_3x3", ["max_pool_3x3"]),
        ("transformer", []),
        ("sep_conv_3x3" * 10**5, []),
    ],
)
def test_the_nearest_known_name_is_found(written: str, meant: list[str]) -> None:
    assert closest(written, CANDIDATES) == meant


def test_the_guess_is_a_sentence_or_nothing() -> None:
    assert nearest("sky", ["sly", "ski", "x"], most=2) in (
        '. Did you mean "sly" or "ski"?',
        '. Did you mean "ski" or "sly"?',
    )
    assert nearest("sky", ["x"]) == ""


def test_one_is_no_plural() -> None:
    assert [counted(n, "epoch") for n in (0, 1, 2)] == ["0 epochs", "1 epoch", "2 epochs"]
    assert [counted(n, "class", "classes") for n in (1, 3)] == ["1 class", "3 classes"]


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (-0.0, ".1%", "0.0%"),
        (-0.0001, ".1%", "0.0%"),
        (-0.01, ".1%", "-1.0%"),
        (0.5, ".4f", "+0.5000"),
        (0, ",", "0"),
        (-1234, ",", "-1,234"),
        (10, ",", "+10"),
    ],
)
def test_nothing_has_no_sign(value: float, form: str, text: str) -> None:
    assert signed(value, form) == text
