"""The parts that a report's texts are made of."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.comparison.results import ArrayResult, Block
from gradcheck_fast.report.text import (
    WIDTH,
    as_json,
    error_column,
    format_shape,
    found_in_words,
    full_text,
    how,
    seen_rows,
    sentence,
    wrong_of,
)

P = np.arange(1.0, 7.0).reshape(2, 3)


def cubes(p):
    return float(np.sum(p**3))


def check(gradient=3 * P**2, **options):
    return gf.gradcheck(cubes, gradient, P, **options)


def array(entries=(), blocks=(), wrong=0, **options):
    return ArrayResult("W", (40, 40), 0.0, 0.5, wrong, 1600, 0.0, 0.0, entries=entries, blocks=blocks, **options)


@pytest.mark.parametrize(("shape", "words"), [((), "scalar"), ((3,), "3"), ((2, 3, 4), "2x3x4")])
def test_a_shape_is_written_with_crosses(shape, words):
    assert format_shape(shape) == words
    assert format_shape(shape, "×") == words.replace("x", "×")


def test_a_sentence_begins_with_a_capital_letter_and_leaves_the_others():
    assert sentence("an error in W1 is seen") == "An error in W1 is seen."


def test_wrong_entries_are_counted_among_those_that_were_compared():
    assert wrong_of(array(wrong=1234)) == "1,234 of 1,600"
    assert wrong_of(array(wrong=2, drawn=50)) == "2 of 50"
    assert wrong_of(array(wrong=9, blocks=(Block(((0, 3),), ((0, 3),), (40, 40), 0, 0),))) == "about 9 of 1,600"


def test_how_a_gradient_was_found_is_said_in_a_line():
    assert how(check(trace=False)).startswith("6 entries, method direct, h chosen per parameter, ")
    assert how(check(step=1e-4)).startswith("6 entries, method direct, h 0.0001, ")
    along = how(check(method="directional"))
    assert along.startswith("6 entries, method directional, h chosen per array, ")
    assert " evaluations, " in along


def test_the_errors_of_arrays_are_the_largest_ones_or_along_directions_those_that_are_seen():
    title, errors = error_column(check())
    assert (title, errors(array(power=0.25))) == ("largest error", "5.0e-01")
    title, errors = error_column(check(method="directional"))
    assert (title, errors(array(power=0.25)), errors(array())) == ("seen from", "2.5e-01", "")


@pytest.mark.parametrize(("count", "ending"), [(12, "[11, 0]"), (13, "[11, 0] and 1 more")])
def test_twelve_wrong_entries_of_an_array_are_listed_at_most(count, ending):
    (said,) = found_in_words([array(entries=tuple((k, 0) for k in range(count)))])
    assert said.startswith("W: wrong at [0, 0], [1, 0], ")
    assert said.endswith(ending)


def test_blocks_are_said_to_be_somewhere_or_everywhere():
    row, whole = Block(((3, 4),), ((0, 40),), (40, 40), 9, 9), Block(((0, 40),), ((0, 40),), (40, 40), 0, 0)
    assert found_in_words([array(blocks=(row, whole))]) == [
        "W, row 3: all of 9 entries drawn at random are wrong",
        "W, everywhere: something is wrong there",
    ]
    assert found_in_words([array()]) == []


def test_what_would_have_been_seen_is_a_row_for_each_output_and_input():
    sizes = {("y", "a"): 1e-9, ("y", "b"): float("nan"), ("z", "a"): float("inf"), ("z", "b"): 1.0}
    assert [row[2] for row in seen_rows(SimpleNamespace(seen_from=sizes))] == [
        "1.0e-09",
        "nothing to check",
        "not seen",
        "1.0e+00",
    ]


def test_rows_beyond_the_twelfth_are_counted():
    rows = seen_rows(SimpleNamespace(seen_from={("y", f"x{k}"): 0.5 for k in range(15)}))
    assert rows[-1] == ("and 3 more", "", "")
    assert len(rows) == 13


def test_json_has_strings_for_what_json_does_not_know():
    wrong = 3 * P**2
    wrong[1, 2] = np.nan
    written = json.loads(as_json(check(wrong)), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert written["relative_error"] == "nan"
    assert written["worst"][0]["index"] == [1, 2]


def test_running_text_is_wrapped_and_words_are_not_broken():
    wrong = 3 * P**2
    wrong[0] *= 2
    text = full_text(check(wrong))
    assert "Most likely: " in text
    assert max(map(len, text.splitlines())) <= WIDTH
    assert not any(line.endswith(" ") for line in text.splitlines())
