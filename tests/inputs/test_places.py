"""Where an object keeps its arrays: they are found, read and put back by their paths."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass, field

import numpy as np
import pytest

from gradcheck_fast.inputs.places import get, members, named, numbers_in, put, spelled

Pair = namedtuple("Pair", "a b")


class Slots:
    __slots__ = ("empty", "w")


@dataclass(frozen=True)
class Frozen:
    w: np.ndarray = field(default_factory=lambda: np.ones(2))


class Model:
    of_class = np.zeros(3)

    def __init__(self):
        self.W, self.name, self.rate, self.count = np.ones((2, 3)), "model", 0.5, 3
        self.params = {"b": np.zeros(2), 1: [np.ones(1), np.arange(3)]}
        self.both = Pair(self.W, None)
        self.slots, self.frozen, self.myself = Slots(), Frozen(), self
        self.slots.w = np.ones(4)
        self.rng = np.random.default_rng(0)


PLACES = ["W", "rate", "params['b']", "params[1][0]", "both[0]", "slots.w", "frozen.w", "of_class"]


def paths(model):
    return {spelled(path): path for path in numbers_in(model)}


def test_floating_point_numbers_are_found_wherever_they_lie_and_spelled_as_python_does():
    assert list(paths(Model())) == PLACES


@pytest.mark.parametrize(
    "place", ["W", "rate", "params['b']", "params[1][0]", "both[0]", "slots.w", "frozen.w", "of_class"]
)
def test_what_is_put_is_what_is_got(place):
    model, new = Model(), np.full(5, 7.0)
    path = paths(model)[place]
    assert put(model, path, new) is model
    assert get(model, path) is new
    assert eval(f"model.{place}") is new
    assert (type(model.both), model.both.b) == (Pair, None)


def test_a_tuple_is_made_anew():
    before = (1.0, [2.0])
    after = put(before, next(path for path in numbers_in(before) if spelled(path) == "[0]"), 5.0)
    assert (before, after) == ((1.0, [2.0]), (5.0, [2.0]))
    assert after[1] is before[1]


def test_what_is_not_there():
    model = Model()
    path = paths(model)["params['b']"]
    model.params = {}
    with pytest.raises(LookupError):
        get(model, path)


def test_numbers_of_some_names_may_be_integers():
    model = Model()
    assert list(map(spelled, named(model, ("rate", "count", "name", "W")))) == ["rate", "count"]


def test_members_are_those_of_dicts_lists_and_tuples():
    model = Model()
    found = members([model, {"a": (1, None)}])
    assert [(spelled(path), value) for path, value in found] == [
        ("[0]", model),
        ("[1]['a'][0]", 1),
        ("[1]['a'][1]", None),
    ]
    assert members(3.0) == [((), 3.0)]


def test_nothing_is_found_in_nothing():
    assert numbers_in(None) == {}
    assert numbers_in(np.tanh) == {}
