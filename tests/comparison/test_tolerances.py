"""What a user has given as tolerances, and what he has not."""

import pytest

from gradcheck_fast.comparison.tolerances import BY_DEFAULT, Tolerances


@pytest.mark.parametrize(
    ("rtol", "atol", "given"), [(None, None, False), (0.0, None, True), (None, 0.0, True), (1e-3, 1e-6, True)]
)
def test_one_of_both_is_enough_to_be_given(rtol, atol, given):
    assert Tolerances(rtol, atol).are_given is given


def test_by_default_none_are_given():
    assert not BY_DEFAULT.are_given
    assert BY_DEFAULT == (None, None)
