"""gf.jax.check_function, and gf.jax with complex arrays."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.complex_layers import normal

import gradcheck_fast as gf

jax = pytest.importorskip("jax", reason="JAX is not installed")
jnp = jax.numpy

Z, W = normal(2, 4).astype(np.complex64), normal(4).astype(np.complex64)


def fourier(x, W):
    return jnp.fft.ifft(jnp.fft.fft(x) * W)


def with_rule(change):
    """The function with a custom_vjp, in whose gradients something is changed."""
    function = jax.custom_vjp(fourier)
    function.defvjp(
        lambda x, W: (fourier(x, W), (x, W)), lambda kept, v: change(*jax.vjp(fourier, *kept)[1](v))
    )  # fmt: skip
    return function


def aspects(report):
    return {aspect.name: aspect.status for aspect in report.aspects}


def test_a_complex_custom_vjp():
    report = gf.jax.check_function(with_rule(lambda dx, dW: (dx, dW)), (Z, W), skip=("batched inputs",))
    assert report.ok, str(report)
    assert [array.name for array in report.arrays] == [
        "inputs[0].real", "inputs[0].imag", "inputs[1].real", "inputs[1].imag"
    ]  # fmt: skip
    assert report.method == "chain"
    assert any("dL/dx - i dL/dy, as JAX has them" in note for note in report.notes)
    assert aspects(report) == {
        "outputs": "right", "forward mode": "not checked", "batched backward": "right", "jit": "right"
    }  # fmt: skip


def test_a_complex_custom_vjp_with_the_convention_of_pytorch():
    report = gf.jax.check_function(with_rule(lambda dx, dW: (dx, dW.conj())), (Z, W), skip=("jit",))
    assert not report.ok
    assert {array.name for array in report.arrays if array.wrong} == {"inputs[1].imag"}
    assert report.diagnoses[-1].cause == "the gradient of inputs[1] is conjugated", str(report)


def test_forward_mode_of_a_custom_jvp():
    @jax.custom_jvp
    def softplus(x):
        return jnp.logaddexp(x, 0.0)

    softplus.defjvp(lambda x, t: (softplus(*x), jax.nn.sigmoid(x[0]) * t[0]))
    report = gf.jax.check_function(softplus, np.linspace(-2.0, 2.0, 5), skip=("batched inputs", "batched backward"))
    assert report.ok, str(report)
    assert aspects(report) == {"outputs": "right", "forward mode": "right", "jit": "right"}


def test_a_wrong_rule_of_vmap_is_an_aspect():
    @jax.custom_batching.custom_vmap
    def sine(x):
        return jnp.sin(x)

    sine.def_vmap(lambda size, batched, x: (jnp.cos(x), True))
    report = gf.jax.check_function(lambda x: x * sine(jax.lax.stop_gradient(x)), np.ones(3), skip=("jit",))
    assert not report.ok
    assert [aspect.name for aspect in report.aspects if aspect.status == "wrong"] == ["batched inputs"]
    assert "batched inputs" in str(report)


def test_a_reference_defines_what_is_right():
    skip = ("outputs", "forward mode", "batched backward", "batched inputs", "jit")
    x = np.linspace(-1.0, 1.0, 6).astype(np.float32)
    coarse = lambda x: jnp.tanh(x.astype(jnp.float32))
    report = gf.jax.check_function(coarse, x, reference=jnp.tanh, skip=skip)
    assert report.ok, str(report)
    assert aspects(report) == {"forward": "right"}
    report = gf.jax.check_function(lambda x: 1.1 * coarse(x), x, reference=jnp.tanh, skip=skip)
    assert not report.ok
    with pytest.raises(TypeError, match="reference: expected a function"):
        gf.jax.check_function(coarse, x, reference=1.0)


def test_trees_of_arguments_and_what_is_no_number():
    def f(p, indices, scale):
        return {"rows": p["W"][indices] * scale, "count": indices.size}

    inputs = ({"W": np.arange(6.0, dtype=np.float32).reshape(3, 2)}, np.array([2, 0]), 2.0)
    report = gf.jax.check_function(
        f, inputs, skip=("outputs", "forward mode", "batched backward", "batched inputs", "jit")
    )
    assert report.ok, str(report)
    assert [array.name for array in report.arrays] == ["inputs[0]['W']", "inputs[2]"]
    assert report.aspects == ()


def test_what_does_not_fit_is_named():
    with pytest.raises(TypeError, match="function: expected a function"):
        gf.jax.check_function(1.0, Z)
    with pytest.raises(ValueError, match="inputs: expected arrays"):
        gf.jax.check_function(jnp.sum, np.arange(3))
    with pytest.raises(ValueError, match="skip"):
        gf.jax.check_function(jnp.sum, Z, skip="forwards")


def test_the_gradient_of_a_complex_pytree():
    params = {"z": W, "n": 2}

    def loss(p):
        return (jnp.abs(jnp.fft.fft(p["z"])) ** (2 * p["n"])).sum()

    report = gf.jax.gradcheck(loss, params)
    assert report.ok, str(report)
    assert report.method == "chain"
    right = jax.grad(lambda z: loss({"z": z, "n": 2}))(W)
    np.testing.assert_allclose(report.analytic["['z']"], right, rtol=1e-6)
    assert gf.jax.gradcheck(loss, params, {"z": right, "n": None}).ok
    report = gf.jax.gradcheck(loss, params, {"z": np.conj(right), "n": None})
    assert report.diagnoses[0].cause == "the gradient of ['z'] is conjugated", str(report)
    with pytest.raises(TypeError, match="got complex64; is the real part meant"):
        gf.jax.gradcheck(jnp.sum, W)
    with pytest.raises(ValueError, match="method: 'complex'"):
        gf.jax.gradcheck(loss, params, method="complex")


def test_a_rule_that_gives_other_outputs_is_an_aspect():
    @jax.custom_jvp
    def sine(x):
        return jnp.sin(x)

    sine.defjvp(lambda x, t: (1.01 * jnp.sin(*x), jnp.cos(x[0]) * t[0]))
    cosine = jax.custom_vjp(jnp.cos)
    cosine.defvjp(lambda x: (jnp.cos(x) + 0.1, x), lambda x, v: (-v * jnp.sin(x),))
    skip = ("batched backward", "batched inputs", "jit")
    for function in (sine, cosine):
        report = gf.jax.check_function(function, np.linspace(0.5, 1.0, 3), skip=skip)
        assert not report.ok
        assert aspects(report)["outputs"] == "wrong"
        assert "output is another one under jax.vjp" in str(report)
        assert gf.jax.check_function(function, np.linspace(0.5, 1.0, 3), skip=(*skip, "outputs")).ok


def test_what_is_cast_in_between_has_its_rounding():
    skip = ("outputs", "batched backward", "batched inputs", "jit")
    cast = jax.jit(lambda x: x.astype(jnp.float16))
    report = gf.jax.check_function(lambda x, y: cast(x) * y, (np.array([0.4, 1.7]), np.array([0.3, 2.1])), skip=skip)
    assert report.ok, str(report)
    assert aspects(report) == {"forward mode": "right"}
