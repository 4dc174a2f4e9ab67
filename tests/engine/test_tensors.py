"""Tests that the tensor executor runs every primitive as the plain rules of its twin do.

A row of `CASES` builds a program around one primitive. Everything that the executor computes in it is compared: the
values of all steps, their changes along a direction, small and large, and what comes back to them.
"""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_fast.engine.chain import TensorEngine
from gradcheck_fast.engine.kernel_steps import KERNELS
from gradcheck_fast.kernels import _kernels
from gradcheck_fast.program import twin
from gradcheck_fast.program.primitive import SLOPE_STEP
from gradcheck_fast.program.program import Program
from gradcheck_fast.program.steps.costs import COSTS

#: One panel, more than one, and less than one; and more than one region.
WIDTHS = (1, 3, 16, 17, 50)
SAMPLES = 7
#: One or two at a time: so small that differences are short series, middling, and so large that kinks are crossed.
SCALES = ((2.0**-40,), (1e-2,), (1.0,), (2.0**-40, -(2.0**-40)), (1.0, 1e-2), (2.0**-24, -1.0))
DIGITS = 1e-13


# ---- programs around one primitive


def dense(program, x, width):
    """Adds x W + b."""
    rows = program.steps[x].shape[1]
    return program.affine([(x, program.parameter((rows, width)))], program.parameter((width,)))


def finish(program, x):
    """Adds a cost of another affine step, so that what comes back differs from entry to entry."""
    program.cost("squared_error", dense(program, x, 2), program.target(2), constant=0.5)
    return program


def several_terms(name, width):
    """A matrix of data, one of a step, two diagonals, two biases of both shapes, and an offset."""
    program = Program(SAMPLES)
    x, hidden = program.input(4), program.input(width)
    hidden = dense(program, hidden, width)
    matrices = [(x, program.parameter((4, width))), (hidden, program.parameter((width, width)))]
    diagonals = [(hidden, program.parameter((width,))), (hidden, program.parameter((1, width)))]
    biases = program.parameter((1, width)), program.parameter((width,))
    return finish(program, program.affine(matrices, biases[0], more_biases=biases[1:], diagonals=diagonals, offset=0.5))


def of_one(name, width):
    program = Program(SAMPLES)
    return finish(program, program.add(name, dense(program, program.input(5), width)))


def of_two(name, width):
    """Of a step with data, of data with a step, of two steps, and of a step with itself."""
    program = Program(SAMPLES)
    x, f, g = program.input(width), dense(program, program.input(5), width), dense(program, program.input(5), width)
    for left, right in ((f, x), (x, f), (f, g), (g, g)):
        finish(program, program.add(name, left, right))
    return program


def choice(name, width):
    """Between two steps, between a step and data, and between data and a step."""
    program = Program(SAMPLES)
    mask, x = program.input(1), program.input(width)
    f, g = dense(program, program.input(5), width), dense(program, program.input(5), width)
    for both in ((f, g), (f, x), (x, g), (g, g)):
        finish(program, program.add(name, mask, *both))
    return program


def cost(name, width):
    """With a mask and without, both of the same step, and one of another step."""
    program = Program(SAMPLES)
    mask, hidden = program.input(1), dense(program, program.input(5), width)
    if "probabilities" in name:
        hidden = program.add("sigmoid" if name.startswith("binary") else "softmax", hidden)
    x = program.add("add", hidden, hidden) if "probabilities" not in name else hidden
    for step, scale, counted in ((hidden, 0.25, None), (hidden, 1.5, mask), (x, -0.75, mask)):
        target = program.target(1 if COSTS[name].by_class else width)
        program.cost(name, step, target, constant=0.7, scale=scale, mask=counted)
    return program


CASES = {
    "affine": several_terms,
    "softmax": of_one,
    "where": choice,
    **dict.fromkeys(_kernels.ELEMENTWISE, of_one),
    **dict.fromkeys(_kernels.PAIRWISE, of_two),
    **dict.fromkeys(
        [
            "squared_error",
            "absolute_error",
            "huber",
            "binary_cross_entropy_logits",
            "binary_cross_entropy_probabilities",
            "cross_entropy_logits",
            "cross_entropy_logits_class",
            "cross_entropy_probabilities",
            "cross_entropy_probabilities_class",
        ],
        cost,
    ),
}


def drawn(program, width=3, seed=0):
    """Returns parameters, data, targets and a direction. Masks, of one column, are 0 and 1; classes are numbers."""
    random = np.random.default_rng(seed)
    samples = program.samples
    theta, direction = random.normal(size=(2, program.size))
    X, y = random.normal(size=(samples, program.width("data"))), random.uniform(size=(samples, program.width("targets")))
    for step in program.steps:
        if step.name == "where" or (step.name in COSTS and len(step.inputs) == 3):
            mask = program.steps[step.inputs[0 if step.name == "where" else 2]]
            X[:, mask.attributes["begin"]] = np.arange(samples) % 3 != 0
        if step.name in COSTS and COSTS[step.name].by_class:
            target, classes = program.steps[step.inputs[1]], program.steps[step.inputs[0]].shape[1]
            y[:, target.attributes["begin"]] = random.integers(classes, size=samples)
    return theta, X, y, direction


WORST = {}
def assert_near(found, expected, what):
    assert found.shape == expected.shape, what
    e = np.abs(found-expected).max(initial=0.0)/max(np.abs(expected).max(initial=0.0),1e-300)
    k = what.split()[0]
    WORST[k] = max(WORST.get(k,(0,)), (e, what))
    assert np.abs(found - expected).max(initial=0.0) <= 1e-9 * np.abs(expected).max(initial=0.0), what


def computed(program):
    """The numbers of the steps that are computed, and neither given nor moved."""
    return {number for number, step in enumerate(program.steps) if step.name in KERNELS}


def assert_runs_like_its_twin(program, seed=0, n_threads=1):
    theta, X, y, direction = drawn(program, seed=seed)
    at = twin.values(program, program.leaves(theta, X, y))
    with TensorEngine(program, X, y).at(theta, n_threads) as point:
        (chunk,) = point.chunks()
        for number, (found, expected) in enumerate(zip(chunk.values, at, strict=True)):
            assert_near(found, expected, f"value of step {number}, {program.steps[number]}")
        for scales in SCALES:
            all_found = point.changes(chunk, direction, scales)
            totals = point.along(direction, scales)
            for scale, found, total in zip(scales, all_found, totals, strict=True):
                leaves = program.leaves(scale * direction, X, y)
                moved = {number: leaves[number] for number in program.parameters}
                expected = twin.differences(program, at, moved)
                assert found.keys() == {k for k, d in enumerate(expected) if d is not None} & computed(program)
                for number, change in found.items():
                    assert_near(change, expected[number], f"change by {scale} of step {number}, {program.steps[number]}")
                size = sum(np.abs(expected[number]).sum() for number in program.costs if expected[number] is not None)
                assert abs(total - twin.total(program, expected)) <= DIGITS * size
        expected = twin.sensitivities(program, at)
        found = point.sensitivities(chunk, SLOPE_STEP)
        assert found.keys() == expected.keys() & (computed(program) - set(program.costs))
        for number, back in found.items():
            assert_near(back, expected[number], f"sensitivity of step {number}, {program.steps[number]}")
        gradient = program.leaves(point.gradient(SLOPE_STEP), X, y)
        for number in program.parameters:
            of = expected.get(number, np.zeros(program.steps[number].shape))
            assert_near(gradient[number], of, f"gradient by parameter {number}")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", KERNELS)
def test_a_primitive_runs_like_its_twin(name, width):
    assert_runs_like_its_twin(CASES[name](name, width))
