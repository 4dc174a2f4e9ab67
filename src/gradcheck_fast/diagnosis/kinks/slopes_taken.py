"""Finds out which slopes a gradient takes at kinks, and says which frameworks take the same.

The gradient is chained once more with each choice in turn. What agrees with the user's at all entries that kinks reach
is what they have chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.diagnosis.kinks.conventions import CHOICES, OF_SEVERAL, SHARES, in_words
from gradcheck_fast.inputs.arrays import by_arrays
from gradcheck_fast.losses.network_loss import NetworkLoss
from gradcheck_fast.losses.program_loss import ProgramLoss
from gradcheck_fast.losses.rounded_gradient import RoundedGradient
from gradcheck_fast.losses.transposed import Transposed
from gradcheck_fast.program import twin
from gradcheck_fast.program.primitive import SLOPE_STEP, sum_to_shape

if TYPE_CHECKING:
    from gradcheck_fast.losses.problem import Problem
    from gradcheck_fast.program.primitive import Mask, Reals
    from gradcheck_fast.program.program import Program, Step

#: Nothing is tried with more kinds of kinks than this, or if it takes more than this many estimated operations.
MOST_KINDS, MOST_WORK = 3, 3e8
#: Two gradients agree if they differ by less than this part of the largest entry of the array; or by so many roundings
#: of a coarse gradient, but never by more than the last of these.
AGREE, ROUNDINGS, AGREE_AT_MOST = 1e-9, 64.0, 1e-4
#: The kind of kink of each primitive with one argument.
_OF_ONE = {
    "relu": "relu", "absolute": "abs", "leaky_relu": "leaky_relu", "selu": "selu", "relu6": "relu6",
    "hardtanh": "hardtanh",
}  # fmt: skip
#: What a choice is called where the slopes differ from entry to entry.
_WORDS = {
    "flat": "flatter slope", "steep": "steeper slope", "middle": "mean of both slopes", "left": "slope from the left",
    "right": "slope from the right",
}  # fmt: skip


class Kinked(NamedTuple):
    """A step with values that lie exactly on a kink.

    Attributes
    ----------
    kind : str
        One of `conventions.CONVENTIONS`.
    where : ndarray of bool
        The entries of its output that lie there.
    moved : int
        Which of its inputs depends on the parameters: the first that does.
    """

    kind: str
    where: Mask
    moved: int


def convention_notes(
    problem: Problem, theta: Reals, analytic: Reals, at_kinks: Mask, eps: float = 0.0
) -> tuple[str, ...]:
    """Says for each kind of kink which slope a right gradient takes there, and which frameworks take the same.

    Parameters
    ----------
    problem : Problem
    theta, analytic : ndarray of float64, shape (size,)
        The parameters, and the user's gradient.
    at_kinks : ndarray of bool, shape (size,)
        The entries that kinks reach, and that are right.
    eps : float
        One rounding of the numbers that the gradient was computed in.

    Returns
    -------
    tuple of str
        Empty if the program is not known, or too large, or if no choice agrees.
    """
    loss = problem.problem if isinstance(problem, RoundedGradient) else problem
    if isinstance(loss, Transposed):
        loss, theta, (analytic, at_kinks) = loss.in_network(theta, analytic, at_kinks)
    program = _program(loss, len(theta))
    if program is None or not at_kinks.any() or sum(program.work) > MOST_WORK:
        return ()
    values = _values(loss, program, theta)
    kinked = dict(_kinked(program, values))
    kinds = list(dict.fromkeys(step.kind for step in kinked.values()))
    tries = int(np.prod([len(CHOICES[kind]) for kind in kinds]))
    last = max(kinked, default=0)
    if not kinds or len(kinds) > MOST_KINDS or tries * sum(program.work[: last + 1]) > MOST_WORK:
        return ()
    sizes = by_arrays(np.abs(analytic), program.sizes, lambda part: float(np.max(part, initial=0.0)))
    allowed = min(max(AGREE, ROUNDINGS * eps), AGREE_AT_MOST) * sizes
    agreeing, steps = [], range(len(program.steps))
    wanted = _leading_to(program, at_kinks)
    ends = {number: np.ones_like(values[number]) for number in program.costs}
    behind = _passed_back(program, values, wanted, ends, steps[last + 1 :])  # the same with all choices
    for choices in product(*(CHOICES[kind] for kind in kinds)):
        chosen = dict(zip(kinds, choices, strict=True))
        found = _passed_back(program, values, wanted, behind, steps[: last + 1], kinked, chosen)
        gradient = _gradient(program, found)
        if (np.abs(gradient - analytic) <= allowed)[at_kinks].all():
            agreeing.append(chosen)
    return tuple(_notes(program, values, kinked, kinds, agreeing))


def _notes(
    program: Program, values: list[Any], kinked: Mapping[int, Kinked], kinds: Iterable[str],
    agreeing: list[dict[str, str]],
) -> Iterator[str]:  # fmt: skip
    for kind in kinds:
        choices = {chosen[kind] for chosen in agreeing}
        if len(choices) == 1:  # otherwise they make no difference here
            (choice,) = choices
            steps = [number for number, step in kinked.items() if step.kind == kind]
            count = sum(int(np.count_nonzero(kinked[number].where)) for number in steps)
            sources = dict.fromkeys(str(program.steps[number].source) for number in steps)
            places = "; ".join(filter(None, list(sources)[:3]))
            words = _slopes(program, values, {number: kinked[number] for number in steps}, CHOICES[kind])
            yield (
                f"at {count} kink{'s' * (count > 1)} of {kind}{f' ({places})' * bool(places)} your gradient has "
                f"{in_words(kind, choice, words)}"
            )


def _slopes(
    program: Program, values: list[Any], kinked: Mapping[int, Kinked], choices: tuple[str, ...]
) -> Mapping[str, str]:
    """Returns what each choice is called: the slope that it is at these entries, if that is the same at all of them."""
    if choices == OF_SEVERAL:
        return SHARES
    words = {}
    for choice in choices:
        found = []
        for number, (_, where, moved) in kinked.items():
            step = program.steps[number]
            slope = _slope(step, [values[k] for k in step.inputs], moved, choice)
            found.append(np.broadcast_to(slope, where.shape)[where])
        slopes = np.concatenate(found)
        one = np.ptp(slopes) <= AGREE
        words[choice] = f"the slope {float(slopes[0]) + 0.0:.4g}" if one else f"the {_WORDS[choice]}"
    return words


def _program(loss: object, size: int) -> Program | None:
    """Returns the program of a loss of so many parameters; None: it has none, or is another function."""
    if isinstance(loss, ProgramLoss):
        return loss.program if loss.program.size == size else None
    return loss.program if isinstance(loss, NetworkLoss) and loss.network.penalty is None else None


def _values(loss: object, program: Program, theta: Reals) -> list[Reals]:
    """Returns the values of all steps."""
    if isinstance(loss, ProgramLoss):
        with loss.engine.at(theta, 1) as point:
            return list(point.values)
    data = (loss.given.data.inputs, loss.given.targets) if isinstance(loss, NetworkLoss) else ()
    with np.errstate(all="ignore"):
        return twin.values(program, program.leaves(theta, *data))


def _kinked(program: Program, values: list[Any]) -> Iterator[tuple[int, Kinked]]:
    """Yields the steps with values that lie exactly on a kink of a known kind."""
    depends, needed = twin.on_parameters(program), set(program.needed)
    for number, step in enumerate(program.steps):
        moves = [source in depends for source in step.inputs]
        kind = _kind(step, moves, values)
        if kind and number in needed:
            with np.errstate(all="ignore"):
                margins = step.primitive.kinks([values[k] for k in step.inputs], **step.attributes)
            where = (margins == 0.0).any(axis=0) if len(margins) else np.zeros(step.shape, np.bool_)
            if where.any():
                yield number, Kinked(kind, where, moves.index(True))


def _kind(step: Step, moves: list[bool], values: list[Any]) -> str:
    if step.name in _OF_ONE or step.name in ("max", "min"):
        return (_OF_ONE.get(step.name) or step.name) * moves[0]
    if step.name in ("maximum", "minimum"):
        if all(moves):
            return step.name
        other = values[step.inputs[moves.index(False)]] if any(moves) else None
        return "" if other is None else "relu" if step.name == "maximum" and not np.any(other) else "clip"
    return ""


def _leading_to(program: Program, at_kinks: Mask) -> set[int]:
    """Returns the numbers of the arrays with some of these entries, and of all steps that depend on them."""
    parts = np.split(at_kinks, np.cumsum(program.sizes)[:-1])
    found = {number for number, part in zip(program.parameters, parts, strict=True) if part.any()}
    for number, step in enumerate(program.steps):
        if found.intersection(step.inputs):
            found.add(number)
    return found


def _passed_back(
    program: Program, values: list[Any], wanted: set[int], begun: Mapping[int, Any], numbers: range,
    kinked: Mapping[int, Kinked] = MappingProxyType({}), chosen: Mapping[str, str] = MappingProxyType({}),
) -> dict[int, Any]:  # fmt: skip
    """Returns what arrives at the wanted steps if some pass back what has arrived at them, with these slopes at kinks.

    See `twin.sensitivities`.
    """
    found = dict(begun)
    with np.errstate(all="ignore"):
        for number in reversed(numbers):
            step = program.steps[number]
            up = found.pop(number, None) if step.inputs else None
            if up is None:
                continue
            x, kink = [values[k] for k in step.inputs], kinked.get(number)
            for k, source in enumerate(step.inputs):
                if source in wanted:
                    if kink is None:
                        back = step.primitive.back(x, k, up, **step.attributes)
                    else:
                        elsewhere = step.primitive.back(x, k, np.where(kink.where, 0.0, up), **step.attributes)
                        at_kinks = np.where(kink.where, up, 0.0)
                        back = elsewhere + _back_at_kinks(step, x, k, at_kinks, chosen[kink.kind])
                    found[source] = found[source] + back if source in found else back
    return found


def _gradient(program: Program, found: Mapping[int, Any]) -> Reals:
    """Returns the flat gradient, with 0 for arrays at which nothing has arrived."""
    zeros = {number: np.zeros(program.steps[number].shape) for number in program.parameters}
    return np.concatenate([np.ravel(found.get(number, zeros[number])) for number in program.parameters])


def _back_at_kinks(step: Step, x: list[Any], k: int, up: Reals, choice: str) -> Reals:
    """Returns what goes back to input k from the entries at kinks, by a choice."""
    if step.name in ("max", "min"):
        return _back_to_winners(x[0], up, choice, sign=1.0 if step.name == "max" else -1.0, **step.attributes)
    if choice in ("first", "equal", "last", "each"):
        share = {"first": float(k == 0), "equal": 0.5, "last": float(k == 1), "each": 1.0}[choice]
        return sum_to_shape(share * up, x[k].shape)
    return sum_to_shape(up * _slope(step, x, k, choice), x[k].shape)


def _slope(step: Step, x: list[Any], k: int, choice: str) -> Reals:
    """Returns the slopes by input k, at kinks by a choice."""
    left, right = (_one_sided(step, x, k, h) for h in (-SLOPE_STEP, SLOPE_STEP))
    if choice in ("flat", "steep"):
        return np.where((np.abs(left) < np.abs(right)) == (choice == "flat"), left, right)
    return {"left": left, "right": right, "middle": 0.5 * (left + right)}[choice]


def _one_sided(step: Step, x: list[Any], k: int, h: float) -> Reals:
    """Returns the slopes to one side, from the step's exact difference."""
    d: list[Any] = [None] * len(x)
    d[k] = np.full_like(x[k], h)
    return np.asarray(step.primitive.difference(x, d, **step.attributes) / h)


def _back_to_winners(x: Reals, up: Reals, choice: str, *, sign: float, axis: tuple[int, ...], keepdims: bool) -> Reals:
    """Shares what goes back among the largest entries along some axes (of the smallest, if `sign` is -1)."""
    kept = tuple(k for k in range(x.ndim) if k not in axis)
    rows = np.transpose(sign * x, (*kept, *axis)).reshape(*(x.shape[k] for k in kept), -1)
    wins = rows == rows.max(axis=-1, keepdims=True)
    if choice == "equal":
        shares = wins / wins.sum(axis=-1, keepdims=True)
    elif choice == "each":
        shares = wins.astype(np.float64)
    else:
        ordered = wins if choice == "first" else wins[..., ::-1]
        shares = np.where(ordered & (np.cumsum(ordered, axis=-1) == 1), 1.0, 0.0)
        shares = shares if choice == "first" else shares[..., ::-1]
    back = shares * np.reshape(up, rows.shape[:-1])[..., np.newaxis]
    order = [*kept, *axis]
    moved = back.reshape([x.shape[k] for k in order])
    return np.ascontiguousarray(moved.transpose(np.argsort(order).tolist()))
