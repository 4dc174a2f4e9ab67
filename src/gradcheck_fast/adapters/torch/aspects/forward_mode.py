"""The aspect of forward mode: Jacobian-vector products, which a function has besides its backward."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch.autograd import forward_ad

from gradcheck_fast.adapters.torch.aspects.case import MOST, Case, NotChecked, Raised
from gradcheck_fast.adapters.torch.aspects.cotangents import Found

#: The two products of a tangent and a cotangent with the Jacobian differ by this many times their rounding, at most.
_ROUNDINGS = 4.0
#: And by this part of their terms, for they are computed by different formulas.
_SAME = 1e-6
#: The step along a tangent with which slopes to both sides are found, as a part of the largest number of the input.
_STEP = 1e-7
#: Such slopes are the same if they differ by less than this part of their terms.
_MARGIN = 1e-4


def forward_mode(case: Case) -> Found:
    """The product of the Jacobian with a tangent is that which the gradient says.

    For a tangent t of an input and a cotangent v of an output, <v, J t> = <Jᵀ v, t>, and Jᵀ v is the gradient.
    """
    tangents = case.tangents()
    alone = [
        case.gradients(case.recorded, [c if k == j else torch.zeros_like(c) for j, c in enumerate(case.cotangents)])
        for k in range(min(len(case.cotangents), MOST))
    ]
    for j, tangent in list(enumerate(tangents))[:MOST]:
        moved = _products(case, [tangent if j == k else None for k in range(len(tangents))])
        for k, gradients in enumerate(alone):
            cotangent, product = case.cotangents[k], moved[k]
            if product is None:
                product = torch.zeros_like(cotangent)
            if product.shape != cotangent.shape:
                return "wrong", f"{case.outputs[k]} has a tangent of shape {tuple(product.shape)}"
            (own, terms), (right, others) = _inner(cotangent, product), _inner(gradients[j], tangent)
            relative = max(_ROUNDINGS * case.tolerances[j], _SAME)
            weights = float(tangent.abs().sum()) + float(cotangent.abs().sum())
            allowed = relative * max(terms, others) + _ROUNDINGS * case.least(j) * weights
            if abs(own - right) > allowed and not _lies_between(case, j, tangent, k, own):
                said = f"moved along a tangent of {case.inputs[j]}, {case.outputs[k]} changes"
                return "wrong", f"{said} by {own:.6g} along its cotangent, and the gradient says {right:.6g}"
    return "right", ""


def _products(case: Case, tangents: Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
    """Finds the products of the Jacobian with tangents, for each output; None is a product of zeros."""
    with forward_ad.dual_level(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        leaves = [value.detach().clone().requires_grad_() for value in case.values]
        duals = [
            leaf if tangent is None else forward_ad.make_dual(leaf, tangent)
            for leaf, tangent in zip(leaves, tangents, strict=True)
        ]
        try:
            recorded = case.record_from(duals)
        except Raised as error:
            if isinstance(error.error, NotImplementedError):
                raise NotChecked("it has none") from None
            if case.call.has_own_jvp:
                raise
            raise NotChecked(str(error)) from None
        unpacked: Any = [forward_ad.unpack_dual(output).tangent for output in recorded.outputs]
        return [None if tangent is None else tangent.detach().to_dense() for tangent in unpacked]


def _lies_between(case: Case, j: int, tangent: torch.Tensor, k: int, product: float) -> bool:
    """Whether the slopes of <v, f> to both sides along a tangent differ, and the product is one of them or between.

    So it is at kinks, such as ties of a maximum, where backward and forward mode may take different slopes.
    """
    cotangent, values = case.cotangents[k], [value.double() for value in case.values]
    step = _STEP * max(float(values[j].abs().max()), _STEP) / float(tangent.abs().max())
    costs = []
    try:
        for sign in (-1.0, 0.0, 1.0):
            leaves = [value + sign * step * tangent if place == j else value for place, value in enumerate(values)]
            costs.append(case.outputs_in_double(leaves)[k])
    except Exception:  # it is not defined there, or not in float64
        return False
    left, right = (_inner(cotangent, (high - low) / step) for low, high in pairwise(costs))
    margin = _MARGIN * max(left[1], right[1])
    low, high = sorted((left[0], right[0]))
    return high - low > margin and low - margin <= product <= high + margin


def _inner(one: torch.Tensor, other: torch.Tensor) -> tuple[float, float]:
    """Gives the inner product of two tensors, in double precision, and the sum of the sizes of its terms."""
    wide = torch.complex128 if one.is_complex() else torch.float64
    terms = (one.to(wide).conj() * other.to(wide)).real
    finite = torch.isfinite(terms)
    return float(terms[finite].sum()), float(terms[finite].abs().sum())
