"""Small arguments: what is accepted, what an error says, and how a time is put into words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gradcheck_fast.inputs.arguments import choose, duration, integer, nearest, number, true_or_false

# ---- names


def test_a_known_name_is_returned():
    assert choose("method", "units", ("units", "direct")) == "units"


def test_an_unknown_name_is_an_error_that_lists_the_known_ones_and_suggests_the_nearest():
    with pytest.raises(
        ValueError, match=r"^method: unknown name 'unit', did you mean 'units'\?; known: units, direct$"
    ):
        choose("method", "unit", ("units", "direct"))


@pytest.mark.parametrize("name", [None, 3, Path("units")])
def test_what_is_no_string_is_no_name(name):
    with pytest.raises(TypeError, match=r"^method: expected one of units, direct, got "):
        choose("method", name, ("units", "direct"))


@pytest.mark.parametrize(("name", "known"), [("ReLU6", "relu"), ("W2", "W1"), ("tahn", "tanh")])
def test_a_name_is_suggested_for_one_that_resembles_it_whatever_the_case(name, known):
    assert nearest(name, ["sigmoid", known]) == f", did you mean {known!r}?"


def test_the_suggestion_is_spelt_as_the_known_name():
    assert nearest("gelu", ["GELU"]) == ", did you mean 'GELU'?"


@pytest.mark.parametrize("known", [[], ["W1", "b1"]])
def test_nothing_is_suggested_for_a_name_that_resembles_none(known):
    assert nearest("momentum", known) == ""


# ---- numbers


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_an_integer_of_any_type_becomes_an_int(value):
    found = integer("n_threads", value)
    assert found == 3
    assert type(found) is int


@pytest.mark.parametrize(("value", "positive"), [(-1, False), (0, True), (True, False), (np.int64(-3), False)])
def test_an_integer_that_is_too_small_or_a_bool_is_an_error(value, positive):
    expected = "a positive integer" if positive else "an integer of at least 0"
    with pytest.raises(ValueError, match=f"^seed: expected {expected}, got "):
        integer("seed", value, positive=positive)


@pytest.mark.parametrize("value", [3.0, "3", None, np.array([1, 2])])
def test_what_is_no_integer_is_another_error(value):
    with pytest.raises(TypeError, match=r"^seed: expected an integer of at least 0, got "):
        integer("seed", value)


@pytest.mark.parametrize("value", [0, 0.25, np.float32(0.25), np.array(0.25), 2**70])
def test_a_number_of_any_type_becomes_a_float(value):
    found = number("atol", value)
    assert found == value
    assert type(found) is float


@pytest.mark.parametrize(
    ("value", "options", "expected"),
    [
        (-1e-300, {}, "a number of at least 0"),
        (float("inf"), {}, "a number of at least 0"),
        (float("nan"), {}, "a number of at least 0"),
        (0.0, {"positive": True}, "a positive number"),
        (float("-inf"), {"signed": True}, "a finite number"),
        (float("nan"), {"signed": True}, "a finite number"),
    ],
)
def test_a_number_out_of_its_range_is_an_error(value, options, expected):
    with pytest.raises(ValueError, match=f"^step: expected {expected}, got "):
        number("step", value, **options)


def test_a_signed_number_may_be_negative():
    assert number("strength", -2, signed=True) == -2.0


@pytest.mark.parametrize("value", ["0.1", b"1", True, None, 1j, [1.0]])
def test_what_is_no_number_is_another_error(value):
    with pytest.raises(TypeError, match=r"^rtol: expected a number of at least 0, got "):
        number("rtol", value)


@pytest.mark.parametrize("value", [1, 0, None, np.True_, "yes"])
def test_only_true_and_false_are_true_or_false(value):
    assert true_or_false("error_bars", True) is True
    assert true_or_false("error_bars", False) is False
    with pytest.raises(TypeError, match=r"^error_bars: expected True or False, got "):
        true_or_false("error_bars", value)


# ---- times


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (2.5e-7, "0 us"),
        (0.00025, "250 us"),
        (0.001, "1 ms"),
        (0.9994, "999 ms"),
        (1.0, "1 s"),
        (119.9, "120 s"),
        (120.0, "2 minutes"),
        (7199.0, "120 minutes"),
        (7200.0, "2 hours"),
        (172799.0, "48 hours"),
        (172800.0, "2 days"),
        (8.64e6, "100 days"),
    ],
)
def test_a_time_is_given_in_the_unit_that_a_person_would_take(seconds, words):
    assert duration(seconds) == words
