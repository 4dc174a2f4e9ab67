"""Derivatives from many steps at once, and the error bars of them."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_fast.inputs.arrays import SINGLE, Precision
from gradcheck_fast.numerical.one_precision_fit import Samples, fit, fit_kinks, typical_noise

HALF = Precision.of(np.dtype(np.float16))


def samples(f, x, precision, h):
    """Differences f, rounded to a precision, at x + h and x - h."""
    rounded = lambda z: precision.rounded(f(precision.rounded(z)))
    plus, minus, here = rounded(x + h), rounded(x - h), rounded(x)
    true = 0.5 * (precision.rounded(x + h) - precision.rounded(x - h))
    floor = precision.unit_roundoff * np.hypot(plus, minus) / 6.0**0.5
    return Samples(true, plus - minus, plus + minus - 2.0 * here, floor, np.full_like(floor, h.shape[-1]))


@pytest.mark.parametrize("precision", [SINGLE, HALF])
@pytest.mark.parametrize(("f", "slope"), [(np.sin, np.cos), (np.exp, np.exp), (np.square, lambda x: 2.0 * x)])
def test_bars_cover_the_error_and_are_narrow(precision, f, slope):
    x = precision.rounded(np.random.default_rng(0).uniform(0.5, 2.0, (200, 1)))
    found = samples(f, x, precision, np.geomspace(0.5 * np.cbrt(precision.unit_roundoff), 2.0, 12) * np.ones_like(x))
    fitted = fit(found, typical_noise(found))
    off = np.abs(fitted.derivatives - slope(x)[:, 0])
    assert (off <= fitted.bars).mean() >= 0.98
    assert np.median(fitted.bars) < 40.0 * precision.unit_roundoff ** (2.0 / 3.0)


def test_a_kink_has_two_slopes():
    x = np.zeros((3, 1))
    f = lambda z: np.where(z > 0.0, 2.0 * z, 0.5 * z) + z**2
    found = samples(f, x, SINGLE, np.geomspace(1e-3, 0.5, 12) * np.ones_like(x))
    kinks = fit_kinks(found, 1.0)
    assert kinks.derivatives == pytest.approx(1.5, abs=1e-3)
    assert (kinks.bars < 0.05).all()


def test_what_is_not_defined_is_left_out():
    x = np.full((1, 1), 0.1)
    with np.errstate(invalid="ignore"):
        found = samples(np.log, x, SINGLE, np.geomspace(1e-4, 1.0, 12)[None, :])
    known = np.isfinite(found.odd)
    found = Samples(*(np.where(known, array, np.nan) for array in found))
    fitted = fit(found, 1.0)
    assert abs(fitted.derivatives[0] - 10.0) <= fitted.bars[0] < 0.01
