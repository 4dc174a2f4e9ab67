"""Routes and tasks: everything is perturbed exactly once, in tasks that do not depend on the threads."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from gradcheck_fast.engine.routes import Routes
from gradcheck_fast.engine.rows import lower
from gradcheck_fast.engine.tables import Tables
from gradcheck_fast.program.program import Program


@pytest.fixture
def tables():
    program = Program(7)
    W, b, V = program.parameter((3, 130)), program.parameter((130,)), program.parameter((130, 2))
    hidden = program.add("relu", program.affine([(program.input(3), W)], b))
    program.cost("squared_error", program.affine([(hidden, V)]), program.target(2))
    return Tables(lower(program))


def covered(tasks):
    """How often each (route, number, sample) is in a task."""
    return Counter(
        (int(task["route"]), number, sample)
        for task in tasks.table
        for number in range(task["begin"], task["end"])
        for sample in range(task["first"], task["last"])
    )


@pytest.mark.parametrize("samples", [1, 7, 200])
def test_every_unit_of_every_sample_is_in_one_task(tables, samples):
    routes = Routes.of_units(tables)
    found = covered(routes.tasks(samples))
    assert routes.counts == [130, 2]
    assert set(found.values()) == {1}
    assert len(found) == 132 * samples


@pytest.mark.parametrize("samples", [1, 7])
def test_every_parameter_is_in_one_task_for_each_sample(tables, samples):
    routes = Routes.of_parameters(tables)
    found = covered(routes.tasks(samples))
    assert set(found.values()) == {1}
    assert len(found) == tables.rows.size * samples


def test_only_chosen_parameters_are_in_tasks(tables):
    routes = Routes.of_parameters(tables)
    entries = np.array([0, 131, 390 + 1, 520 + 259, 520 + 80])
    tasks = routes.tasks(2, entries)
    assert len(covered(tasks)) == 2 * len(entries)
    # W[0, 0] and W[1, 1]; b[1]; V[-1, 1] and V[40, 0]: the engine counts down the columns of each block
    assert tasks.chosen.tolist() == [0, 1 * 3 + 1, 1, 40, 130 + 129]


def test_work_is_summed_up_and_less_for_fewer_entries(tables):
    routes = Routes.of_parameters(tables)
    tasks = routes.tasks(7)
    assert (np.diff(tasks.work) > 0.0).all()
    assert tasks.most <= tasks.work[-1]
    assert routes.work_of(np.array([0, 1])) < routes.work_per_sample


def test_the_last_layer_is_perturbed_for_less(tables):
    first, last = Routes.of_units(tables).work
    assert first > last


def test_a_matrix_that_is_used_once_skips_samples_whose_input_is_zero(tables):
    compiled_by_parameter = Routes.of_parameters(tables)
    skips = [route["skip"] for route in compiled_by_parameter._routes]
    terms = [term for _, term in tables.rows.terms]
    assert [skip >= 0 for skip in skips] == [True, False, True]
    assert all(terms[skip].step >= 0 for skip in skips if skip >= 0)
