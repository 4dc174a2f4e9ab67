"""Checks small arguments, and puts into words what users read: the nearest known name, and how long something takes."""

from __future__ import annotations

from collections.abc import Iterable
from operator import index

#: How alike two names must be for one to be suggested in place of the other, by difflib's ratio: twice the number of
#: matching characters over the number of all. At one half, one of the two characters of a name such as W1 may be wrong.
_ALIKE = 0.5
#: The units of a length of time, their size in seconds, and how many of a unit there must be for it to be used: 100
#: seconds are easier to read than 1.67 minutes.
_UNITS = (("days", 86400.0, 2), ("hours", 3600.0, 2), ("minutes", 60.0, 2), ("s", 1.0, 1))


def choose(what: str, name: object, names: Iterable[str]) -> str:
    """Returns `name` if it is one of `names`.

    Parameters
    ----------
    what : str
        What the argument is called in errors.
    name : object
    names : iterable of str

    Raises
    ------
    TypeError
        If `name` is not a string.
    ValueError
        If `name` is not one of `names`; the message lists them and suggests the nearest.
    """
    known = list(names)
    if not isinstance(name, str):
        raise TypeError(f"{what}: expected one of {', '.join(known)}, got {name!r}")
    if name in known:
        return name
    raise ValueError(f"{what}: unknown name {name!r}{nearest(name, known)}; known: {', '.join(known)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns ``, did you mean 'x'?`` if a name of `known` resembles `name` apart from case, else an empty string."""
    from difflib import get_close_matches  # only errors wait for its import

    lower = {k.lower(): k for k in known}
    close = get_close_matches(name.lower(), lower, n=1, cutoff=_ALIKE)
    return f", did you mean {lower[close[0]]!r}?" if close else ""


def duration(seconds: float) -> str:
    """Puts a number of seconds into words, in the unit that a person would take: ``2.5 hours``, ``12 ms``."""
    for unit, size, least in _UNITS:
        if seconds >= least * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} us"


def true_or_false(what: str, value: object) -> bool:
    """Returns `value` if it is True or False.

    Raises
    ------
    TypeError
        If `value` is anything else; the message begins with `what`.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{what}: expected True or False, got {value!r}")
    return value


def integer(what: str, value: object, *, positive: bool = False) -> int:
    """Returns `value` as an int.

    Parameters
    ----------
    what : str
        What the argument is called in errors.
    value : object
        An integer of any type, such as NumPy's.
    positive : bool
        Whether the least that is accepted is 1, instead of 0.

    Raises
    ------
    TypeError
        If `value` is not an integer.
    ValueError
        If `value` is too small, or True or False.
    """
    expected = "a positive integer" if positive else "an integer of at least 0"
    try:
        result = index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{what}: expected {expected}, got {value!r}") from None
    if result < positive or isinstance(value, bool):
        raise ValueError(f"{what}: expected {expected}, got {value!r}")
    return result


def number(what: str, value: object, *, positive: bool = False, signed: bool = False) -> float:
    """Returns `value` as a finite float, which is at least 0 by default.

    Parameters
    ----------
    what : str
        What the argument is called in errors.
    value : object
        Anything that ``float`` takes, but no string and no bool.
    positive : bool
        Whether 0 is refused.
    signed : bool
        Whether negative numbers are accepted.

    Raises
    ------
    TypeError
        If `value` is not a number.
    ValueError
        If `value` is infinite, NaN, or out of the range.
    """
    expected = "a positive number" if positive else "a finite number" if signed else "a number of at least 0"
    if isinstance(value, (str, bytes, bool)):
        raise TypeError(f"{what}: expected {expected}, got {value!r}")
    try:
        result = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"{what}: expected {expected}, got {value!r}") from None
    size = abs(result) if signed else result
    if not (0 <= size < float("inf")) or (positive and result == 0):
        raise ValueError(f"{what}: expected {expected}, got {value!r}")
    return result
