"""What a function keeps between its calls is put back, wherever it keeps it."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from gradcheck_fast.inputs.state import State


class OfClass:
    """A class that calls add attributes to."""


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """Its attributes cannot be set."""

    scale: float


@dataclasses.dataclass(slots=True)
class Slots:
    """An object without a dict."""

    kept: object = None


SETTINGS = Settings(2.0)
SEEN = set()
SPACE = SimpleNamespace(before=1)
SLOTS = Slots()


def in_a_class():
    OfClass.cache = SETTINGS.scale


def in_a_set():
    SEEN.add(len(SEEN))


def in_a_namespace():
    SPACE.cache = SPACE.before


def in_slots():
    SLOTS.kept = 1


@pytest.mark.parametrize(
    ("function", "look"),
    [
        (in_a_class, lambda: {name for name in vars(OfClass) if not name.startswith("__")}),
        (in_a_set, lambda: set(SEEN)),
        (in_a_namespace, lambda: dict(vars(SPACE))),
        (in_slots, lambda: SLOTS.kept),
    ],
)
def test_what_is_kept_in_objects_is_put_back(function, look):
    before, state = look(), State(function)
    function()
    assert look() != before
    state.restore()
    assert look() == before


def test_variables_of_an_enclosing_function_are_put_back():
    cache = None

    def keeps():
        nonlocal cache, later
        cache, later = np.ones(2), 1

    state = State(keeps)
    later = 0  # the variable had no value yet
    keeps()
    state.restore()
    assert cache is None
    with pytest.raises(NameError):
        later  # noqa: B018


def test_frozen_objects_are_left_alone():
    state = State(in_a_class)
    state.restore()
    assert Settings(2.0) == SETTINGS
