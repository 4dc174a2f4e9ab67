"""gf.jax through the program that the jaxpr of a loss becomes: every entry to the last digits, and its line."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

import gradcheck_fast as gf

jax = pytest.importorskip("jax", reason="JAX is not installed")
jnp, lax = jax.numpy, jax.lax

_rng = np.random.default_rng(0)
draw = lambda *shape: 0.5 * _rng.normal(size=shape)
X, IMAGES, TOKENS = draw(6, 3), draw(2, 6, 5, 3), draw(2, 5, 4)
Y = np.array([0, 2, 1, 1, 0, 2])
SEGMENTS = np.array([0, 1, 0, 2, 1, 1])
KEY = np.array([0, 7], np.uint32)


@jax.tree_util.register_dataclass
@dataclass
class Dense:
    kernel: object
    bias: object

    def __call__(self, x):
        return x @ self.kernel + self.bias


def layer(inputs, outputs):
    return Dense(draw(inputs, outputs), draw(outputs))


def cross_entropy(logits):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), Y[:, None], axis=1))


def mlp(p):
    h = X
    for dense in p["hidden"]:
        h = jax.nn.relu(dense(h))
    return cross_entropy(p["a head"](h))


def convolutions_channels_last(p):
    numbers = ("NHWC", "HWIO", "NHWC")
    h = jax.nn.silu(lax.conv_general_dilated(IMAGES, p["k"], (1, 1), "SAME", dimension_numbers=numbers) + p["b"])
    h = lax.reduce_window(h, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    h = lax.conv_general_dilated(h, p["d"], (1, 1), "SAME", dimension_numbers=numbers, feature_group_count=4)
    return jnp.mean(jnp.mean(h, axis=(1, 2)) ** 2)


def convolutions_channels_first(p):
    images = np.moveaxis(IMAGES, 3, 1)
    h = jnp.tanh(lax.conv_general_dilated(images, p["k"], (2, 1), ((1, 1), (0, 2)), rhs_dilation=(1, 2)))
    h = lax.conv_general_dilated(h, p["t"], (1, 1), ((1, 1), (2, 1)), lhs_dilation=(2, 2))
    h = lax.reduce_window(h, 0.0, lax.add, (1, 1, 2, 2), (1, 1, 2, 2), "SAME") / 4.0
    return jnp.sum(jax.nn.softplus(h))


def norm(x, scale, shift):
    return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale + shift


def attention(p):
    x = norm(TOKENS, p["scale"], p["shift"])
    q, k, v = (jnp.einsum("ntd,dhe->nthe", x, p[name]) for name in "qkv")
    scores = jnp.einsum("nthe,nshe->nhts", q, k) / np.sqrt(2.0)
    weights = jax.nn.softmax(jnp.where(np.tri(5, dtype=bool), scores, -jnp.inf))
    out = jnp.einsum("nhts,nshe->nthe", weights, v).reshape(2, 5, -1)
    return jnp.mean(jax.nn.gelu(TOKENS + out @ p["o"]) ** 2)


def recurrent(p):
    def cell(h, x):
        h = jnp.tanh(x @ p["U"] + h @ p["W"] + p["b"])
        return h, h

    _, hs = lax.scan(cell, jnp.zeros((2, 3)), jnp.swapaxes(TOKENS, 0, 1), reverse=True)
    return jnp.sum(hs * np.arange(5)[:, None, None])


def loops(p):
    turns = lambda h: lax.fori_loop(0, 3, lambda k, z: jnp.sin(z @ p["W"]) + k, h)
    return jnp.mean(turns(X) * turns(jnp.cos(X)))


def branches(p):
    return lax.cond(jnp.sum(p["W"]) < 50.0, lambda w: jnp.sum(w**2), lambda w: jnp.sum(w), p["W"]) + lax.switch(
        1, [jnp.sin, jnp.cos], p["b"]
    )


def by_samples(p):
    return jnp.mean(jax.vmap(lambda x, y: (jnp.tanh(x @ p["w"]) - y) ** 2)(X, Y / 2.0))


def own_jvps(p):
    z = X @ p["W"]
    return jnp.sum(jax.nn.relu(z)) + jnp.sum(jax.nn.softplus(z)) + jnp.sum(jax.nn.logsumexp(z, axis=0))


def checkpointed(p):
    block = jax.checkpoint(lambda h, w: jnp.sin(h @ w))
    return jnp.sum(block(block(X, p["W"]), p["W"]) ** 3)


def graph(p):
    sent = jax.ops.segment_sum(X @ p["W"], SEGMENTS, 3)
    return jnp.sum(jnp.tanh(sent[SEGMENTS] + X) ** 2) + jnp.sum(p["E"][np.array([1, 1, 0])] ** 2)


def dropout(p):
    kept = jax.random.bernoulli(KEY, 0.7, (6, 3))
    return jnp.mean(jnp.where(kept, jnp.tanh(X @ p["W"]) / 0.7, 0.0) ** 2)


def places(p):
    z = X @ p["W"]
    top, _ = lax.top_k(z, 2)
    moved = lax.dynamic_update_slice(z, jnp.cumsum(top, axis=0)[:2], (3, 1))
    return jnp.sum(lax.dynamic_slice(moved, (1, 0), (4, 3)) ** 2) + jnp.sum(jnp.sort(z[:, 0]) * np.arange(6))


def algebra(p):
    spd = p["A"] @ p["A"].T + 2.0 * jnp.eye(3)
    half = lax.linalg.triangular_solve(jnp.linalg.cholesky(spd), X.T, left_side=True, lower=True)
    return jnp.sum(half**2) + jnp.linalg.slogdet(spd)[1] + jnp.sum(jnp.linalg.solve(spd, p["A"]))


def frequencies(p):
    return jnp.sum(jnp.abs(jnp.fft.rfft(X.T @ p["f"][:, None] * p["f"], axis=1)))


CASES = {
    mlp: {"hidden": [layer(3, 5), layer(5, 4)], "a head": layer(4, 3)},  # JAX's order of names is another
    convolutions_channels_last: {"k": draw(3, 2, 3, 4), "b": draw(4), "d": draw(2, 2, 1, 4)},
    convolutions_channels_first: {"k": draw(4, 3, 2, 2), "t": draw(2, 4, 3, 3)},
    attention: {"scale": 1.0 + draw(4), "shift": draw(4), "o": draw(4, 4), **{name: draw(4, 2, 2) for name in "qkv"}},
    recurrent: {"U": draw(4, 3), "W": draw(3, 3), "b": draw(3)},
    loops: {"W": draw(3, 3)},
    branches: {"W": draw(2, 2), "b": draw()},
    by_samples: {"w": draw(3)},
    own_jvps: {"W": draw(3, 4)},
    checkpointed: {"W": draw(3, 3)},
    graph: {"W": draw(3, 3), "E": draw(3, 2)},
    dropout: {"W": draw(3, 3)},
    places: {"W": draw(3, 3)},
    algebra: {"A": draw(3, 3)},
    frequencies: {"f": draw(6)},
}


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def planted(gradient, part):
    """Returns a gradient with a relative error in its largest entry, and that entry."""
    named, structure = jax.tree_util.tree_flatten_with_path(gradient)
    arrays = [np.array(array) for _, array in named]
    number = int(np.argmax([np.abs(array).max() for array in arrays]))
    place = np.unravel_index(np.abs(arrays[number]).argmax(), arrays[number].shape)
    arrays[number][place] *= 1.0 + part
    entry = jax.tree_util.keystr(named[number][0]), tuple(map(int, place))
    return jax.tree_util.tree_unflatten(structure, arrays), entry


@pytest.mark.parametrize("loss", CASES)
def test_every_entry_is_found_to_the_last_digits(loss):
    params = CASES[loss]
    loss = jax.jit(loss)
    gradient = jax.jit(jax.grad(loss))(params)
    report = gf.jax.gradcheck(loss, params, gradient)
    assert (report.verdict, report.method, report.notes) == ("PASS", "chain", ()), str(report)
    assert report.certificate.holds
    assert report.relative_error <= 1e-12
    wrong, (name, place) = planted(gradient, 1e-6)
    report = gf.jax.gradcheck(loss, params, wrong)
    assert (report.verdict, report.wrong) == ("FAIL", 1), str(report)
    assert report.worst()[0][:2] == (name, place)


def test_the_line_of_a_wrong_rule_is_named():
    @jax.custom_vjp
    def activation(z):
        return jnp.tanh(z)

    activation.defvjp(lambda z: (jnp.tanh(z),) * 2, lambda a, v: (v * (1.0 - a),))
    report = gf.jax.gradcheck(lambda p: jnp.mean(activation(X @ p["W"]) ** 2), {"W": draw(3, 3)})
    assert report.verdict == "FAIL"
    assert "return jnp.tanh(z)" in str(report)
    assert "1 - a²" in str(report)


def test_steps_come_from_the_users_lines_also_in_what_is_compiled_by_itself():
    inner = jax.jit(lambda z: jnp.sin(z))
    line = inner.__wrapped__.__code__.co_firstlineno
    loss = lambda p: jnp.sum(inner(p) ** 2) + jnp.sum(jnp.linalg.norm(p, axis=1))
    from gradcheck_fast.adapters.jax_loss import ArrayLoss
    from gradcheck_fast.checks.options import Options

    problem, _ = ArrayLoss(loss, X).choose_problem(Options())
    steps = [step for step in problem.program.steps if step.name not in ("parameter", "constant")]
    assert all(step.source.file == __file__ for step in steps)
    (sine,) = [step for step in steps if step.name == "sin"]
    assert sine.source.line == line
    assert sine.source.caller.line == loss.__code__.co_firstlineno


def test_what_a_softmax_subtracts_is_no_kink_where_scores_are_equal():
    params = {"W": np.zeros((3, 3)), "b": np.zeros(3)}
    loss = jax.jit(lambda p: cross_entropy(X @ p["W"] + p["b"]))
    report = gf.jax.gradcheck(loss, params)
    assert (report.verdict, report.notes) == ("PASS", ())
    wrong, _ = planted(jax.grad(loss)(params), 1e-6)
    assert gf.jax.gradcheck(loss, params, wrong).wrong == 1


@pytest.mark.parametrize("method, step", [("direct", None), ("auto", 1e-4)])
def test_the_function_itself_is_differenced_if_that_is_wanted(method, step):
    report = gf.jax.gradcheck(jax.jit(by_samples), CASES[by_samples], method=method, step=step)
    assert (report.verdict, report.method, report.notes, report.certificate) == ("PASS", "direct", (), None)


def test_no_trace_if_it_is_switched_off():
    report = gf.jax.gradcheck(jax.jit(by_samples), CASES[by_samples], trace=False)
    assert (report.verdict, report.method, report.notes) == ("PASS", "direct", ())
    report = gf.jax.gradcheck(jax.jit(by_samples), CASES[by_samples], method="incremental")
    assert (report.verdict, report.method) == ("PASS", "incremental")
    assert report.relative_error < 1e-13


def by_value(p):
    return jnp.sum(p**2) if p[0] > 0 else jnp.sum(p)


def test_a_branch_of_python_falls_back_and_is_named():
    report = gf.jax.gradcheck(by_value, np.array([1.0, 2.0]))
    (note,) = report.notes
    assert (report.verdict, report.method) == ("PASS", "direct")
    assert note.startswith("differenced as a Python function: ")
    assert f"line {by_value.__code__.co_firstlineno + 1}" in note
    with pytest.raises(ValueError, match=r"method: 'chain' needs the program of the loss, but .*Bool"):
        gf.jax.gradcheck(by_value, np.array([1.0, 2.0]), method="chain")


def test_a_primitive_that_is_not_known_is_named_and_differenced_by_itself():
    result = jax.ShapeDtypeStruct((6, 3), np.float64)

    @jax.custom_jvp
    def called(z):
        return jax.pure_callback(lambda z: np.sin(z), result, z, vmap_method="sequential")

    called.defjvp(lambda x, d: (called(*x), jnp.cos(x[0]) * d[0]))
    report = gf.jax.gradcheck(lambda p: jnp.mean(called(X @ p["W"]) ** 2), {"W": draw(3, 3)})
    assert report.verdict == "PASS"
    assert report.notes[0].startswith("jax.lax.pure_callback is differenced by itself, not exactly (")
    assert __file__ in report.notes[0]


def straight_through(p):
    z = jnp.tanh(X @ p["W"])
    return jnp.mean((z + lax.stop_gradient(jnp.round(z) - z) + 1.0) ** 3)


def bootstrapped(p):
    return jnp.mean((X @ p["w"] - lax.stop_gradient(1.0 + 0.9 * jnp.max(X @ p["w"]))) ** 2)


@pytest.mark.parametrize("loss, params", [(straight_through, {"W": draw(3, 3)}), (bootstrapped, {"w": draw(3)})])
def test_what_is_stopped_is_held_fixed(loss, params):
    gradient = jax.grad(loss)(params)
    report = gf.jax.gradcheck(loss, params, gradient)
    (note,) = report.notes
    assert (report.verdict, report.method) == ("PASS", "chain"), str(report)
    assert report.relative_error < 1e-12
    assert note.startswith("what jax.lax.stop_gradient returns is held fixed (")
    assert note.endswith("; a straight-through estimator is checked as the function that jax.grad differentiates")
    assert gf.jax.gradcheck(loss, params, planted(gradient, 1e-6)[0]).wrong == 1


def test_a_loss_that_is_another_one_each_time_is_not_passed():
    rng = np.random.default_rng(0)
    report = gf.jax.gradcheck(lambda p: jnp.sum(p) * rng.random(), np.ones(3), np.full(3, 0.5))
    assert report.verdict == "INCONCLUSIVE"
    assert any("not deterministic" in note for note in report.notes)


def test_numbers_that_are_rounded_on_the_way_are_said():
    rounded = lambda p: jnp.sum((X.astype(jnp.bfloat16) @ p["W"].astype(jnp.bfloat16)).astype(np.float64) ** 2)
    report = gf.jax.gradcheck(rounded, {"W": draw(3, 3)})
    assert report.verdict == "PASS"
    assert any("a cast to bfloat16 is left out" in note for note in report.notes)
    assert any("errors below the digits that are kept there are not seen" in note for note in report.notes)


@jax.tree_util.register_pytree_with_keys_class
class Callable:
    """A model as equinox has them: a tree of arrays that can be called, and so can its gradient."""

    def __init__(self, weight):
        self.weight = weight

    def __call__(self, x):
        return jnp.tanh(x @ self.weight)

    def tree_flatten_with_keys(self):
        return [(jax.tree_util.GetAttrKey("weight"), self.weight)], None

    def tree_flatten(self):
        return [self.weight], None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


def test_a_gradient_that_can_be_called_is_a_tree_if_it_is_like_the_parameters():
    loss, model = lambda model: jnp.sum(model(X) ** 2), Callable(draw(3, 2))
    gradient = jax.grad(loss)(model)
    assert gf.jax.gradcheck(loss, model, gradient).verdict == "PASS"
    assert gf.jax.gradcheck(loss, model, partial(jax.grad(loss))).verdict == "PASS"


# ---- indices that are out of bounds

PLACES = np.array([0, 7, 2, -9])


LOOKUPS = [
    lambda p: p.at[PLACES].get(mode="clip"), lambda p: p.at[PLACES].get(mode="fill", fill_value=0.5),
    lambda p: jnp.take(p, PLACES, mode="wrap"), lambda p: jnp.nan_to_num(jnp.take(p, PLACES)),
    lambda p: jnp.zeros(5).at[PLACES].add(p[:4]), lambda p: p.at[PLACES].set(p[:4] * 2.0, mode="clip"),
    lambda p: lax.dynamic_slice(p, (9,), (3,)), lambda p: jnp.where(PLACES == 0, p[PLACES], 0.0),
]  # fmt: skip


def test_an_index_out_of_bounds_with_a_mode_that_says_what_it_means():
    def loss(p):
        return sum(scale * (lookup(p) ** 2).sum() for scale, lookup in enumerate(LOOKUPS, 1))

    report = gf.jax.gradcheck(loss, jnp.arange(1.0, 6.0), n_threads=1)
    assert report.ok, str(report)
    assert (report.method, report.relative_error < 1e-12) == ("chain", True), report.notes


def test_an_index_out_of_bounds_that_jax_reads_and_does_not_differentiate():
    table = {"table": draw(4, 3), "weight": draw(3)}
    report = gf.jax.gradcheck(lambda p: jnp.tanh(p["table"][jnp.array([0, 1, 4])] @ p["weight"]).sum(), table)
    assert report.verdict == "FAIL"
    assert {entry.index[0] for entry in report.worst()} == {3}
    assert any("index 4 is out of bounds for axis 0 with size 4" in note for note in report.notes)
    assert not report.diagnoses
