"""Which build of the kernels runs: the best that the CPU has, or the one that a variable names."""

import pytest

from gradcheck_fast.kernels import _kernels
from gradcheck_fast.kernels.instruction_sets import instruction_set


def test_the_best_one_is_the_default(monkeypatch):
    monkeypatch.delenv("GRADCHECK_FAST_ISA", raising=False)
    assert instruction_set() == _kernels.instruction_sets()[0]


def test_an_empty_variable_is_none(monkeypatch):
    monkeypatch.setenv("GRADCHECK_FAST_ISA", "")
    assert instruction_set() == _kernels.instruction_sets()[0]


@pytest.mark.parametrize("isa", _kernels.instruction_sets())
def test_the_variable_names_another(isa, monkeypatch):
    monkeypatch.setenv("GRADCHECK_FAST_ISA", isa)
    assert instruction_set() == isa


def test_the_baseline_is_always_there():
    assert _kernels.instruction_sets()[-1] == "baseline"


def test_one_that_is_not_available_is_named(monkeypatch):
    monkeypatch.setenv("GRADCHECK_FAST_ISA", "x86-64-v9")
    with pytest.raises(ValueError, match=r"GRADCHECK_FAST_ISA: 'x86-64-v9' is not available here; .*baseline"):
        instruction_set()
