"""Compiled losses for the tests of callback()."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.kernels import _kernels

HERE = Path(__file__).parent
COMPILER = os.environ.get("CC", "cc")
FLAGS = ("-std=c11", "-O2", "-ffp-contract=off", "-Wall", "-Werror", "-shared", "-fPIC", f"-I{gf.get_include()}")
PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.c_ssize_t, ctypes.c_void_p)
TEXT = "double (double *, intptr_t, void *)"
CDEF = "double weighted(double *, intptr_t, void *); double single(double *, int, void *);"
RANDOM = np.random.default_rng(0)
PARAMS = {"W": RANDOM.normal(size=(2, 3)), "b": [RANDOM.normal(size=3), 0.5]}
FLAT = np.concatenate([PARAMS["W"].ravel(), PARAMS["b"][0], [0.5]])
WEIGHTS = RANDOM.normal(size=10)

needs_openmp = pytest.mark.skipif(not _kernels.has_openmp, reason="this build has no OpenMP")


def python(theta, weights=None):
    """The loss ``weighted``, to the last bit."""
    total = 0.0
    for k, x in enumerate(theta):
        total += (k + 1.0 if weights is None else float(weights[k])) * float(x) * float(x)
    return total


def python_of_tree(params):
    return python([*params["W"].ravel(), *params["b"][0], params["b"][1]])


def declared(function):
    """A ctypes function that says what it takes."""
    function.restype, function.argtypes = PROTOTYPE._restype_, PROTOTYPE._argtypes_
    return function


def address(function):
    return ctypes.cast(function, ctypes.c_void_p).value


@cache  # a capsule does not keep its name alive
def name_of_capsule(name):
    return name and ctypes.create_string_buffer(name.encode())


def capsule(pointer, name, context=None):
    """What a Cython module exports a function as."""
    api = ctypes.pythonapi
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(("PyCapsule_New", api))
    put = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_void_p)(("PyCapsule_SetContext", api))
    made = new(pointer, name_of_capsule(name), None)
    put(made, context)
    return made
