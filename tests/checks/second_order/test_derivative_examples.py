"""The examples in the docstrings of checks of Jacobians and second derivatives give what is written there."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("module", ["jacobian", "second_order.hessian", "second_order.hvp", "second_order.objective"])
def test_examples(module):
    failed, tried = doctest.testmod(import_module(f"gradcheck_fast.checks.{module}"))
    assert tried
    assert not failed
