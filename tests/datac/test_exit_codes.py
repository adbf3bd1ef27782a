import pytest
from hypothesis import given
from hypothesis import strategies as st

from datac.errors import BadInput, DatacError, PlatformMissing
from datac.exit_codes import ExitCode, worst_exit_code

CODES = st.sampled_from(list(ExitCode))


@pytest.mark.parametrize(
    ("codes", "worst"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 3], 3),
        ([3, 1, 0], 1),
        ([1, 2, 3], 2),
        ([3, 2, 1, 70], 70),
        ([4, 0], 4),
        ([4, 3], 3),
    ],
)
def test_the_worst_of_several(codes: list[int], worst: int) -> None:
    assert worst_exit_code(codes) == worst


@given(st.lists(CODES), st.lists(CODES))
def test_the_worst_does_not_depend_on_grouping_or_order(
    some: list[ExitCode], others: list[ExitCode]
) -> None:
    together = worst_exit_code(some + others)
    assert together == worst_exit_code([worst_exit_code(others), worst_exit_code(some)])


@given(CODES)
def test_every_code_has_a_rank(code: ExitCode) -> None:
    assert worst_exit_code([code]) == code
    assert worst_exit_code([code, ExitCode.PASS]) == code


def test_a_foreign_code_is_refused() -> None:
    with pytest.raises(ValueError, match="5 is not a valid ExitCode"):
        worst_exit_code([0, 5])


def test_the_errors_agree() -> None:
    assert DatacError.exit_code == ExitCode.BUG
    assert BadInput.exit_code == ExitCode.BAD_INPUT
    assert PlatformMissing.exit_code == ExitCode.PLATFORM_MISSING
