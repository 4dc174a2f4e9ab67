"""Numbers that are put back at the wrong places are recognised: transposes, reshapes, slices, padding."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf


def causes(loss, gradient, params):
    report = gf.gradcheck(loss, gradient, params)
    assert report.wrong, report
    return [diagnosis.cause for diagnosis in report.diagnoses]


# ---- transposes and reshapes


def heads(seed, *, put_back=None, rows=None):
    """A projection whose columns are split into heads; `put_back` and `rows` do what belongs to its way back."""
    rng = np.random.default_rng(seed)
    n, t, h, d = 2, 3, 2, 4
    x, target = rng.standard_normal((n, t, 5)), rng.standard_normal((n, h, t, d))
    params = {"u": rng.standard_normal((5, 5)), "w": rng.standard_normal((5, h * d)), "b": rng.standard_normal(h * d)}
    put_back = put_back or (lambda d_: d_.transpose(0, 2, 1, 3).reshape(n, t, -1))

    def forward(p):
        a = np.tanh(x @ p["u"])
        q = (a @ p["w"] + p["b"]).reshape(n, t, h, d).transpose(0, 2, 1, 3)
        return a, np.tanh(q)

    def loss(p):
        return 0.5 * np.sum((forward(p)[1] - target) ** 2)

    def gradient(p):
        a, s = forward(p)
        dq = (s - target) * (1 - s * s)
        dz = put_back(dq)
        of_w = dz if rows is None else rows(dq)
        da = dz @ p["w"].T * (1 - a * a)
        return {
            "u": np.einsum("nti,ntj->ij", x, da),
            "w": np.einsum("nti,ntj->ij", a, of_w),
            "b": dz.sum(axis=(0, 1)),
        }

    return loss, gradient(params), params


def test_right_heads_are_right():
    assert not gf.gradcheck(*heads(0)).diagnoses


@pytest.mark.parametrize("seed", range(3))
def test_heads_that_are_merged_without_a_transposition(seed):
    cause = causes(*heads(seed, put_back=lambda d: d.reshape(2, 3, 8)))[0]
    assert cause.startswith("test_movement.py line 30, `q = (a @ ")
    assert cause.endswith("are not put back in order, only reshaped, on the way back")


@pytest.mark.parametrize("seed", range(3))
def test_heads_that_are_merged_with_another_transposition(seed):
    cause = causes(*heads(seed, put_back=lambda d: d.transpose(2, 0, 1, 3).reshape(2, 3, 8)))[0]
    assert "put back in another order, with the axes transposed to (2, 0, 1, 3) before a reshape" in cause


@pytest.mark.parametrize("seed", range(3))
def test_rows_in_another_order_in_the_gradient_of_the_weights_only(seed):
    cause = causes(*heads(seed, rows=lambda d: d.transpose(2, 0, 1, 3).reshape(2, 3, 8)))[0]
    assert cause.endswith("in the gradient of w")


def flattened(seed, order):
    rng = np.random.default_rng(seed)
    n, c, height, width, k = 3, 2, 4, 3, 2
    x, target = rng.standard_normal((n, c, height, width)), rng.standard_normal((n, k))
    size = c * height * width
    params = {"s": rng.standard_normal((c, height, width)), "w": rng.standard_normal((size, k))}

    def forward(p):
        a = np.tanh(x * p["s"])
        flat = a.reshape(n, -1)
        return a, flat, flat @ p["w"]

    def loss(p):
        return 0.5 * np.sum((forward(p)[2] - target) ** 2)

    def gradient(p):
        a, flat, out = forward(p)
        da = ((out - target) @ p["w"].T).reshape(a.shape, order=order) * (1 - a * a)
        return {"s": (da * x).sum(axis=0), "w": flat.T @ (out - target)}

    return loss, gradient(params), params


@pytest.mark.parametrize("seed", range(3))
def test_a_reshape_in_the_order_of_columns(seed):
    assert gf.gradcheck(*flattened(seed, "C")).ok
    (cause,) = causes(*flattened(seed, "F"))
    assert "put back in another order, column after column (order='F')" in cause


# ---- concatenations and slices


def joined(seed, *, exchanged=False, shifted=0):
    """Two parts side by side, of which the middle columns go on."""
    rng = np.random.default_rng(seed)
    x, target = rng.standard_normal((5, 3)), rng.standard_normal((5, 4))
    params = {"u": rng.standard_normal((3, 4)), "v": rng.standard_normal((3, 4))}

    def forward(p):
        a, b = np.tanh(x @ p["u"]), np.tanh(x @ p["v"])
        both = np.concatenate([a, b], axis=1)
        return a, b, both[:, 2:6]

    def loss(p):
        return 0.5 * np.sum((forward(p)[2] - target) ** 2)

    def gradient(p):
        a, b, middle = forward(p)
        dboth = np.zeros((5, 8))
        dboth[:, 2 + shifted : 6 + shifted] = middle - target
        da, db = dboth[:, :4], dboth[:, 4:]
        if exchanged:
            da, db = db, da
        return {"u": x.T @ (da * (1 - a * a)), "v": x.T @ (db * (1 - b * b))}

    return loss, gradient(params), params


@pytest.mark.parametrize("seed", range(3))
def test_the_parts_of_a_concatenation_are_exchanged(seed):
    assert gf.gradcheck(*joined(seed)).ok
    (cause,) = causes(*joined(seed, exchanged=True))
    assert cause.endswith("parts 0 and 1 are exchanged on the way back")


@pytest.mark.parametrize(("shifted", "words"), [(1, "after its place"), (-1, "before its place")])
def test_a_slice_is_put_back_one_place_off(shifted, words):
    (cause,) = causes(*joined(0, shifted=shifted))
    assert f"what goes back is put {words}, by one along axis 1" in cause


def gates(seed, order):
    """A recurrent network with four gates in one array, whose sensitivities come back in some order."""
    rng = np.random.default_rng(seed)
    x, hidden = rng.standard_normal((4, 2, 3)), 3
    params = {
        "w": rng.standard_normal((3, 4 * hidden)),
        "u": 0.5 * rng.standard_normal((hidden, 4 * hidden)),
        "b": rng.standard_normal(4 * hidden),
    }

    def step(h, z):
        i, f, o = (1 / (1 + np.exp(-z[:, k * hidden : (k + 1) * hidden])) for k in range(3))
        g = np.tanh(z[:, 3 * hidden :])
        return o * np.tanh(f * h + i * g), (i, f, o, g)

    def loss(p):
        h = np.zeros((2, hidden))
        for xt in x:
            h, _ = step(h, xt @ p["w"] + h @ p["u"] + p["b"])
        return 0.5 * np.sum(h * h)

    def gradient(p):
        states, kept = [np.zeros((2, hidden))], []
        for xt in x:
            h, gate = step(states[-1], xt @ p["w"] + states[-1] @ p["u"] + p["b"])
            states.append(h)
            kept.append(gate)
        found = {name: np.zeros_like(array) for name, array in p.items()}
        dh = states[-1]
        for t in reversed(range(len(x))):
            (i, f, o, g), h = kept[t], states[t]
            tc = np.tanh(f * h + i * g)
            dc = dh * o * (1 - tc * tc)
            parts = [dc * g * i * (1 - i), dc * h * f * (1 - f), dh * tc * o * (1 - o), dc * i * (1 - g * g)]
            dz = np.concatenate([parts[k] for k in order], axis=1)
            found["w"] += x[t].T @ dz
            found["u"] += h.T @ dz
            found["b"] += dz.sum(axis=0)
            dh = dz @ p["u"].T + dc * f
        return found

    return loss, gradient(params), params


@pytest.mark.parametrize("order", [(1, 0, 2, 3), (0, 2, 1, 3)])
def test_gates_are_exchanged_on_the_way_back_through_time(order):
    assert gf.gradcheck(*gates(0, (0, 1, 2, 3))).ok
    (cause,) = causes(*gates(0, order))
    assert f"exchanged on the way back (order {order})" in cause


# ---- padding


def padded(seed, mode, back):
    """A smooth function of an array with a border around it."""
    rng = np.random.default_rng(seed)
    c = rng.standard_normal((7, 6))
    params = {"w": rng.standard_normal((3, 4))}

    def loss(p):
        with_border = np.pad(np.tanh(p["w"]), ((2, 2), (1, 1)), mode=mode)
        return np.sum(np.sin(with_border) * c)

    border = np.pad(np.tanh(params["w"]), ((2, 2), (1, 1)), mode=mode)
    return loss, {"w": back(np.cos(border) * c) * (1 - np.tanh(params["w"]) ** 2)}, params


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_a_border_that_is_cut_off_at_the_wrong_place(mode):
    cause = causes(*padded(0, mode, lambda d: d[:3, :4]))[0]
    words = "the border of the padding is cut off at the wrong place ([0:3, 0:4] is taken, not [2:5, 1:5])"
    assert "line" in cause and words in cause


@pytest.mark.parametrize("mode", ["edge", "reflect", "wrap"])
def test_what_goes_back_from_the_border_is_forgotten(mode):
    cause = causes(*padded(0, mode, lambda d: d[2:5, 1:5]))[0]
    assert cause.endswith("what goes back from the border of the padding is not added on the way back")


def test_flipped_rows_that_are_not_flipped_back():
    rng = np.random.default_rng(0)
    c, params = rng.standard_normal((5, 3)), {"w": rng.standard_normal((5, 3))}

    def loss(p):
        turned = np.tanh(p["w"])[::-1]
        return np.sum(np.sin(turned) * c)

    h = np.tanh(params["w"])
    assert gf.gradcheck(loss, {"w": (np.cos(h[::-1]) * c)[::-1] * (1 - h * h)}, params).ok
    cause = causes(loss, {"w": np.cos(h[::-1]) * c * (1 - h * h)}, params)[0]
    assert cause.endswith("are not put back in order, only reshaped, on the way back")


@pytest.mark.parametrize("seed", range(3))
def test_a_border_that_is_cut_off_at_the_wrong_place_in_all_layers(seed):
    rng = np.random.default_rng(seed)
    c, params = rng.standard_normal(5), {"w": rng.standard_normal(5), "v": rng.standard_normal(7)}

    def widened(x):
        return np.pad(x, 1)

    def loss(p):
        a = widened(np.tanh(p["w"]))
        b = widened(np.sin(a * p["v"]))
        return np.sum(c * np.sin(b[2:-2]))

    def gradient(cut):
        a = widened(np.tanh(params["w"]))
        b = widened(np.sin(a * params["v"]))
        back = np.pad(c * np.cos(b[2:-2]), 2)
        back = back[cut] * np.cos(a * params["v"])
        return {"v": back * a, "w": (back * params["v"])[cut] * (1 - np.tanh(params["w"]) ** 2)}

    assert gf.gradcheck(loss, gradient(slice(1, -1)), params).ok
    cause = causes(loss, gradient(slice(0, -2)), params)[0]
    assert "return np.pad(x, 1)" in cause
    assert "the border of the padding is cut off at the wrong place" in cause
