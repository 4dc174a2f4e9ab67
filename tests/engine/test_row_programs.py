"""Tests that the engine runs programs that are no dense networks, against plain formulas at 60 digits."""

import numpy as np
import pytest
from networks import flat
from reference import ACTIVATIONS, affine, central_differences, exact, mp, mpf, sigmoid, softmax

from gradcheck_fast.engine.engine import Engine
from gradcheck_fast.program.program import Program
from gradcheck_fast.running.runner import Runner

H = 2.0**-30
SAMPLES = 3
DIGITS = 1e-12


RUNNER = Runner(1)


def squared_error(x, y):
    return mp.fsum((a - b) ** 2 for a, b in zip(x, y, strict=True))


def tanh(z):
    return [mp.tanh(v) for v in z]


def multiply(a, b):
    return [x * y for x, y in zip(a, b, strict=True)]


def add(a, b):
    return [x + y for x, y in zip(a, b, strict=True)]


# ---- a recurrent network, unrolled: Wx, Wh and b are used in every step

RECURRENT_SHAPES = {"Wx": (2, 3), "Wh": (3, 3), "b": (1, 3), "V": (3, 2), "c": (1, 2)}


def recurrent_program(every_step):
    program = Program(SAMPLES)
    p = {name: program.parameter(shape) for name, shape in RECURRENT_SHAPES.items()}
    inputs = [program.input(2) for _ in range(3)]
    hidden = None
    for t, x in enumerate(inputs):
        terms = [(x, p["Wx"])] if hidden is None else [(x, p["Wx"]), (hidden, p["Wh"])]
        hidden = program.add("tanh", program.affine(terms, p["b"]))
        if every_step or t == 2:
            output = program.affine([(hidden, p["V"])], p["c"])
            program.cost("squared_error", output, program.target(2), constant=1.0, scale=0.5)
    return program


def recurrent_cost(every_step):
    def cost(p, X, y):
        total = mpf(0)
        for x, target in zip(X, y, strict=True):
            hidden = [mpf(0)] * 3
            for t in range(3):
                hidden = tanh(add(affine(x[2 * t : 2 * t + 2], p["Wx"], p["b"][0]), affine(hidden, p["Wh"])))
                if every_step:
                    total += squared_error(affine(hidden, p["V"], p["c"][0]), target[2 * t : 2 * t + 2]) / 2
            if not every_step:
                total += squared_error(affine(hidden, p["V"], p["c"][0]), target) / 2
        return total

    return cost


# ---- a gate, a residual, a softmax in the middle, and a matrix that two layers share

GATED_SHAPES = {"A": (3, 3), "a": (1, 3), "B": (3, 3), "T": (3, 3), "V": (3, 2), "v": (1, 2)}


def gated_program():
    program = Program(SAMPLES)
    p = {name: program.parameter(shape) for name, shape in GATED_SHAPES.items()}
    x = program.input(3)
    gate = program.add("sigmoid", program.affine([(x, p["A"])], p["a"]))
    candidate = program.add("tanh", program.affine([(x, p["B"])]))
    residual = program.add("add", program.add("multiply", gate, candidate), x)
    attention = program.add("multiply", program.add("softmax", residual), candidate)
    tied = program.add("tanh", program.affine([(attention, p["T"])]))
    tied = program.add("softplus", program.affine([(tied, p["T"])], p["a"]))
    program.cost("cross_entropy_logits_class", program.affine([(tied, p["V"])], p["v"]), program.target(1))
    return program


def gated_cost(p, X, y):
    total = mpf(0)
    for x, (target,) in zip(X, y, strict=True):
        gate = [sigmoid(v) for v in affine(x, p["A"], p["a"][0])]
        candidate = tanh(affine(x, p["B"]))
        attention = multiply(softmax(add(multiply(gate, candidate), x)), candidate)
        tied = tanh(affine(attention, p["T"]))
        tied = [ACTIVATIONS["softplus"](v) for v in affine(tied, p["T"], p["a"][0])]
        total -= mp.log(softmax(affine(tied, p["V"], p["v"][0]))[int(target)])
    return total


PROGRAMS = {
    "recurrent_last_step": (recurrent_program(False), recurrent_cost(False), RECURRENT_SHAPES, 2),
    "recurrent_every_step": (recurrent_program(True), recurrent_cost(True), RECURRENT_SHAPES, 6),
    "gate_residual_softmax_tied": (gated_program(), gated_cost, GATED_SHAPES, None),
}


@pytest.fixture(params=PROGRAMS)
def problem(request):
    program, cost, shapes, target_width = PROGRAMS[request.param]
    random = np.random.default_rng(5)
    X = random.normal(size=(3, program.width("data")))
    y = np.array([[0.0], [1.0], [1.0]]) if target_width is None else random.normal(size=(3, target_width))
    params = {name: random.normal(size=shape) for name, shape in shapes.items()}
    data = exact(X), exact(y)
    engine = Engine.of(program, X, y)
    return engine, engine.program, params, lambda p: cost(p, *data)


def assert_close(program, gradient, true, digits):
    """Requires errors below `digits` times the largest entry, for each parameter array."""
    for a in program.arrays:
        part = slice(a.offset, a.offset + a.size)
        error = max(abs(mpf(x) - y) for x, y in zip(gradient[part].tolist(), true[part], strict=True))
        assert error <= digits * max(abs(y) for y in true[part]), f"array at {a.offset}: {a.rows} x {a.columns}"


def true_gradient(cost, params, h):
    return [g for array in central_differences(cost, exact(params), h).values() for g in array]


class TestProgramsThatAreNoDenseNetworks:
    def test_the_cost(self, problem):
        engine, _, params, cost = problem
        assert engine.cost(flat(params), 1) == pytest.approx(float(cost(exact(params))), rel=1e-15)

    @pytest.mark.parametrize("h", [0.1, 1e-4])
    def test_incremental_is_the_central_difference(self, problem, h):
        engine, program, params, cost = problem
        gradient = engine.incremental(flat(params), h, RUNNER)[0]
        assert_close(program, gradient, true_gradient(cost, params, h), DIGITS)

    def test_units_agrees_with_incremental(self, problem):
        """With so small a step, a parameter in several steps has the sum of the slopes by each of its uses."""
        engine, program, params, _ = problem
        one_by_one = engine.incremental(flat(params), H, RUNNER)[0]
        assert_close(program, engine.units(flat(params), H, RUNNER)[0], [mpf(x) for x in one_by_one], DIGITS)

    def test_direct_agrees_in_plain_arithmetic(self, problem):
        engine, program, params, cost = problem
        theta = flat(params)
        changes = engine.direct(theta, theta + 1e-4, theta - 1e-4, RUNNER)
        assert_close(program, changes / 2e-4, true_gradient(cost, params, 1e-4), 1e-9)


# ---- random programs, against an interpreter of the same steps


def interpret(program, flat, X, y):
    """Returns the cost of a row program at 60 digits; `flat` is the parameter vector as a list."""

    def matrix(p):
        begins = [p.array.offset + (p.row + i) * p.array.columns + p.column for i in range(p.rows)]
        return [flat[begin : begin + p.columns] for begin in begins]

    total = mpf(0)
    for x, target in zip(X, y, strict=True):
        values = []
        for step in program.steps:
            of = [values[i] for i in step.inputs]
            if step.name == "input":
                values.append(x[step.column : step.column + step.width])
            elif step.name == "affine":
                value = [mpf(0)] * step.width
                for term in step.terms:
                    W = matrix(term.parameter)
                    if term.diagonal:
                        value = add(value, multiply(values[term.step], W[0]))
                    else:
                        value = add(value, W[0] if term.step < 0 else affine(values[term.step], W))
                values.append(value)
            elif step.name in ACTIVATIONS:
                values.append([ACTIVATIONS[step.name](v) for v in of[0]])
            elif step.name == "softmax":
                values.append(softmax(of[0]))
            elif step.name == "multiply":
                values.append(multiply(*of))
            elif step.name in ("add", "subtract"):
                sign = 1 if step.name == "add" else -1
                values.append([f + sign * g for f, g in zip(*of, strict=True)])
            elif step.name == "where":
                values.append(of[0] if values[step.mask][0] != 0 else of[1])
            else:
                assert step.name == "squared_error"
                values.append(None)
                if step.mask < 0 or values[step.mask][0] != 0:
                    total += mpf(step.scale) * squared_error(of[0], target[step.column : step.column + step.width])
    return total


def random_program(seed, widths=(1, 2, 3)):
    """Returns a program of about ten steps and costs, and a generator.

    Each step reads any of the steps before. Some matrices are used in several steps. The first input is a mask.
    """
    random = np.random.default_rng(seed)
    program = Program(SAMPLES)
    mask = program.input(1)
    steps = [program.input(int(random.choice(widths))) for _ in range(2)]

    def pick(width=None):
        fitting = [s for s in steps if width in (None, width_of(s))]
        return fitting[random.integers(len(fitting))]

    def parameter(rows, columns):
        fitting = [p for p in matrices if program.steps[p].shape == (rows, columns)]
        if fitting and random.integers(2):
            return fitting[0]
        matrices.append(new_parameter(rows, columns))
        return matrices[-1]

    def new_parameter(rows, columns):
        if random.integers(2):
            return program.parameter((rows, columns))
        whole = program.parameter(
            (2 * rows, columns + 1)
        )  # four blocks of one array: the last is a matrix, the others are biases
        blocks = [program.block(whole, row=r, rows=1, columns=columns) for r in range(rows)]
        spare.extend([*blocks, program.block(whole, columns=1, column=columns)])
        return program.block(whole, row=rows, rows=rows, columns=columns)

    def add_affine():
        columns = int(random.choice(widths))
        inputs = [pick() for _ in range(random.integers(1, 3))]
        terms = {parameter(width_of(s), columns): s for s in inputs}  # no step uses a matrix twice
        bias = program.parameter((columns,)) if random.integers(2) else None
        more = [p for p in dict.fromkeys(spare) if program.steps[p].shape == (1, columns) and p not in terms]
        same = [s for s in steps if width_of(s) == columns]
        diagonals = [(s, program.parameter((columns,))) for s in same[: random.integers(3)]]
        return program.affine([(s, matrix) for matrix, s in terms.items()], bias, more_biases=more, diagonals=diagonals)

    def add_cost(step, mask=None):
        target = program.target(width_of(step))
        program.cost("squared_error", step, target, constant=1.0, scale=0.5, mask=mask)

    def width_of(step):
        return program.steps[step].shape[1]

    matrices, spare = [], []
    steps.append(add_affine())
    kinds = [
        "affine",
        "affine",
        "elementwise",
        "elementwise",
        "softmax",
        "multiply",
        "add",
        "subtract",
        "where",
        "cost",
    ]
    for _ in range(9):
        kind = random.choice(kinds)
        if kind == "affine":
            steps.append(add_affine())
        elif kind == "elementwise":
            steps.append(program.add(str(random.choice(["tanh", "sigmoid", "relu", "silu", "softsign"])), pick()))
        elif kind == "softmax":
            steps.append(program.add("softmax", pick()))
        elif kind == "cost":
            add_cost(pick(), mask if random.integers(2) else None)
        elif kind == "where":
            first = pick()
            steps.append(program.add("where", mask, first, pick(width_of(first))))
        else:
            first = pick()
            steps.append(program.add(str(kind), first, pick(width_of(first))))
    add_cost(steps[-1])
    return program, random


@pytest.mark.parametrize("seed", range(60))
def test_random_program(seed):
    program, random = random_program(seed)
    X, y = random.normal(size=(SAMPLES, program.width("data"))), random.normal(size=(SAMPLES, program.width("targets")))
    X[:, 0] = [0, 1, 1]
    theta = random.normal(size=program.size)
    engine, data = Engine.of(program, X, y), (exact(X), exact(y))
    program = engine.program
    by_name = {"theta": exact(theta)}
    assert engine.cost(theta, 1) == pytest.approx(float(interpret(program, by_name["theta"], *data)), rel=1e-14)
    for h in (0.1, 1e-4):
        true = central_differences(lambda p: interpret(program, p["theta"], *data), by_name, h)["theta"]
        assert_close(program, engine.incremental(theta, h, RUNNER)[0], true, DIGITS)
    one_by_one = engine.incremental(theta, H, RUNNER)[0]
    assert_close(program, engine.units(theta, H, RUNNER)[0], [mpf(x) for x in one_by_one], DIGITS)


@pytest.mark.parametrize("seed", range(60))
def test_random_program_of_many_widths(seed):
    """Compares with plain arithmetic where differences of all widths meet, in every state that a slot may have."""
    program, random = random_program(seed, widths=(2, 10, 20, 60))
    X, y = random.normal(size=(SAMPLES, program.width("data"))), random.normal(size=(SAMPLES, program.width("targets")))
    X[:, 0] = [0, 1, 1]
    theta = random.normal(size=program.size) / 8
    engine = Engine.of(program, X, y)
    plain = engine.direct(theta, theta + 1e-5, theta - 1e-5, RUNNER) / 2e-5
    noise = 1e-7 * np.abs(plain).max() + 1e-10 * abs(engine.cost(theta, 1))
    one_by_one = engine.incremental(theta, 1e-5, RUNNER)[0]
    assert np.abs(one_by_one - plain).max() <= noise
    assert np.abs(engine.units(theta, H, RUNNER)[0] - plain).max() <= noise


def test_a_parameter_stands_in_a_step_only_once():
    program = Program(SAMPLES)
    x, row = program.input(1), program.parameter((1, 3))
    hidden = program.affine([(x, row)])
    square = program.parameter((3, 3))
    with pytest.raises(ValueError, match="two affine steps"):
        program.affine([(hidden, square), (hidden, square)])
    with pytest.raises(ValueError, match="two affine steps"):
        program.affine([(x, row)], row)
