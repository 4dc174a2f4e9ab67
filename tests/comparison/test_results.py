"""What a comparison found, in words and numbers: blocks, and the status of an array."""

from __future__ import annotations

import json

import pytest

from gradcheck_fast.comparison.results import ArrayResult, Block

EXTENT = (10, 6)
ALL = ((0, 10),), ((0, 6),)


def block(rows=((4, 8),), columns=((2, 3),), drawn=4, wrong=4, extent=EXTENT):
    return Block(rows, columns, extent, drawn, wrong)


def result(**options):
    return ArrayResult("W", (10, 6), 0.0, 0.0, options.pop("wrong", 0), 60, 0.0, 0.0, **options)


# ---- blocks


def test_the_size_of_a_block_is_that_of_its_rows_times_its_columns():
    assert block(rows=((0, 2), (5, 6)), columns=((1, 3),)).size == 3 * 2


@pytest.mark.parametrize(
    ("rows", "columns", "label"),
    [
        (((4, 8),), ((2, 3),), "rows 4-7 x column 2"),
        (((4, 5),), ((0, 6),), "row 4"),
        (((0, 10),), ((0, 1), (3, 5)), "columns 0, 3-4"),
        (*ALL, ""),
    ],
)
def test_a_label_leaves_out_what_is_whole(rows, columns, label):
    assert block(rows, columns).label == label


@pytest.mark.parametrize(("stretches", "ending"), [(6, ", 10"), (7, ", 10, and 1 more"), (9, ", 10, and 3 more")])
def test_a_label_names_six_stretches_at_most(stretches, ending):
    rows = tuple((2 * k, 2 * k + 1) for k in range(stretches))
    label = block(rows, ((0, 6),), extent=(100, 6)).label
    assert label == f"rows 0, 2, 4, 6, 8{ending}"


@pytest.mark.parametrize(
    ("drawn", "wrong", "words"),
    [
        (0, 0, "something is wrong there"),
        (4, 4, "all of its 4 entries are wrong"),
        (3, 3, "all of 3 entries drawn at random are wrong"),
        (3, 2, "2 of 3 entries drawn at random are wrong"),
        (3, 1, "1 of 3 entries drawn at random is wrong"),
        (3, 0, "none of 3 entries drawn at random are wrong"),
    ],
)
def test_evidence_is_what_the_entries_that_were_drawn_say(drawn, wrong, words):
    assert block(drawn=drawn, wrong=wrong).evidence == words


@pytest.mark.parametrize(("drawn", "wrong", "estimate"), [(4, 4, 60), (4, 1, 15), (64, 1, 1), (4, 0, 1), (0, 0, 1)])
def test_the_estimate_is_the_share_that_was_wrong_and_at_least_one_entry(drawn, wrong, estimate):
    assert block(*ALL, drawn, wrong).estimate == estimate


def test_a_block_becomes_plain_json():
    written = json.loads(json.dumps(block().to_dict()))
    assert written == {
        "label": "rows 4-7 x column 2",
        "rows": [[4, 8]],
        "columns": [[2, 3]],
        "extent": [10, 6],
        "size": 4,
        "drawn": 4,
        "wrong": 4,
    }


# ---- arrays


@pytest.mark.parametrize(
    ("found", "status"),
    [
        ({}, "right"),
        ({"at_kink": 60}, "right"),
        ({"inconclusive": 1}, "inconclusive"),
        ({"empty": True}, "nothing to check"),
        ({"wrong": 1, "inconclusive": 59}, "wrong"),
        ({"wrong": 1, "empty": True}, "wrong"),
    ],
)
def test_the_status_is_the_worst_that_was_found(found, status):
    assert result(**found).status == status


def test_what_was_checked_is_all_entries_or_those_that_were_drawn():
    assert result().checked == 60
    assert result(drawn=7).checked == 7


@pytest.mark.parametrize(("drawn", "wrong", "estimated"), [(4, 4, False), (4, 3, True), (0, 0, True)])
def test_the_number_of_wrong_entries_is_an_estimate_unless_all_that_were_drawn_are_wrong(drawn, wrong, estimated):
    assert result(blocks=(block(), block(drawn=drawn, wrong=wrong))).estimated is estimated
    assert result().estimated is False
