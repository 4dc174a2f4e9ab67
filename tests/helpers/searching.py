"""What is said of a gradient that somebody wrote wrongly, for tests of the families of mistakes."""

from __future__ import annotations

import inspect
import re

import gradcheck_fast as gf


def explain(loss, gradient, params):
    """Returns the causes that a check names; the gradient is an array, a tree of arrays, or a function of `params`."""
    given = gradient(params) if callable(gradient) else gradient
    return [diagnosis.cause for diagnosis in gf.gradcheck(loss, given, params, n_threads=1).diagnoses]


def line_of(function, piece):
    """Returns the number of the first line of a function that has a piece of source in it."""
    lines, first = inspect.getsourcelines(function)
    return first + next(k for k, line in enumerate(lines) if piece in line)


def is_said(cause, pattern, line):
    """Whether a cause names a line, and has a match of a regular expression."""
    return re.search(rf"\blines? (\d+(, | and ))*{line}\b", cause) is not None and re.search(pattern, cause) is not None
