"""What was looked at beside the numbers of a gradient, such as forward mode or cotangents with strides."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal, NamedTuple

from gradcheck_fast.inputs.arguments import choose

#: What the look at an aspect can have found.
Status = Literal["right", "wrong", "not checked"]


class Aspect(NamedTuple):
    """One aspect of a derivative, and what was found.

    Attributes
    ----------
    name : str
        Such as ``"forward mode"``.
    status : {"right", "wrong", "not checked"}
    detail : str
        What is wrong, or why it was not checked; it may be empty if it is right.
    """

    name: str
    status: Status
    detail: str = ""


def read_skip(skip: str | Iterable[str], known: Collection[str]) -> frozenset[str]:
    """Reads the names of the aspects that are not to be looked at.

    Parameters
    ----------
    skip : str, or iterable of str
    known : collection of str
        The names that there are.

    Raises
    ------
    TypeError, ValueError
        If one of them is no name of an aspect.
    """
    names = (skip,) if isinstance(skip, str) else tuple(skip)
    return frozenset(choose("skip", name, tuple(known)) for name in names)


def of_status(aspects: Iterable[Aspect], status: Status) -> list[Aspect]:
    """Returns the aspects of which this was found."""
    return [aspect for aspect in aspects if aspect.status == status]
