"""Looks for gradients that something was done to: clipped, rounded, normalised, or used for a step of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.hypotheses import ENTRIES, Case, Hypothesis

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.hypotheses import Values

#: A number is round if it has at most so many digits.
_DIGITS = 2
#: Gradients are rounded to at most so many decimals.
_MOST_DECIMALS = 8
#: What is added to a norm before something is divided by it.
_EPSILONS = (0.0, 1e-6, 1e-7, 1e-8, 1e-12)


def is_round(number: float, within: float) -> bool:
    """Whether a number is one of few digits, such as 5 or 0.25, to a relative precision."""
    near = float(f"{number:.{_DIGITS - 1}e}")
    return number != 0.0 and bool(np.isfinite(number)) and abs(number - near) <= within * abs(number)


def clipped(case: Case) -> Iterator[Hypothesis]:
    """Supposes that entries beyond a bound were set to it, in all arrays or in one."""
    for names in (case.wrong, *((name,) for name in case.wrong if len(case.wrong) > 1)):
        bound = max((float(np.abs(case.analytic[name]).max(initial=0.0)) for name in names), default=0.0)
        within = min(map(case.tolerance, names), default=0.0)
        if not bound or not np.isfinite(bound):
            continue
        beyond = sum(int((np.abs(case.numerical[name]) > bound).sum()) for name in names)
        inside = sum(
            int(((case.numerical[name] != 0) & (np.abs(case.numerical[name]) <= bound)).sum()) for name in names
        )
        negative = any((case.numerical[name] < -bound).any() for name in names)
        positive = any((case.numerical[name] > bound).any() for name in names)
        is_known = is_round(bound, within)
        if inside >= ENTRIES:
            # a single entry may be wrong by anything, and the bound is read from it
            is_evidence = is_known or beyond > 1
        else:
            is_evidence = is_known and beyond >= ENTRIES and negative and positive
        if is_evidence:
            arrays = {name: np.clip(case.numerical[name], -bound, bound) for name in names}
            others = f"; the other {inside} are right" if inside else ""
            yield Hypothesis(
                f"the gradient of {{arrays}} is clipped at ±{bound:.6g}", arrays,
                f"{beyond} entries that should be larger are ±{bound:.6g}{others}",
            )  # fmt: skip


def scaled_to_a_norm(case: Case) -> Iterator[Hypothesis]:
    """Supposes that the gradient, or an array of it, was divided by a norm: by clipping it, or to normalise it."""
    groups: list[tuple[str, Sequence[str]]] = [("the gradient of {arrays}", (name,)) for name in case.wrong]
    if case.whole and set(case.informative) <= set(case.wrong) and len(case.wrong) > 1:
        groups.insert(0, ("the whole gradient", tuple(case.analytic)))
    for what, names in groups:
        if sum(np.count_nonzero(case.numerical[name]) for name in names) < ENTRIES:
            continue
        within = 10.0 * max(map(case.tolerance, names))
        for measure, norm_of in _NORMS.items():
            norm, right = norm_of([case.analytic[n] for n in names]), norm_of([case.numerical[n] for n in names])
            for epsilon in _EPSILONS if right and np.isfinite(norm + right) else ():
                bound = norm * (right + epsilon) / right
                if not is_round(bound, within) or (bound > right and not abs(bound - 1.0) <= within):
                    continue
                bound = float(f"{bound:.6g}")
                arrays = {name: case.numerical[name] * (bound / (right + epsilon)) for name in names}
                is_unit = bound == 1.0 and measure != _NORM
                how = f"divided by its {measure}" if is_unit else f"clipped, or scaled, to the {measure} {bound:g}"
                evidence = f"its {measure} should be {right:.6g}"
                yield Hypothesis(f"{what} is {how}", arrays, evidence + f"; {epsilon:g} is added to it" * bool(epsilon))
                break


def _norm(arrays: Sequence[Values]) -> float:
    return float(np.linalg.norm([np.linalg.norm(array) for array in arrays]))


def _largest(arrays: Sequence[Values]) -> float:
    return max(float(np.abs(array).max(initial=0.0)) for array in arrays)


_NORM = "norm"
#: The sizes that a gradient may be divided by.
_NORMS: dict[str, Callable[[Sequence[Values]], float]] = {_NORM: _norm, "largest entry": _largest}


def rounded(case: Case) -> Iterator[Hypothesis]:
    """Supposes that a gradient was rounded to some decimals, or to a narrower type of numbers."""
    for name in case.wrong:
        analytic, right = case.analytic[name], case.numerical[name]
        if np.count_nonzero(np.diff(np.sort(analytic[analytic != 0]))) + 1 < ENTRIES:
            continue
        for decimals in range(_MOST_DECIMALS + 1):
            if np.array_equal(np.round(analytic, decimals), analytic):
                cause = f"the gradient of {{arrays}} is rounded to {decimals} decimal{'s' * (decimals != 1)}"
                yield Hypothesis(cause, {name: np.round(right, decimals)}, "the numerical gradient, rounded so")
                break
        half = right.astype(np.float16).astype(np.float64)
        yield Hypothesis("the gradient of {arrays} is rounded to float16", {name: half}, "all are float16 numbers")


#: So many entries of each sign must be there before it is more than chance that all of one sign are zero.
_OF_EACH_SIGN = 5


def distorted(case: Case) -> Iterator[Hypothesis]:
    """Supposes that a function was applied to each entry of the right gradient, or that entries were added up."""
    for name in case.wrong:
        right = case.numerical[name]
        if np.count_nonzero(right) < ENTRIES:
            continue
        size = float(np.abs(case.analytic[name]).max(initial=0.0))
        has_both = bool((right > 0).any() and (right < 0).any())
        if has_both:
            yield _of(name, "has lost its signs: it is the absolute value", np.abs(right))
        if min(np.count_nonzero(right > 0), np.count_nonzero(right < 0)) >= _OF_EACH_SIGN:
            yield _of(name, "has lost its negative entries: they are zero", np.maximum(right, 0.0))
            yield _of(name, "has lost its positive entries: they are zero", np.minimum(right, 0.0))
            if is_round(size, case.tolerance(name)):
                times = f", times {size:g}" if size != 1.0 else ""
                yield _of(name, f"is only the sign of the right one{times}", size * np.sign(right))
        yield _of(name, "is squared", right**2)
        yield _of(name, "has its mean subtracted", right - right.mean())
        for axis in range(right.ndim):
            if right.shape[axis] > 1:
                along = f" along axis {axis}" if right.ndim > 1 else ""
                yield _of(name, f"is added up cumulatively{along}", np.cumsum(right, axis=axis))


def _of(name: str, how: str, values: Values) -> Hypothesis:
    return Hypothesis(f"the gradient of {{arrays}} {how}", {name: values}, "each entry was compared")


def updated_parameters(case: Case) -> Iterator[Hypothesis]:
    """Supposes that an array holds the parameters, or the parameters after a step of gradient descent."""
    for name in case.wrong:
        right, params = case.numerical[name], case.params[name]
        scale = float(np.abs(right).max(initial=0.0))
        if np.count_nonzero(params) < ENTRIES or not scale:
            continue
        yield Hypothesis(
            "{arrays} hold the parameters in place of the gradient", {name: params.copy()}, "each is equal"
        )
        unit = right / scale
        rate = float(((params - case.analytic[name]) * unit).sum() / (unit * unit).sum()) / scale
        if np.count_nonzero(right) >= ENTRIES and np.isfinite(rate) and is_round(rate, _RATE):
            rate = float(f"{rate:.{_DIGITS - 1}e}")
            cause = f"{{arrays}} hold the updated parameters, after a step of -{rate:g} times the gradient"
            yield Hypothesis(cause.replace("--", "+"), {name: params - rate * right}, "each was compared")


#: How near to a round number a learning rate must be that is fitted to the difference of two arrays.
_RATE = 1e-6
