"""Tests that the tensor executor runs every primitive as the plain rules of its twin do.

A row of `CASES` builds a program around one primitive. Everything that the executor computes in it is compared: the
values of all steps, their changes along a direction, small and large, and what comes back to them.
"""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_fast.engine import plan
from gradcheck_fast.engine._tensors import SCRATCH
from gradcheck_fast.engine.chain import TensorEngine
from gradcheck_fast.engine.kernel_steps import KERNELS
from gradcheck_fast.kernels import _kernels
from gradcheck_fast.program import twin
from gradcheck_fast.program.primitive import SLOPE_STEP
from gradcheck_fast.program.program import Program
from gradcheck_fast.program.steps.costs import COSTS

SAMPLES = 7
#: Less than a panel of 16, one, and more; and more than a region of 48.
WIDTHS = (1, 3, 16, 17, 50)
#: How far a direction is followed, once or twice: as far as short series do, further, and across kinks.
SCALES = ((2.0**-40,), (1e-2,), (1.0,), (2.0**-40, -(2.0**-40)), (2.0**-24, -1.0), (1.0, 1e-2))
#: Relative to the largest entry. Sums may be rounded in another order, and may cancel.
DIGITS = 1e-12


# ---- programs around one primitive


def dense(program, x, width, offset=0.0):
    """Adds x W + b."""
    W = program.parameter((program.steps[x].shape[1], width))
    return program.affine([(x, W)], program.parameter((width,)), offset=offset)


def finish(program, x):
    """Adds a cost of another affine step, so that what comes back differs from entry to entry."""
    program.cost("squared_error", dense(program, x, 2), program.target(2), constant=0.5)
    return program


def several_terms(name, width):
    """Multiplies data by a matrix, and a step by two matrices and two vectors; and adds two biases and a number."""
    program = Program(SAMPLES)
    x, hidden = program.input(4), dense(program, program.input(5), width)
    factors = [(x, (4, width)), (hidden, (width, width)), (hidden, (width, width))]
    matrices = [(step, program.parameter(shape)) for step, shape in factors]
    diagonals = [(hidden, program.parameter(shape)) for shape in ((width,), (1, width))]
    biases = [program.parameter(shape) for shape in ((1, width), (width,))]
    return finish(program, program.affine(matrices, more_biases=biases, diagonals=diagonals, offset=0.5))


def of_one(name, width):
    program = Program(SAMPLES)
    wide = name == "relu6"  # its kinks are at 0 and 6
    hidden = dense(program, program.input(20 if wide else 5), width, offset=3.0 if wide else 0.0)
    return finish(program, program.add(name, hidden))


def of_two(name, width):
    """Takes a step and data, data and a step, two steps, and a step twice."""
    program = Program(SAMPLES)
    x, f, g = program.input(width), dense(program, program.input(5), width), dense(program, program.input(5), width)
    for both in ((f, x), (x, f), (f, g), (g, g)):
        finish(program, program.add(name, *both))
    return program


def choice(name, width):
    """Chooses between two steps, between a step and data, and between a step and itself."""
    program = Program(SAMPLES)
    mask, x = program.input(1), program.input(width)
    f, g = dense(program, program.input(5), width), dense(program, program.input(5), width)
    for both in ((f, g), (f, x), (x, g), (g, g)):
        finish(program, program.add(name, mask, *both))
    return program


def cost(name, width):
    """Takes one step with a mask and without."""
    program = Program(SAMPLES)
    width = max(width, 2) if name.startswith("cross_entropy") else width  # that of one class is always 0
    mask, hidden = program.input(1), dense(program, program.input(5), width)
    if "probabilities" in name:
        hidden = program.add("sigmoid" if name.startswith("binary") else "softmax", hidden)
    for scale, counted in ((0.25, None), (-0.75, mask)):
        target = program.target(1 if COSTS[name].by_class else width)
        program.cost(name, hidden, target, constant=0.7, scale=scale, mask=counted)
    return program


#: A program for each primitive that has a kernel: of the functions of one number and of two all are built alike.
CASES = {
    "affine": several_terms,
    "softmax": of_one,
    "where": choice,
    "squared_error": cost,
    "absolute_error": cost,
    "huber": cost,
    "binary_cross_entropy_logits": cost,
    "binary_cross_entropy_probabilities": cost,
    "cross_entropy_logits": cost,
    "cross_entropy_logits_class": cost,
    "cross_entropy_probabilities": cost,
    "cross_entropy_probabilities_class": cost,
    **dict.fromkeys(_kernels.ELEMENTWISE, of_one),
    **dict.fromkeys(_kernels.PAIRWISE, of_two),
}


def drawn(program, seed=0):
    """Returns parameters, data, targets and a direction. Masks are 0 in every third sample, and classes are numbers."""
    random, samples = np.random.default_rng(seed), program.samples
    theta, direction = 0.5 * random.normal(size=program.size), 0.2 * random.normal(size=program.size)
    X, y = random.normal(size=(samples, program.width("data"))), random.random((samples, program.width("targets")))
    for step in program.steps:
        masks = step.inputs[:1] if step.name == "where" else step.inputs[2:] if step.name in COSTS else ()
        for mask in masks:
            X[:, program.steps[mask].attributes["begin"]] = np.arange(samples) % 3 != 0
        if step.name in COSTS and COSTS[step.name].by_class:
            (_, classes), target = program.steps[step.inputs[0]].shape, program.steps[step.inputs[1]]
            y[:, target.attributes["begin"]] = random.integers(classes, size=samples)
    return theta, X, y, direction


# ---- what is compared


def assert_near(found, expected, what):
    assert found.shape == expected.shape, what
    assert np.abs(found - expected).max(initial=0.0) <= DIGITS * np.abs(expected).max(initial=0.0), what


def assert_runs_like_its_twin(program, data=None, n_threads=1):
    """Compares all that the executor computes. Every step must be one that a cost depends on."""
    theta, X, y, direction = data or drawn(program)
    steps, computed = program.steps, {k for k, step in enumerate(program.steps) if step.name in KERNELS}
    at = twin.values(program, program.leaves(theta, X, y))
    with TensorEngine(program, X, y).at(theta, n_threads) as point:
        (chunk,) = point.chunks()
        for number, (found, expected) in enumerate(zip(chunk.values, at, strict=True)):
            assert_near(found, expected, f"value of step {number}, {steps[number]}")
        assert point.cost() == pytest.approx(twin.total(program, at), rel=DIGITS)
        for scales in SCALES:
            totals, changes = point.along(direction, scales), point.changes(chunk, direction, scales)
            for scale, total, found in zip(scales, totals, changes, strict=True):
                assert_changes_like_its_twin(program, at, scale * direction, total, found, computed)
        expected, found = twin.sensitivities(program, at), point.sensitivities(chunk, SLOPE_STEP)
        assert found.keys() == expected.keys() & computed - set(program.costs)
        for number, back in found.items():
            assert_near(back, expected[number], f"what comes back to step {number}, {steps[number]}")
        gradient = program.leaves(point.gradient(SLOPE_STEP), X, y)
        for number in program.parameters:
            back = expected.get(number, np.zeros(steps[number].shape))
            assert_near(gradient[number], back, f"what comes back to parameter {number}")


def assert_changes_like_its_twin(program, at, direction, total, found, computed):
    leaves = program.leaves(direction, *(np.empty((program.samples, program.width(of))) for of in ("data", "targets")))
    expected = twin.differences(program, at, {number: leaves[number] for number in program.parameters})
    assert found.keys() == {number for number, d in enumerate(expected) if d is not None} & computed
    for number, change in found.items():
        assert_near(change, expected[number], f"change of step {number}, {program.steps[number]}")
    size = sum(np.abs(expected[number]).sum() for number in program.costs if expected[number] is not None)
    assert abs(total - twin.total(program, expected)) <= DIGITS * size


# ---- every primitive


def test_every_primitive_of_the_kernels_has_a_case():
    assert CASES.keys() == KERNELS.keys()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", KERNELS)
def test_a_primitive_runs_like_its_twin(name, width):
    assert_runs_like_its_twin(CASES[name](name, width))


@pytest.mark.parametrize("isa", _kernels.instruction_sets())
@pytest.mark.parametrize("name", KERNELS)
def test_a_primitive_runs_like_its_twin_on_each_instruction_set(name, isa, monkeypatch):
    monkeypatch.setenv("GRADCHECK_FAST_ISA", isa)
    program = CASES[name](name, 50)
    assert TensorEngine(program, *drawn(program)[1:3]).isa == isa
    assert_runs_like_its_twin(program)


@pytest.mark.parametrize("name", [name for name, known in _kernels.ELEMENTWISE.items() if known.kinks])
def test_the_cases_cross_all_kinks_from_both_sides(name):
    program = of_one(name, 50)
    theta, X, y, direction = drawn(program)
    (number,) = (number for number, step in enumerate(program.steps) if step.name == name)
    before, after = (twin.values(program, program.leaves(at, X, y))[number - 1] for at in (theta, theta + direction))
    for kink in _kernels.ELEMENTWISE[name].kinks:
        assert ((before < kink) & (after > kink)).any()
        assert ((before > kink) & (after < kink)).any()


# ---- sizes


def layers(samples, *widths, output="softmax"):
    program = Program(samples)
    hidden = program.input(widths[0])
    for width in widths[1:]:
        hidden = program.add("tanh", dense(program, hidden, width))
    program.cost("squared_error", program.add(output, hidden), program.target(widths[-1]), constant=0.5)
    return program


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize(
    "program", [layers(7, 5, 130, 3), layers(130, 100, 5, 60), layers(100, 130, 100)], ids=["wide", "tall", "both"]
)
def test_matrices_of_several_regions(program, n_threads, monkeypatch):
    monkeypatch.setattr(plan, "ALONE_WORK", 0.0)
    monkeypatch.setattr(plan, "LEAST_WORK", 1.0)
    assert_runs_like_its_twin(program, n_threads=n_threads)


def test_products_that_are_packed_in_several_pieces():
    """An inner dimension of more than 384, and more than eight panels at a time: on the way there and back."""
    assert_runs_like_its_twin(layers(5, 800, 3, 800))


def test_many_samples_of_one_number():
    assert_runs_like_its_twin(layers(1000, 1, 1, output="sigmoid"))


def test_one_sample():
    assert_runs_like_its_twin(layers(1, 3, 50, 2))


def test_a_row_that_does_not_fit_into_the_scratch_memory_of_products():
    program = Program(2)
    hidden = program.add("softmax", program.affine([], program.parameter((SCRATCH // 3 + 1,))))
    theta, *others = drawn(finish(program, hidden))
    assert_runs_like_its_twin(program, (8.0 * theta, *others))  # a few of the probabilities are not small


# ---- who reads what


def test_a_tensor_that_many_steps_read():
    program = Program(SAMPLES)
    x, V = program.input(5), program.parameter((17, 17))
    hidden = dense(program, x, 17)
    both = program.affine([(hidden, V), (hidden, program.parameter((17, 17)))])
    again = program.affine([(program.add("tanh", both), V)])  # V, too, is used twice
    total = program.add("add", program.add("multiply", hidden, hidden), program.add("subtract", both, again))
    finish(program, total)
    program.cost("huber", hidden, program.target(17), constant=0.3)
    program.cost("cross_entropy_logits", hidden, program.target(17))
    assert_runs_like_its_twin(program)


def test_parts_of_parameters():
    """Matrices, a bias and a diagonal out of one array, of which the last row is in none; and parts of a vector."""
    program = Program(SAMPLES)
    x, whole, vector = program.input(4), program.parameter((7, 53)), program.parameter((53,))
    left, right = program.block(whole, rows=4, columns=17), program.block(whole, rows=4, column=17)
    bias, diagonal = program.block(whole, row=4, rows=1, columns=17), program.block(whole, row=5, rows=1, column=17)
    biases = program.block(vector, columns=17), program.block(vector, column=17)
    first = program.affine([(x, left)], bias, more_biases=[biases[0]])
    second = program.affine([(x, right)], biases[1])
    finish(program, program.add("tanh", first))
    finish(program, program.affine([], diagonals=[(program.add("tanh", second), diagonal)]))
    assert_runs_like_its_twin(program)


def test_a_part_of_a_part():
    program = Program(SAMPLES)
    part = program.block(program.parameter((6, 40)), row=1, rows=4, column=3, columns=30)
    finish(program, program.affine([(program.input(4), program.block(part, column=10))]))
    assert_runs_like_its_twin(program)


def test_to_a_parameter_that_no_cost_depends_on_nothing_comes_back():
    program = Program(SAMPLES)
    x, unread, read_in_vain = program.input(4), program.parameter((3, 3)), program.parameter((4, 2))
    program.affine([(x, read_in_vain)])
    finish(program, dense(program, x, 3))
    theta, X, y, _ = drawn(program)
    with TensorEngine(program, X, y).at(theta, 1) as point:
        gradient = program.leaves(point.gradient(SLOPE_STEP), X, y)
    expected = twin.sensitivities(program, twin.values(program, program.leaves(theta, X, y)))
    assert not gradient[unread].any()
    assert not gradient[read_in_vain].any()
    for number in program.parameters[2:]:
        assert_near(gradient[number], expected[number], number)


# ---- costs and masks


@pytest.mark.parametrize("counted", [0.0, 1.0, -2.5])
@pytest.mark.parametrize("name", [*COSTS, "where"])
def test_masks_of_no_samples_and_of_all(name, counted):
    program = CASES[name](name, 17)
    theta, X, y, direction = drawn(program)
    (mask,) = {step.inputs[0 if name == "where" else 2] for step in program.steps
               if step.name == name and len(step.inputs) == 3}  # fmt: skip
    X[:, program.steps[mask].attributes["begin"]] = counted
    assert_runs_like_its_twin(program, (theta, X, y, direction))


def test_a_cost_that_depends_on_data_alone():
    program = Program(SAMPLES)
    program.cost("squared_error", program.add("tanh", program.input(17)), program.target(17), constant=0.5)
    finish(program, dense(program, program.input(3), 17))
    assert_runs_like_its_twin(program)


def test_a_program_without_parameters():
    program = Program(SAMPLES)
    program.cost("squared_error", program.input(17), program.target(17), constant=0.5)
    assert_runs_like_its_twin(program)


def test_a_program_without_data():
    program = Program(SAMPLES)
    hidden = program.affine([], program.parameter((17,)), more_biases=[program.parameter((1, 17))], offset=-0.5)
    assert_runs_like_its_twin(finish(program, program.add("tanh", hidden)))


def test_a_program_without_steps_that_are_computed():
    program = Program(SAMPLES)
    program.parameter((3, 4))
    assert_runs_like_its_twin(program)


def test_what_lies_behind_the_targets_does_not_matter():
    """Costs are added up in whole panels, which reach beyond the last row of the targets."""
    program = cost("squared_error", 3)
    theta, X, y, direction = drawn(program)
    memory = np.full(y.size + 32, np.nan)
    memory[: y.size] = y.ravel()
    assert_runs_like_its_twin(program, (theta, X, memory[: y.size].reshape(y.shape), direction))


@pytest.mark.parametrize("name", ["softmax", "exp", "cross_entropy_logits"])
def test_numbers_that_overflowed_leave_nothing_behind_for_the_next_point(name):
    program = CASES[name](name, 17)
    theta, X, y, direction = drawn(program)
    engine = TensorEngine(program, X, y)
    results = []
    for at in (theta, 1e308 * np.sign(theta), theta):
        with engine.at(at, 1) as point, np.errstate(all="ignore"):
            results.append(np.concatenate([point.along(direction, (1.0, 2.0**-40)), point.gradient(SLOPE_STEP)]))
    assert not np.isfinite(results[1]).all()
    np.testing.assert_array_equal(results[2], results[0])
