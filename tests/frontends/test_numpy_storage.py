"""Views, writes and aliases of traced arrays: what is written through one is read through all, as in NumPy."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from numpy_calls.observed import INPUTS, check, recorded

import gradcheck_fast as gf
from gradcheck_fast.inputs.trees import pack

SETTINGS = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck), "database": None}


# ---- chains of views, and what is done to them

VIEWS = {
    "transposed": lambda x, k: x.T,
    "swapped": lambda x, k: x.swapaxes(0, -1) if x.ndim else x,
    "reversed": lambda x, k: x[::-1] if x.ndim else x,
    "every second": lambda x, k: x[..., k % 2 :: 2] if x.ndim else x,
    "all but one": lambda x, k: x[1:] if x.ndim and len(x) > 1 else x,
    "a row": lambda x, k: x[k % len(x)] if x.ndim > 1 and len(x) else x,
    "with an axis": lambda x, k: x[:, np.newaxis] if 0 < x.ndim < 4 else x,
    "reshaped": lambda x, k: x.reshape(-1),
    "in two": lambda x, k: x.reshape(2, -1) if x.size % 2 == 0 and x.size else x,
    "ravelled": lambda x, k: np.ravel(x),
    "flattened": lambda x, k: x.flatten(),
    "diagonal": lambda x, k: np.diagonal(x) if x.ndim == 2 else x,
    "einsum": lambda x, k: np.einsum("ij->ji", x) if x.ndim == 2 else x,
    "broadcast": lambda x, k: np.broadcast_to(x, (2, *x.shape)) if x.ndim < 3 else x,
    "windows": lambda x, k: sliding_window_view(x, 2, axis=-1) if 0 < x.ndim < 3 and x.shape[-1] > 1 else x,
    "strided": lambda x, k: as_strided(x, x.shape[:1], x.strides[:1]) if x.ndim else x,
    "moved": lambda x, k: np.moveaxis(x, 0, -1) if x.ndim else x,
    "a copy": lambda x, k: x.copy(),
    "squeezed": lambda x, k: np.squeeze(x),
    "its .flat": lambda x, k: x.flat[k % 3 :: 2],
    "an element": lambda x, k: x[(0,) * x.ndim + (...,)] if x.size else x,
    "split": lambda x, k: np.array_split(x, 2)[k % 2] if x.ndim else x,
}
UPDATES = ("set", "iadd", "isub", "imul", "out", "at", "where", "whole", "whole iadd", "copyto")


def _value(kind, arrays, shape, k):
    """Something that can be written into a place of this shape: plain or traced, of that shape or broadcast to it."""
    if kind == "plain number":
        return 0.25 + k
    if kind == "traced number":
        return arrays[0].ravel()[k % arrays[0].size] * 0.7 if arrays[0].size else 1.5
    if kind == "plain":
        return np.linspace(0.5, 1.0, int(np.prod(shape))).reshape(shape)
    last = shape[-1:] if kind == "traced row" else shape
    size = int(np.prod(last))
    return np.resize(np.arange(7), size).reshape(last) * 0.1 + arrays[1].ravel()[np.resize([0, 3, 1, 5], size)].reshape(
        last
    )


def _update(x, key, how, value):
    if how == "set":
        x[key] = value
    elif how == "iadd":
        x[key] += value
    elif how == "isub":
        x[key] -= value
    elif how == "imul":
        x[key] *= value
    elif how == "at":
        # NumPy itself adds too little where it has to broadcast values to an index of two axes into one
        np.add.at(x, key, np.broadcast_to(value, x[key].shape).copy())
    elif how == "where":
        x[key] = np.where(np.arange(x[key].size).reshape(x[key].shape) % 2 == 0, value, x[key])
    elif how == "out" and type(x[key]) is np.ndarray and np.shares_memory(x[key], x):
        np.multiply(x[key], value, out=x[key])
    elif how == "whole":
        x[...] = value
    elif how == "whole iadd":
        x += value
    elif how == "copyto":
        np.copyto(x, value)


def _run(plan, a, z):
    """Does what a plan says to arrays that are made of `a` and `z`, and returns all views in the end."""
    views = [a * 1.0, np.zeros((2, 3)), z]
    for step in plan:
        if step[0] == "view":
            _, which, name, k = step
            views.append(VIEWS[name](views[which], k))
        else:
            _, which, key, how, kind, k = step
            x = views[which]
            target = x.shape if how in ("whole", "whole iadd", "copyto") else x[key].shape
            _update(x, key, how, _value(kind, (views[0], z), target, k))
    return views[:2] + views[3:]


def _started(plan):
    return _run(plan, INPUTS["a"].copy(), INPUTS["z"].copy())


def _keys(shape):
    basic = hnp.basic_indices(shape, allow_newaxis=True)
    fancy = hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3))
    mask = hnp.arrays(bool, st.just(shape))
    return st.one_of(basic, fancy, mask) if shape and 0 not in shape else st.just(...)


@st.composite
def plans(draw, most=8):
    """A list of views and writes that NumPy accepts."""
    plan = []
    for _ in range(draw(st.integers(1, most))):
        views = _started(plan)
        views.insert(2, INPUTS["z"])  # the parameter itself, of which there may be views
        which = draw(st.integers(0, len(views) - 1))
        k = draw(st.integers(0, 5))
        if draw(st.booleans()):
            plan.append(("view", which, draw(st.sampled_from(sorted(VIEWS))), k))
            continue
        x = views[which]
        if which == 2 or not x.flags.writeable or not x.shape or _overlaps(x):
            continue
        kind = draw(st.sampled_from(("plain number", "traced number", "plain", "traced", "traced row")))
        plan.append(("write", which, draw(_keys(x.shape)), draw(st.sampled_from(UPDATES)), kind, k))
        if max((np.abs(v).max() for v in _started(plan) if v.size), default=0.0) > 30.0:
            plan.pop()
    return plan


def _overlaps(x):
    places = as_strided(np.arange(0), x.shape, x.strides) if not x.size else None
    if places is not None:
        return False
    offsets = sum(
        np.arange(n).reshape([-1 if j == k else 1 for j in range(x.ndim)]) * x.strides[k] for k, n in enumerate(x.shape)
    )
    return len(np.unique(offsets)) < x.size


@given(plans())
@settings(max_examples=150, **SETTINGS)
def test_writes_through_views_are_seen_in_all_others(plan):
    check(lambda a, z: _run(plan, a, z))


@pytest.mark.long
@given(plans(most=20))
@settings(max_examples=600, **SETTINGS)
def test_writes_through_long_chains_of_views_are_seen_in_all_others(plan):
    check(lambda a, z: _run(plan, a, z))


@given(st.data())
@settings(max_examples=100, **SETTINGS)
def test_any_key_reads_what_numpy_reads(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    key = data.draw(_keys(shape))
    size = int(np.prod(shape))
    found = check(lambda x: x.reshape(shape)[key], {"x": np.linspace(-1.0, 2.0, size)})
    assert found.plain[0].size == 0 or found.program is not None


# ---- plain arrays that are adopted, and aliases


class Layer:
    def __init__(self):
        self.buffer = np.linspace(0.0, 1.0, 4) * 1.0

    def fill(self, v):
        self.buffer[1] = v[0] * 2.0
        return np.sum(self.buffer)


PLAIN = np.linspace(1.0, 2.0, 12).reshape(3, 4)


def _plain():
    return np.random.RandomState(0).rand(3, 4)  # no function that a trace replaces


def _by_item(v):
    x = _plain()
    x[0, 1] = v[2]
    x[1] += v
    return x


def _by_ufunc(v):
    x = _plain()
    view = x[1:]
    x += v
    np.multiply(view, 2.0, out=view)
    return np.sum(x, axis=0), view


def _by_at(v):
    x = _plain()
    np.add.at(x, ([0, 0, 2], [1, 1, 3]), v[:3])
    np.add.at(x, ([0, 0], [1, 1]), 1.0)
    np.multiply.at(x, ([0, 0, 0], [1, 1, 2]), v[:3])
    np.maximum.at(x, ([1, 1], [0, 0]), v[:2])
    np.subtract.at(x, 2, v)
    np.negative.at(x, ([0, 1, 1], [0, 1, 1]))
    return x


def _by_method(v):
    x = _plain()
    y = x[0]
    x.fill(0.5)
    np.copyto(y, v)
    x.put([5, 6], v[:2])
    return np.ravel(x), y


def _by_another_name(v):
    x = _plain()
    windows = as_strided(x, (2, 4), (32, 8))
    rows = list(x)
    x[0, :] = v
    return np.multiply(windows, 2.0), np.stack(rows), np.dot(x, v)


def _by_helpers(v):
    x = np.atleast_2d(_plain(), v)[0]
    whole = _plain()
    first, second = np.broadcast_arrays(whole, v)[0], whole[2]
    np.put(whole, [1, 2], v[1:3])
    whole[2] = second * v
    return x * 2.0, np.add(whole, 1.0), first.shape[0] * v


def _by_mask(v):
    mask, counts = np.zeros(4, bool), np.zeros(4, int)
    mask[1:3] = v[1:3] > -9.0
    counts[0] = (v > -9.0).sum()
    labels = np.arange(4)
    labels[v > -9.0] = 3
    return mask * v, v[mask], counts * v, labels * v, PLAIN[0][v > -9.0] * v


def _by_swap(a):
    a[[0, 1]] = a[[1, 0]]
    a[:, 0], a[:, 1] = a[:, 1].copy(), a[:, 0].copy()
    a[1:] = a[:-1]
    a[::-1][0] -= a[0]
    return a


def _with_out(a, b):
    buffer = np.empty((3, 4))
    same = np.add(a, b, out=buffer)
    np.exp(buffer, buffer)
    np.dot(a, b.T, out=buffer[:, :3].copy())
    np.matmul(a, b.T, out=np.zeros((3, 3)))
    np.subtract(buffer, a, out=buffer, where=PLAIN > 1.5)
    total = np.zeros(4)
    np.sum(same, axis=0, out=total)
    return same, total, np.cumsum(a, axis=1, out=buffer)


def _in_time(v, q):
    h = np.zeros((4, 3))
    for t in range(1, 4):
        h[t] = np.tanh(h[t - 1] @ q + v[t])
    h[0, :2] += h[3, 1:]
    return h.mean(axis=0), h[::2]


def _with_shared_views(a):
    x = a * 1.0
    row, column, flat, turned = x[0], x[:, 1], x.reshape(-1), x.T
    x[0, 0] = row[1] * column[2]
    flat[5] = 2.0 * turned[1, 0]
    turned[3] *= column
    row += 1.0
    del x
    return row, column, flat, turned


@pytest.mark.parametrize(
    "function",
    [
        lambda v: Layer().fill(v),
        _by_item,
        _by_ufunc,
        _by_at,
        _by_method,
        _by_another_name,
        _by_helpers,
        _by_mask,
        lambda a: _by_swap(a * 1.0),
        _with_out,
        _in_time,
        _with_shared_views,
    ],
)
def test_a_plain_array_that_is_written_to_is_traced_from_then_on(function):
    assert check(function).program is not None


def test_a_plain_alias_that_no_call_sees_is_not_believed():
    def function(v):
        x = _plain()
        alias = x[0]
        x[0] = v
        return np.sum(x) + (alias * 2.0)[1]

    with pytest.raises(ValueError, match="trace"):
        gf.trace(function, np.arange(4.0))


def test_filling_a_buffer_records_one_step_for_all_that_is_filled():
    def function(v):
        buffer = np.zeros(40)
        for k in range(40):
            buffer[k] = v[k % 4]
        return buffer.sum()

    recording, _ = recorded(lambda p: function(p["v"]), pack({"v": np.arange(4.0)}))
    names = [step.name for step in recording.program.steps]
    assert names.count("gather") == 1
    assert len(names) <= 50


def test_a_transposed_array_is_reshaped_without_a_map_of_its_entries():
    def function(v):
        return np.sum(v.T.reshape(2, 6) * np.arange(6.0)) + np.ravel(v.swapaxes(0, 1)).max()

    recording, _ = recorded(lambda p: function(p["v"]), pack({"v": np.arange(12.0).reshape(3, 4)}))
    names = [step.name for step in recording.program.steps if step.name in ("gather", "strided", "reshape")]
    assert names == ["strided", "reshape", "reshape"]  # the second view is the same as the first one
    assert check(lambda v: np.sum(v.reshape(2, 2).T.reshape(4) * np.arange(4.0))).program is not None
