"""What a planted mistake is, and what may be said of it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

#: Returns the loss, its gradient and the parameters; the gradient has the mistake of that name, "" being none.
Maker = Callable[..., tuple[Callable[[Any], Any], Callable[[Any], Any], Any]]


class Planted(NamedTuple):
    """A mistake in a hand-written gradient, and what a diagnosis must say of it.

    `causes` are regular expressions, one of which must be found in the cause, in any case of letters. `lines` are
    pieces of the source of the forward pass: the cause or its evidence must name the line of one of them. If there are
    none, no line is asked for.
    """

    name: str
    network: str
    mistake: str
    causes: tuple[str, ...]
    lines: tuple[str, ...]
    maker: Maker

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the lines one of which must be named."""
        return tuple(self.number(piece) for piece in self.lines)

    @property
    def file(self) -> Path:
        """The file of the network."""
        return Path(str(inspect.getsourcefile(self.maker)))

    def number(self, piece: str) -> int:
        """The first line of the network, or else of its whole file, that contains a piece of source.

        The forward pass comes first. Lines that quote the piece are those of the table of mistakes.
        """
        own, first = inspect.getsourcelines(self.maker)
        whole = self.file.read_text(encoding="utf-8").splitlines()
        for text, start in ((own, first), (whole, 1)):
            for k, line in enumerate(text):
                if piece in line and f'"{piece}' not in line:
                    return start + k
        raise LookupError(f"{self.name}: no line contains {piece!r}")

    def is_cause_of(self, cause: str) -> bool:
        """Whether a cause means this mistake."""
        return any(re.search(pattern, cause, re.IGNORECASE | re.DOTALL) for pattern in self.causes)

    def has_line(self, text: str) -> bool:
        """Whether a text names one of the lines, if any is asked for."""
        return not self.lines or any(re.search(rf"\blines? (\d+(, | and ))*{n}\b", text) for n in self.numbers)

    def is_named(self, diagnoses: Sequence[Any]) -> tuple[bool, bool]:
        """Whether the first diagnosis is this mistake, and whether it is with its line."""
        if not diagnoses:
            return False, False
        cause, evidence = diagnoses[0].cause, diagnoses[0].evidence
        named = self.is_cause_of(cause)
        return named, named and self.has_line(f"{cause} {evidence}")


class Network(NamedTuple):
    """A hand-written network and the mistakes that are planted in it."""

    name: str
    maker: Maker
    mistakes: tuple[Planted, ...]


def plant(maker: Maker, mistakes: dict[str, tuple[Sequence[str], Sequence[str]]]) -> Network:
    """A network with its mistakes: by name, the patterns of the cause and the pieces of source."""
    name = maker.__name__
    planted = [Planted(f"{name}/{m}", name, m, tuple(causes), tuple(lines), maker)
               for m, (causes, lines) in mistakes.items()]  # fmt: skip
    return Network(name, maker, tuple(planted))


def distinct(rng: np.random.Generator, count: int, low: int = 3, high: int = 9) -> list[int]:
    """So many different sizes, from `low` to below `high`."""
    return [int(size) for size in low + rng.permutation(high - low)[:count]]


def drawn(rng: np.random.Generator, scale: float = 1.0, /, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Parameters of these shapes: matrices in proportion to their inputs, vectors small."""
    return {
        name: scale * rng.normal(size=shape) / (np.sqrt(max(shape)) if len(shape) > 1 else 2.0)
        for name, shape in shapes.items()
    }


def without(word: str, patterns: Sequence[str]) -> tuple[str, ...]:
    """The patterns, for causes that do not contain a word."""
    return tuple(rf"^(?!.*{word}).*({pattern})" for pattern in patterns)


# ---- words: each of these is a tuple of patterns

_GONE = r"(left out|missing|forgotten|not applied|ignored|omitted|not taken|lacks|lacking)"
_DERIVATIVE = r"(derivative|slope)"

#: The derivative of the function in that line is left out.
DERIVATIVE_LEFT_OUT = (rf"{_DERIVATIVE}.*{_GONE}", rf"{_GONE}.*{_DERIVATIVE}", "taken for the identity")
#: The derivative is taken at the argument z instead of at the value a, or at another wrong point.
DERIVATIVE_AT_Z = (rf"{_DERIVATIVE}.*(\bz\b|argument|pre-activation|at the wrong|point)",)
DERIVATIVE_TWICE = (rf"{_DERIVATIVE}.*(twice|squared|two times|again)", rf"twice.*{_DERIVATIVE}")
#: p - y contains the sigmoid's or softmax's derivative, which is applied once more.
LINK_TWICE = (rf"({_DERIVATIVE}|Jacobian).*(twice|again|already|once more)",)
PENALTY_LEFT_OUT = (rf"penalty.*{_GONE}", rf"{_GONE}.*penalty", rf"(term|path|part|use).*{_GONE}")
PENALTY_DOUBLED = (r"penalty.*(doubled|twice|factor (of )?2)", r"doubled.*penalty")
PENALTY_ELSEWHERE = (r"penalty.*(too|not cover|not penali[sz]ed|has not|not in the loss|does not)",)
AVERAGED = (r"(averaged|mean\b|divided by)",)
SUMMED = (r"(multiplied by|not averaged|not divided|division by|summed where|times too large)",)
WRONG_SIGN = (r"\bsign\b", r"negative of", r"subtracted|negated")
FIRST_ONLY = (r"first (row|column|sample|entry|position|one)", r"not summed", r"only.*(first|row|column|sample|entry)")
WRONG_AXIS = (r"\baxis\b", r"along (the )?(wrong|other|rows|columns|outputs)", r"(rows|columns).*(instead|not)")
NOT_TRANSPOSED = (r"transpos",)
OTHER_WEIGHTS = (r"in (the )?place of", r"instead of", r"(multiplied|sent back).*(with|by).*(not|W1|wrong)")
EXCHANGED = (r"exchang", r"swapped", r"holds the gradient of")
UPDATED = (r"updated|changed in place|overwritten before",)
BUILT_WITH = (r"(built|made|formed|multiplied|computed) (with|from|by)", r"in (the )?place of", r"instead of")
OTHER_DERIVATIVE = (rf"{_DERIVATIVE}.*(that of|of line|another|other)",)
SAMPLE_FORGOTTEN = (
    r"(sample|row|column|entr(y|ies)|turn)s?.*(not count|left out|forgotten|missing|ignored)",
    r"last (sample|row|column)",
)
#: Only one of several passes of a loop counts: ``=`` for ``+=``.
OVERWRITTEN = (r"overwrit", r"= (for|where|instead of) \+=", r"(only|just) (the )?(last|first)", r"not (added|summed)",
               r"instead of (being )?(added|summed)", r"(last|first).*(wins|remains|counts|only)")  # fmt: skip
REPEATED = (r"(repeated|duplicate|same (row|index)|more than once|several times).*", *OVERWRITTEN)
_PATH = r"(path|part|term|use|share|contribution|product|factor|go(es)? back|comes? back|sum|state|input)"
#: What goes back along a path of several is left out, at that line.
PATH_LEFT_OUT = (
    rf"{_PATH}.*{_GONE}",
    rf"{_GONE}.*(path|part|term|use|share|contribution)",
    r"nothing (goes|comes|is (carried|sent|passed))",
    r"(not|never) (carried|sent|passed|propagated|added|goes|go|come)",
    r"(taken|treated) (for|as) (a )?constant",
)
STATE_NOT_CARRIED = (r"not carried", r"truncated to 1 step", r"nothing (goes|is carried).*", *PATH_LEFT_OUT)
FACTOR_LEFT_OUT = (rf"(factor|scale|multipl|divi|sqrt|gamma|mask|times).*{_GONE}", rf"{_GONE}.*(factor|scale)",
                   r"not (multiplied|divided|scaled|masked)", r"(multiplied|divided) by")  # fmt: skip
JACOBIAN_DIAGONAL = (r"(softmax|Jacobian).*diagonal",)
JACOBIAN_LEFT_OUT = (rf"(softmax|Jacobian).*{_GONE}", rf"{_GONE}.*(softmax|Jacobian)")
JACOBIAN_TWICE = (r"(softmax|Jacobian).*twice",)
JACOBIAN_AXIS = (r"(softmax|Jacobian).*(axis|rows|columns)", r"axis.*(softmax|Jacobian)")
MAX_TO_ALL = (r"(to (all|every|each)|equally|evenly|(all|every).*entr)",)
MAX_TO_OTHER = (r"(wrong|another|other|first|last|instead of).*(winner|entry|place|position|one|largest|max)",
                r"(max|winner|largest|pool).*(wrong|another|other|first|last|instead)")  # fmt: skip
FLIPPED = (r"flip", r"back to front", r"revers", r"rotat", r"mirror")
OTHER_ORDER = (r"\border\b", r"flatten", r"reshape", r"transpos", r"permut", r"exchang")
PADDING = (r"pad|border|margin|cut|shift",)
STRIDE = (r"stride|step of the window|apart|windows? (at|of) ",)
EPSILON = (r"\beps", r"ε", r"1e-0?\d", r"\+ 0\.0+1")
CLIPPED = (r"clip",)
EVERYTHING = (r"(whole|entire|all).*gradient", r"all but the penalty")
FORGOTTEN = (r"forgotten|all of it is zero|is zero|never (filled|set)",)
