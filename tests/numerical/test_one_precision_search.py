"""What seems wrong on lines is looked at again: a rounding is no mistake."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.lines_of_functions import line_of, without_rounding

from gradcheck_fast.numerical.one_precision_search import Wanted, compare_means

LONGEST = np.ones(1)
WANTED = Wanted(*np.full((3, 1), 0.05))


def means(f, slope, noise, seed):
    return compare_means(line_of(f, slope, 0.25, noise, seed), without_rounding(1), LONGEST, WANTED)


@pytest.mark.parametrize("error", [0.03, -0.03])
def test_a_wrong_derivative_is_as_wrong_on_longer_lines(error):
    every = [means(np.exp, lambda x: (1.0 + error) * np.exp(x), 0.004, seed) for seed in range(20)]
    assert all(np.sign(error) * found.errors > found.bars for found in every)


@pytest.mark.parametrize("seed", [18, 76])
def test_a_rounding_that_all_differences_have_in_common_is_no_mistake(seed):
    """The function is higher by as much on the right of the entry as it is lower on the left, whatever the step."""
    found = means(lambda x: np.exp(x) + 0.002 * np.sign(x - 0.25), np.exp, 0.002, seed)
    assert not abs(found.errors) > found.bars
