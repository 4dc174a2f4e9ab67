"""gf.jax.gradcheck with parameters and losses of unusual kinds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")
from jax import numpy as jnp  # noqa: E402

import gradcheck_fast as gf  # noqa: E402

X = np.random.default_rng(0).normal(size=(6, 3))


def squares(params):
    return jnp.sum(jnp.tanh(jnp.asarray(X, params["w"].dtype) @ params["w"]) ** 2)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_parameters_of_few_digits(dtype):
    params = {"w": jnp.asarray([0.5, -0.25, 1.0], dtype)}
    assert gf.jax.gradcheck(squares, params).ok
    wrong = jax.tree.map(lambda array: array * 1.5, jax.grad(squares)(params))
    assert all(array.wrong for array in gf.jax.gradcheck(squares, params, wrong).arrays)


def test_a_loss_with_something_besides():
    loss = lambda params: (squares(params), {"steps": 1})
    with pytest.raises(TypeError, match=r"^loss: expected .* one real number, got a tuple of 2; .*loss\(params\)\[0\]"):
        gf.jax.gradcheck(loss, {"w": jnp.ones(3)})


def test_a_loss_of_several_numbers():
    with pytest.raises(TypeError, match=r"^loss: expected it to give one real number, got the shape \(3,\)"):
        gf.jax.gradcheck(lambda params: jnp.sin(params), jnp.ones(3))


def test_a_loss_with_an_axis_of_length_1():
    assert gf.jax.gradcheck(lambda params: jnp.sum(jnp.sin(params), keepdims=True), jnp.ones(3)).ok


def test_a_dataclass_that_is_no_pytree():
    @dataclass
    class Layer:
        w: jax.Array

    with pytest.raises(TypeError, match=r"^params: \['first'\] is a Layer, which is no pytree.*register_dataclass"):
        gf.jax.gradcheck(lambda params: jnp.sum(params["first"].w), {"first": Layer(jnp.ones(3))})


def test_leaves_that_are_no_arrays_stay_as_they_are():
    loss = lambda params: jnp.sum(params["activation"](params["w"]))
    report = gf.jax.gradcheck(loss, {"w": jnp.ones(3), "activation": jnp.tanh, "name": "layer"})
    assert report.ok
    assert [array.name for array in report.arrays] == ["['w']"]


def test_a_gradient_with_another_name():
    with pytest.raises(ValueError, match=r"missing \['w'\]") as error:
        gf.jax.gradcheck(squares, {"w": jnp.ones(3)}, {"v": jnp.ones(3)})
    assert "list" not in str(error.value)


def test_an_infinite_loss_gives_no_warning():
    with pytest.raises(ValueError, match="inf"):
        gf.jax.gradcheck(lambda params: jnp.sum(1.0 / params), jnp.array([0.0, 2.0]))


def test_that_nothing_is_nan_is_no_kink():
    """``x != x`` is false for all numbers, although both sides are equal everywhere."""
    loss = lambda params: jnp.sum(jnp.where(jnp.isnan(params), 0.0, jnp.sin(params)))
    with jax.enable_x64(True):
        report = gf.jax.gradcheck(loss, jnp.array([0.3, -0.5]))
    assert report.ok
    assert not report.certificate.beside_kinks


def test_a_softplus_has_no_kink_at_0():
    with jax.enable_x64(True):
        report = gf.jax.gradcheck(lambda params: jnp.sum(jax.nn.softplus(params)), jnp.array([0.0, -0.5]))
    assert report.ok
    assert not report.certificate.beside_kinks


def decayed(params, calls):
    calls.append(None)
    step = lambda carry, x: (jnp.tanh(carry * params["w"] + x), carry)
    return jnp.sum(jax.lax.scan(step, params["b"], jnp.asarray(X))[1])


def test_a_loss_with_a_loop_is_compiled_once():
    params, calls = {"w": jnp.ones(3), "b": jnp.full(3, 0.5)}, []
    with jax.enable_x64(True):
        params = jax.tree.map(lambda array: array.astype(jnp.float64), params)
        report = gf.jax.gradcheck(partial(decayed, calls=calls), params)
    assert report.ok
    assert report.relative_error < 1e-12
    assert len(calls) == 4  # the gradient, the jaxpr, and two calls that the compiled function is compared with


def test_a_loss_that_differs_while_it_is_traced_is_not_compiled():
    def loss(w):
        found = jax.lax.fori_loop(0, 2, lambda _, x: jnp.tanh(x * w), 0.5)
        return found + isinstance(w, jax.core.Tracer)

    with jax.enable_x64(True):
        report = gf.jax.gradcheck(loss, jnp.array(0.75))
    assert report.ok
    assert any("differenced as a Python function" in note for note in report.notes)


def test_a_cast_to_integers_has_no_slope():
    """As in quantisation: the steps are plateaus, and what is multiplied by them has their height as its slope."""
    loss = lambda params: jnp.sum(params * (params * 10.0).astype(jnp.int8).astype(params.dtype))
    with jax.enable_x64(True):
        report = gf.jax.gradcheck(loss, jnp.array([0.33, -0.51]))
    assert report.ok
    assert report.method == "chain"
