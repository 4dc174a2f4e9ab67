"""Every entry moved by itself: step by step against the twin, and whole gradients against the chain."""

from __future__ import annotations

import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from handwritten import ALL
from primitive_cases import TENSOR_CASES
from work import Inline

import gradcheck_fast as gf
from gradcheck_fast.engine import entries as engine_entries
from gradcheck_fast.engine import entries_batches, entries_places
from gradcheck_fast.engine.entries import Entries
from gradcheck_fast.engine.rules import RulesEngine
from gradcheck_fast.kernels import _kernels
from gradcheck_fast.program import twin
from gradcheck_fast.program.program import Program
from gradcheck_fast.program.steps import PRIMITIVES
from gradcheck_fast.running.runner import Runner

H = 2.0**-40
ROWS = (4, 5)
BROADCAST = ((ROWS, ROWS), (ROWS, (4, 1)), (ROWS, ()), ((5,), ROWS), ((), ROWS))
COST = {"constant": 0.7, "scale": 0.25}
AFFINE = {"terms": ("bias", "matrix", "diagonal"), "shape": (4, 3), "offset": 0.5}
POSITIVE = {"divide", "power", "arctan2", "hypot", "xlogy", "reciprocal", "sqrt", "cbrt", "log", "log2", "log10",
            "gammaln"}  # fmt: skip
SMALL = {"log1p", "tan", "arcsin", "arccos", "arctanh"}


def listed():
    """Every primitive with its inputs and attributes."""
    for case in TENSOR_CASES:
        if math.prod(map(math.prod, case.shapes)):
            yield pytest.param(case.name, case.drawn()[0], dict(case.attributes), id=repr(case))
    random = np.random.default_rng(0)

    def drawn(name, *shapes, **attributes):
        low, high = (0.5, 3.0) if name in POSITIVE else (-0.6, 0.6) if name in SMALL else (-3.0, 3.0)
        x = [np.asarray(random.uniform(low, high, shape)) for shape in shapes]
        if name == "arccosh":
            x = [1.5 + np.abs(x[0])]
        if name in ("select", "where"):
            x[0] = np.array([[1.0], [0.0], [1.0], [1.0]])
        return pytest.param(name, x, attributes, id=f"{name} {shapes}")

    tensors = {case.name for case in TENSOR_CASES}
    for name, primitive in PRIMITIVES.items():
        if name in tensors or name in ("input", "parameter"):
            continue
        if name in _kernels.COSTS:
            if not name.startswith(("cross", "binary")):
                yield drawn(name, ROWS, ROWS, **COST)
        elif name == "slice":
            yield drawn(name, (6, 7), ranges=((1, 4), (2, 7)))
            yield drawn(name, (7,), ranges=((3, 5),))
        elif name == "affine":
            yield drawn(name, (3,), (4, 2), (2, 3), (4, 3), (3,), **AFFINE)
        elif name == "where":
            yield drawn(name, (4, 1), ROWS, ROWS)
        elif name == "select":
            yield drawn(name, (4, 1), (5,), ROWS)
        elif len(primitive.written.split("{1}")) > 1:
            yield from (drawn(name, *shapes) for shapes in BROADCAST)
        else:
            yield drawn(name, ROWS)


def program_of(name, x, attributes):
    """The step on parameters to which others are added in some places: few of them reach few, and one reaches all.

    The inputs that choose are data. The cost is a weighted sum of the outputs.
    """
    random, program = np.random.default_rng(1), Program()
    fixed = {0} if name in ("select", "where") else set()
    inputs = []
    own = [None if k in fixed else program.parameter(at.shape) for k, at in enumerate(x)]
    few, one = program.parameter((3,)), program.parameter(())
    nothing = program.constant(np.zeros(()))
    for k, at in enumerate(x):
        if k in fixed:
            inputs.append(program.constant(at))
            continue
        index = random.choice([0, 1, 2, 3], at.shape, p=[0.1, 0.1, 0.1, 0.7]).astype(np.int64)
        added = program.add("gather", few, nothing, index=np.asarray(index))
        if k:  # so that the first input alone moves for some entries
            added = program.add("multiply", added, program.constant(random.random(at.shape)))
        number = program.add("add", own[k], added)
        inputs.append(program.add("add", number, one))
    step = program.add(name, *inputs, **attributes)
    shape = program.steps[step].shape
    program.total(program.add("multiply", step, program.constant(random.uniform(0.5, 1.5, shape))))
    theta = [at.ravel() for k, at in enumerate(x) if k not in fixed]
    return program, np.concatenate([*theta, np.zeros(4)])


def by_twin(program, theta, entry, move):
    values = twin.values(program, program.arrays(theta))
    unit = np.zeros_like(theta)
    unit[entry] = move
    return twin.total(program, twin.differences(program, values, program.arrays(unit)))


@pytest.mark.parametrize(("name", "x", "attributes"), list(listed()))
@pytest.mark.parametrize("filled", [0.0, 1.0])
def test_each_primitive_changes_as_the_twin_says(name, x, attributes, filled, monkeypatch):
    """As dense as can be, and as sparse as can be."""
    for module in ("places", "rules", "products"):
        monkeypatch.setattr(f"gradcheck_fast.engine.entries_{module}.FILLED", filled)
    program, theta = program_of(name, x, attributes)
    found = Entries(RulesEngine(program), theta)
    moves = np.array([0.05, -0.03])
    with np.errstate(all="ignore"):
        for batch in found.batches:
            changes = found.changes(batch, moves)
            for k in {0, len(batch.index) // 2, len(batch.index) - 1}:
                for move, change in zip(moves, changes[:, k], strict=True):
                    expected = by_twin(program, theta, batch.entries[k], move)
                    assert change == pytest.approx(expected, rel=1e-11, abs=1e-13), (batch, k)
    assert sorted(np.concatenate([batch.entries for batch in found.batches])) == list(range(len(theta)))


def test_everything_is_listed():
    tested = {param.values[0] for param in listed()}
    costs = {name for name in _kernels.COSTS if name.startswith(("cross", "binary"))}
    assert tested | costs | {"input", "parameter", "constant"} == set(PRIMITIVES)
