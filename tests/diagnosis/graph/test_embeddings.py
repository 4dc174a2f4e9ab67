"""Mistakes with rows that are looked up in a table, such as embeddings, are named with the line of the lookup."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf


def add(table, rows, values):
    np.add.at(table, rows, values)


def put(table, rows, values):
    table[rows] = values


def put_first(table, rows, values):
    table[rows.ravel()[::-1]] = values.reshape(-1, values.shape[-1])[::-1]


def words(seed, scatter=add, *, only=slice(None)):
    """Contexts and targets are looked up in two tables, some of their rows several times."""
    rng = np.random.default_rng(seed)
    vocabulary, size, shares = 5, 4, np.array([0.5, 0.3, 0.2])
    contexts, targets = rng.integers(0, vocabulary, (6, 3)), rng.integers(0, vocabulary, 6)
    params = {name: rng.standard_normal((vocabulary, size)) for name in ("inner", "outer")}

    def forward(p):
        h = np.sum(p["inner"][contexts] * shares[:, None], axis=1)
        o = p["outer"][targets]
        return h, o, np.sum(h * o, axis=1)

    def loss(p):
        return np.sum(np.logaddexp(0, -forward(p)[2]))

    def gradient(p):
        h, o, score = forward(p)
        d = -1 / (1 + np.exp(score))
        found = {name: np.zeros_like(array) for name, array in p.items()}
        dh = (d[:, None] * o)[:, None] * shares[:, None]
        scatter(found["inner"], contexts[:, only], dh[:, only])
        np.add.at(found["outer"], targets, d[:, None] * h)
        return found

    return loss, gradient(params), params


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_said_of_right_lookups(seed):
    report = gf.gradcheck(*words(seed))
    assert report.ok and not report.diagnoses


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("scatter", "which"), [(put, "last"), (put_first, "first")])
def test_rows_that_are_overwritten(scatter, which, seed):
    (found,) = gf.gradcheck(*words(seed, scatter)).diagnoses
    said = f"rows of inner that are used several times is overwritten instead of added, only the {which} counts"
    assert said in found.cause and '`h = np.sum(p["inner"][contexts] * shares[:, None], axis=1)`' in found.cause


@pytest.mark.parametrize(
    ("only", "words_of"),
    [
        (slice(1, 3), "does not reach the first of the rows along axis 1"),
        (slice(0, 2), "does not reach the last of the rows along axis 1"),
    ],
)
def test_only_some_of_the_rows_get_anything(only, words_of):
    (found,) = gf.gradcheck(*words(0, only=only)).diagnoses
    assert words_of in found.cause


def pairs(seed, mistake):
    """Pairs of words, one after the other; each adds to the rows of both."""
    rng = np.random.default_rng(seed)
    centers, targets = rng.integers(0, 4, 7), rng.integers(0, 4, (7, 3))
    params = {"center": rng.standard_normal((4, 3)), "target": rng.standard_normal((4, 3))}

    def loss(p):
        total = 0.0
        for c, t in zip(centers, targets, strict=True):
            total = total + np.sum(np.sin(p["target"][t].dot(p["center"][c])))
        return total

    found = {name: np.zeros_like(array) for name, array in params.items()}
    for c, t in zip(centers, targets, strict=True):
        v, u = params["center"][c], params["target"][t]
        d = np.cos(u.dot(v))
        if mistake == "center":
            found["center"][c] = d @ u
        else:
            found["center"][c] += d @ u
        if mistake == "repeated targets":
            found["target"][t] += np.outer(d, v)
        else:
            np.add.at(found["target"], t, np.outer(d, v))
    return loss, found, params


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_a_loop_that_are_overwritten_by_the_next_turn(seed):
    assert gf.gradcheck(*pairs(seed, "")).ok
    (found,) = gf.gradcheck(*pairs(seed, "center")).diagnoses
    assert "rows of center that are used several times is overwritten instead of added, only the last" in found.cause


@pytest.mark.parametrize("seed", range(5))
def test_repeated_rows_of_one_lookup_that_are_lost(seed):
    (found,) = gf.gradcheck(*pairs(seed, "repeated targets")).diagnoses
    assert "rows of target that are used several times is overwritten" in found.cause
    assert found.cause.endswith("only the last counts of those that are read at once")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("exchanged", [False, True])
def test_what_goes_back_to_the_rows_of_another_lookup(seed, exchanged):
    rng = np.random.default_rng(seed)
    a, b = rng.permutation(5)[:4], rng.permutation(5)[:4]
    params = {"inner": rng.standard_normal((5, 3)), "outer": rng.standard_normal((5, 3))}

    def loss(p):
        left = p["inner"][a]
        right = p["outer"][b]
        return np.sum(np.sin(np.sum(left * right, axis=1)))

    left, right = params["inner"][a], params["outer"][b]
    d = np.cos(np.sum(left * right, axis=1))[:, None]
    found = {name: np.zeros_like(array) for name, array in params.items()}
    found["inner"][b] = d * right
    found["outer"][a if exchanged else b] = d * left
    cause = gf.gradcheck(loss, found, params).diagnoses[0].cause
    assert '`left = p["inner"][a]`' in cause
    assert ("is exchanged" if exchanged else "goes to the rows that line ") in cause


@pytest.mark.parametrize("seed", range(3))
def test_a_word_that_is_looked_up_twice_in_one_sample_and_counts_once(seed):
    rng = np.random.default_rng(seed)
    contexts = rng.integers(0, 5, (6, 4))
    contexts[0, :2], contexts[1, 2:] = 3, 1
    c, params = rng.standard_normal((6, 3)), {"table": rng.standard_normal((5, 3))}

    def loss(p):
        h = np.mean(p["table"][contexts], axis=1)
        return np.sum(c * np.sin(h))

    back = c * np.cos(np.mean(params["table"][contexts], axis=1)) / 4
    right, once = np.zeros((5, 3)), np.zeros((5, 3))
    for sample, row in zip(contexts, back, strict=True):
        for word in sample:
            right[word] += row
        for word in set(sample):
            once[word] += row
    assert gf.gradcheck(loss, {"table": right}, params).ok
    (found,) = gf.gradcheck(loss, {"table": once}, params).diagnoses
    assert "`h = np.mean(" in found.cause
    assert found.cause.endswith("a row that is looked up several times in one sample counts once")
