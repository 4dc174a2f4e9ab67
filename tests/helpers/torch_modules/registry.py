"""Where the modules are collected: small ones of every architecture that people train, written as they write them."""

from typing import Any, NamedTuple

import torch

#: What makes each case, by its name.
MODULES = {}


class Case(NamedTuple):
    """A module with its loss and data, as `gf.torch.gradcheck` takes them."""

    module: Any
    loss_fn: Any
    inputs: Any
    targets: Any = None


def example(make):
    """Registers a function without arguments that returns (module, loss_fn, inputs, targets)."""
    MODULES[make.__name__] = make
    return make


def case(name):
    """Makes a case in float64, with the same numbers each time."""
    torch.manual_seed(sum(map(ord, name)))
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return Case(*MODULES[name]())
    finally:
        torch.set_default_dtype(before)
