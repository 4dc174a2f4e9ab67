"""The page of all diagnoses shows each planted mistake as it is made, with what is printed of it."""

from __future__ import annotations

import runpy
from pathlib import Path

import planted
import pytest

import gradcheck_fast as gf

ROOT = Path(__file__).parents[1]
TOOL = runpy.run_path(str(ROOT / "tools" / "diagnosis_examples.py"))
PAGE = (ROOT / "docs" / "diagnosis-examples.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("mistake", planted.MISTAKES[::5], ids=lambda mistake: mistake.name)
def test_the_code_of_each_mistake_is_there(mistake):
    lines = TOOL["changed"](mistake)
    assert lines
    assert "\n".join(["```diff", *lines, ""]) in PAGE


@pytest.mark.parametrize("mistake", planted.MISTAKES[::20], ids=lambda mistake: mistake.name)
def test_what_is_printed_is_there(mistake):
    loss, gradient, params = planted.case(mistake.name)
    loss(params)
    cause = TOOL["first"](gf.gradcheck(loss, gradient(params), params))
    assert "\n".join([*TOOL["changed"](mistake), *TOOL["wrapped"](cause), "```"]) in PAGE


def test_lines_that_move_are_left_out():
    cause = "net.py line 12, `a = f(z)` (called in line 20, `f(x)`): W stands in the place of `b` of line 3"
    assert TOOL["without_places"](cause) == "`a = f(z)`: W stands in the place of `b`"
