"""Functions that compute in one precision only: differenced as they are, or compared with a reference."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers.one_precision_operators import dtype_of

import gradcheck_fast as gf
from gradcheck_fast.losses.one_precision import Beside
from gradcheck_fast.losses.tree_function import TreeFunction

PRECISIONS = ["float32", "float16", "bfloat16"]


def layer(precision, factor=1.0):
    """Gives a layer, its backward, with one entry times a factor, its forward mode, and its inputs."""
    if precision == "bfloat16":
        pytest.importorskip("ml_dtypes")
    dtype, rng = dtype_of(precision), np.random.default_rng(0)
    x, w = rng.normal(size=(3, 4)).astype(dtype), rng.normal(size=(4, 2)).astype(dtype)

    def f(x, w):
        if x.dtype != dtype:
            raise TypeError(f"a kernel of {precision}, got {x.dtype}")
        return np.tanh((x @ w).astype(dtype))

    def vjp(v, x, w):
        d = (v * (1 - f(x, w) ** 2)).astype(dtype)
        dx, dw = (d @ w.T).astype(dtype), (x.T @ d).astype(dtype)
        dw[3, 0] *= dtype.type(factor)
        return dx, dw

    def jvp(t, x, w):
        return ((1 - f(x, w) ** 2) * (t[0] @ w + x @ t[1]).astype(dtype)).astype(dtype)

    return f, vjp, jvp, (x, w)


def reference(x, w):
    return np.tanh(x @ w)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_right_backward_of_one_precision(precision):
    f, vjp, _, inputs = layer(precision)
    report = gf.check_vjp(f, vjp, inputs, seed=4)
    assert report.ok
    assert report.notes[0].startswith(f"f computes in {precision} only (it refuses float64: TypeError (a kernel of")
    assert "would have been seen in 98 % of the entries" in report.notes[0]
    assert report.seen_from["output", "inputs[1]"] < (1e-3 if precision == "float32" else 0.1)


@pytest.mark.parametrize(("precision", "factor"), [("float32", 1.01), ("float16", 1.03), ("bfloat16", 1.2)])
def test_one_wrong_entry_of_one_precision(precision, factor):
    f, vjp, _, inputs = layer(precision, factor)
    report = gf.check_vjp(f, vjp, inputs, seed=4)  # for some cotangents the entry is small
    assert (report.verdict, report.wrong, report.worst()[0][:2]) == ("FAIL", 1, ("inputs[1]", (3, 0)))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_forward_mode_of_one_precision(precision):
    f, _, jvp, inputs = layer(precision)
    assert gf.check_jvp(f, jvp, inputs).verdict != "FAIL"
    wrong = lambda t, *a: (jvp(t, *a) * np.array([1.0, 1.5])).astype(a[0].dtype)
    assert gf.check_jvp(f, wrong, inputs).verdict == "FAIL"


def test_a_function_that_rounds_float64():
    x = np.random.default_rng(0).normal(size=5)
    f = lambda x: np.sin(x.astype(np.float32))
    report = gf.check_vjp(f, lambda v, x: v * np.cos(x), x)
    assert report.ok
    assert "output is float32 where float64 is given" in report.notes[0]
    assert gf.check_vjp(f, lambda v, x: 1.01 * v * np.cos(x), x).verdict == "FAIL"


def test_an_error_in_double_of_a_function_of_double_is_raised():
    def f(x):
        raise KeyError("it is broken")

    with pytest.raises(KeyError, match="it is broken"):
        gf.check_vjp(f, lambda v, x: v, np.ones(3))


def test_only_the_methods_that_need_no_float64():
    f, vjp, _, inputs = layer("float32")
    with pytest.raises(ValueError, match=r"method: f computes in float32 only.*by 'direct'; got 'chain'"):
        gf.check_vjp(f, vjp, inputs, method="chain")


def test_an_executor_is_refused_by_name():
    f, vjp, _, inputs = layer("float32")
    with pytest.raises(ValueError, match=r"executor: f computes in float32 only.*leave the executor out"):
        gf.check_vjp(f, vjp, inputs, executor=ThreadPoolExecutor)
    assert gf.check_vjp(f, vjp, inputs, reference=reference, seed=4).ok


@pytest.mark.parametrize("factor", [1.0, 2.0])
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_a_gradient_of_float8_that_is_twice_too_large_does_not_pass(name, factor):
    dtype = np.dtype(getattr(pytest.importorskip("ml_dtypes"), name))
    p = {"w": np.random.default_rng(0).normal(size=(3, 4)).astype(dtype)}
    factors = np.where(np.arange(12).reshape(3, 4) == 6, factor, 1.0)
    loss = lambda p: (np.asarray(p["w"], np.float64) ** 2).sum()
    report = gf.gradcheck(loss, lambda p: {"w": (2.0 * np.asarray(p["w"], np.float64) * factors).astype(dtype)}, p)
    assert (report.verdict == "PASS") == (factor == 1.0)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_kink_is_no_mistake(precision):
    if precision == "bfloat16":
        pytest.importorskip("ml_dtypes")
    dtype = dtype_of(precision)
    x = np.array([0.0, -1.0, 1.0, 0.0, 0.5]).astype(dtype)

    def relu(x):
        if x.dtype != dtype:
            raise TypeError("another dtype")
        return np.maximum(x, dtype.type(0))

    for slope in (0.0, 0.5, 1.0):
        vjp = lambda v, x, s=slope: (v * np.where(x > 0, 1.0, np.where(x == 0, s, 0.0))).astype(dtype)
        assert gf.check_vjp(relu, vjp, x).verdict != "FAIL"
    assert gf.check_vjp(relu, lambda v, x: (v * (x > -2)).astype(dtype), x).verdict == "FAIL"


@pytest.mark.parametrize("precision", ["float64", *PRECISIONS])
def test_a_reference_says_what_is_right(precision):
    f, vjp, jvp, inputs = layer(precision)
    report = gf.check_vjp(f, vjp, inputs, reference=reference, seed=4)
    assert report.ok
    assert [tuple(aspect)[:2] for aspect in report.aspects] == [("forward", "right")]
    assert gf.check_jvp(f, jvp, inputs, reference=reference).ok
    f, vjp, _, inputs = layer(precision, 1.1)
    assert gf.check_vjp(f, vjp, inputs, reference=reference, seed=4).worst()[0][:2] == ("inputs[1]", (3, 0))


def test_a_forward_that_is_not_that_of_the_reference():
    f, vjp, _, inputs = layer("float32")
    shifted = lambda x, w: f(x, w) + np.array([[0, 0], [0, 0.01], [0, 0]], np.float32)
    report = gf.check_vjp(shifted, vjp, inputs, reference=reference)
    assert (report.verdict, report.wrong) == ("FAIL", 0)
    assert "the forward differs from the reference by 0.01 at output[1, 1]" in report.aspects[0].detail


def test_a_reference_that_does_not_fit():
    f, vjp, _, inputs = layer("float32")
    with pytest.raises(TypeError, match=r"reference: expected a function of float64, but output is float32"):
        gf.check_vjp(f, vjp, inputs, reference=lambda x, w: np.float32(x @ w))
    with pytest.raises(ValueError, match=r"reference: expected the outputs of f.*got \{'output': \(2, 3\)\}"):
        gf.check_vjp(f, vjp, inputs, reference=lambda x, w: (x @ w).T)
    with pytest.raises(TypeError, match="reference: expected a function"):
        gf.check_vjp(f, vjp, inputs, reference=3)


def loss_of_float32(p):
    if p["w"].dtype != np.float32:
        raise TypeError("of float32")
    return np.float32((p["w"] ** 3).sum())


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "PASS"), (1.01, "FAIL")])
def test_a_loss_of_float32(factor, verdict):
    p = {"w": np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)}
    gradient = lambda p: {"w": 3 * p["w"] ** 2 * np.array([[factor, 1, 1], [1, 1, 1]], np.float32)}
    report = gf.gradcheck(loss_of_float32, gradient, p)
    assert report.verdict == verdict
    assert report.notes[0].startswith("the loss computes in float32 only (it refuses float64: TypeError (of float32))")
    assert gf.gradcheck(loss_of_float32, gradient(p), p).verdict == verdict


def test_outputs_that_do_not_change_add_no_noise():
    f = lambda x: np.concatenate([np.sin(np.float32(x)), np.full(1000, 1e6, np.float32)])
    function = TreeFunction(f, np.array([0.5, 1.0]))
    samples = Beside(function, {}, function.computes_in).of_product(
        np.ones(1002), np.array([0]), np.full((1, 1), 0.1), np.zeros(1)
    )
    assert samples.odd[0, 0] == pytest.approx(np.sin(0.6) - np.sin(0.4), abs=1e-6)
    assert samples.floor[0, 0] < 1e-7


def test_some_entries_only():
    f, vjp, _, inputs = layer("float32", 1.5)
    assert gf.check_vjp(f, vjp, inputs, only="inputs[0]").wrong == 0
    assert gf.check_vjp(f, vjp, inputs, only={"inputs[1]": (3, 0)}).wrong == 1


def of_float32(f):
    """Makes a function that refuses all but float32."""

    def refusing(*arrays):
        if any(array.dtype != np.float32 for array in arrays):
            raise TypeError("of float32")
        return f(*arrays)

    return refusing


def rounded_to(levels):
    return lambda x: (np.rint(np.sin(x.astype(np.float64)) * levels) / levels).astype(np.float32)


def looked_up(x):
    """Interpolates linearly in a table of sines."""
    table = np.linspace(-4.0, 4.0, 257)
    return np.interp(x, table, np.sin(table)).astype(np.float32)


@pytest.mark.parametrize("f", [rounded_to(127), rounded_to(2000), looked_up], ids=["int8", "2000 levels", "table"])
def test_the_slope_of_stairs_as_a_whole_is_no_mistake(f):
    x = np.random.default_rng(1).standard_normal(8).astype(np.float32)
    cosine = lambda v, x: v * np.cos(x)
    assert gf.check_vjp(of_float32(f), cosine, x).wrong == 0
    for factor in (1.5, -1.0, 0.0):
        one_wrong = lambda v, x, c=factor: cosine(v, x) * np.where(np.arange(8) == 3, c, 1.0).astype(np.float32)
        report = gf.check_vjp(of_float32(f), one_wrong, x)
        assert (report.wrong, report.worst()[0].index) == (1, (3,))


def test_kinks_within_all_steps_are_no_noise():
    w = np.random.default_rng(2).standard_normal((40, 3)).astype(np.float32)
    x = np.array([0.3, -0.2, 0.5], np.float32)
    relus = of_float32(lambda x: np.maximum(w @ x, 0).sum(keepdims=True))
    right = lambda v, x: v * ((w @ x) > 0).astype(np.float32) @ w
    assert gf.check_vjp(relus, right, x).ok
    report = gf.check_vjp(relus, lambda v, x: right(v, x) * np.array([1, 1.01, 1], np.float32), x)
    assert (report.wrong, report.worst()[0].index) == (1, (1,))


def test_slopes_that_are_lost_where_a_function_rounds_to_a_constant():
    x = np.array([-9.5, -8.0, 0.5, 1.0], np.float32)
    one = np.float32(1)
    f = of_float32(lambda x: (one + np.tanh(x)) - one + one)
    report = gf.check_vjp(f, lambda v, x: v * (one / np.cosh(x) ** 2), x)
    assert report.ok


def test_a_function_that_is_constant_all_around_has_nothing_to_check():
    x = np.full(3, -2.0, np.float32)
    report = gf.check_vjp(of_float32(lambda x: np.maximum(x, 0)), lambda v, x: v * (x > 0), x)
    assert [array.status for array in report.arrays] == ["nothing to check"]


def test_bounds_are_kept():
    x = np.array([0.99, -0.9, 0.5], np.float32)
    seen = []

    def f(x):
        seen.append(np.abs(x).max())
        return np.sqrt(1 - x * x)

    def vjp(v, x):
        seen.append(np.abs(x).max())
        return -v * x / np.sqrt(1 - x * x)

    report = gf.check_vjp(of_float32(f), vjp, x, bounds={"inputs": (-0.995, 0.995)})
    assert report.ok
    assert max(seen) <= 0.995
    wrong = lambda v, x: 1.01 * vjp(v, x)
    assert gf.check_vjp(of_float32(f), wrong, x, bounds={"inputs": (-0.995, 0.995)}).wrong == 3


@pytest.mark.parametrize("factor", [1.03, 0.97])
@pytest.mark.parametrize("first", [2.95, 2.97, 2.98])
def test_a_kink_close_by_hides_no_error(first, factor):
    half = np.float16
    x = half([first, 1.3, -0.7])

    def hardswish(x):
        if x.dtype != np.float16:
            raise TypeError("of float16")
        return x * np.clip(x + half(3), half(0), half(6)) / half(6)

    slopes = lambda x: np.where(np.abs(x) < 3.0, (2.0 * x + 3.0) / 6.0, x > 0.0)
    right = lambda v, x: (v * slopes(x.astype(np.float64))).astype(np.float16)
    wrong = lambda v, x: right(v, x) * half([factor, 1.0, 1.0])
    assert gf.check_vjp(hardswish, right, x).wrong == 0
    report = gf.check_vjp(hardswish, wrong, x)
    assert (report.verdict, report.wrong, report.worst()[0].index) == ("FAIL", 1, (0,))


@pytest.mark.parametrize("seed", [12, 18])
def test_roundings_that_all_steps_have_in_common_are_no_mistake(seed):
    """Outputs are rounded to stairs of a size that the logarithm is rounded to, too: they all move by whole stairs."""

    def log_softmax(x):
        if x.dtype != np.float16:
            raise TypeError("of float16")
        shifted = x - x.max(axis=1, keepdims=True)
        return shifted - np.log(np.exp(shifted, dtype=np.float32).sum(axis=1, keepdims=True)).astype(np.float16)

    def vjp(v, x):
        p = np.exp(x.astype(np.float64))
        return (v - p / p.sum(axis=1, keepdims=True) * v.sum(axis=1, keepdims=True, dtype=np.float64)).astype(x.dtype)

    x = (np.random.default_rng(seed).standard_normal((3, 14)) * 0.00123).astype(np.float16)
    assert gf.check_vjp(log_softmax, vjp, x, seed=seed).wrong == 0


@pytest.mark.parametrize("entries", [1, 3])
@pytest.mark.parametrize("slope", [0.003, 0.01, 0.02, 0.03, 0.05])
def test_steps_on_one_stair_say_nothing(slope, entries):
    """Each value is rounded to 1/128 on the way, and the result is not."""
    slope, x = np.float16(slope), np.linspace(0.5, 1.5, entries).astype(np.float16)

    def f(x):
        if x.dtype != np.float16:
            raise TypeError("of float16")
        return (np.float16(8) + slope * x) - np.float16(8) + np.float16(0.001)

    assert gf.check_vjp(f, lambda v, x: slope * v, x).verdict != "FAIL"
    if entries > 1 and slope >= 0.03:
        assert gf.check_vjp(f, lambda v, x: 2 * slope * v, x).verdict == "FAIL"


def test_slopes_too_small_to_change_any_output_are_undecided_and_no_mistake():
    one, x = np.float16(1), np.full(4, 1e-7, np.float16)

    def f(x):
        if x.dtype != np.float16:
            raise TypeError("of float16")
        return (one + x) * np.float16(8)

    assert gf.check_vjp(f, lambda v, x: 8 * v, x).verdict == "INCONCLUSIVE"
    relu = lambda x: np.maximum(f(x) - np.float16(9), 0)
    assert gf.check_vjp(relu, lambda v, x: 8 * v, np.float16([-2, -1, 1, 2])).wrong == 2


@pytest.mark.parametrize("sharp", [16, 64, 256])
def test_a_derivative_that_peaks_within_a_rounding_is_no_mistake(sharp):
    """The peak changes values by less than a rounding, so that differences with larger steps show nothing of it."""
    x = (np.random.default_rng(1).standard_normal(5) * [0.3 / sharp, 0.3 / sharp, 1, 1, 1]).astype(np.float16)

    def f(x):
        if x.dtype != np.float16:
            raise TypeError("of float16")
        z = x.astype(np.float64)
        return (1 + 4e-4 * np.tanh(sharp * z) + 0.1 * z**2).astype(np.float16)

    def vjp(v, x, factor=1.0):
        z = x.astype(np.float64)
        slopes = 4e-4 * sharp / np.cosh(sharp * z) ** 2 + 0.2 * z * np.array([1.0, 1.0, 1.0, 1.0, factor])
        return (v * slopes).astype(np.float16)

    assert gf.check_vjp(f, vjp, x).wrong == 0
    assert gf.check_vjp(f, lambda v, x: vjp(v, x, 1.1), x).wrong == 1
