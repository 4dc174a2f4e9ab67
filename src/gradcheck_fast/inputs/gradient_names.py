"""Recognises gradients that have names of their own, such as ``dW1`` or ``grad_W1`` for the gradient of ``W1``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from gradcheck_fast.inputs.arguments import nearest
from gradcheck_fast.inputs.mismatches import listed

#: What a cost is called in names such as ``dL_dW``.
_COSTS = ("L", "l", "E", "J", "C", "loss", "Loss", "cost", "Cost", "error")
#: What stands before and after the name of a parameter in that of its gradient.
PATTERNS: tuple[tuple[str, str], ...] = (
    ("d", ""), ("D", ""), ("d_", ""), ("grad_", ""), ("grad", ""), ("gradient_", ""), ("gradients_", ""),
    ("grads_", ""), ("g_", ""), ("g", ""), ("delta_", ""), ("delta", ""), ("nabla_", ""), ("del_", ""), ("∂", ""),
    ("∇", ""), ("Δ", ""), ("", "_grad"), ("", ".grad"), ("", "_gradient"), ("", ".gradient"), ("", "_g"), ("", "_d"),
    ("", "_delta"), ("", "_grads"), ("", "_bar"), ("", "Grad"), *((f"d{cost}_d", "") for cost in _COSTS),
    *((f"d{cost}d", "") for cost in _COSTS), *((f"d{cost}_d_", "") for cost in _COSTS),
)  # fmt: skip
#: A part of a name: a key of a dict, or an index of a list.
_PART = r"[^.\[\]'\"]+"
#: The name of an array that has none but its place in a list, or among the arguments of a function.
_UNNAMED = r"(inputs|output)?(\[\d+\])*"
#: What may follow ``d`` in the name of a derivative by something else than a parameter: ``dA1``, ``dout``, ``dscores``.
#: Other words that begin with this letter, such as ``decay``, are no derivatives.
_AFTER_D = (
    r"[A-Z0-9_].*|([a-z]|out|bn|fc|conv)[0-9]*(_\w+)?|[a-z](next|prev|raw|hat|norm)|(next|prev)_\w+|hidden\w*"
    r"|scores?|logits?|probs?"
)


class Taken(NamedTuple):
    """Which arrays of a tree are taken for a gradient.

    Attributes
    ----------
    places : dict of str to str
        The name in the tree of what is taken for each parameter, by the names of these.
    passed_over : tuple of str
        The names of all else that is in the tree.
    """

    places: dict[str, str]
    passed_over: tuple[str, ...]

    @property
    def note(self) -> str:
        """What is said of it in a report; there is always something."""
        named = {name: own for name, own in self.places.items() if own != name}
        own, names = listed(dict.fromkeys(named.values())), listed(named)
        said = f"the gradient {own} is taken for {names}" if named else ""
        if len(named) > 1:
            said = f"gradients {own} are taken for {names}"
        if not self.passed_over:
            return said
        others = listed(dict.fromkeys(self.passed_over))
        passed = f"{others} {'were' if len(self.passed_over) > 1 else 'was'} passed over"
        return f"{said}; {passed}" if said else f"beside the gradient, {passed}"


def taken(what: str, found: Sequence[str], expected: Sequence[str]) -> Taken | None:
    """Finds the gradients among named arrays: those with the parameters' names, or else those named by one pattern.

    Parameters
    ----------
    what : str
        What the tree is called in errors.
    found : sequence of str
        The names in the tree that is given as a gradient.
    expected : sequence of str
        The names of the parameters.

    Returns
    -------
    Taken or None
        None: the tree is read, or refused, as any other. So it is if each name is that of a parameter; if no pattern
        fits all parameters; or if there are more names than those of all parameters, unless all of these others are
        derivatives by something else, as ``dA1`` is beside ``W1``.

    Raises
    ------
    ValueError
        If two patterns fit all parameters.
    """
    known, names = set(found), set(expected)
    if not names or known == names:
        return None
    if names < known:
        others = tuple(name for name in found if name not in names)
        return Taken({name: name for name in expected}, others) if _are_of_others(others, expected) else None
    if not any(re.search(r"[^\W\d_]", name) for name in found):  # of lists
        return None
    for fold in (str, str.lower):
        full = list(_matches(found, expected, fold, full=True))
        if len(full) > 1:
            first, second = (listed(dict.fromkeys(places.values())) for places in full[:2])
            raise ValueError(f"{what}: {first} and {second} are both named as the gradients of {listed(full[0])}")
        if full:
            own = set(full[0].values())
            return Taken(full[0], _tops([name for name in found if name not in own], own))
    return None


def partly_taken(what: str, found: Sequence[str], expected: Sequence[str]) -> str:
    """Says which parameters have no gradient if the others have theirs by one pattern; "" if no pattern fits any."""
    most = max(_matches(found, expected, str), key=len, default={})
    if not most or len(most) <= len(set(found) & set(expected)):
        twice = [f"both {name} and {own}" for name, own in most.items() if name in found]
        return f"{what}: {twice[0]} could be that of {next(iter(most))}; leave one of them out" if twice else ""
    missing = [name for name in expected if name not in most]
    (name, own), rest = next(iter(most.items())), [name for name in found if name not in most.values()]
    begin = own.index(name) if name in own else 0
    likely = own[:begin] + missing[0] + own[begin + len(name) :] if name in own else missing[0]
    hint = nearest(likely, rest)
    return (
        f"{what}: {listed(dict.fromkeys(most.values()))} would be taken for {listed(most)}, but there is none for "
        f"{listed(dict.fromkeys(missing))}{hint}"
    )


def _matches(
    found: Sequence[str], expected: Sequence[str], fold: Callable[[str], str], *, full: bool = False
) -> Iterator[dict[str, str]]:
    """Yields for each pattern that fits some parameters, and each part of a name that it may be of, what it finds.

    Parameters
    ----------
    fold : callable
        What is done to names before they are compared.
    full : bool
        Whether only patterns that fit all parameters are looked for.
    """
    by_name: dict[str, list[str]] = {}
    for name in found:
        by_name.setdefault(fold(name), []).append(name)
    if len(set(map(fold, expected))) < len(expected):
        return
    seen: list[dict[str, str]] = []
    for frames in zip(*map(_frames, expected), strict=True):
        for before, after in PATTERNS:
            places = {}
            for name, frame in zip(expected, frames, strict=True):
                own = by_name.get(fold(name if frame is None else _framed(frame, before, after)), ())
                if len(own) == 1 and (own[0] != name or frame is None):
                    places[name] = own[0]
                elif full:
                    break
            else:
                if any(name != own for name, own in places.items()) and places not in seen:
                    seen.append(places)
                    yield places


def _frames(name: str) -> list[tuple[str, str, str] | None]:
    """Returns the parts of a name that a pattern may be of: the last key, the first, and the whole.

    Each is returned with what stands before and after it. None: the array has no name, and its gradient has none.
    """
    if re.fullmatch(_UNNAMED, name):
        return [None] * 3
    keys = [part for part in re.finditer(_PART, name) if not part.group().isdigit()]
    places = [(keys[k].start(), keys[k].end()) if keys else (0, len(name)) for k in (-1, 0)]
    return [(name[:begin], name[begin:end], name[end:]) for begin, end in (*places, (0, len(name)))]


def _framed(frame: tuple[str, str, str], before: str, after: str) -> str:
    head, part, tail = frame
    return f"{head}{before}{part}{after}{tail}"


def _are_of_others(names: Sequence[str], parameters: Sequence[str]) -> bool:
    """Whether names are those of derivatives, by something that is no parameter, nor called as one but for its number.

    A gradient ``dW3`` of a parameter that is not there is hardly meant to be passed over.
    """
    own = {_unnumbered(part) for name in parameters for part in re.findall(_PART, name)}
    for name in names:
        derived = [_derived(part) for part in re.findall(_PART, name) if not part.isdigit()]
        if not any(derived) or any(_unnumbered(by) in own for found in derived for by in found):
            return False
    return True


def _unnumbered(name: str) -> str:
    return name.rstrip("0123456789")


def _derived(part: str) -> set[str]:
    """Returns what a name may be the derivative by; nothing if it is not the name of a derivative."""
    found = set()
    for before, after in PATTERNS:
        by = part[len(before) : len(part) - len(after)]
        if not by or not (part.startswith(before) and part.endswith(after)):
            continue
        if after or before.endswith("_") or not before[0].isascii() or re.fullmatch(_AFTER_D, by):
            found.add(by)
    return found - {"", part}


def _tops(names: Sequence[str], own: set[str]) -> tuple[str, ...]:
    """Names what is passed over, by whole branches of the tree where nothing in them is taken."""
    used = {_top(name) for name in own}
    return tuple(dict.fromkeys(name if _top(name) in used else _top(name) for name in names))


def _top(name: str) -> str:
    return re.split(r"[.\[]", name, maxsplit=1)[0] or name
