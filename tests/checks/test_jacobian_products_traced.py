"""Jacobian-vector products of traced functions: exact derivatives of all outputs along a tangent."""

import numpy as np

import gradcheck_fast as gf


def test_a_jacobian_vector_product_of_a_traced_function_is_exact():
    """Of several outputs, filled buffers, integer inputs, and outputs that depend on nothing."""
    random = np.random.default_rng(0)
    x, w, places = random.standard_normal((5, 3)), random.standard_normal((3, 4)), np.array([0, 2, 2])

    def f(x, w, places):
        h = np.zeros((5, 4))
        h[:] = np.tanh(x @ w)
        return {"h": h, "sums": (h**2).sum(axis=0)[places], "one": np.ones(2)}

    def jvp(t, x, w, places, wrong=0.0):
        h = np.tanh(x @ w)
        dh = (1.0 - h * h) * (t[0] @ w + x @ t[1])
        sums = (2.0 * h * dh).sum(axis=0)[places]
        return {"h": dh + wrong * (np.arange(20).reshape(5, 4) == 7), "sums": sums, "one": np.zeros(2)}

    report = gf.check_jvp(f, jvp, (x, w, places))
    assert report.ok
    assert report.step < 1e-30
    assert max(array.relative_error for array in report.arrays if array.size and array.name != "output.one") < 1e-14
    report = gf.check_jvp(f, lambda *a: jvp(*a, wrong=1e-8), (x, w, places))
    assert (report.ok, report.wrong) == (False, 1)


def test_a_jacobian_vector_product_at_a_kink_has_both_slopes():
    x, relu = np.array([0.0, 1.0]), lambda x: np.maximum(x, 0.0)
    for share in (0.0, 0.5, 1.0):
        assert gf.check_jvp(relu, lambda t, x, share=share: np.where(x == 0.0, share, x > 0.0) * t, x)
    assert not gf.check_jvp(relu, lambda t, x: np.where(x == 0.0, 1.5, x > 0.0) * t, x)
