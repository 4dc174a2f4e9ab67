"""Does procedures that ask for one evaluation after another, in stretches that anyone may do, anywhere.

What a procedure asks next depends on the answers that it has got, and on nothing else. So a procedure that is begun
again, and is given the answers once more, comes to where it was. That is how a stretch of it becomes a task of a `Job`
like any other: it is done here or by a worker, done again if the worker dies, and kept in a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isclose
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.running.jobs import Job

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.running.runner import Runner

#: How many answers the first stretch of a procedure finds, at most: room for them is made beforehand.
FIRST_ANSWERS = 64
#: How many times the answers of the last stretch the next one finds, at most.
MORE_ANSWERS = 4

#: The two numbers that an evaluation finds.
Answer = tuple[float, float]
#: An array of shape (answers, 3) with a question and its answer in each row, and whether the procedure came to its end.
Found = tuple["NDArray[np.float64]", bool]


class Paused(Exception):
    """Is raised when a procedure asks for more than there is time or room for in its stretch."""


class Answers:
    """Answers a procedure: with what is known, in the same order, and then with what is found in this stretch.

    Parameters
    ----------
    known : ndarray of float64, shape (answers, 3), optional
        The questions that were asked before, and their answers.
    most : float
        How many answers may be found.
    seconds : float
        How many seconds after the first answer others may be found.

    Attributes
    ----------
    found : list of (float, float, float)
        The questions that were answered in this stretch, and their answers.
    """

    def __init__(
        self, known: NDArray[np.float64] | None = None, most: float = float("inf"), seconds: float = float("inf")
    ) -> None:
        self._known = iter([] if known is None else known.tolist())
        self._most = most
        self._seconds = seconds
        self._until = 0.0
        self.found: list[tuple[float, float, float]] = []

    def next(self, question: float, find: Callable[[float], Answer]) -> Answer:
        """Returns the answer to the next question: the one that is known, or else the one that `find` gives.

        Raises
        ------
        Paused
            If the stretch is over.
        RuntimeError
            If another question was asked in this place before.
        """
        known = next(self._known, None)
        if known is not None:
            if not isclose(known[0], question):
                raise RuntimeError(
                    "other evaluations were made before, by another version, or by a worker with another one; remove "
                    "the checkpoint, if there is one"
                )
            return known[1], known[2]
        if not self.found:
            self._until = perf_counter() + self._seconds
        elif len(self.found) >= self._most or perf_counter() >= self._until:
            raise Paused
        answer = find(question)
        self.found.append((question, *answer))
        return answer


#: ``procedure(number, answers)`` goes through the procedure of a number, and asks `answers` its questions.
Procedure = Callable[[int, Answers], Any]


class _Stretch(NamedTuple):
    """The next stretch of each of some procedures.

    `known` are the answers that each has got so far; `most` and `seconds` are those of `Answers`.
    """

    procedure: Procedure
    numbers: tuple[int, ...]
    known: tuple[NDArray[np.float64], ...]
    most: int
    seconds: float

    def share(self, begin: int, end: int) -> list[Found]:
        """Does the stretch of the procedures begin..end - 1, and returns what each has found."""
        found = []
        for number, known in zip(self.numbers[begin:end], self.known[begin:end], strict=True):
            answers, is_done = Answers(known, self.most, self.seconds), True
            try:
                self.procedure(number, answers)
            except Paused:
                is_done = False
            found.append((np.array(answers.found, np.float64).reshape(-1, 3), is_done))
        return found


class _Stretches:
    """Goes through all procedures, stretch by stretch; see `all_answers`."""

    def __init__(
        self, procedure: Procedure, count: int, what: str, seconds: float, expected: Callable[[int, int], int]
    ) -> None:
        self.known = [np.empty((0, 3))] * count
        self.left = tuple(range(count))
        self._procedure, self._what, self._seconds, self._expected = procedure, what, seconds, expected
        self._most, self._number, self._fraction, self._is_new = FIRST_ANSWERS, 0, 0.0, False

    def job(self) -> Job:
        """Makes a job of the next stretch of the procedures that are left; each is a task."""
        self._answers = np.zeros((len(self.left), self._most, 3))
        self._ends = np.zeros((len(self.left), 2), np.intp)  # how many answers, and whether it is done
        known = tuple(self.known[number] for number in self.left)
        share = _Stretch(self._procedure, self.left, known, self._most, self._seconds).share
        here = lambda begin, end: self._put(begin, end, share(begin, end))
        what = (self._what, self._number, self.left)
        return Job(what, len(self.left), (self._answers, self._ends), here, share, self._put)

    def _put(self, begin: int, end: int, found: Sequence[Found]) -> None:
        self._is_new = True
        for k, (answers, is_done) in zip(range(begin, end), found, strict=True):
            self._answers[k, : len(answers)] = answers
            self._ends[k] = len(answers), is_done

    def take(self) -> None:
        """Takes over what the job has found, and drops the procedures that are done."""
        for number, answers, (length, _) in zip(self.left, self._answers, self._ends, strict=True):
            self.known[number] = np.concatenate([self.known[number], answers[:length]])
        self.left = tuple(number for number, (_, is_done) in zip(self.left, self._ends, strict=True) if not is_done)
        self._most = max(FIRST_ANSWERS, MORE_ANSWERS * int(self._ends[:, 0].max()))
        self._number += 1

    def fraction(self) -> float | None:
        """Returns which part of the work is done, as far as is known, and never less than before.

        It is None as long as nothing new was found: what a checkpoint has of later stretches is not known yet.
        """
        given = np.array([len(known) for known in self.known])
        missing = 0
        for number, (length, is_done) in zip(self.left, self._ends.tolist(), strict=True):
            given[number] += length
            missing += 0 if is_done else self._expected(number, int(given[number])) - int(given[number])
        done = int(given.sum())
        self._fraction = max(self._fraction, done / (done + missing) if missing else 1.0)
        return self._fraction if self._is_new or not missing else None


def all_answers(
    procedure: Procedure, count: int, runner: Runner, *, what: str, seconds: float, expected: Callable[[int, int], int]
) -> list[NDArray[np.float64]]:
    """Finds the answers to all that some procedures ask.

    Parameters
    ----------
    procedure : callable
        ``procedure(number, answers)`` goes through one of them. It can be pickled, if the loss can.
    count : int
        How many procedures there are.
    runner : Runner
        Does the work.
    what : str
        What the procedures are called, for a checkpoint.
    seconds : float
        How many seconds a stretch takes. That is to be long beside the time to come to where it begins.
    expected : callable
        ``expected(number, given)`` returns how many answers a procedure needs in all, at least, if it has got `given`
        answers and is not done.

    Returns
    -------
    list of ndarray of float64, shape (answers, 3)
        The questions that each procedure has asked, and their answers.
    """
    stretches = _Stretches(procedure, count, what, seconds, expected)
    while stretches.left:
        job = stretches.job()
        runner.saying(stretches.fraction).run(job)
        stretches.take()
    return stretches.known
