"""Lists mistakes with the classes of a cost: signs and sums of the targets, and positives taken for negatives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.graph.entrywise import with_slopes
from gradcheck_fast.diagnosis.graph.known_softmaxes import data_like, log_softmaxes
from gradcheck_fast.diagnosis.graph.mutants import Mutant, block, merged
from gradcheck_fast.diagnosis.graph.recognise import slope_of

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Reals
    from gradcheck_fast.diagnosis.graph.known_softmaxes import Softmax, data_like
    from gradcheck_fast.diagnosis.graph.mutants import Family, View
    from gradcheck_fast.diagnosis.graph.recognise import Entrywise

#: The targets of all rows add up to 1 if they do so to this part.
_ONE = 1e-9
#: What comes back to the logarithm of a softmax is a multiple of the targets, to this part.
_SAME = 1e-9


def wrong_targets(view: View) -> Iterator[Mutant]:
    """Yields mutants in which p + y goes back from a softmax, or p - y though the targets do not add up to 1.

    What goes back from -Σ y log p is p Σy - y.
    """
    backward = view.backward
    found = [(softmax, backward.values[softmax.top], False) for softmax in view.softmaxes]
    with np.errstate(all="ignore"):
        found += [(softmax, np.exp(backward.values[softmax.top]), True) for softmax in log_softmaxes(backward)]
    of = {softmax.top: (softmax, p, is_log) for softmax, p, is_log in found}
    for place in view.places_of(of):
        of_place = [of[number] for number in place.steps]
        words = "the part of the softmax's derivative without the sum has the wrong sign: p + y for p - y"
        blocks = [block(softmax.top, softmax.bottom, _parts(p, softmax.axis, is_log, -1.0, None))
                  for softmax, p, is_log in of_place]  # fmt: skip
        yield Mutant(f"{place.where}: {words}", merged(blocks), place)
        factors = [_factor(backward, softmax, p, is_log) for softmax, p, is_log in of_place]
        if all(factor is not None for factor in factors):
            blocks = [block(softmax.top, softmax.bottom, _parts(p, softmax.axis, is_log, 1.0, factor))
                      for (softmax, p, is_log), factor in zip(of_place, factors, strict=True)]  # fmt: skip
            words = "p - y goes back, though the targets y do not add up to 1: it is p times the sum of y, less y"
            yield Mutant(f"{place.where}: {words}", merged(blocks), place)


def _parts(
    p: Reals, axis: int, is_log: bool, sign: float, factor: float | None
) -> Callable[[object, Reals], Reals]:  # fmt: skip
    """Makes the rule by which y is added with a sign, and p has a factor in the place of the sum of all that comes."""

    def rule(bars: object, up: Reals) -> Reals:
        back = up if is_log else up * p
        total = back.sum(axis=axis, keepdims=True) if factor is None else -factor
        return np.asarray(sign * back - p * total)

    return rule


def _factor(backward: Backward, softmax: Softmax, p: Reals, is_log: bool) -> float | None:
    """Returns by what the targets are multiplied in a cost; None if these are not found, or add up to 1."""
    back = backward.bars[softmax.top] * (1.0 if is_log else p)
    for value in data_like(backward, p.shape):
        if not value.any():
            continue
        total = value.sum(axis=softmax.axis)
        factor = -float(np.sum(back * value) / np.sum(value * value))
        is_alike = np.abs(back + factor * value).max() <= _SAME * np.abs(back).max()
        if is_alike and np.abs(total - 1.0).max() > _ONE:
            return factor
    return None


def of_the_other_class(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the logistic cost of one sample has the derivative of that of the other class.

    The derivative of softplus(z) = log(1 + e^z) is σ(z); that of softplus(-z), of the other class, is σ(z) - 1.
    """
    found: dict[int, list[Entrywise]] = {}
    for function in view.functions:
        if function.name == "softplus":
            found.setdefault(function.top, []).append(function)
    for place in view.places_of(found):
        functions = [function for number in place.steps for function in found[number]]
        cause = "sigmoid(z) - 1 stands in the place of the derivative of log(1 + exp(z)), as if the other class"
        change = with_slopes(functions, lambda f: slope_of("softplus", view.backward.values[f.bottom]) - 1.0)
        yield Mutant(f"{place.where}: {cause} were right", change, place)


FAMILIES: tuple[Family, ...] = (wrong_targets, of_the_other_class)
