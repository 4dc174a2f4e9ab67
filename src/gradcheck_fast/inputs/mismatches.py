"""What to say of a tree whose arrays have other names or shapes than was expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradcheck_fast.inputs.arguments import nearest

#: How many names an error lists, at most: with more, the message would be too long to read.
_MOST_LISTED = 6


def without_units(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns a shape without its axes of length 1."""
    return tuple(length for length in shape if length != 1)


def name_differences(what: str, got: list[str], expected: list[str]) -> str:
    """Returns which names are missing and which are not known, with what may have been meant."""
    missing = [name for name in expected if name not in got]
    extra = [name for name in got if name not in expected]
    parts = []
    if missing:
        parts.append(f"missing {', '.join(missing)}")
    if extra:
        parts.append(f"unexpected {', '.join(name + nearest(name, missing) for name in extra)}")
    if expected and all(name.startswith("[") and name[1:2].isdigit() for name in expected):
        parts.append("the parameters are a list, so give a list in the same order, or both as dicts")
    return f"{what}: {'; '.join(parts)}; expected {', '.join(expected)}"


def shape_notes(
    what: str, given: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[str, ...]:
    """Returns a sentence on the arrays that were accepted with another shape; none if there are none."""
    if not given:
        return ()
    if len(given) > 1:
        forms = listed({f"{shape} for {shapes[name]}": name for name, shape in given.items()})
        said = f"the {what}s of {listed(given)} have other shapes than their parameters, {forms}"
    else:
        ((name, shape),) = given.items()
        said = f"the {what} of {name} has the shape {shape}, its parameter {shapes[name]}"
        if list(shapes) == ["params"]:
            said = f"the {what} has the shape {shape}, the parameters {shapes[name]}"
    return (f"{said}: taken as the same entries",)


def shape_hint(
    called: str,
    name: str,
    given: Mapping[str, tuple[int, ...]],
    shapes: Mapping[str, tuple[int, ...]],
    samples: int | None,
) -> str:
    """Returns a hint at the mistake that would give an array this shape; an empty string if none is known."""
    got, expected = given[name], shapes[name]
    other = next((o for o in shapes if got == shapes[o] and given[o] == expected), None)
    if other is not None:
        both = ", or both transposed" if got == expected[::-1] else ""
        return f"; {name} and {other} look exchanged{both}"
    if got == expected[::-1]:
        return f"; {called} looks transposed"
    if samples is not None and len(expected) == 1 and got == (samples,):
        return f"; {called} has one entry per sample: summed over the wrong axis"
    if samples is not None and got == (samples, *expected):
        return f"; {called} is not summed over the {samples} samples"
    if sorted(got) == sorted((1, *expected)):
        return f"; {called} has one axis of length 1 too many"
    return ""


def listed(names: Mapping[str, Any]) -> str:
    """Returns names in one text, of which the last are left out if they are many."""
    shown = list(names)
    return ", ".join(shown[:_MOST_LISTED] + ["…"] * (len(shown) > _MOST_LISTED)) or "none"
