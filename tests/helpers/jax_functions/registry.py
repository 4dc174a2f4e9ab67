"""Where the functions are collected: losses of pytrees as users of JAX write them, small enough to be checked whole."""

import importlib.util
from typing import Any, NamedTuple

import jax
import numpy as np

#: What makes each case, and the packages that it needs, by its name.
FUNCTIONS = {}


class Case(NamedTuple):
    """A loss and its parameters, as `gf.jax.gradcheck` takes them."""

    loss: Any
    params: Any


def example(*packages):
    """Registers a function of a generator and of a key that returns (loss, params)."""

    def register(make):
        FUNCTIONS[make.__name__] = make, packages
        return make

    return register


def missing(name):
    """Returns the packages that a case needs and that are not installed."""
    return [package for package in FUNCTIONS[name][1] if importlib.util.find_spec(package) is None]


def case(name):
    """Makes a case in float64, with the same numbers each time."""
    seed = sum(map(ord, name))
    with jax.enable_x64(True):
        return Case(*FUNCTIONS[name][0](np.random.default_rng(seed), jax.random.key(seed)))
