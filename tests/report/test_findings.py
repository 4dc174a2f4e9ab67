"""What a check found, as a value: the verdict, its reason, the worst entries, and when nothing could be found."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_fast.comparison.results import ArrayResult, Block, known
from gradcheck_fast.report.findings import Findings, format_error


def array(name="w", size=3, **options):
    wrong = options.pop("wrong", 0)
    return ArrayResult(name, (size,), 1e-9, 0.0, wrong, size, 0.0, 0.0, **options)


def findings(*arrays, ok=False, excess=None, bars=None, numerical=None, **options):
    """Findings of arrays whose entries are 0, 1, 2 and so on."""
    size = sum(a.size for a in arrays)
    flat = np.arange(float(size)) if numerical is None else np.asarray(numerical)
    ends = np.cumsum([a.size for a in arrays])[:-1] if arrays else []
    tree = lambda values: dict(zip([a.name for a in arrays], np.split(values, ends), strict=True)) if arrays else {}
    return Findings(
        ok=ok, relative_error=1e-9, arrays=arrays, analytic=tree(-flat), numerical=tree(flat), method="direct",
        step=None, _flat=(-flat, flat), _find_excess=known(np.zeros(size) if excess is None else excess),
        error_bars=None if bars is None else tree(np.asarray(bars)), **options,
    )  # fmt: skip


# ---- verdict and reason


def test_a_right_gradient_passes():
    found = findings(array(), ok=True)
    assert found.verdict == "PASS"
    assert found.reason == "every entry agrees, relative error 1.0e-09"
    assert findings(array(), ok=True, coverage="so much").reason.startswith("all that was compared agrees, ")


def test_wrong_entries_fail_and_their_arrays_are_named():
    found = findings(array("a", wrong=2), array("b"), array("c", wrong=1))
    assert found.verdict == "FAIL"
    assert (found.wrong, found.checked) == (3, 9)
    assert found.reason == "3 of 9 entries are wrong, in a, c"


def test_the_number_of_wrong_entries_may_be_an_estimate():
    guessed = array("a", wrong=2, blocks=(Block(((0, 1),), ((0, 3),), (1, 3), 3, 2),))
    assert findings(guessed, array("b", wrong=1)).reason == "about 3 of 6 entries are wrong, in a, b"


@pytest.mark.parametrize(
    ("count", "ending"),
    [(5, "in a0, a1, a2, a3, a4"), (6, "in a0, a1, a2, a3, a4 and 1 more arrays")],
)
def test_five_arrays_are_named_at_most(count, ending):
    assert findings(*(array(f"a{k}", wrong=1) for k in range(count))).reason.endswith(ending)


def test_too_little_that_is_known_is_inconclusive():
    found = findings(array("a"), array("b", inconclusive=1), bars=np.full(6, 1.0))
    assert found.verdict == "INCONCLUSIVE"
    assert found.reason == "too little is known to decide: the error bars are too wide, in b"


def test_nothing_to_check_is_inconclusive():
    found = findings(array(empty=True))
    assert found.verdict == "INCONCLUSIVE"
    assert found.reason.startswith("there is nothing to check: ")
    assert findings().reason == "nothing was checked: there are no parameters"


@pytest.mark.parametrize(
    ("finite_here", "reason"),
    [
        (False, "the loss is not finite here, so no derivative could be found"),
        (True, "the loss is finite here, but its differences are not, or do not converge"),
        (None, "the differences are not finite, or do not converge"),
    ],
)
def test_if_no_derivative_could_be_found_the_reason_says_why(finite_here, reason):
    found = findings(array(inconclusive=3), numerical=np.full(3, np.nan), finite_here=finite_here)
    assert found.blind
    assert found.reason == reason


# ---- blind


def test_one_finite_error_bar_is_enough_to_see():
    unknown = array(inconclusive=3)
    assert findings(unknown, bars=np.full(3, np.inf)).blind
    assert not findings(unknown, bars=[np.inf, 1.0, np.inf]).blind
    assert not findings(unknown).blind, "without error bars finite differences are something"


def test_an_array_that_was_decided_was_seen():
    infinite = np.full(3, np.inf)
    assert not findings(array(inconclusive=2), bars=infinite).blind
    assert not findings(array(inconclusive=3, at_kink=1), bars=infinite).blind


def test_along_directions_the_power_tells_what_was_seen():
    unknown = np.full(3, np.nan)
    assert findings(array(inconclusive=3), numerical=unknown, evaluations=10).blind
    assert not findings(array(inconclusive=3, power=2.0), numerical=unknown, evaluations=10).blind
    assert not findings(array(empty=True), numerical=unknown, evaluations=10).blind


def test_what_was_compared_along_directions_is_told_by_the_evaluations_even_if_there_were_none():
    assert findings(array(), evaluations=0)._along_directions
    assert not findings(array())._along_directions


# ---- entries


def test_the_worst_entries_come_first_with_their_place_in_their_array():
    found = findings(array("a", 2), array("b", 3), excess=[0.1, 5.0, 0.0, np.inf, 2.0])
    assert [(e.array, e.index) for e in found.worst(3)] == [("b", (1,)), ("a", (1,)), ("b", (2,))]
    assert (found.worst()[0].analytic, found.worst()[0].numerical) == (-3.0, 3.0)


def test_entries_that_were_not_compared_are_not_among_the_worst():
    found = findings(array(), excess=[-np.inf, 0.5, -np.inf])
    assert found._compared.tolist() == [False, True, False]
    assert [e.index for e in found.worst(9)] == [(1,)]


@pytest.mark.parametrize("k", [0, -1])
def test_of_no_entries_none_are_the_worst(k):
    assert findings(array()).worst(k) == []


def test_shares_are_parts_of_the_entries_that_were_compared():
    found = findings(array("a", 4, at_kink=1), array("b", 4, inconclusive=2), array("c", 2, empty=True))
    assert found.shares == {"at kinks": 0.1, "inconclusive": 0.2, "nothing to check": 0.2}
    assert findings().shares == {"at kinks": 0.0, "inconclusive": 0.0, "nothing to check": 0.0}


def test_error_bars_are_given_by_the_names_of_the_arrays():
    found = findings(array("a", 1), array("b", 2), bars=[1.0, 2.0, np.inf])
    assert {name: bars.tolist() for name, bars in found.bars.items()} == {"a": [1.0], "b": [2.0, np.inf]}
    assert findings(array()).bars is None


# ---- numbers in words


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (0.0, "relative error 0.0e+00"),
        (999.0, "relative error 1.0e+03"),
        (1000.0, "opposite sign"),
        (float("inf"), "opposite sign"),
        (float("nan"), "relative error nan"),
    ],
)
def test_a_relative_error_of_a_thousand_is_an_opposite_sign(ratio, words):
    assert format_error(ratio, "relative error ") == words
