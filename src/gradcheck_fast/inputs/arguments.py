"""Words for people: the nearest name, a time; and checking small arguments."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from operator import index


def choose(what: str, name: object, names: Iterable[str]) -> str:
    """`name`, which must be one of `names`.

    Raises
    ------
    TypeError
        If it is not a string.
    ValueError
        If it is not one of them; the message lists them and suggests the nearest.
    """
    known = list(names)
    if not isinstance(name, str):
        raise TypeError(f"{what}: expected one of {', '.join(known)}, got {name!r}")
    if name in known:
        return name
    raise ValueError(f"{what}: unknown name {name!r}{nearest(name, known)}; known: {', '.join(known)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """``, did you mean 'x'?`` where one of `known` resembles `name`, else nothing."""
    lower = {k.lower(): k for k in known}
    close = get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    return f", did you mean {lower[close[0]]!r}?" if close else ""


def duration(seconds: float) -> str:
    """A time in the unit that a person would take, with three digits."""
    for unit, size, least in (("days", 86400.0, 2), ("hours", 3600.0, 2), ("minutes", 60.0, 2), ("s", 1.0, 1)):
        if seconds >= least * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} us"


def true_or_false(what: str, value: object) -> bool:
    """`value`, which must be True or False; TypeError naming `what` otherwise."""
    if not isinstance(value, bool):
        raise TypeError(f"{what}: expected True or False, got {value!r}")
    return value


def integer(what: str, value: object, *, positive: bool = False) -> int:
    """`value` as an int of at least 0, or 1 if `positive`; TypeError or ValueError naming `what` otherwise."""
    expected = "a positive integer" if positive else "an integer of at least 0"
    try:
        result = index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{what}: expected {expected}, got {value!r}") from None
    if result < positive or isinstance(value, bool):
        raise ValueError(f"{what}: expected {expected}, got {value!r}")
    return result


def number(what: str, value: object, *, positive: bool = False, signed: bool = False) -> float:
    """`value` as a finite float, at least 0, above 0 if `positive`, any if `signed`; an error names `what` if not."""
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
