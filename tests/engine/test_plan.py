"""Tests of plans: which regions are computed when, where tensors lie, and which programs are refused.

A schedule is right if every entry is covered exactly once, and if nothing that a part reads is written in its own wave.
"""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.engine import plan as plans
from gradcheck_fast.engine.kernel_steps import KERNELS
from gradcheck_fast.engine.layout import PANEL
from gradcheck_fast.engine.plan import Plan
from gradcheck_fast.program.program import Program, Source

SAMPLES = 100


def of_network(net, *shape, lengths=None):
    """Returns the program of a network on random data."""
    random = np.random.default_rng(0)
    outputs = net.predict(net.init(0), np.zeros(shape)).shape
    return net.loss(random.normal(size=shape), random.normal(size=outputs), lengths=lengths).program


def many_readers():
    """Values, parameters and parts of parameters that several steps read, two costs, and two steps for nothing."""
    program = Program(SAMPLES)
    x, shared, whole = program.input(60), program.parameter((60, 60)), program.parameter((60, 200))
    left, right = program.block(whole, columns=130), program.block(whole, column=140)
    hidden = program.add("relu", program.affine([(x, shared)]))
    other = program.affine([(hidden, shared), (hidden, right)], diagonals=[(x, program.parameter((60,)))])
    program.add("tanh", program.affine([(x, program.parameter((60, 3)))]))
    wide = program.add("softmax", program.affine([(program.add("multiply", hidden, other), left)]))
    program.cost("squared_error", program.affine([(wide, program.parameter((130, 2)))]), program.target(2))
    program.cost("absolute_error", other, program.target(60), mask=program.input(1))
    return program


PROGRAMS = {
    "dense": of_network(gf.Network([gf.Dense(70, 110, "tanh"), gf.Dense(110, 5)], cost=gf.SquaredError()), 100, 70),
    "lstm": of_network(
        gf.Network([gf.LSTM(8, 50, bidirectional=True, peepholes=True), gf.Dense(100, 2)], cost=gf.Huber()), 60, 4, 8
    ),
    "gru": of_network(
        gf.Network([gf.GRU(8, 30, return_sequences=True), gf.GRU(30, 30), gf.Dense(30, 2)], cost=gf.Huber()),
        *(10, 3, 8),
        lengths=np.arange(10) % 3 + 1,
    ),
    "many_readers": many_readers(),
}
each = pytest.mark.parametrize("program", PROGRAMS.values(), ids=list(PROGRAMS))
threads = pytest.mark.parametrize("n_threads", [1, 3])


@pytest.fixture
def many_parts(monkeypatch):
    """Makes small amounts of work worth while for several threads."""
    monkeypatch.setattr(plans, "ALONE_WORK", 0.0)
    monkeypatch.setattr(plans, "LEAST_WORK", 1.0)


# ---- what programs say of the order


def needed_by_costs(program):
    needed = set(program.costs)
    for number in reversed(range(len(program.steps))):
        if number in needed:
            needed.update(program.steps[number].inputs)
    return needed


def moved_by_parameters(program):
    moved = set(program.parameters)
    for number, step in enumerate(program.steps):
        if moved & set(step.inputs):
            moved.add(number)
    return moved


def computed(program):
    """The steps that have a kernel and that a cost depends on."""
    return {number for number in needed_by_costs(program) if program.steps[number].name in KERNELS}


def readers(program, number):
    """The steps that read a tensor, with the number of its input, as far as something comes back to them."""
    alive = computed(program)
    return [(k, i) for k in sorted(alive) for i, source in enumerate(program.steps[k].inputs) if source == number]


def targets_of_chain(program):
    """The tensors to which something comes back: steps and parameters, and parts of parameters in place of them."""
    moved = moved_by_parameters(program) - set(program.costs)
    return {number for number in moved if readers(program, number)}


def waves_of(schedule):
    """Returns the parts of each wave, and requires that each part is in one."""
    begins, ends = schedule.waves["first"].tolist(), schedule.waves["last"].tolist()
    assert begins == [0, *ends[:-1]]
    assert ends[-1] == len(schedule.parts)
    return [schedule.parts[begin:end] for begin, end in zip(begins, ends, strict=True)]


def extent(program, number, samples):
    """The rows and columns of a tensor."""
    step = program.steps[number]
    if number in program.costs:
        return samples, 1
    rows, columns = (1, *step.shape)[-2:]
    return (samples, columns) if step.name in KERNELS else (rows, columns)


def assert_covers_once(program, schedule, samples, tensors):
    """Requires that the parts cover every entry of these tensors, and no others, exactly once."""
    covered = {number: np.zeros(extent(program, number, samples), np.int8) for number in tensors}
    for part in schedule.parts:
        rows, columns = covered[int(part["tensor"])].shape
        assert 0 <= part["first"] < part["last"] <= rows
        assert 0 <= part["begin"] < part["end"] <= columns
        covered[int(part["tensor"])][part["first"] : part["last"], part["begin"] : part["end"]] += 1
    for number, counts in covered.items():
        assert (counts == 1).all(), f"step {number}, {program.steps[number]}"


def written(parts):
    return set(parts["tensor"].tolist())


# ---- schedules


@each
@threads
@pytest.mark.parametrize("samples", [1, 59, 100])
def test_values_and_changes_read_only_what_earlier_waves_have_written(program, samples, n_threads, many_parts):
    plan, moved = Plan(program, 100), moved_by_parameters(program)
    for schedule, wanted in (
        (plan.forward(samples, n_threads), computed(program)),
        (plan.changing(samples, n_threads), computed(program) & moved),
    ):
        assert_covers_once(program, schedule, samples, wanted)
        known: set[int] = set()
        for parts in waves_of(schedule):
            for part in parts:
                assert part["tensor"] == part["step"]
                assert set(program.steps[part["step"]].inputs) & wanted <= known
            known |= written(parts)


@each
@threads
@pytest.mark.parametrize("samples", [1, 59, 100])
def test_what_comes_back_reads_only_what_earlier_waves_have_written(program, samples, n_threads, many_parts):
    plan, wanted = Plan(program, 100), targets_of_chain(program)
    schedule = plan.backward(samples, n_threads)
    assert_covers_once(program, schedule, samples, wanted)
    known = set(program.costs)
    for parts in waves_of(schedule):
        for part in parts:
            pulls = plan._pulls[part["step"] : part["step"] + part["pulls"]]
            assert pulls.tolist() == readers(program, part["tensor"])
            assert set(pulls["step"].tolist()) <= known
        known |= written(parts)


@each
def test_without_parameters_the_rest_comes_back_all_the_same(program):
    plan = Plan(program, 100)
    tensors = {number for number in targets_of_chain(program) if program.steps[number].name in KERNELS}
    assert_covers_once(program, plan.backward(100, 1, parameters=False), 100, tensors)


def test_what_comes_back_to_an_array_that_is_used_in_parts_is_written_part_by_part():
    program = PROGRAMS["many_readers"]
    parts = [step for number, step in enumerate(program.steps) if step.name == "slice"]
    (whole,) = {step.inputs[0] for step in parts}
    schedule = Plan(program, 100).backward(100, 3)
    assert whole not in written(schedule.parts)
    assert {number for number, step in enumerate(program.steps) if step in parts} <= written(schedule.parts)


@each
def test_schedules_for_one_and_three_threads_cover_the_same(program, many_parts):
    plan = Plan(program, 100)
    for make in (plan.forward, plan.changing, plan.backward):
        one, three = make(100, 1), make(100, 3)
        assert written(one.parts) == written(three.parts)
        assert [written(parts) for parts in waves_of(one)] == [written(parts) for parts in waves_of(three)]
        assert len(one.parts) < len(three.parts)
        assert one.waves["alone"].all()
        assert not three.waves["alone"].any()


@each
@threads
def test_regions_begin_at_panels_and_have_whole_rows_where_kernels_need_them(program, n_threads, many_parts):
    plan, steps = Plan(program, 100), program.steps
    needs_rows = {number for number, step in enumerate(steps) if step.name == "softmax" or number in program.costs}
    read_whole = {steps[number].inputs[0] for number in needs_rows}
    for schedule, whole in (
        (plan.forward(100, n_threads), needs_rows),
        (plan.changing(100, n_threads), needs_rows),
        (plan.backward(100, n_threads), read_whole),
    ):
        assert not (schedule.parts["begin"] % PANEL).any()
        for part in schedule.parts:
            if part["tensor"] in whole:
                assert (part["begin"], part["end"]) == (0, extent(program, int(part["tensor"]), 100)[1])


def test_little_work_is_not_shared_out():
    program = Program(2)
    program.cost("squared_error", program.affine([(program.input(2), program.parameter((2, 2)))]), program.target(2))
    schedule = Plan(program, 2).forward(2, 8)
    assert schedule.waves["alone"].all()
    assert len(schedule.parts) == 2


def test_much_work_is_shared_out_in_no_more_parts_than_the_threads_need():
    program = PROGRAMS["dense"]
    parts = [len(wave) for wave in waves_of(Plan(program, 100).backward(100, 3))]
    arrays = 4  # in the last wave, each of at least one part
    assert 3 <= max(parts) <= 3 * plans.PARTS_PER_THREAD + arrays


# ---- what is planned


@each
def test_all_that_a_cost_depends_on_is_computed(program):
    assert Plan(program, 100).computed == sorted(computed(program))


def test_kinks_are_looked_for_where_a_parameter_reaches_and_a_cost_depends():
    program = Program(SAMPLES)
    x = program.input(3)
    hidden = program.affine([(x, program.parameter((3, 3)))])
    of_data, of_step, _ = (program.add("relu", step) for step in (x, hidden, hidden))
    smooth = program.add("elu", program.add("multiply", of_data, of_step))
    costs = [program.cost(name, smooth, program.target(3)) for name in ("absolute_error", "huber")]
    program.cost("absolute_error", of_data, program.target(3))
    assert Plan(program, SAMPLES).kinked == [of_step, costs[0]]


def test_costs_that_no_parameter_moves_are_left_out_of_changes():
    program = Program(SAMPLES)
    x = program.input(3)
    still = program.cost("squared_error", x, program.target(3))
    moved = program.cost("squared_error", program.affine([(x, program.parameter((3, 3)))]), program.target(3))
    plan = Plan(program, SAMPLES)
    assert plan.costs == [still, moved]
    assert plan.moved_costs == [moved]


def test_scratch_memory_has_room_for_four_of_the_longest_rows():
    program = Program(2)
    program.cost("squared_error", program.affine([], program.parameter((30_001,))), program.target(30_001))
    assert Plan(program, 2).scratch >= 4 * 30_001


@each
def test_steps_have_places_of_their_own(program):
    """What is read of a tape is written into one step at a time, and changes nothing that belongs to another."""
    plan = Plan(program, 100)
    for which, doubles in (("offset", plan.values), ("back", plan.backs), ("change", plan.changes)):
        tape = np.full(doubles, np.nan)
        views = plan.read(tape, which, 100)
        for number, view in views.items():
            shape = extent(program, number, 100)
            assert view.shape == (shape[:1] if number in program.costs else shape)
            view[...] = number
        assert views.keys() & computed(program)
        assert all((view == number).all() for number, view in views.items())


# ---- what is refused


def test_a_step_that_the_executor_does_not_know_is_named():
    program = Program(SAMPLES)
    with program.at(Source(file="net.py", line=3)):
        program.add("hypot", program.input(2), program.input(2))
    with pytest.raises(ValueError, match=r"step 2, hypot \(net.py line 3\): the tensor executor has no such steps"):
        Plan(program, SAMPLES)


@pytest.mark.parametrize("column", [None, 2], ids=["the-whole", "another-part"])
def test_a_part_that_overlaps_with(column):
    program = Program(SAMPLES)
    x, array = program.input(2), program.parameter((2, 6))
    other = array if column is None else program.block(array, column=column, columns=3)
    for matrix in (program.block(array, columns=3), other):
        hidden = program.affine([(x, matrix)])
        program.cost("squared_error", hidden, program.target(program.steps[hidden].shape[1]))
    with pytest.raises(ValueError, match="step 1, parameter: the tensor executor takes parts that do not overlap"):
        Plan(program, SAMPLES)


def test_a_part_of_a_value():
    program = Program(SAMPLES)
    program.block(program.input(4), columns=2)
    with pytest.raises(ValueError, match="step 1, slice: the tensor executor takes parts of parameters only"):
        Plan(program, SAMPLES)


def test_a_step_that_does_not_keep_samples_apart_is_named():
    program = Program(SAMPLES)
    with program.at(Source(name="layer 2")):
        program.add("tanh", program.parameter((5, 2)))
    with pytest.raises(ValueError, match=r"step 1, tanh \(layer 2\): the tensor executor keeps samples apart, not \(5"):
        Plan(program, SAMPLES)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply"])
def test_inputs_that_are_broadcast_are_named(name):
    program = Program(SAMPLES)
    program.add(name, program.input(1), program.input(3))
    with pytest.raises(ValueError, match=rf"step 2, {name}: the .* broadcasts no inputs, .*\(100, 1\) and \(100, 3\)"):
        Plan(program, SAMPLES)


#: Programs that are run, and give wrong numbers: rows of a parameter or a matrix are taken for samples, of which a
#: chunk has fewer; a cost reads whole panels, beyond the end of data; and what comes back to targets or masks is noise.
TAKEN_WRONGLY = {
    "a-parameter-that-is-added": lambda p, h: p.add("add", h, p.parameter((SAMPLES, 3))),
    "a-parameter-in-softmax": lambda p, h: p.add("softmax", p.parameter((SAMPLES, 3))),
    "a-column-that-is-repeated": lambda p, h: p.add("add", h, p.affine([(h, p.parameter((3, 1)))])),
    "a-matrix-of-data": lambda p, h: p.affine([(p.input(SAMPLES), p.input(3))]),
    "a-matrix-that-is-computed": lambda p, h: p.affine([(p.input(SAMPLES), h)]),
    "targets-of-data": lambda p, h: p.cost("squared_error", h, p.input(3)),
    "targets-that-are-computed": lambda p, h: p.cost("squared_error", h, p.add("tanh", h)),
    "a-mask-that-is-computed": lambda p, h: p.add("where", p.affine([(h, p.parameter((3, 1)))]), h, h),
}


@pytest.mark.parametrize("add", TAKEN_WRONGLY.values(), ids=list(TAKEN_WRONGLY))
def test_a_step_is_refused_that_reads(add):
    program = Program(SAMPLES)
    step = add(program, program.affine([(program.input(2), program.parameter((2, 3)))]))
    if step not in program.costs:
        program.cost("squared_error", step, program.target(3))
    with pytest.raises(ValueError, match=f"step {step}, {program.steps[step].name}: "):
        Plan(program, SAMPLES)
