"""Guesses at what was meant."""

import pytest

from compiler.candidates import CANDIDATES
from datac.documents.sentences import closest, nearest


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
