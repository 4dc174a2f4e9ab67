"""Arrays that consist of parts: what goes back to the parts, to turns of a loop, or into a flat vector is misplaced."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf


def flat(seed, join):
    """A network of two layers whose parameters are one vector; `join` makes one of the gradients of its arrays."""
    rng = np.random.default_rng(seed)
    x, target = rng.standard_normal((6, 3)), rng.standard_normal((6, 2))

    def arrays(theta):
        return theta[:12].reshape(4, 3), theta[12:16], theta[16:].reshape(2, 4)

    def forward(theta):
        w1, b1, w2 = arrays(theta)
        h = np.tanh(x @ w1.T + b1)
        return h, h @ w2.T

    def loss(theta):
        return 0.5 * np.sum((forward(theta)[1] - target) ** 2)

    def gradient(theta):
        h, out = forward(theta)
        dz = ((out - target) @ arrays(theta)[2]) * (1 - h * h)
        return join(dz.T @ x, dz.sum(axis=0), (out - target).T @ h)

    theta = rng.standard_normal(24)
    return loss, gradient(theta), theta


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("join", "words"),
    [
        (lambda *g: np.concatenate([a.ravel("F") for a in g]), "are flattened column after column"),
        (lambda a, b, c: np.concatenate([c.ravel(), b, a.ravel()]), "follow each other in another order (3, 2, 1)"),
        (lambda a, b, c: np.concatenate([a.ravel(), c.ravel(), b]), "follow each other in another order (1, 3, 2)"),
    ],
)
def test_the_arrays_of_a_flat_vector_in_another_order(join, words, seed):
    assert gf.gradcheck(*flat(seed, lambda *g: np.concatenate([a.ravel() for a in g]))).ok
    (found,) = gf.gradcheck(*flat(seed, join)).diagnoses
    assert found.cause.endswith(f"the parts of params {words}")


def stacked(seed, change):
    """A recurrence whose states are put in a row; `change` is done to what goes back to them."""
    rng = np.random.default_rng(seed)
    x, c = rng.standard_normal((5, 3)), rng.standard_normal((5, 4))
    params = {"w": rng.standard_normal((3, 4)), "u": 0.4 * rng.standard_normal((4, 4))}

    def states(p):
        h, found = np.zeros(4), []
        for xt in x:
            h = np.tanh(xt @ p["w"] + h @ p["u"])
            found.append(h)
        return found

    def loss(p):
        return np.sum(np.sin(np.stack(states(p))) * c)

    def gradient(p):
        found = states(p)
        d = change(np.cos(np.stack(found)) * c)
        dw, du, dh = np.zeros_like(p["w"]), np.zeros_like(p["u"]), np.zeros(4)
        for t in reversed(range(5)):
            dz = (d[t] + dh) * (1 - found[t] ** 2)
            dw += np.outer(x[t], dz)
            if t:
                du += np.outer(found[t - 1], dz)
            dh = p["u"] @ dz
        return {"w": dw, "u": du}

    return loss, gradient(params), params


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d[::-1], "comes in reverse order"),
        (lambda d: np.concatenate([np.zeros((1, 4)), d[:-1]]), "comes to the turn after"),
        (lambda d: np.concatenate([d[1:], np.zeros((1, 4))]), "comes to the turn before"),
    ],
)
def test_what_goes_back_to_states_in_a_row(change, words, seed):
    assert gf.gradcheck(*stacked(seed, lambda d: d)).ok
    (found,) = gf.gradcheck(*stacked(seed, change)).diagnoses
    assert found.cause.endswith(words) and "np.stack(states(p))" in found.cause


@pytest.mark.parametrize("seed", range(3))
def test_an_array_filled_in_loops_is_unflattened_by_columns(seed):
    rng = np.random.default_rng(seed)
    x, target = rng.standard_normal((2, 3, 2)), rng.standard_normal((2, 2))
    params = {"s": rng.standard_normal((3, 2)), "w": rng.standard_normal((6, 2))}

    def forward(p):
        out = np.zeros((2, 3, 2))
        for n in range(2):
            for i in range(3):
                for j in range(2):
                    out[n, i, j] = np.sin(x[n, i, j] * p["s"][i, j])
        rows = out.reshape(2, -1)
        return rows, rows @ p["w"]

    def loss(p):
        return 0.5 * np.sum((forward(p)[1] - target) ** 2)

    rows, scores = forward(params)
    for order in "CF":
        d = ((scores - target) @ params["w"].T).reshape(x.shape, order=order)
        gradient = {"s": (d * np.cos(x * params["s"]) * x).sum(axis=0), "w": rows.T @ (scores - target)}
        report = gf.gradcheck(loss, gradient, params)
        assert report.ok == (order == "C")
    assert "column after column (order='F')" in report.diagnoses[0].cause


def scores(seed, mistake):
    """Queries and keys of one input, and a buffer that is filled in a loop and put beside what it is made of."""
    rng = np.random.default_rng(seed)
    x, c = rng.standard_normal((5, 3)), rng.standard_normal((5, 8))
    params = {name: rng.standard_normal((4, 4)) for name in ("q", "k")} | {"w": rng.standard_normal((3, 4))}

    def forward(p):
        h = np.tanh(x @ p["w"])
        q, k = h @ p["q"], h @ p["k"]
        s = q @ k.T
        mixed = np.zeros_like(h)
        for t in range(5):
            mixed[t] = s[t] @ h
        return h, q, k, s, np.concatenate([mixed, h], axis=1)

    def loss(p):
        return np.sum(c * forward(p)[4])

    def gradient(p):
        h, q, k, s, _ = forward(p)
        dmixed, dh = (c[:, 4:], c[:, :4]) if mistake == "parts" else (c[:, :4], c[:, 4:])
        ds = dmixed @ h.T
        dq, dk = ds @ k, ds.T @ q
        if mistake == "factors":
            dq, dk = dk, dq
        dh = dh + s.T @ dmixed + dq @ p["q"].T + dk @ p["k"].T
        return {"q": h.T @ dq, "k": h.T @ dk, "w": x.T @ (dh * (1 - h * h))}

    return loss, gradient(params), params


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("factors", "is exchanged"),
        ("parts", "parts 0 and 1 are exchanged on the way back"),
    ],
)
def test_exchanged_factors_and_parts_are_named(mistake, words, seed):
    assert gf.gradcheck(*scores(seed, "")).ok
    first, *_ = gf.gradcheck(*scores(seed, mistake)).diagnoses
    assert first.cause.endswith(words)


@pytest.mark.parametrize("seed", range(3))
def test_a_connection_past_a_buffer_that_is_left_out_where_both_are_joined(seed):
    rng = np.random.default_rng(seed)
    x, c = rng.standard_normal((4, 3)), rng.standard_normal((4, 9))
    params = {"w": rng.standard_normal((3, 5)), "u": rng.standard_normal((5, 1))}

    def parts(p):
        h = np.tanh(x @ p["w"])
        wide = np.zeros((4, 4))
        for t in range(4):
            wide[:, t : t + 1] = np.sin((t + 1) * h @ p["u"])
        return h, wide

    def loss(p):
        h, wide = parts(p)
        joined = np.concatenate([wide, h], axis=1)
        return np.sum(c * joined**2)

    def gradient(has_skip):
        h, wide = parts(params)
        dwide, dh = 2 * c[:, :4] * wide, 2 * c[:, 4:] * h
        scale = np.arange(1.0, 5.0)
        ds = np.sum(dwide * np.cos(h @ params["u"] * scale) * scale, axis=1, keepdims=True)
        dh = ds @ params["u"].T + (dh if has_skip else 0)
        return {"w": x.T @ (dh * (1 - h * h)), "u": h.T @ ds}

    assert gf.gradcheck(loss, gradient(True), params).ok
    (found,) = gf.gradcheck(loss, gradient(False), params).diagnoses
    assert "`joined = np.concatenate([wide, h], axis=1)`" in found.cause
    assert "what goes back to `np.tanh(x @ p[" in found.cause or "what goes back to `h`" in found.cause
    assert found.cause.endswith("is left out")
