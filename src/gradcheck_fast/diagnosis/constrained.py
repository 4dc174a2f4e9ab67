"""Gradients that are right for moves that keep a constraint, or that follow another convention for such arrays.

The gradient of a symmetric matrix, of a point of a simplex or of a rotation is often written so that it is right only
along the moves that keep the array what it is. Nothing is said unless the array itself satisfies the constraint, and in
a way that cannot be an initial value: zeros, or a diagonal matrix, are not taken for evidence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.hypotheses import ENTRIES, Case, Hypothesis
from gradcheck_fast.inputs.constraints import CONSTRAINTS, satisfies
from gradcheck_fast.numerical.gradient import EPSILON

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.patterns import Pattern

    Reals = NDArray[np.float64]

#: The constraints that are tried: of two that say the same of an array, the one that says more comes first.
_KINDS = ("symmetric", "antisymmetric", "lower", "upper", "simplex", "rotation", "orthogonal", "unit norm")
#: What is left of the right gradient on the tangent space must be at least this part of it: else nothing is compared.
_LEFT = 1e-3
#: The sums of a simplex are 1, to this.
_SUM = 1e-9


#: What arrays are that have to satisfy them.
_STAYS = {
    "lower": "lower triangular", "upper": "upper triangular", "simplex": "on the simplex", "rotation": "a rotation",
    "unit norm": "of unit norm",
}  # fmt: skip


def projected(case: Case) -> Iterator[Hypothesis]:
    """Yields that the gradient of an array is the projection of the right one, and nothing else."""
    yield from _right_on_tangent_space(case, is_projected=True)


def right_on_tangent_space(case: Case) -> Iterator[Hypothesis]:
    """Yields that the gradient of an array is right along the moves that keep it what it is, whatever else is in it."""
    yield from _right_on_tangent_space(case, is_projected=False)


def _right_on_tangent_space(case: Case, *, is_projected: bool) -> Iterator[Hypothesis]:
    for name in case.wrong:
        a, given, right = case.params[name], case.analytic[name], case.numerical[name]
        for kind in _KINDS:
            constraint = CONSTRAINTS[kind]
            if not _is_evident(kind, a):
                continue
            own = constraint.project(a, right)
            if np.linalg.norm(own) < _LEFT * np.linalg.norm(right) or np.count_nonzero(own) < ENTRIES:
                continue
            called = name.replace("{", "{{").replace("}", "}}")
            advice = f'pass constraints={{{{"{called}": "{kind}"}}}} if {called} has to stay {_STAYS.get(kind, kind)}'
            rest = 0.0 if is_projected else given - constraint.project(a, given)
            yield Hypothesis(f"{called}: right after {constraint.says}", {name: own + rest}, advice)
            break


def symmetric_conventions(case: Case) -> Iterator[Hypothesis]:
    """Yields the gradients of symmetric matrices whose entries above and below the diagonal count as one parameter."""
    for name in case.wrong:
        a, right = case.params[name], case.numerical[name]
        if not _is_evident("symmetric", a) or right.size < ENTRIES:
            continue
        diagonal = np.eye(a.shape[-1]) == 1.0
        both = right + np.swapaxes(right, -1, -2)
        once = np.where(diagonal, right, both)
        halves = 0.5 * both
        called = name.replace("{", "{{").replace("}", "}}")
        as_one = f"as if {called}[i, j] and {called}[j, i] were one parameter"
        yield Hypothesis(
            f"{called}: its entries off the diagonal are twice the derivatives, {as_one}: G + Gᵀ - diag(G)",
            {name: once},
            "the gradient of the matrix itself is half of the sum of yours and its diagonal",
        )
        for triangle, where in (("lower", np.tril), ("upper", np.triu)):
            yield Hypothesis(
                f"{called}: only the {triangle} triangle is filled, with twice the derivatives, {as_one}",
                {name: where(once)},
            )
            yield Hypothesis(
                f"{called}: only the {triangle} triangle of its symmetric gradient is filled", {name: where(halves)}
            )


def _is_evident(kind: str, a: Reals) -> bool:
    """Whether an array satisfies a constraint, and is no zeros, diagonal matrix, or sums of anything."""
    if a.size < ENTRIES or not satisfies(CONSTRAINTS[kind], a, EPSILON):
        return False
    if kind == "simplex":
        is_one = bool((np.abs(a.sum(axis=-1) - 1.0) <= _SUM).all())
        return is_one and int(np.count_nonzero(a)) > a.size // a.shape[-1]
    if kind == "unit norm":
        return int(np.count_nonzero(a)) > 1
    return bool((a != 0.0)[..., np.eye(*a.shape[-2:]) == 0.0].any())


#: These say more of the numbers than a penalty, or anything else, does.
EXACT: tuple[Pattern, ...] = (projected, symmetric_conventions)
#: This explains what nothing more specific does.
PATTERNS: tuple[Pattern, ...] = (right_on_tangent_space,)
