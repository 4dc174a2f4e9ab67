"""The global random number generators are put back as they were."""

# ruff: noqa: NPY002

from __future__ import annotations

import pickle
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gradcheck_fast.inputs.random_numbers import GlobalGenerators


@pytest.fixture(autouse=True)
def generators_of_the_session():
    """Leaves the global generators to other tests as they were."""
    of_python, of_numpy, bits = random.getstate(), np.random.get_state(), np.random.get_bit_generator()
    yield
    np.random.set_bit_generator(bits)
    np.random.set_state(of_numpy)
    random.setstate(of_python)


def states():
    name, key, *rest = np.random.get_state()
    return random.getstate(), name, key.tolist(), rest


DRAWS = {
    "nothing": lambda: None,
    "a normal number": np.random.standard_normal,
    "two normal numbers": lambda: np.random.standard_normal(2),
    "uniform numbers": lambda: np.random.random(1000),
    "all but a normal number": lambda: (np.random.random(7), np.random.standard_normal(3), random.random()),
    "a seed": lambda: np.random.seed(1),
    "numbers of Python's": random.random,
}


@pytest.mark.parametrize("drawn", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize("kept", [0, 1, 2], ids=lambda count: f"after {count} normal numbers")
def test_what_is_drawn_in_between_is_drawn_again(kept, drawn):
    np.random.seed(kept)
    np.random.standard_normal(kept)
    before = states()
    generators = GlobalGenerators()
    assert states() == before
    for _ in range(2):
        drawn()
        generators.restore()
        assert states() == before


def test_the_states_go_to_other_processes():
    before = states()
    sent = pickle.loads(pickle.dumps(GlobalGenerators()))
    np.random.random(3)
    sent.restore()
    assert states() == before


def test_another_generator_that_the_user_chose():
    np.random.set_bit_generator(np.random.PCG64(3))
    generators = GlobalGenerators()
    first = np.random.standard_normal(5)
    generators.restore()
    np.testing.assert_array_equal(np.random.standard_normal(5), first)


def test_several_threads_leave_it_as_it_was():
    before = states()

    def save_and_restore(_):
        for _ in range(50):
            GlobalGenerators().restore()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(save_and_restore, range(8)))
    assert states() == before


def test_functions_that_users_put_in_the_place_of_numpys(monkeypatch):
    before = states()
    monkeypatch.setattr(np.random, "standard_normal", lambda: 0.5)
    GlobalGenerators().restore()
    assert states() == before
