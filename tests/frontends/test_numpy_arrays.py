"""Traced arrays where they are more, or less, than numbers: errors, attributes, copies, and what they are not for."""

from __future__ import annotations

import copy
import io
import pickle
import threading
from contextlib import redirect_stdout

import numpy as np
import pytest
from numpy_calls.observed import INPUTS, check, recorded

import gradcheck_fast as gf
from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.recording import Untraceable
from gradcheck_fast.inputs.trees import pack

MASK = np.arange(12).reshape(3, 4) % 3 == 0


def run(function, *names):
    """What a function returns in a trace, and the recording."""
    found = []

    def loss(params):
        found.append(function(**params))
        return np.sum(next(iter(params.values())))

    recording, _ = recorded(loss, pack({name: INPUTS[name] for name in names}))
    return found[0], recording


# ---- errors


def _write(x, key, value):
    x[key] = value


ERRORS = [
    lambda a, v: a + v[:3],
    lambda a, b: a @ b,
    lambda a, b: np.dot(a, b),
    lambda a: a.reshape(5, -1),
    lambda a: np.reshape(a, (7, 2)),
    lambda a, k: np.concatenate([a, k.T]),
    lambda v, a: np.stack([v, a]),
    lambda a: a[3],
    lambda a: a[0, 0, 0],
    lambda a: a[[0, 3]],
    lambda a: a[1.0],
    lambda a: a["x"],
    lambda a: a[np.array([True, False])],
    lambda a: a[MASK.T],
    lambda v: v[v],
    lambda a: np.take(a, 12),
    lambda a: a.take(5, axis=0),
    lambda a: a.sum(axis=2),
    lambda a: np.max(a, axis=-3),
    lambda a: np.mean(a, axis=(0, 0)),
    lambda a: np.sum(a, axis=1.5),
    lambda a: np.expand_dims(a, 5),
    lambda a: np.swapaxes(a, 0, 2),
    lambda a: a.transpose(0, 0),
    lambda a: np.cumsum(a, axis=3),
    lambda a: np.argmax(a, axis=2),
    lambda a: np.sort(a, axis=2),
    lambda a: float(a),
    lambda a: int(a),
    lambda a: bool(a),
    lambda a: "yes" if a > 0 else "no",
    lambda a: a and 1,
    lambda a: a.item(),
    lambda a: a.item(99),
    lambda s: list(s[()]),
    lambda s: len(s),
    lambda v: iter(v[0]),
    lambda s: s[0],
    lambda a: [1, 2][a.sum()],
    lambda a: range(a.mean()),
    lambda a: hash(a),
    lambda a: _write(a, 0, [1.0, 2.0]),
    lambda a: _write(a, (0, 5), 1.0),
    lambda a, v: _write(a, (slice(None), 0), v),
    lambda a, z: _write(a, a > 0, z[:2]),
    lambda v: _write(np.zeros(3), slice(None), v),
    lambda a: _write(np.broadcast_to(a, (2, 3, 4)), 0, 1.0),
    lambda a: _write(np.diagonal(a), 0, 1.0),
    lambda a, b: np.add(a, b, out=np.zeros(3)),
    lambda a: np.sum(a, axis=0, out=np.zeros(3)),
    lambda a: a + "x",
    lambda a: a + None,
    lambda a: a * {},
    lambda a: -(a > 0),
    lambda a: (a > 0) - (a < 0),
    lambda a: ~a,
    lambda a, b: a & b,
    lambda a: a << 1,
    lambda a: a.nothing,
    lambda a: a.shape_,
    lambda a: np.einsum("ij,jk", a, a),
    lambda a: np.einsum("i", a),
    lambda a: np.linalg.inv(a),
    lambda q: np.linalg.solve(q, np.ones(4)),
    lambda a: np.broadcast_to(a, (3, 3)),
    lambda a: np.split(a, 5),
    lambda a: np.squeeze(a, axis=0),
    lambda a: np.where(a > 0, a),
    lambda v: (lambda p, q: p)(*v),
    lambda a: np.pad(a, -1),
    lambda a: np.put(a, [50], 1.0),
    lambda a: np.clip(a, 0, np.zeros(3)),
    lambda a: np.tensordot(a, a, 1),
    lambda a: np.array([a[0], a[0, :2]]),
    lambda a: a.reshape(-1, -1),
    lambda v: np.linalg.cholesky(-np.outer(v, v)),
    lambda a: np.max(a[:0]),
    lambda a: np.copyto(a, np.zeros(5)),
    lambda a: setattr(a, "shape", (5,)),
]


@pytest.mark.parametrize("function", ERRORS, ids=range(len(ERRORS)))
def test_what_numpy_refuses_is_refused_with_the_same_kind_of_error(function):
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    with pytest.raises(Exception) as of_numpy:
        function(**{name: INPUTS[name].copy() for name in names})
    kind = next(kind for kind in of_numpy.type.__mro__ if kind.__module__ == "builtins")
    with pytest.raises(kind) as traced:
        run(function, *names)
    assert not isinstance(traced.value, Untraceable)


# ---- what an array is


def test_it_passes_for_an_array_and_its_elements_for_numbers():
    def looks(a):
        return [
            isinstance(a, np.ndarray),
            isinstance(a[0, 0], float),
            isinstance(a[0, 0], np.floating),
            isinstance(a.sum(), np.float64),
            isinstance(a[0, 0], np.ndarray),
            isinstance(a > 0, np.ndarray),
            isinstance((a > 0)[0, 0], np.bool_),
            isinstance(a, (list, tuple)),
            isinstance(a[0], (float, int)),
            type(a) is np.ndarray,
            type(a[0, 0]) is np.float64,
            type(a[0, 0, ...]) is np.ndarray,
            isinstance(a.T, np.ndarray),
            np.isscalar(a[0, 0]),
            np.isscalar(a),
            hasattr(a, "shape"),
            hasattr(a, "shap"),
            hasattr(a, "tobytes"),
            hasattr(a, "detach"),
            hasattr(a[0], "__len__"),
            callable(a.sum),
            callable(a),
            getattr(a, "grad", None),
            issubclass(type(a), np.ndarray),
        ]

    found, recording = run(looks, "a")
    assert found == looks(INPUTS["a"])
    assert recording.failure is None


@pytest.mark.parametrize("name", ["shape", "ndim", "size", "dtype", "itemsize", "nbytes", "strides"])
def test_its_attributes_are_those_of_the_array(name):
    def look(a):
        return [getattr(x, name) for x in (a, a.T, a[1:, ::2], a > 0, a[0, 0], a[::-1], np.zeros((2, 0)) + a[0, 0])]

    assert run(look, "a")[0] == look(INPUTS["a"])


def test_its_flags_are_those_of_the_array():
    def look(a):
        views = (a, a.T, a[:, 1], np.broadcast_to(a, (2, 3, 4)), a[:1])
        return [(x.flags.c_contiguous, x.flags["F_CONTIGUOUS"], x.flags.writeable) for x in views]

    assert run(look, "a")[0] == look(INPUTS["a"])


def test_text_is_made_of_its_value():
    def write(a):
        text = io.StringIO()
        with redirect_stdout(text):
            print(a[0], a.sum(), "%.3f" % a[0, 0], f"{a[1, 1]:8.3e} {a.shape} {a[0, 0]!r}", str(a), sep="|")  # noqa: UP031
        return text.getvalue() + "{:.2f} {}".format(a.max(), np.round(a[0].mean(), 3)) + repr(a)  # noqa: UP032

    assert run(write, "a")[0] == write(INPUTS["a"])


def test_copies_share_nothing():
    def change(a):
        copies = [a.copy(), copy.copy(a), copy.deepcopy(a), np.copy(a), np.array(a), copy.deepcopy({"a": [a]})["a"][0]]
        for k, x in enumerate(copies):
            x[0] *= k + 2.0
        return [*copies, a]

    check(change)


def test_views_share_everything():
    def change(a):
        views = [
            a.view(),
            np.asarray(a),
            a[:],
            a.reshape(12),
            a.T,
            np.atleast_2d(a),
            np.squeeze(a),
            a.real,
            np.require(a),
        ]
        for k, x in enumerate(views):
            x[(0,) * x.ndim] += k + 2.0
        return a

    check(change)


# ---- what it is not for


def test_it_is_not_pickled():
    with pytest.raises(Untraceable, match="pickled"):
        run(lambda a: pickle.dumps(a), "a")


def test_a_method_that_is_not_known_is_named():
    with pytest.raises(Untraceable, match="tobytes"):
        run(lambda a: a.tobytes(), "a")


def test_another_thread_cannot_compute_with_it():
    def elsewhere(a):
        errors = []

        def work():
            try:
                a + 1.0
            except Untraceable as error:
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return errors

    with pytest.raises(Untraceable, match="another thread"):
        run(elsewhere, "a")


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x + 1.0,
        lambda x: 2.0 * x,
        lambda x: np.exp(x),
        lambda x: np.sum(x),
        lambda x: x.sum(),
        lambda x: np.zeros(4) + x,
        lambda x: np.array(x),
        lambda x: x @ np.ones(4),
        lambda x: float(x[0]),
        lambda x: bool(x[0] > 0),
        lambda x: x[[0, 1]],
        lambda x: _write(x, 0, 1.0),
        lambda x: np.concatenate([x, x]),
        lambda x: pickle.dumps(x),
        lambda x: list(map(float, x)),
        lambda x: np.add(np.ones(4), 1.0, out=x),
        lambda x: -x,
        lambda x: x == x,
    ],
)
def test_after_the_trace_it_says_what_it_is(use):
    x, _ = run(lambda a: a[0] * 2.0, "a")
    assert type(x) is TracedArray
    with pytest.raises(RuntimeError, match="kept from that call"):
        use(x)
    assert repr(x).startswith("array(")


def test_an_array_of_an_earlier_trace_is_not_taken_for_one_of_this():
    old, _ = run(lambda a: a * 2.0, "a")
    with pytest.raises(RuntimeError, match="kept from that call"):
        run(lambda a: a + old, "a")


def test_numbers_that_are_made_plain_are_noted_and_not_believed():
    with pytest.raises(ValueError, match="int"):
        gf.trace(lambda v: v[0] * int(1e6 * v[1]), np.array([0.3, 0.7]))


def test_functions_that_are_not_known_are_named():
    found = check(lambda v: np.unwrap(2 * v))
    assert list(found.notes) == ["numpy.unwrap is differenced by itself, not exactly"]
