"""The cases on which gradient checkers are compared; what is said of each stands in ``docs/checkers.md``."""

from pathlib import Path

import pytest
from checker_cases import AWKWARD, CASES, PLANTED

import gradcheck_fast as gf

PAGE = Path(__file__).resolve().parents[2] / "docs" / "checkers.md"
#: There is nothing to check where a function is flat, or where all slopes between two of opposite signs are right.
UNDECIDED = {"round: 0", "a constant", "the two smallest, ties"}


def said_of(case):
    return gf.check_vjp(case.f, case.vjp, case.inputs).verdict


@pytest.mark.parametrize("case", PLANTED, ids=lambda case: case.name)
def test_a_mistake_is_reported(case):
    assert said_of(case) == "FAIL"


@pytest.mark.parametrize("case", AWKWARD, ids=lambda case: case.name)
def test_a_right_gradient_passes_at_an_awkward_point(case):
    assert said_of(case) == ("INCONCLUSIVE" if case.name in UNDECIDED else "PASS")


def test_the_page_has_every_case_and_what_is_said_of_it():
    rows = [line.split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    said = {name.removeprefix("| ").replace("\\|", "|"): cells[0].strip("*") for name, *cells in rows if cells}
    expected = {case.name: "reported" if case.is_wrong else "passes" for case in CASES}
    expected |= dict.fromkeys(UNDECIDED, "undecided")
    assert {name: said.get(name) for name in expected} == expected
    assert len(PLANTED) == len(AWKWARD) == 40
