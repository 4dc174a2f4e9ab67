"""Arrays are recognised by their numbers: transposed, reshaped, times a factor, in time; and not by chance."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.diagnosis.graph.backward import Backward
from gradcheck_fast.diagnosis.intermediates.matching import (
    FLOW,
    SENSITIVITY,
    VALUE,
    Entry,
    KnownSensitivities,
    match,
    matches,
)
from gradcheck_fast.diagnosis.intermediates.results import in_words

RNG = np.random.default_rng(0)
A = RNG.standard_normal((4, 6))
B = RNG.standard_normal((2, 3, 4, 5))
TIMES = RNG.standard_normal((5, 3, 2))


def known(*arrays, factors=()):
    entries = []
    for k, array in enumerate(arrays):
        entries.append(Entry(SENSITIVITY, (k,), array))
    return KnownSensitivities(entries, factors)


@pytest.mark.parametrize(
    ("array", "how"),
    [
        (A, ""),
        (A.T, "transposed"),
        (A.reshape(8, 3), "reshaped"),
        (A[:, None, :], ""),
        (A.ravel(), "reshaped"),
        (A.T.ravel(), "transposed and reshaped"),
    ],
)
def test_the_order_of_the_numbers_is_found(array, how):
    found = match(array, known(B, A))
    assert (found.entry.steps, found.factor, found.how, found.misfit) == ((1,), 1.0, how, 0.0)
    assert found.certain


def test_axes_may_be_exchanged_before_or_after_a_reshape():
    columns = B.transpose(0, 2, 3, 1).reshape(-1, 3)  # as im2col has them
    assert match(columns, known(B)).how == "transposed and reshaped"
    assert match(B, known(columns)).how == "transposed and reshaped"


@pytest.mark.parametrize("factor", [1.0, -1.0, 2.0, 0.5, 32.0, 1 / 32, -3.7, 1e-5])
def test_a_factor_is_found(factor):
    found = match(factor * A.T, known(B, A))
    assert found.factor == pytest.approx(factor, rel=1e-12)
    assert found.how == "transposed"


def test_rounding_is_allowed_and_no_more():
    assert match(A + 1e-11 * A[::-1], known(A)).entry.steps == (0,)
    assert match(A + 1e-7 * A[::-1], known(A)) is None
    assert match((A + 1e-7 * A[::-1]).astype(np.float32), known(A)).entry.steps == (0,)


def test_one_wrong_number_is_enough_to_be_something_else():
    wrong = A.copy()
    wrong[1, 2] += 1e-6
    assert match(wrong, known(A)) is None


def test_an_array_of_one_number_is_recognised_without_a_factor_only():
    scalars = known(np.array(0.7), np.array(-3.1), factors=[32])
    assert match(np.array([[-3.1]]), scalars).entry.steps == (1,)
    assert match(np.array(0.123), scalars) is None
    found = matches(np.array(0.7 * 32), scalars)
    assert [(m.entry.steps, m.factor, m.certain) for m in found] == [((0,), 32.0, False)]
    assert match(np.array(0.7 * 32), scalars) is None


def test_constant_arrays_are_not_taken_for_each_other():
    ones = known(np.ones((3, 4)), np.full((3, 4), 0.25))
    assert match(np.full((3, 4), 0.25), ones).entry.steps == (1,)
    assert match(np.full((3, 4), 0.37), ones) is None


@pytest.mark.parametrize(
    "array", [np.zeros((4, 6)), np.full((4, 6), np.nan), np.full((4, 6), np.inf), np.empty((0, 6))]
)
def test_nothing_is_said_of_zeros_and_of_what_is_not_finite(array):
    assert match(array, known(A, np.zeros((4, 6)))) is None


def test_the_simplest_comes_first():
    found = matches(A, known(2.0 * A, A.T, A, np.round(A, 3)))
    assert [(m.entry.steps, m.factor, m.how) for m in found] == [
        ((2,), 1.0, ""), ((1,), 1.0, "transposed"), ((0,), 0.5, "")
    ]  # fmt: skip


def test_a_stack_may_be_backwards_in_time():
    stack = KnownSensitivities([Entry(SENSITIVITY, (3, 7, 11, 15, 19), TIMES)])
    assert match(TIMES[::-1], stack).how == "backwards in time"
    assert match(TIMES.transpose(1, 0, 2), stack).how == "transposed"
    single = known(TIMES)
    assert match(TIMES[::-1], single) is None


def test_many_arrays_are_looked_up_among_many():
    arrays = [RNG.standard_normal((3, 4)) for _ in range(3000)]
    everything = known(*arrays)
    assert [match(-array.T, everything).entry.steps[0] for array in arrays] == list(range(3000))


@pytest.mark.parametrize(
    ("factor", "words"),
    [(1.0, ""), (32.0, "times N = 32"), (-1.0, "times -1"), (1 / 32, "divided by N = 32"), (0.5, "times 0.5"),
     (1.7320508, "times 1.73205"), (-1 / 5, "divided by -5")],
)  # fmt: skip
def test_factors_in_words(factor, words):
    assert in_words(factor, {32.0: "N = 32"}) == words


# ---- those of a program

X = RNG.standard_normal((7, 3))


def recurrent(w):
    h = np.zeros((7, 4))
    for _ in range(5):
        h = np.tanh(X @ w[:3] + h @ w[3:])
    return np.sum(h**2)


def residual(w):
    x = X @ w
    y = x + np.tanh(x) * 2.0
    return np.sum(np.exp(0.1 * y))


def of(loss, w):
    traced = gf.trace(loss, w)
    backward = Backward(traced.engine, traced.pack(w).flat)
    return backward, KnownSensitivities.of(backward)


def steps(backward, name):
    return [k for k, step in enumerate(backward.steps) if step.name == name and k in backward.bars]


def test_all_times_of_a_loop_are_one_array():
    backward, everything = of(recurrent, RNG.standard_normal((7, 4)) * 0.5)
    numbers = steps(backward, "tanh")
    found = match(np.stack([backward.bars[k] for k in numbers], axis=1), everything)
    assert (found.entry.steps, found.how) == (tuple(numbers), "transposed")


def test_what_goes_back_along_one_of_several_edges():
    backward, everything = of(residual, RNG.standard_normal((3, 4)))
    (tanh,), (add,) = steps(backward, "tanh"), steps(backward, "add")
    x = backward.steps[tanh].inputs[0]
    through = backward.through(tanh, 0, backward.bars[tanh])
    found = match(through, everything)
    assert (found.entry.kind, found.entry.steps, found.entry.into) == (FLOW, (tanh,), x)
    whole = match(through + backward.bars[add], everything)
    assert (whole.entry.kind, whole.entry.steps) == (SENSITIVITY, (x,))


def test_values_sums_and_parts():
    backward, everything = of(lambda w: np.sum(np.tanh(B @ w)), RNG.standard_normal((5, 6)))
    (tanh,) = steps(backward, "tanh")
    value, bar = backward.values[tanh], backward.bars[backward.steps[tanh].inputs[0]]
    assert match(value, everything).entry.kind == VALUE
    assert match(value, everything, (SENSITIVITY, FLOW)) is None
    assert match(bar.sum(axis=1), everything).entry.part == "summed over axis 1"
    assert match(bar.sum(axis=(0, 1, 2)), everything).entry.part == "summed over all axes but the last"
    assert match(bar[:, 2], everything).entry.part == "[2] along axis 1"
