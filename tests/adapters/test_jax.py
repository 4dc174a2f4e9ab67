"""gf.jax: gradients of functions of pytrees."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest

import gradcheck_fast as gf

jax = pytest.importorskip("jax", reason="JAX is not installed")
jnp = jax.numpy


class Layer(NamedTuple):
    W: object
    b: object


@jax.tree_util.register_dataclass
@dataclass
class Model:
    layers: list
    scale: object


X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


def make_params(dtype=np.float32):
    rng = np.random.default_rng(1)
    draw = lambda *shape: rng.normal(size=shape).astype(dtype)
    return {"model": Model([Layer(draw(3, 4), draw(4)), Layer(draw(4, 2), draw(2))], draw()), "power": 3}


def loss(params, tanh=jnp.tanh):
    a = X
    for W, b in params["model"].layers:
        a = tanh(a @ W + b)
    return params["model"].scale * (jnp.sin(a) ** params["power"]).sum()


NAMES = ["['model'].layers[0].W", "['model'].layers[0].b", "['model'].layers[1].W", "['model'].layers[1].b",
         "['model'].scale"]  # fmt: skip


@jax.custom_vjp
def own_tanh(z):
    return jnp.tanh(z)


def test_the_gradient_of_a_pytree_by_jax_itself():
    report = gf.jax.gradcheck(loss, make_params())
    assert report.ok, str(report)
    assert [array.name for array in report.arrays] == NAMES
    assert report.arrays[0].shape == (3, 4)
    assert report.arrays[4].shape == ()


def test_the_loss_is_evaluated_in_float64_though_jax_is_set_to_float32():
    """Differences of float32 numbers would have hardly a digit."""
    assert not jax.config.jax_enable_x64
    report = gf.jax.gradcheck(loss, make_params(), error_bars=True)
    assert max(np.max(bars) for bars in report.error_bars.values()) < 1e-8
    assert 1e-9 < report.relative_error < 1e-6
    assert not jax.config.jax_enable_x64


def test_float64():
    with jax.enable_x64(True):
        report = gf.jax.gradcheck(loss, make_params(np.float64))
    assert report.ok
    assert report.relative_error < 1e-8


@pytest.mark.parametrize("as_function", [True, False])
def test_a_gradient_of_your_own(as_function):
    params = {"w": np.array([1.0, -2.0], np.float32), "n": 2}
    gradient = lambda p: {"w": p["n"] * p["w"], "n": None}
    f = lambda p: (p["w"] ** p["n"]).sum()
    assert gf.jax.gradcheck(f, params, gradient if as_function else gradient(params))
    off = lambda p: {"w": p["n"] * p["w"] * np.array([1, 1.001], np.float32), "n": None}
    report = gf.jax.gradcheck(f, params, off if as_function else off(params))
    assert (report.verdict, report.wrong) == ("FAIL", 1)
    assert report.worst()[0][:2] == ("['w']", (1,))


@pytest.mark.parametrize("factor, verdict", [(1.0, "PASS"), (1.001, "FAIL")])
def test_a_rule_of_custom_vjp(factor, verdict):
    own_tanh.defvjp(lambda z: (jnp.tanh(z),) * 2, lambda a, v: (factor * v * (1 - a**2),))
    report = gf.jax.gradcheck(lambda params: loss(params, own_tanh), make_params())
    assert report.verdict == verdict
    assert {array.name for array in report.arrays if array.wrong} == (set(NAMES[:4]) if factor > 1 else set())


def test_one_array_and_a_loss_that_is_compiled():
    report = gf.jax.gradcheck(jax.jit(lambda w: jnp.sum(w**2)), jnp.arange(1.0, 4.0))
    assert report.ok
    assert [array.name for array in report.arrays] == ["params"]


def test_a_gradient_that_is_zero_but_for_rounding_is_not_wrong():
    """The softmax of a score does not change when all scores do."""
    scores = np.random.default_rng(2).normal(size=(5, 4)).astype(np.float32)
    f = lambda p: jnp.log(jax.nn.softmax(scores + p["w"] + p["shift"]))[:, 0].sum()
    report = gf.jax.gradcheck(f, {"w": np.ones(4, np.float32), "shift": np.float32(0.3)})
    assert report.ok, str(report)
    assert {array.name: array.status for array in report.arrays}["['shift']"] == "nothing to check"


def test_options_are_those_of_gradcheck():
    report = gf.jax.gradcheck(loss, make_params(), step=1e-4, rtol=1e-3)
    assert report.ok
    assert (report.step, report.arrays[0].rtol) == (1e-4, 1e-3)


def test_complex_steps():
    with jax.enable_x64(True):
        report = gf.jax.gradcheck(loss, make_params(np.float64), method="complex")
    assert report.ok
    assert report.relative_error < 1e-13


def test_several_threads_and_a_checkpoint(tmp_path):
    expected = gf.jax.gradcheck(loss, make_params()).to_dict()
    with ThreadPoolExecutor(3) as threads:
        found = gf.jax.gradcheck(loss, make_params(), executor=threads, n_threads=1, checkpoint=tmp_path / "run.npz")
    assert {**found.to_dict(), "seconds": None} == {**expected, "seconds": None}
    assert (tmp_path / "run.npz").exists()


def test_arguments_that_do_not_fit():
    w = np.ones(3, np.float32)
    with pytest.raises(TypeError, match="loss: expected a function"):
        gf.jax.gradcheck(w, w)
    with pytest.raises(ValueError, match="params: expected a pytree with arrays of floating-point numbers"):
        gf.jax.gradcheck(jnp.sum, {"n": 3})
    with pytest.raises(TypeError, match=r"loss: expected it to give one real number, got the shape \(3,\)"):
        gf.jax.gradcheck(lambda w: w, w, gradient=w)
    with pytest.raises(ValueError, match=r"gradient: missing \['w'\]; unexpected \['v'\]"):
        gf.jax.gradcheck(lambda p: p["w"].sum(), {"w": w}, {"v": w})
    with pytest.raises(ValueError, match=r"gradient: \['w'\]: expected the shape \(3,\), got \(2,\)"):
        gf.jax.gradcheck(lambda p: p["w"].sum(), {"w": w}, {"w": w[:2]})
    with pytest.raises(ValueError, match="method: 'units' needs the loss of"):
        gf.jax.gradcheck(loss, make_params(), method="units")


def test_what_is_noticed_of_a_function_is_said_along_directions_too():
    drift = iter(range(10**6))

    def drifting(w):
        return jnp.sum(w**2) + 1e-12 * next(drift)

    w = np.ones(5)
    for method in ("auto", "directional"):
        report = gf.jax.gradcheck(drifting, w, gradient=2 * w, method=method)
        assert any("not deterministic" in note for note in report.notes), method


# ---- losses that draw random numbers


KEY = jax.random.key(0)
NOISE_IN_FLOAT64 = "only the parameters are float64"


def weights(count=20):
    return np.random.default_rng(0).normal(size=count).astype(np.float32)


def noisy(w):
    return jnp.sum(jnp.tanh(w * jax.random.normal(KEY, (20,))))


def dropped(w):
    return jnp.sum(jnp.where(jax.random.bernoulli(KEY, 0.3, w.shape), 0.0, jnp.sin(w)))


def uniform(w):
    return jnp.sum(jnp.sin(w) * jax.random.uniform(KEY, (20,), minval=0.5, maxval=2.0))


def permuted(w):
    return jnp.sum(jnp.sin(w) * jax.random.permutation(KEY, jnp.arange(20.0)))


@pytest.mark.parametrize("draw", [noisy, dropped, uniform, permuted, jax.jit(noisy)])
def test_random_numbers_are_those_of_float32(draw):
    report = gf.jax.gradcheck(draw, weights())
    assert report.ok, str(report)
    assert report.relative_error < 1e-5
    assert not jax.config.jax_enable_x64
    wrong = lambda w: 1.01 * jax.grad(draw)(w)
    assert gf.jax.gradcheck(draw, weights(), wrong).verdict == "FAIL"
    assert gf.jax.gradcheck(draw, weights(), np.asarray(wrong(weights()))).verdict == "FAIL"


def test_it_is_said_that_random_numbers_are_of_float32():
    from gradcheck_fast.adapters.jax_leaves import explicit_x64_dtypes

    if explicit_x64_dtypes is None:
        pytest.skip("this version of JAX draws other numbers in float64")
    assert any(NOISE_IN_FLOAT64 in note for note in gf.jax.gradcheck(noisy, weights()).notes)
    assert not gf.jax.gradcheck(lambda w: jnp.sum(w**2), weights()).notes


@pytest.mark.parametrize(
    "draw",
    [
        lambda w: jnp.sum(w * jax.random.normal(KEY, w.shape, w.dtype)),
        lambda w: jnp.sum(jnp.sin(w) if w.dtype == jnp.float32 else jnp.cos(w)),
        lambda w: jnp.sum(w * np.random.default_rng(0).standard_normal(20, w.dtype)),
    ],
)
def test_a_loss_that_is_another_in_float64_is_refused(draw):
    with pytest.raises(ValueError, match=r"the loss is .* in its own dtype but .* in float64.*jax\.enable_x64"):
        gf.jax.gradcheck(draw, weights())
    with jax.enable_x64(True):
        assert gf.jax.gradcheck(draw, weights().astype(np.float64))


def test_a_loss_that_cancels_in_float32_is_not_another():
    """Its value has few digits, its gradient has all."""
    f = jax.custom_vjp(lambda w: jnp.sum((w + 1e4) - 1e4))
    f.defvjp(lambda w: (f(w), w), lambda w, v: (v * jnp.ones_like(w),))
    report = gf.jax.gradcheck(lambda w: f(jnp.sin(w)), weights())
    assert report.ok, str(report)
    report = gf.jax.gradcheck(lambda w: f(jnp.sin(w)), weights(), lambda w: 1.01 * jnp.cos(w))
    assert report.verdict == "FAIL"


def test_a_loss_of_float32_only():
    w = jnp.asarray(np.random.default_rng(0).normal(size=4), jnp.float32)
    loss = lambda w: jnp.sin(w).astype(jnp.float32).sum()
    report = gf.jax.gradcheck(loss, w)
    assert report.ok
    assert report.notes[0].startswith("the loss computes in float32 only (output is float32 where float64 is given)")
    assert gf.jax.gradcheck(loss, w, lambda w: 1.01 * jnp.cos(w)).verdict == "FAIL"
