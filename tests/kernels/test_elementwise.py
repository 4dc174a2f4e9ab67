"""Each elementwise operation, for each instruction set: its value, and f(z + d) - f(z), against 60 digits."""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from reference import (
    ACTIVATIONS,
    GELU_CUBIC,
    SELU_ALPHA,
    SELU_SCALE,
    TWO_SQRT_2_OVER_PI,
    gelu_gate,
    mpf,
    normal_cdf,
    sigmoid,
)

from gradcheck_fast.kernels import _kernels

OPERATIONS = tuple(_kernels.ELEMENTWISE)
STEPS = (1e-10, 2.0**-30, 1e-6, 1e-4, 0.1, 3.0, 40.0)
#: Up to where kernels may use series with two and with three terms (csrc/elementary.h).
LIMITS_OF_SERIES = (2.0**-28, 2.0**-19)
KINKS = (-1.0, 0.0, 1.0, 6.0)

#: Largest errors in units in the last place of the true number: (of the value, of the difference).
ULPS = {
    "relu": (0, 0.5), "hardtanh": (0, 0.5), "relu6": (0, 0.5), "leaky_relu": (1, 1.5),
    "softsign": (1.5, 3),
    "exp": (1.5, 2.5), "elu": (2, 3), "selu": (3, 4),
    "sigmoid": (2, 5), "tanh": (3, 5), "softplus": (2, 4),
    "silu": (3, 5), "gelu": (4, 4), "gelu_tanh": (4, 5),
}  # fmt: skip


class Gate(NamedTuple):
    """z times a gate G: the difference d G + (z + d) dG is a sum that may cancel, so its error is measured in ulps of
    |d| G + |z + d| |dG|. Where G is a tail, e^-w, its own argument w(z) is rounded: that counts w times."""

    value: object
    tail: object


GATES = {
    "silu": Gate(sigmoid, lambda z: mpf(0)),
    "gelu": Gate(normal_cdf, lambda z: min(z, mpf(0)) ** 2 / 2),
    "gelu_tanh": Gate(gelu_gate, lambda z: max(-TWO_SQRT_2_OVER_PI * (z + GELU_CUBIC * z**3), mpf(0))),
}
#: What each tends to, far below and far above zero.
LIMITS = {
    **dict.fromkeys(("relu", "softplus", "silu", "gelu", "gelu_tanh", "exp"), (0.0, np.inf)),
    **dict.fromkeys(("tanh", "softsign", "hardtanh"), (-1.0, 1.0)),
    "sigmoid": (0.0, 1.0), "relu6": (0.0, 6.0), "leaky_relu": (-np.inf, np.inf),
    "elu": (-1.0, np.inf), "selu": (float(-SELU_SCALE * SELU_ALPHA), np.inf),
}  # fmt: skip
#: An error below this is none: sigmoid(2g) of gelu_tanh underflows at z = -21.7.
NOTHING = 1e-200


class Points(NamedTuple):
    """True numbers as the nearest double and what is left, and the size of one ulp of whatever errors count in."""

    nearest: np.ndarray
    rest: np.ndarray
    ulp: np.ndarray

    def errors(self, computed):
        with np.errstate(invalid="ignore"):
            error = np.abs((computed - self.nearest) - self.rest)
        return np.where(error < NOTHING, 0.0, error / self.ulp)


def points(true, scale=None):
    nearest = np.array([float(x) for x in true])
    rest = np.array([float(x - mpf(y)) for x, y in zip(true, nearest, strict=True)])
    return Points(nearest, rest, np.spacing(np.abs(nearest if scale is None else [float(x) for x in scale])))


@cache
def bases():
    random = np.random.default_rng(20240)
    tiny = random.choice([-1.0, 1.0], 60) * 10.0 ** random.uniform(-300, -3, 60)
    return np.concatenate([random.uniform(-30, 30, 250), random.normal(size=120), tiny, KINKS, [-0.0, -6.0]])


@cache
def perturbed():
    """Every base with every step; and beside each kink the bases that a step takes just short of it, and past it.

    Steps of one size lie together: the kernels look at sixteen at a time to see whether all of them are small.
    """
    steps = [sign * step for step in STEPS for sign in (1.0, -1.0)]
    pairs = [(z, d) for d in steps for z in bases()]
    for onto, d in ((kink - d, d) for kink in KINKS for d in steps):
        pairs += [(z, d) for z in (np.nextafter(onto, -np.inf), onto, np.nextafter(onto, np.inf))]
    z, d = np.array(pairs).T
    return np.ascontiguousarray(z), np.ascontiguousarray(d)


@cache
def at_the_limits():
    """Every base with a step as large as a series allows, alone among fifteen that do not count."""
    steps = [sign * 0.7 * limit for limit in LIMITS_OF_SERIES for sign in (1.0, -1.0)]
    z, d = np.array([(z, d) for d in steps for z in bases()]).T
    padded = np.zeros((2, len(z), 16))
    padded[:, :, 0] = z, d
    return z, d, *padded.reshape(2, -1)


@cache
def true_values(name):
    true, scale = [ACTIVATIONS[name](mpf(z)) for z in bases()], None
    if name in GATES:
        scale = [x * (1 + GATES[name].tail(mpf(z))) for x, z in zip(true, bases(), strict=True)]
    return points(true, scale)


@cache
def true_differences(name, perturbations):
    pairs = [(mpf(z), mpf(d)) for z, d in zip(*perturbations()[:2], strict=True)]
    f = cache(ACTIVATIONS[name])
    true = [f(z + d) - f(z) for z, d in pairs]
    return points(true, [gate_scale(GATES[name], *pair) for pair in pairs] if name in GATES else None)


def gate_scale(gate, z, d):
    before, after = gate.value(z), gate.value(z + d)
    tail = min(gate.tail(z), gate.tail(z + d))
    return (abs(d) * max(before, after) + abs(z + d) * abs(after - before)) * (1 + tail)


def check(errors, allowed, *arguments):
    worst = np.argmax(np.where(np.isnan(errors), np.inf, errors))
    assert errors[worst] <= allowed, f"error {errors[worst]:.3g} at {[float(a[worst]) for a in arguments]}"


def run(name, isa, z, d=0.0):
    z, d = np.broadcast_arrays(np.asarray(z, float), np.asarray(d, float))
    return _kernels.elementwise(name, np.ascontiguousarray(z), np.ascontiguousarray(d), isa)


@pytest.mark.parametrize("isa", _kernels.instruction_sets())
@pytest.mark.parametrize("name", OPERATIONS)
class TestEveryOperation:
    def test_value_is_within_a_few_ulp(self, name, isa):
        value, _ = run(name, isa, bases())
        check(true_values(name).errors(value), ULPS[name][0], bases())

    def test_difference_is_within_a_few_ulp(self, name, isa):
        z, d = perturbed()
        _, difference = run(name, isa, z, d)
        check(true_differences(name, perturbed).errors(difference), ULPS[name][1], z, d)

    def test_difference_of_the_largest_steps_that_a_series_takes(self, name, isa):
        z, d, padded_z, padded_d = at_the_limits()
        _, difference = run(name, isa, padded_z, padded_d)
        check(true_differences(name, at_the_limits).errors(difference[::16]), ULPS[name][1], z, d)

    def test_no_step_is_no_difference(self, name, isa):
        _, difference = run(name, isa, [*bases(), 300.0, -300.0, 700.0, -700.0])
        assert (difference == 0).all()

    def test_nan_stays_nan(self, name, isa):
        nan = float("nan")
        value, difference = run(name, isa, [nan] * 4, [0.0, 0.1, -3.0, nan])
        assert np.isnan(value).all()
        assert np.isnan(difference).all(), f"from z = nan: {difference}"
        _, difference = run(name, isa, [-7.0, -0.5, 0.0, 0.5, 7.0], nan)
        assert np.isnan(difference).all(), f"from d = nan: {difference}"

    def test_wide_range_up_to_1000(self, name, isa):
        """Nothing overflows or is lost on the way to a true difference that a double can hold."""
        z, d, before, after, scale = wide_range(name)
        value, difference = run(name, isa, z, d)
        with np.errstate(invalid="ignore"):
            check(np.abs(difference - (after - before)) / (scale + 1e-30), 1e-10, z, d)
        check(np.abs(value - before) / (np.abs(before) + 1e-300), 1e-11, z)

    def test_infinity_gives_no_wrong_number(self, name, isa):
        """To or from infinity: the limit, or a number that is not finite and so not taken for right."""
        for end, limit in zip((-np.inf, np.inf), LIMITS[name], strict=True):
            value, _ = run(name, isa, end)
            assert value == pytest.approx(limit, rel=1e-15) or not np.isfinite(value)
            for z in (-7.0, -0.5, 0.0, 5e-324, 0.5, 7.0):
                _, difference = run(name, isa, z, end)
                true = limit - float(ACTIVATIONS[name](mpf(z)))
                assert difference == pytest.approx(true, rel=1e-12) or not np.isfinite(difference)


@cache
def wide_range(name):
    """(z, d, f(z), f(z + d), what errors count beside) up to 1000, around where exp and its like leave the doubles."""
    grid = (0.0, 1.0, 10.0, 22.0, 38.0, 100.0, 372.0, 400.0, 600.0, 705.0, 709.0, 720.0, 745.0, 800.0, 1000.0)
    f = cache(ACTIVATIONS[name])
    found = []
    for z, d in ((s * a, t * b) for a in grid for b in grid for s in (1, -1) for t in (1, -1)):
        before, after = float(f(mpf(z))), float(f(mpf(z + d)))
        if np.isfinite([before, after]).all():
            scale = gate_scale(GATES[name], mpf(z), mpf(d)) if name in GATES else max(abs(before), abs(after))
            found.append((z, d, before, after, float(scale)))
    return np.array(found).T.copy()
