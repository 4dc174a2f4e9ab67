"""gf.gradcheck and gf.numerical_gradient with complex parameters."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from helpers.complex_layers import CASES, normal

import gradcheck_fast as gf
from gradcheck_fast.inputs.complex_pairs import ComplexLoss, ComplexPairs

A, B = normal(4, 3), normal(4)
P = {"W": normal(3), "b": normal(4), "scale": np.array([0.5, 2.0, 1.5, 0.7])}


def loss(p):
    return (p["scale"] * np.abs(A @ p["W"] + p["b"] - B) ** 2).sum()


def gradient(p, conjugated=(), times=1.0):
    r = A @ p["W"] + p["b"] - B
    found = {"W": times * 2.0 * A.conj().T @ (p["scale"] * r), "b": times * 2.0 * p["scale"] * r}
    found = {name: g.conj() if name in conjugated else g for name, g in found.items()}
    return {**found, "scale": np.abs(r) ** 2}


@pytest.mark.parametrize("name", CASES)
def test_a_right_gradient(name):
    case = CASES[name]
    report = gf.gradcheck(case.loss, case.gradient, case.params)
    assert report.ok, str(report)
    assert any("dL/dx + i dL/dy, as PyTorch has them" in note for note in report.notes)


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_gradient(name):
    case = CASES[name]
    report = gf.gradcheck(case.loss, case.gradient(case.params, mistake=True), case.params)
    assert not report.ok
    wrong = {array.name.rpartition(".")[0] for array in report.arrays if array.wrong}
    assert wrong == set(case.wrong), str(report)


@pytest.mark.parametrize("name", CASES)
def test_the_conjugate_is_the_gradient_that_jax_has(name):
    case = CASES[name]
    conjugate = {key: np.conj(g) for key, g in case.gradient(case.params).items()}
    report = gf.gradcheck(case.loss, conjugate, case.params)
    assert report.ok, str(report)
    assert any("the conjugate, as JAX has it" in note for note in report.notes)


@pytest.mark.parametrize(("conjugated", "formula"), [((), "(dL/dx + i dL/dy) / 2"), ("Wb", "(dL/dx - i dL/dy) / 2")])
def test_halves_are_wirtinger_derivatives(conjugated, formula):
    report = gf.gradcheck(loss, gradient(P, conjugated, times=0.5), P)
    assert report.ok, str(report)
    assert any("the Wirtinger derivative" in note and formula in note for note in report.notes)


def test_each_complex_array_is_two_real_ones():
    report = gf.gradcheck(loss, gradient, P)
    assert [array.name for array in report.arrays] == ["W.real", "W.imag", "b.real", "b.imag", "scale"]
    np.testing.assert_array_equal(report.analytic["W"], gradient(P)["W"])
    np.testing.assert_allclose(report.numerical["b"], gradient(P)["b"], rtol=1e-7)


def test_the_two_gradients_in_the_report_follow_the_convention_that_was_met():
    report = gf.gradcheck(loss, gradient(P, "Wb"), P)
    np.testing.assert_array_equal(report.analytic["W"], gradient(P, "Wb")["W"])
    np.testing.assert_allclose(report.numerical["W"], gradient(P, "Wb")["W"], rtol=1e-7)


@pytest.mark.parametrize(
    ("conjugated", "cause"), [("W", "W is conjugated, b is not"), ("b", "b is conjugated, W is not")]
)
def test_two_conventions_in_one_gradient(conjugated, cause):
    report = gf.gradcheck(loss, gradient(P, conjugated), P)
    assert not report.ok
    assert report.diagnoses[0].cause == cause, str(report)


def test_an_array_that_is_halved_beside_others_is_wrong():
    given = gradient(P)
    report = gf.gradcheck(loss, {**given, "W": 0.5 * given["W"]}, P)
    assert not report.ok
    assert report.diagnoses[0].cause == "W is halved, b is not", str(report)


def test_a_wrong_entry_is_shown_by_the_nearest_convention():
    given = gradient(P, "Wb")
    given["b"][2] *= 1.1
    report = gf.gradcheck(loss, given, P)
    assert {(entry.array, entry.index) for entry in report.worst(2)} == {("b.real", (2,)), ("b.imag", (2,))}
    assert report.wrong == 2
    assert any("compared as dL/dx - i dL/dy" in note for note in report.notes)


def test_a_zero_imaginary_part_has_no_convention():
    report = gf.gradcheck(lambda z: (z.real**2).sum(), lambda z: 2.0 * z.real + 0j, normal(3))
    assert report.ok, str(report)
    assert any("cannot be told apart" in note for note in report.notes)
    assert [array.name for array in report.arrays] == ["params.real", "params.imag"]


@pytest.mark.parametrize("options", [{"method": "directional"}, {"sample": 2}, {"trace": False}, {"error_bars": True}])
@pytest.mark.parametrize("conjugated", ["", "Wb"])
def test_other_ways_to_compare(options, conjugated):
    assert gf.gradcheck(loss, gradient(P, conjugated), P, **options).ok
    assert not gf.gradcheck(loss, gradient(P, "W"), P, **options).ok


def test_the_functions_get_complex_arrays_of_the_dtype_that_was_given():
    seen = []

    def watched(p):
        seen.append(p["W"].dtype)
        return gradient(p)

    single = {"W": P["W"].astype(np.complex64), "b": P["b"].astype(np.complex64), "scale": P["scale"]}
    assert gf.gradcheck(loss, watched, single).ok
    assert seen[0] == np.complex64
    assert not gf.gradcheck(loss, {**gradient(single), "b": 1.001 * gradient(single)["b"]}, single).ok


def test_gradients_have_the_forms_of_real_ones():
    given = gradient(P)
    named = {f"d{name}": g for name, g in given.items()}
    flat = np.concatenate([given["W"], given["b"], given["scale"]])
    for form in (named, flat, lambda p: (loss(p), gradient(p))):
        assert gf.gradcheck(loss, form, P).ok
    assert gf.gradcheck(lambda p: (loss(p), gradient(p)), True, P).ok


def test_python_numbers_and_nested_trees():
    params = {"layers": [(1.0 + 2.0j, np.array([1.0, 2.0]))]}
    report = gf.gradcheck(
        lambda p: abs(p["layers"][0][0]) ** 2 * p["layers"][0][1].sum(),
        lambda p: [(2.0 * p["layers"][0][0] * 3.0, np.full(2, abs(p["layers"][0][0]) ** 2))],
        params,
    )
    assert report.ok, str(report)
    assert [array.name for array in report.arrays] == ["layers[0][0].real", "layers[0][0].imag", "layers[0][1]"]


def test_a_loss_that_is_a_complex_number_with_a_zero_imaginary_part():
    for params, right in (
        (P["W"], 2.0 * A.conj().T @ (A @ P["W"])),
        (P["W"].real, 2.0 * (A.conj().T @ (A @ P["W"].real)).real),
    ):
        report = gf.gradcheck(lambda w: np.vdot(A @ w, A @ w), right, params)
        assert report.ok, str(report)
        assert any("whose imaginary part is zero: its real part is taken" in note for note in report.notes)


@pytest.mark.parametrize("how", [{}, {"trace": False}, {"method": "directional"}, {"vectorized": True}])
def test_an_imaginary_part_of_rounding_is_left_out_and_noted(how):
    axis = 1 if how.get("vectorized") else 0
    for size, said in ((0.0, "zero"), (1e-15, "8.0e-15, which is rounding beside 8"), (1e-9, "8.0e-09, which is")):
        cubes = lambda x, size=size: (x**3).sum(axis=axis) * (1.0 + 1j * size)
        report = gf.gradcheck(cubes, np.full(8, 3.0), np.ones(8), **how)
        assert report.ok, str(report)
        assert any(f"a complex number, whose imaginary part is {said}" in note for note in report.notes), report.notes


def test_the_real_part_of_a_complex_loss_is_what_is_traced():
    power = lambda x: np.sum(np.fft.ifft(np.fft.fft(x) ** 2))  # (sum x)^2, and some rounding
    x = np.array([0.1, 0.7, -0.4, 1.3])
    report = gf.gradcheck(power, np.full(4, 2.0 * x.sum()), x)
    assert report.ok and report.method == "chain", str(report)


def test_an_imaginary_part_that_is_no_rounding_is_an_error_with_its_size():
    for how, axis in (({}, 0), ({"vectorized": True}, 1)):
        with pytest.raises(TypeError, match=r"imaginary part.* 8\.0e-06.*return loss\.real"):
            gf.gradcheck(lambda x, axis=axis: (x**3).sum(axis=axis) * (1.0 + 1e-6j), np.ones(8), np.ones(8), **how)
    with pytest.raises(ValueError, match="or has an imaginary part of its own; use 'direct'"):
        gf.gradcheck(lambda x: (x**3).sum() * (1.0 + 1e-15j), np.full(8, 3.0), np.ones(8), method="complex")


def test_what_does_not_fit_is_named():
    with pytest.raises(TypeError, match=r"one real number, got .*j\)?; is the real part meant\?"):
        gf.gradcheck(lambda w: (A @ w).sum(), P["W"], P["W"])
    with pytest.raises(TypeError, match=r"gradient: scale: expected real numbers.* complex128: is the real part meant"):
        gf.gradcheck(loss, {**gradient(P), "scale": gradient(P)["scale"] + 1j}, P)
    with pytest.raises(TypeError, match=r"gradient: expected real .* complex128; is the real part meant"):
        gf.gradcheck(lambda w: np.abs(A @ w).sum(), A[0], P["W"].real)
    with pytest.raises(ValueError, match=r"intermediates: .* real parameters only; leave them out, or pass"):
        gf.gradcheck(loss, gradient, P, intermediates={"db": gradient(P)["b"]})
    with pytest.raises(ValueError, match="method: 'complex' takes complex steps from real numbers"):
        gf.gradcheck(loss, gradient, P, method="complex")
    with pytest.raises(ValueError, match=r"W: expected the shape \(3,\), got \(4,\)"):
        gf.gradcheck(loss, {**gradient(P), "W": P["b"]}, P)


def test_constraints_of_complex_arrays_are_those_of_both_parts_or_refused():
    rng = np.random.default_rng(3)
    z = rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3))
    square = lambda w: np.sum(np.abs(A[:3, :3] @ w) ** 2)
    slope = lambda w: 2.0 * A[:3, :3].conj().T @ A[:3, :3] @ w
    halved = lambda w: 0.5 * (slope(w) + slope(w).T)
    assert not gf.gradcheck(square, halved, z + z.T).ok
    assert gf.gradcheck(square, halved, z + z.T, constraints={"params": "symmetric"}).ok
    hermitian = {"params.real": "symmetric", "params.imag": "antisymmetric"}
    of_hermitian = lambda w: 0.5 * (slope(w) + slope(w).conj().T)
    assert gf.gradcheck(square, of_hermitian, z + z.conj().T, constraints=hermitian).ok
    for kind in ("psd", "unit norm", "orthogonal", "simplex"):
        with pytest.raises(ValueError, match=f"params is complex, .* not '{kind}'; a Hermitian .*params.imag"):
            gf.gradcheck(square, halved, z + z.T, constraints={"params": kind})


def test_a_trace_takes_the_parts_of_complex_arrays():
    z = np.array([1.0 + 2.0j, -0.5j])
    square = lambda z: np.sum(np.abs(z) ** 2)
    with pytest.raises(TypeError, match="params: a trace has real parameters; pass the two parts of"):
        gf.trace(square, z)
    parts = {"re": z.real, "im": z.imag}
    trace = gf.trace(lambda p: square(p["re"] + 1j * p["im"]), parts)
    assert gf.gradcheck(trace, {"re": 2.0 * z.real, "im": 2.0 * z.imag}, parts).ok


def test_a_loss_that_writes_into_its_argument_is_noted_and_changes_nothing():
    def careless(p):
        value = loss(p)
        p["W"] *= 2.0
        return value

    before = P["W"].copy()
    report = gf.gradcheck(careless, gradient, P)
    assert report.ok, str(report)
    assert any("writes into its argument" in note for note in report.notes)
    np.testing.assert_array_equal(P["W"], before)


def test_the_numerical_gradient_is_that_of_pytorch():
    right = gradient(P)
    found, bars = gf.numerical_gradient(loss, P, trace=False, error_bars=True)
    assert found["W"].dtype == np.complex128
    for name in P:
        off = found[name] - right[name]
        assert (np.abs(off.real) <= bars[name].real).all()
        assert (np.abs(off.imag) <= np.imag(bars[name])).all()
    with pytest.raises(ValueError, match="complex"):
        gf.numerical_gradient(loss, P, method="complex")


def test_many_parameters_at_once():
    def batch(w):
        return (np.abs(w @ A.T) ** 2).sum(axis=-1)

    found = gf.numerical_gradient(batch, P["W"], vectorized=True)
    np.testing.assert_allclose(found, 2.0 * A.conj().T @ (A @ P["W"]), rtol=1e-7)


def test_the_function_of_pairs_can_be_pickled():
    pairs = ComplexPairs(P)
    again = pickle.loads(pickle.dumps(ComplexLoss(loss, pairs)))
    assert again(pairs.split(P)) == loss(P)


def test_a_loss_that_refuses_complex128():
    def only_single(w):
        if w.dtype != np.complex64:
            raise TypeError("complex64 only")
        return (np.abs(A.astype(np.complex64) @ w) ** 2).sum()

    w = P["W"].astype(np.complex64)
    right = 2.0 * A.conj().T @ (A @ w)
    report = gf.gradcheck(only_single, right.astype(np.complex64), w)
    assert report.ok, str(report)
    assert not gf.gradcheck(only_single, (1.01 * right).astype(np.complex64), w).ok
