"""Profiles: in order, what lies within, and back from their text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from datac.cli.compile import profile_of
from datac.documents.profile import Profile, half_to_twice, only
from datac.errors import BadInput

sizes = st.integers(1, 1 << 16)


@st.composite
def profiles(draw):
    rows = [sorted(draw(st.tuples(sizes, sizes, sizes))) for _ in range(4)]
    rows[1] = [draw(sizes)] * 3
    return Profile(**dict(zip(("min", "opt", "max"), zip(*rows, strict=True), strict=True)))


@given(profile=profiles())
def test_a_profile_takes_its_own_sizes_and_is_read_back_from_its_text(profile):
    assert all(profile.takes(shape) for shape in profile.shapes)
    assert not profile.takes((*profile.max[:3], profile.max[3] + 1))
    assert not profile.takes(profile.max[1:])
    assert profile_of(str(profile)) == profile


@given(shape=st.tuples(sizes, sizes, sizes, sizes))
def test_what_nobody_declared_holds_the_size_itself(shape):
    assert half_to_twice(shape).takes(shape)
    assert only(shape).shapes == (shape,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"min": (2, 3, 8, 8), "opt": (1, 3, 8, 8), "max": (4, 3, 8, 8)},
        {"min": (0, 3, 8, 8), "opt": (1, 3, 8, 8), "max": (4, 3, 8, 8)},
        {"min": (1, 1, 8, 8), "opt": (1, 3, 8, 8), "max": (4, 3, 8, 8)},
    ],
)
def test_sizes_out_of_order_are_none(wrong):
    with pytest.raises(ValidationError):
        Profile(**wrong)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1x3x8x8", "it is not MIN,OPT,MAX"),
        ("1x3x8x8,1x3x8,1x3x8x8", "it is not MIN,OPT,MAX"),
        ("1x3x8x8,1x3x8x8,0x3x8x8", "it is not MIN,OPT,MAX"),
        ("2x3x8x8,1x3x8x8,4x3x8x8", "do not go from the smallest"),
        ("1x1x8x8,1x2x8x8,1x3x8x8", "the channels differ"),
    ],
)
def test_another_text_is_one_sentence_with_the_form(text, says):
    with pytest.raises(BadInput, match=f"{says}.*write it as 1x3x90x120"):
        profile_of(text)
