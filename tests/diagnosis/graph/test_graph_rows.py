"""Rows of sensitivities that go back together: each as if it went back alone."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.diagnosis.graph.backward import Backward
from gradcheck_fast.diagnosis.graph.rows import of_rows
from gradcheck_fast.diagnosis.graph.tangents import Tangents

RNG = np.random.default_rng(8)


def draw(*shape):
    return RNG.standard_normal(shape)


A, B, V, S, T = draw(4, 3), draw(3, 5), draw(3), draw(2, 4, 3), draw(2, 3, 5)
ROWS = np.array([0, 2, 2, 1])


def filled(p):
    """A buffer that is filled row by row and read whole, twice."""
    buffer = np.zeros((4, 3))
    for row in range(4):
        buffer[row] = np.tanh(p["A"][row])
    return np.sum(buffer**2) + np.sum(buffer[1:3] * buffer[:2])


LOSSES = {
    "matrices": lambda p: np.sum((p["A"] @ p["B"]) ** 2),
    "a vector on the left": lambda p: np.sum((p["v"] @ p["B"]) ** 2),
    "a vector on the right": lambda p: np.sum((p["A"] @ p["v"]) ** 2),
    "two vectors": lambda p: np.dot(p["v"], p["v"] ** 2),
    "a stack by one matrix": lambda p: np.sum((p["S"] @ p["B"]) ** 2),
    "two stacks": lambda p: np.sum((p["S"] @ p["T"]) ** 2),
    "one matrix by a stack": lambda p: np.sum((p["A"] @ p["T"]) ** 2),
    "broadcast": lambda p: np.sum((p["A"] + p["v"]) ** 2 * p["v"][0]),
    "sums, maxima, products": lambda p: np.sum(
        p["A"].sum(axis=0) ** 2 * p["A"].max(axis=0) * p["A"].prod(axis=0)
        + (p["A"] / p["A"].sum(axis=1, keepdims=True)).sum(axis=0)
    ),
    "running sums": lambda p: np.sum(np.cumsum(p["A"], axis=0) ** 2),
    "views": lambda p: np.sum(p["A"].T[1:] ** 2) + np.sum(p["A"][::2, ::-1] * p["A"][1::2]),
    "rows that are read twice": lambda p: np.sum(p["A"][ROWS] ** 2),
    "concatenated": lambda p: np.sum(np.concatenate([p["A"], p["B"].T, p["A"][:2]]) ** 2),
    "filled": filled,
}
PARAMS = {"A": A, "B": B, "v": V, "S": S, "T": T}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_each_row_goes_back_as_if_it_were_alone(loss):
    trace = gf.trace(loss, PARAMS)
    backward = Backward(trace.engine, trace.pack(PARAMS).flat)
    for number in backward.bars:
        step, x = backward.steps[number], backward.x(number)
        rows = draw(3, *np.shape(backward.values[number]))
        for k, _ in backward.inner(number):
            take = of_rows(
                step, x, k, lambda number=number, k=k: backward.slope(number, k),
                lambda number=number: backward.moves(number),
                lambda up, number=number, k=k: backward.through(number, k, up),
            )  # fmt: skip
            alone = [step.primitive.back(x, k, row, **step.attributes) for row in rows]
            np.testing.assert_allclose(take(rows), alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_what_the_inputs_of_a_step_change_alone_adds_up_to_what_they_change_together(loss):
    trace = gf.trace(loss, PARAMS)
    theta = trace.pack(PARAMS).flat
    tangents = Tangents(Backward(trace.engine, theta), draw(2, theta.size))
    for number in tangents.backward.bars:
        if tangents.backward.inner(number):
            parts = [tangents.edge(number, k) for k, _ in tangents.backward.inner(number)]
            np.testing.assert_allclose(sum(parts), tangents.steps[number], rtol=1e-8, atol=1e-10)
