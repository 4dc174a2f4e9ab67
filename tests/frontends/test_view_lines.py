"""Steps belong to the line that makes the view that they read, and to one instruction in each turn of a loop."""

from __future__ import annotations

import inspect

import numpy as np

import gradcheck_fast as gf


def line_of(function, piece):
    lines, first = inspect.getsourcelines(function)
    return next(first + k for k, text in enumerate(lines) if piece in text)


def reads_a_view_later(p):
    flat = (p["w"] * p["w"]).reshape(2, 3)
    turned = flat.T
    total = np.sum(p["w"])
    return total + np.sum(turned @ flat)


def test_a_step_that_reads_a_view_has_the_line_at_which_the_view_is_made():
    steps = gf.trace(reads_a_view_later, {"w": np.arange(6.0)}).program.steps
    lines = {step.name: step.source.line for step in steps if step.name in ("reshape", "strided", "matmul")}
    assert lines == {
        "reshape": line_of(reads_a_view_later, "flat ="),
        "strided": line_of(reads_a_view_later, "turned ="),
        "matmul": line_of(reads_a_view_later, "turned @ flat"),
    }


def reads_windows(p):
    total = 0.0
    for i in range(40):
        total += np.max(p["w"][i : i + 3])
    return total


def test_a_loop_makes_its_steps_by_the_same_instructions_in_each_turn():
    steps = gf.trace(reads_windows, {"w": np.sin(np.arange(42.0))}).program.steps
    for name in ("strided", "max"):
        sources = [step.source for step in steps if step.name == name]
        assert len(sources) == 40
        assert len(set(sources)) == 1
