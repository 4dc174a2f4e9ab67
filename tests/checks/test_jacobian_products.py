"""check_vjp and check_jvp: backward and forward derivatives of functions with several results."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest

import gradcheck_fast as gf


def layer(x, W, b):
    return np.tanh(x @ W + b)


def layer_vjp(v, x, W, b):
    d = v * (1 - layer(x, W, b) ** 2)
    return d @ W.T, x.T @ d, d.sum(axis=0)


def layer_jvp(t, x, W, b):
    tx, tW, tb = t
    return (1 - layer(x, W, b) ** 2) * (tx @ W + x @ tW + tb)


def layer_inputs(dtype=np.float64):
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=shape).astype(dtype) for shape in ((5, 3), (3, 4), (4,)))


BOTH = pytest.mark.parametrize("check, product", [(gf.check_vjp, layer_vjp), (gf.check_jvp, layer_jvp)])


# ---- what is right passes


@BOTH
@pytest.mark.parametrize("dtype, error", [(np.float64, 1e-8), (np.float32, 1e-5)])
def test_a_right_product_passes(check, product, dtype, error):
    report = check(layer, product, layer_inputs(dtype), directions=3)
    assert report.ok
    assert report.relative_error < error


def test_reports_have_the_inputs_or_the_outputs_by_name():
    of_inputs = gf.check_vjp(layer, layer_vjp, layer_inputs())
    assert {a.name: a.shape for a in of_inputs.arrays} == {"inputs[0]": (5, 3), "inputs[1]": (3, 4), "inputs[2]": (4,)}
    of_outputs = gf.check_jvp(layer, layer_jvp, layer_inputs())
    assert {a.name: a.shape for a in of_outputs.arrays} == {"output": (5, 4)}


class Moments(NamedTuple):
    mean: float
    squares: np.ndarray


def test_one_input_that_is_no_tuple_and_outputs_that_are_trees():
    f = lambda p: {"moments": Moments(np.mean(p["x"]), p["x"] ** 2), "scaled": [3 * p["y"]]}
    params = {"x": np.array([1.0, -2.0, 0.5]), "y": 4.0}

    def vjp(v, p):
        assert isinstance(v["moments"], Moments)
        return {"x": v["moments"].mean / 3 + 2 * v["moments"].squares * p["x"], "y": 3 * v["scaled"][0]}

    def jvp(t, p):
        return {"moments": Moments(np.mean(t["x"]), 2 * p["x"] * t["x"]), "scaled": [3 * t["y"]]}

    assert [a.name for a in gf.check_vjp(f, vjp, params).arrays] == ["inputs.x", "inputs.y"]
    names = ["output.moments[0]", "output.moments[1]", "output.scaled[0]"]
    assert [a.name for a in gf.check_jvp(f, jvp, params).arrays] == names
    assert gf.check_vjp(f, vjp, params)
    assert gf.check_jvp(f, jvp, params)


def test_indices_and_options_are_passed_on_as_they_are():
    def f(table, rows, how):
        assert rows.dtype == np.int64
        assert how == "rows"
        return table[rows]

    def vjp(v, table, rows, how):
        gradient = np.zeros_like(table)
        np.add.at(gradient, rows, v)
        return gradient, None, None

    def jvp(t, table, rows, how):
        assert t[1:] == (None, None)
        return t[0][rows]

    inputs = (np.arange(8.0).reshape(4, 2), np.array([2, 0, 2]), "rows")
    report = gf.check_vjp(f, vjp, inputs)
    assert report.ok
    assert [a.name for a in report.arrays] == ["inputs[0]"]
    assert gf.check_jvp(f, jvp, inputs)


def test_cotangents_and_tangents_have_the_dtypes_of_outputs_and_inputs():
    x = np.ones(3, np.float32)

    def vjp(v, x):
        assert (v.dtype, x.dtype) == (np.float32, np.float32)
        return 2 * v * x

    def jvp(t, x):
        assert (t.dtype, x.dtype) == (np.float32, np.float32)
        return 2 * t * x

    assert gf.check_vjp(np.square, vjp, x)
    assert gf.check_jvp(np.square, jvp, x)


def test_directions_depend_on_the_seed_alone():
    numerical = lambda seed: gf.check_vjp(layer, layer_vjp, layer_inputs(), seed=seed).numerical["inputs[1]"]
    np.testing.assert_array_equal(numerical(3), numerical(3))
    assert (numerical(3) != numerical(4)).all()


def test_a_kink_has_more_than_one_right_slope():
    relu = lambda x: np.maximum(x, 0)
    x = np.array([-1.0, 0.0, 2.0])
    for slope_at_zero in (0.0, 1.0):
        slope = np.array([0.0, slope_at_zero, 1.0])
        for report in (
            gf.check_vjp(relu, lambda v, x, slope=slope: v * slope, x),
            gf.check_jvp(relu, lambda t, x, slope=slope: t * slope, x),
        ):
            assert report.ok
            assert report.arrays[0].at_kink == 1


def test_large_inputs_are_moved_by_as_much_as_they_need():
    """With h of the size of an input of 1e9, or of 1, nothing else would be left of one of them."""
    x = np.array([1e9, 1.0])
    f, slope = (
        lambda x: np.array([np.sqrt(x[0]), np.sin(x[1])]),
        lambda x: np.array([0.5 / np.sqrt(x[0]), np.cos(x[1])]),
    )
    assert gf.check_jvp(f, lambda t, x: slope(x) * t, x).relative_error < 1e-6


@pytest.mark.parametrize("check", [gf.check_vjp, gf.check_jvp])
def test_digits_that_saturated_units_cancel_are_not_wrong(check):
    """1 - a**2 of a tanh near 1 keeps few of them."""
    x = np.linspace(2.5, 3.5, 7).astype(np.float32)
    slope = lambda x: 1 - np.tanh(x) ** 2
    report = check(np.tanh, lambda direction, x: direction * slope(x), x)
    assert report.ok, str(report)
    assert report.relative_error > 1e-7
    assert not check(np.tanh, lambda direction, x: direction * slope(x) * np.float32(1.001), x)


@pytest.mark.parametrize("check", [gf.check_vjp, gf.check_jvp])
def test_a_mistake_in_float32_alone_is_not_taken_for_rounding(check):
    x = np.linspace(0.5, 1.5, 7).astype(np.float32)
    factor = lambda x: 1.001 if x.dtype == np.float32 else 1.0
    assert not check(np.sin, lambda direction, x: direction * np.cos(x) * np.float32(factor(x)), x)


# ---- what is wrong fails


@pytest.mark.parametrize("which", [0, 1, 2])
def test_one_wrong_entry_of_a_vjp_is_found(which):
    def wrong(v, *inputs):
        gradients = layer_vjp(v, *inputs)
        gradients[which].flat[1] *= 1.001
        return gradients

    report = gf.check_vjp(layer, wrong, layer_inputs())
    assert (report.verdict, report.wrong) == ("FAIL", 1)
    assert report.worst()[0].array == f"inputs[{which}]"


def test_one_wrong_entry_of_a_jvp_is_found():
    def wrong(t, *inputs):
        tangent = layer_jvp(t, *inputs)
        tangent[2, 3] *= 1.001
        return tangent

    report = gf.check_jvp(layer, wrong, layer_inputs())
    assert (report.verdict, report.wrong) == ("FAIL", 1)
    assert report.worst()[0][:2] == ("output", (2, 3))


@pytest.mark.parametrize("check", [gf.check_vjp, gf.check_jvp])
def test_several_directions_are_tried_until_one_fails(check):
    """A mistake that only shows where the first number of the direction is negative."""
    tried = []

    def product(direction, x):
        tried.append(direction[0] < 0)
        return direction * (1.5 if direction[0] < 0 else 1.0)

    report = check(lambda x: 1.0 * x, product, np.ones(2), directions=20)
    assert not report.ok
    assert len(tried) < 20
    assert all(tried[tried.index(True) :])


@BOTH
def test_nan_in_a_product_is_wrong(check, product):
    def with_nan(*arguments):
        result = product(*arguments)
        (result[0] if isinstance(result, tuple) else result)[1, 1] = np.nan
        return result

    report = check(layer, with_nan, layer_inputs())
    assert (report.verdict, report.wrong) == ("FAIL", 1)


# ---- nothing is changed, and bad input is explained


@BOTH
def test_what_the_functions_write_into_their_arguments_is_lost_and_said(check, product):
    def careless(x, W, b):
        out = layer(x, W, b)
        for array in (x, W, b):
            array[...] = 7
        return out

    def careless_product(direction, *inputs):
        result = product(direction, *inputs)
        for array in (*inputs, *(direction if isinstance(direction, tuple) else (direction,))):
            array[...] = 7
        return result

    inputs, name = layer_inputs(), check.__name__.removeprefix("check_")
    report = check(careless, careless_product, inputs)
    assert report
    np.testing.assert_equal(inputs, layer_inputs())
    assert [note.split(".")[0] for note in report.notes] == [
        "f writes into its argument", f"{name} writes into its argument"
    ]  # fmt: skip
    assert not check(layer, product, inputs).notes


@BOTH
def test_a_product_that_writes_into_its_direction_alone_is_named(check, product):
    def careless_product(direction, *inputs):
        result = product(direction, *inputs)
        (direction[0] if isinstance(direction, tuple) else direction)[0] += 1.0
        return result

    (note,) = check(layer, careless_product, layer_inputs()).notes
    assert note.startswith(f"{check.__name__.removeprefix('check_')} writes into its argument")


@pytest.mark.parametrize("check, name", [(gf.check_vjp, "vjp"), (gf.check_jvp, "jvp")])
def test_arguments_that_do_not_fit(check, name):
    x = np.ones(3)
    same = lambda direction, x: direction
    with pytest.raises(TypeError, match="f: expected a function"):
        check(x, same, x)
    with pytest.raises(TypeError, match=f"{name}: expected a function"):
        check(np.sin, x, x)
    with pytest.raises(ValueError, match="inputs: none is an array of floating-point numbers"):
        check(np.square, same, np.arange(3))
    with pytest.raises(TypeError, match=r"inputs\.n: no floating-point numbers, unlike inputs\.x"):
        check(lambda p: p["x"], same, {"x": x, "n": np.arange(3)})
    with pytest.raises(ValueError, match=r"f: inputs: nan at index \[1\]"):
        check(np.sin, same, np.array([1, np.nan]))
    with pytest.raises(ValueError, match=r"f: output: -?inf at index \[0\]"), np.errstate(divide="ignore"):
        check(np.log, same, np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="method: 'units' needs the loss of"):
        check(np.sin, lambda d, x: d * np.cos(x), x, method="units")
    with pytest.raises(ValueError, match="directions: expected a positive integer, got 0"):
        check(np.sin, same, x, directions=0)


def test_shapes_that_a_vjp_must_give():
    x, W, b = layer_inputs()
    with pytest.raises(ValueError, match=r"inputs\[1\].*expected the shape \(3, 4\), got \(4, 3\).*transposed"):
        gf.check_vjp(layer, lambda *a: (x, W.T, b), (x, W, b))
    with pytest.raises(ValueError, match="vjp: expected a tuple of 3, one for each input, got 2"):
        gf.check_vjp(layer, lambda *a: (x, W), (x, W, b))
    with pytest.raises(ValueError, match="vjp: expected a tuple of 3, one for each input, got a ndarray"):
        gf.check_vjp(layer, lambda *a: x, (x, W, b))


def test_shapes_that_a_jvp_must_give():
    with pytest.raises(ValueError, match=r"gradient: output.*expected the shape \(5, 4\), got \(4, 5\)"):
        gf.check_jvp(layer, lambda t, *inputs: layer_jvp(t, *inputs).T, layer_inputs())


def test_options_that_have_no_effect_are_refused(tmp_path):
    x = np.ones(3)
    vjp, jvp = lambda v, x: np.cos(x) * v, lambda t, x: np.cos(x) * t
    with pytest.raises(TypeError, match="check_vjp: it has no option 'checkpoint'; its options are method, step"):
        gf.check_vjp(np.sin, vjp, x, checkpoint=tmp_path / "c.npz")
    for option in ("checkpoint", "executor", "n_threads"):
        with pytest.raises(TypeError, match=f"check_jvp: it has no option '{option}'"):
            gf.check_jvp(np.sin, jvp, x, **{option: None})
    with ThreadPoolExecutor(2) as executor:
        assert gf.check_vjp(np.sin, vjp, x, executor=executor)


def test_directions_are_no_method_of_check_jvp():
    with pytest.raises(ValueError, match=r"^method: check_jvp compares along directions in any case"):
        gf.check_jvp(layer, layer_jvp, layer_inputs(), method="directional")


def test_the_step_of_a_jacobian_vector_product_is_one():
    jvp = lambda t, x: np.cos(x) * t
    assert gf.check_jvp(np.sin, jvp, np.ones(3), trace=False).step == pytest.approx(6.06e-6, rel=1e-2)
    assert gf.check_jvp(np.sin, jvp, np.ones(3), step=1e-4).step == 1e-4


@pytest.mark.parametrize("scale", [1e-11, 1e-7, 1e-3, 1.0])
def test_a_jacobian_vector_product_at_any_scale(scale):
    A = np.random.default_rng(0).normal(size=(3, 4))
    x = np.arange(1.0, 5.0) * scale / 10
    f, jvp = lambda x: np.tanh(A @ x / scale), lambda t, x: (1 - np.tanh(A @ x / scale) ** 2) * (A @ t) / scale
    for seed in range(4):
        assert gf.check_jvp(f, jvp, x, seed=seed).verdict == "PASS"
        assert gf.check_jvp(f, lambda t, x: 1.001 * jvp(t, x), x, seed=seed).verdict == "FAIL"


@pytest.mark.parametrize("digits, verdict", [(3, "INCONCLUSIVE"), (6, "PASS")])
def test_a_jacobian_vector_product_of_rounded_values(digits, verdict):
    A, x = np.random.default_rng(0).normal(size=(3, 4)), np.arange(1.0, 5.0) / 3
    jvp = lambda t, x: (1 - np.tanh(A @ x) ** 2) * (A @ t)
    for seed in range(4):
        assert gf.check_jvp(lambda x: np.round(np.tanh(A @ x), digits), jvp, x, seed=seed).verdict == verdict


# ---- traced


def normalised(x, gain, bias):
    """Layer normalisation, written with the buffers that NumPy code has."""
    out = np.zeros_like(x)
    for n in range(len(x)):
        out[n] = (x[n] - x[n].mean()) / np.sqrt(x[n].var() + 1e-5)
    return out * gain + bias


def normalised_vjp(v, x, gain, bias):
    centred, width = x - x.mean(1, keepdims=True), x.shape[1]
    spread = np.sqrt(x.var(1, keepdims=True) + 1e-5)
    unit, d = centred / spread, v * gain
    dx = (d - d.mean(1, keepdims=True) - unit * (d * unit).sum(1, keepdims=True) / width) / spread
    return dx, (v * unit).sum(0), v.sum(0)


def test_a_layer_of_numpy_is_traced_and_its_product_certified():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(5, 7)), rng.normal(size=7), rng.normal(size=7)
    report = gf.check_vjp(normalised, normalised_vjp, inputs)
    assert (report.verdict, report.method, report.notes) == ("PASS", "chain", ())
    assert report.relative_error < 1e-14
    assert report.certificate.holds
    assert max(report.seen_from.values()) < 1e-10
    assert gf.check_vjp(normalised, normalised_vjp, inputs, trace=False).method == "direct"
    bad = lambda v, *inputs: tuple(g * (1 + 1e-8) for g in normalised_vjp(v, *inputs))
    assert gf.check_vjp(normalised, bad, inputs).verdict == "FAIL"


def test_several_outputs_and_whole_numbers_are_traced():
    table, at = np.random.default_rng(0).normal(size=(6, 3)), np.array([4, 1, 4])

    def f(table, at):
        assert at.dtype.kind == "i"
        return {"rows": np.tanh(table[at]), "sum": float(np.sum(table**2)), "fixed": np.ones(2)}

    def vjp(v, table, at):
        found = 2 * table * v["sum"]
        np.add.at(found, at, v["rows"] * (1 - np.tanh(table[at]) ** 2))
        return found, None

    report = gf.check_vjp(f, vjp, (table, at))
    assert (report.verdict, report.method, report.notes) == ("PASS", "chain", ())
    assert report.relative_error < 1e-14
    np.testing.assert_array_equal(at, [4, 1, 4])


def test_a_product_of_what_cannot_be_traced_is_differenced_with_one_note():
    f = lambda x: x.view(np.complex128).real  # another type of the same memory
    report = gf.check_vjp(f, lambda v, x: np.kron(v, [1.0, 0.0]), np.linspace(0.0, 1.0, 6))
    assert report.verdict == "PASS"
    assert [note.startswith("the function could not be traced") for note in report.notes] == [True]


def test_a_function_of_float32_is_judged_by_its_rounding_when_it_is_traced():
    x = np.linspace(0.1, 1.0, 9, dtype=np.float32)
    report = gf.check_vjp(np.tanh, lambda v, x: v * (1 - np.tanh(x) ** 2), x)
    assert (report.verdict, report.method) == ("PASS", "chain")
    assert gf.check_vjp(np.tanh, lambda v, x: v * (1 - np.tanh(x) ** 2) * (1 + 1e-3), x).verdict == "FAIL"
