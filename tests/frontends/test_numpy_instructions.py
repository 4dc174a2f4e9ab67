"""A step knows the instruction that made it, and the calls that led there."""

from __future__ import annotations

import numpy as np

import gradcheck_fast as gf

X = np.linspace(-1.0, 1.0, 5)


def squash(z):
    return np.tanh(z)


def looped(p):
    total = 0.0
    for _ in range(30):
        total = total + np.sum(squash(X * p))
    return total


def steps(loss, name):
    return [step.source for step in gf.trace(loss, X).program.steps if step.name == name]


def test_all_turns_of_a_loop_come_to_the_same_instruction():
    found = steps(looped, "tanh")
    assert len(found) == 30
    assert len(set(found)) == 1
    assert found[0].caller is not None
    assert found[0].caller.line > found[0].line


def test_two_calls_of_a_line_are_two_places():
    first, second = steps(lambda p: np.sum(squash(p) + squash(2 * p)), "tanh")
    assert (first.line, first.instruction) == (second.line, second.instruction)
    assert first.caller.line == second.caller.line
    assert first.caller.instruction != second.caller.instruction
