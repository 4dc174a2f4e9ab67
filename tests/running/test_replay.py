"""Procedures whose next question depends on the last answer, in stretches: the answers are always the same."""

from __future__ import annotations

import numpy as np
import pytest
from work import Stopped

from gradcheck_fast.running import replay
from gradcheck_fast.running.checkpoint import Checkpoint
from gradcheck_fast.running.progress import Meter
from gradcheck_fast.running.replay import Answers, Paused, all_answers
from gradcheck_fast.running.runner import Runner


class Collatz:
    """The questions are the numbers on the way to 1, which differs in length; the answers, half and 3 times + 1."""

    starts = (7, 1, 27, 6)
    evaluations = 0

    def answer(self, question):
        self.evaluations += 1
        return question / 2, 3 * question + 1

    def __call__(self, number, answers):
        at = float(self.starts[number])
        while at != 1.0:
            half, other = answers.next(at, self.answer)
            at = other if at % 2 else half


#: Steps to 1.
LENGTHS = [16, 0, 111, 8]


def answers_of(procedure, seconds=60.0, **options):
    count, expected = len(procedure.starts), lambda number, given: given + 1
    with Runner(**options) as runner:
        return all_answers(procedure, count, runner, what="Collatz", seconds=seconds, expected=expected)


@pytest.fixture
def expected():
    return answers_of(Collatz())


def test_all_questions_are_answered_once(expected):
    procedure = Collatz()
    assert [len(answers) for answers in answers_of(procedure)] == LENGTHS
    assert procedure.evaluations == sum(LENGTHS)
    np.testing.assert_array_equal(expected[3][:3], [[6, 3, 19], [3, 1.5, 10], [10, 5, 31]])


@pytest.mark.parametrize(("seconds", "first"), [(0.0, 64), (60.0, 1), (60.0, 64), (60.0, 1000)])
def test_the_answers_do_not_depend_on_the_stretches(seconds, first, expected, monkeypatch):
    monkeypatch.setattr(replay, "FIRST_ANSWERS", first)
    procedure = Collatz()
    for own, other in zip(answers_of(procedure, seconds), expected, strict=True):
        np.testing.assert_array_equal(own, other)
    assert procedure.evaluations == sum(LENGTHS)


def test_a_stretch_ends_when_its_time_is_over_but_not_before_it_found_something(monkeypatch):
    clock = iter(np.arange(0.0, 100.0, 0.4))
    monkeypatch.setattr(replay, "perf_counter", lambda: next(clock))
    for seconds, found in ((0.0, 1), (1.0, 3)):
        answers = Answers(seconds=seconds)
        with pytest.raises(Paused):
            Collatz()(2, answers)
        assert len(answers.found) == found


def test_what_is_known_is_not_found_again(expected):
    procedure = Collatz()
    answers = Answers(expected[2][:100])
    procedure(2, answers)
    assert procedure.evaluations == 11
    np.testing.assert_array_equal(np.concatenate([expected[2][:100], answers.found]), expected[2])


def test_answers_to_other_questions_are_refused(expected):
    with pytest.raises(RuntimeError, match="other evaluations were made before, by another version"):
        Collatz()(0, Answers(expected[3]))


def test_a_checkpoint_keeps_every_stretch(tmp_path, monkeypatch, eager, expected):
    monkeypatch.setattr(replay, "FIRST_ANSWERS", 10)

    class Stops(Collatz):
        def answer(self, question):
            if self.evaluations == 40:
                raise Stopped
            return super().answer(question)

    kept = lambda: Checkpoint(tmp_path / "run.npz", {})
    with pytest.raises(Stopped):
        answers_of(Stops(), checkpoint=kept())
    procedure = Collatz()
    for own, other in zip(answers_of(procedure, checkpoint=kept()), expected, strict=True):
        np.testing.assert_array_equal(own, other)
    first, second, broken_off = 10 + 10 + 8, 6, 6
    assert procedure.evaluations == sum(LENGTHS) - first - second
    assert first + second + broken_off == 40
    procedure.evaluations = 0
    answers_of(procedure, checkpoint=kept())
    assert procedure.evaluations == 0


def test_fractions_rise_while_one_procedure_goes_on(monkeypatch):
    monkeypatch.setattr(replay, "FIRST_ANSWERS", 10)
    monkeypatch.setattr(replay, "MORE_ANSWERS", 1)
    fractions = []
    answers_of(Collatz(), meter=Meter(fractions.append))
    assert fractions == sorted(fractions)
    assert len(set(fractions)) > 10
    assert fractions[-1] == 1.0
