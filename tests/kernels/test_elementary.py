"""exp, expm1, log, log1p and tanh of the kernels, for each instruction set, over all doubles: within 2 ulp."""

import math

import mpmath
import numpy as np
import pytest

from gradcheck_fast.kernels import _kernels

ULPS = 2.0
#: tanh corrects itself by a fused multiply-add, which the baseline lacks.
BASELINE_TANH = 2.2
#: Each with where its results are normal numbers.
FUNCTIONS = {
    "exp": (mpmath.exp, -708.3, 709.7),
    "expm1": (mpmath.expm1, -745.2, 709.7),
    "log": (mpmath.log, 5e-324, 1.7e308),
    "log1p": (mpmath.log1p, -1 + 2**-53, 1.7e308),
    "tanh": (mpmath.tanh, -800.0, 800.0),
}


def evaluate(name, x, isa):
    return _kernels.elementwise(name, x, x, isa)[0] if name == "tanh" else _kernels.elementary(name, x, isa)


def points(low, high, count):
    """Evenly spread where functions bend, and evenly over all exponents and signs, inside [low, high]."""
    random = np.random.default_rng(7)
    near = random.uniform(max(low, -40.0), min(high, 40.0), count // 2)
    anywhere = random.choice([-1.0, 1.0], 2 * count) * np.exp2(random.uniform(-1022, 1023.9, 2 * count))
    wide = random.uniform(max(low, -1e3), min(high, 1e3), count // 4)
    return np.concatenate([near, anywhere[(anywhere >= low) & (anywhere <= high)][: count // 4], wide])


def true_values(name, x):
    """As the nearest double and what is left."""
    with mpmath.workprec(120):
        true = [FUNCTIONS[name][0](mpmath.mpf(v)) for v in x.tolist()]
        nearest = np.array([float(v) for v in true])
        return nearest, np.array([float(v - mpmath.mpf(n)) for v, n in zip(true, nearest.tolist(), strict=True)])


def check(name, count):
    x = points(*FUNCTIONS[name][1:], count)
    nearest, rest = true_values(name, x)
    for isa in _kernels.instruction_sets():
        errors = np.abs((evaluate(name, x, isa) - nearest) - rest) / np.spacing(np.abs(nearest))
        worst = np.argmax(np.where(np.isnan(errors), np.inf, errors))
        allowed = BASELINE_TANH if (name, isa) == ("tanh", "baseline") else ULPS
        assert errors[worst] <= allowed, f"{isa}: {name}({x[worst]!r}) is off by {errors[worst]:.2f} ulp"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_within_two_ulp(name):
    check(name, 4_000)


@pytest.mark.long
@pytest.mark.parametrize("name", FUNCTIONS)
def test_within_two_ulp_at_many_points(name):
    check(name, 150_000)


@pytest.mark.parametrize("isa", _kernels.instruction_sets())
def test_beyond_the_range_as_in_libm(isa):
    beyond = np.array([-np.inf, -1e308, 1e308, np.inf, np.nan, 0.0, -0.0])
    with np.errstate(all="ignore"):
        for name, function in {"exp": np.exp, "expm1": np.expm1, "log1p": np.log1p, "log": np.log}.items():
            np.testing.assert_array_equal(evaluate(name, beyond, isa), function(beyond), err_msg=name)


def test_an_unknown_function_is_an_error():
    with pytest.raises(ValueError, match="no function 'sin'"):
        _kernels.elementary("sin", np.zeros(1), "baseline")


@pytest.mark.parametrize("name", ["erf", "erfc"])
def test_error_functions_are_those_of_the_c_library(name):
    x = np.concatenate([np.random.default_rng(0).normal(0.0, 3.0, 60), [0.0, -0.0, np.inf, -np.inf, np.nan, 30.0]])
    expected = np.array([getattr(math, name)(each) for each in x])
    of = getattr(_kernels, name)
    np.testing.assert_array_equal(of(x), expected)
    np.testing.assert_array_equal(of(x.reshape(6, 11).T), expected.reshape(6, 11).T)
    assert of(0.5).shape == ()
    assert of(np.empty((0, 3))).shape == (0, 3)
