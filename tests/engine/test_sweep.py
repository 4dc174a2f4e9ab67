"""What a part of the tasks has found goes to other processes and comes back as it was."""

from __future__ import annotations

import numpy as np
import pytest
from networks import flat

import gradcheck_fast as gf
from gradcheck_fast.engine.sweep import Perturbation, Totals

STEP = 2.0**-40


@pytest.fixture
def engine():
    net = gf.Network([gf.Dense(3, 20, "relu"), gf.Dense(20, 2)], cost=gf.SquaredError())
    random = np.random.default_rng(0)
    loss, params = net.loss(random.normal(size=(9, 3)), random.normal(size=(9, 2))), net.init(0)
    return loss._engine, flat(params)


@pytest.mark.parametrize("by_units", [True, False])
def test_parts_put_together_are_the_whole(engine, by_units):
    engine, theta = engine
    what = Perturbation(STEP, by_units, True, None)

    def prepared(memory):
        return engine._prepare(memory, memory.chunks[0], engine._pack(memory, theta, 1), what, 1)

    with engine._memory() as memory, engine._memory() as other:
        whole, parts = prepared(memory), prepared(other)
        tasks = len(whole.tasks.table)
        whole.perturb(0, tasks)
        for begin in range(tasks):
            parts.put(begin, begin + 1, engine.share(0, theta, what, 1, begin, begin + 1))
        # results of parameters are added up, task by task, in places of their own; so are those of units
        assert np.array_equal(parts.found, whole.found)
        assert parts.crossed == whole.crossed


def test_a_share_holds_only_what_is_not_zero(engine):
    engine, theta = engine
    part = engine.share(0, theta, Perturbation(STEP, True, False, None), 1, 0, 1)
    assert len(part.places) == len(part.found)
    assert (part.found != 0.0).all()
    assert len(part.counts) == 1


def test_without_kinks_there_are_none_in_the_totals():
    totals = Totals(4, True)
    assert totals.kinks is None
    totals.crossed += 3
    totals.slopes[0, 1] = -0.5
    assert totals.kinks.crossed == 3
    assert totals.kinks.where.tolist() == [False, True, False, False]
    assert len(Totals(4, False).slopes) == 0
