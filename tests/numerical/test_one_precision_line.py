"""Differences compared with the means of given derivatives, on lines around entries."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.lines_of_functions import line_of, without_rounding

from gradcheck_fast.numerical.one_precision_line import STEPS, on_lines, roughness

ENTRY = np.zeros(1, np.intp)


def seen_on(f, slope, length=1.0, side=0):
    line = line_of(f, slope, 0.25)
    return on_lines(line, ENTRY, np.array([length]), without_rounding(1), side, STEPS)


@pytest.mark.parametrize("side", [-1, 0, 1])
def test_means_have_no_truncation(side):
    seen = seen_on(np.exp, lambda x: 1.01 * np.exp(x), side=side)
    assert seen.errors == pytest.approx(0.01 * np.exp(0.25), rel=0.4)
    assert seen_on(np.exp, np.exp, side=side).errors == pytest.approx(0.0, abs=1e-6)


def test_a_kink_on_the_line_makes_the_bar_wide():
    relu, mask = lambda x: np.maximum(x, 0.0), lambda x: (x > 0.0).astype(np.float64)
    assert seen_on(relu, mask, length=0.2).bars < 1e-12
    assert seen_on(relu, mask).bars > 0.1


def test_roughness_is_how_far_given_derivatives_are_from_a_polynomial():
    peak = lambda x: np.exp(-((100.0 * (x - 0.25)) ** 2))
    rough = [roughness(line_of(np.sin, slope, 0.25), ENTRY, np.ones(1))[0] for slope in (np.cos, peak)]
    assert rough[0] < 1e-3
    assert rough[1] > 0.15
