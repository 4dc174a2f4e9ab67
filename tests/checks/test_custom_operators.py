"""Operators as their authors write them, right and with a mistake: what their authors' one call says."""

import importlib.util
import warnings

import custom_operators
import pytest


def installed(needs):
    return not needs or importlib.util.find_spec(needs) is not None


for needs in ("torch", "jax"):
    if installed(needs):
        custom_operators.load(needs)

OPERATORS = [name for name, operator in custom_operators.OPERATORS.items() if installed(operator.needs)]
MISTAKES = [(name, mistake) for name in OPERATORS for mistake in custom_operators.OPERATORS[name].mistakes]


def report_of(name, mistake=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return custom_operators.OPERATORS[name].check(mistake)


@pytest.mark.parametrize("name", OPERATORS)
def test_a_right_operator_passes(name):
    report = report_of(name)
    assert report.verdict == "PASS", str(report)


@pytest.mark.parametrize(("name", "mistake"), MISTAKES)
def test_a_mistake_is_found_and_the_first_line_names_output_and_input(name, mistake):
    report = report_of(name, mistake)
    assert report.verdict == "FAIL"
    first = next(line for line in str(report).splitlines() if line.startswith("gradcheck:"))
    assert "inputs" in first and "output" in first
