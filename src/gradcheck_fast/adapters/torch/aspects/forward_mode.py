"""The aspect of forward mode: Jacobian-vector products, which a function has besides its backward."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch.autograd import forward_ad

from gradcheck_fast.adapters.torch.aspects.case import MOST, Case, NotChecked, Raised
from gradcheck_fast.adapters.torch.aspects.cotangents import Found
from gradcheck_fast.inputs.arrays import format_index
from gradcheck_fast.numerical.gradient import EPSILON

#: Products with the Jacobian differ by this many times their rounding, at most.
_ROUNDINGS = 4.0
#: And by this part of their terms, for they are computed by different formulas.
_SAME = 1e-6
#: The step along a tangent with which slopes to both sides are found, as a part of the largest number of the input.
_STEP = 1e-7
#: An entry may differ from such slopes by this part of the largest of its output, and by so many roundings of it.
_MARGIN, _DIGITS = 1e-5, 16.0
#: PyTorch has one level of forward mode in a process, which threads share.
_LEVEL = Lock()
#: How many seconds another thread may take.
_WAIT = 60.0


class _Slopes(NamedTuple):
    """Slopes of an output along tangents, in float64: the mean to both sides, half of their difference, and noise."""

    mean: torch.Tensor
    half: torch.Tensor
    noise: torch.Tensor


def forward_mode(case: Case) -> Found:
    """The product of the Jacobian with a tangent is that which the gradient says, and that which differences show.

    For tangents t of the inputs and a cotangent v of an output, <v, J t> = <Jᵀ v, t>, and Jᵀ v is the gradient. That is
    one number for all entries of an output. Where the function computes in float64, too, its differences along t give
    J t entry by entry. Inputs are moved one by one, and then together.
    """
    tangents = case.tangents()
    alone = [
        case.gradients(case.recorded, [c if k == j else torch.zeros_like(c) for j, c in enumerate(case.cotangents)])
        for k in range(min(len(case.cotangents), MOST))
    ]
    every = list(range(len(tangents)))
    for moved in [*([j] for j in every[:MOST]), *([every] if len(every) > 1 else [])]:
        own = [tangent if j in moved else None for j, tangent in enumerate(tangents)]
        products, slopes = _products(case, own), _slopes(case, own)
        for k, gradients in enumerate(alone):
            said = _difference(case, k, own, gradients, products[k], None if slopes is None else slopes[k])
            if said:
                what = case.inputs[moved[0]] if len(moved) == 1 else "all inputs"
                return "wrong", f"moved along a tangent of {what}, {said}"
    return "right", ""


def _difference(
    case: Case, k: int, tangents: Sequence[torch.Tensor | None], gradients: Sequence[torch.Tensor],
    product: torch.Tensor | None, slopes: _Slopes | None,
) -> str:  # fmt: skip
    """Says where the product of the Jacobian with tangents is not the right one in output k; "" if it is."""
    cotangent, name = case.cotangents[k], case.outputs[k]
    if product is None:
        product = torch.zeros_like(cotangent)
    if product.shape != cotangent.shape:
        return f"{name} has a tangent of shape {tuple(product.shape)}"
    if case.is_coarse and not torch.isfinite(product).all():
        return ""  # few bits overflow where the gradient does not
    moved = [j for j, tangent in enumerate(tangents) if tangent is not None]
    relative = max(_ROUNDINGS * max(case.tolerances[j] for j in moved), _SAME)
    own, size = _inner(cotangent, product)
    pairs = [_inner(gradients[j], tangent) for j in moved if (tangent := tangents[j]) is not None]
    right, others = sum(number for number, _ in pairs), max(terms for _, terms in pairs)
    least = sum((case.least(j) + case.lost) * (_norm(tangents[j]) + _norm(cotangent)) for j in moved)
    allowed = relative * max(size, others, abs(own), abs(right)) + _ROUNDINGS * least
    at_kinks = 0.0 if slopes is None else _inner_half(cotangent, slopes)
    if abs(own - right) > allowed + at_kinks:
        return f"{name} changes by {own:.6g} along its cotangent, and the gradient says {right:.6g}"
    # slopes that are not those of the gradient, which is right, are of a function that rounds on the way
    if slopes is None or abs(_inner(cotangent, slopes.mean)[0] - right) > allowed + at_kinks:
        return ""
    noise = slopes.noise + _ROUNDINGS * case.lost
    return _entry(name, product, slopes._replace(noise=noise), max(relative, _MARGIN))


def _entry(name: str, product: torch.Tensor, slopes: _Slopes, relative: float) -> str:
    """Says which entry of a product is neither one of the slopes to both sides nor between them; "" if none is.

    They differ at kinks, such as ties of a maximum, where backward and forward mode may take different slopes.
    """
    finite = torch.isfinite(slopes.mean) & torch.isfinite(slopes.half)
    if not finite.any():
        return ""
    own = product.to(slopes.mean.dtype)
    off = (own - slopes.mean).abs()
    beyond = off - slopes.half - slopes.noise - relative * float(slopes.mean.abs()[finite].max())
    beyond = torch.where(finite, torch.where(torch.isnan(beyond), torch.inf, beyond), -torch.inf)
    worst = int(beyond.argmax())
    if float(beyond.flatten()[worst]) <= 0.0:
        return ""
    index = tuple(int(i) for i in torch.unravel_index(torch.tensor(worst), own.shape))
    changes, right = own.flatten()[worst].item(), slopes.mean.flatten()[worst].item()
    return f"{name}{format_index(index) if index else ''} changes by {changes:.6g}, and differences say {right:.6g}"


def _products(case: Case, tangents: Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
    """Finds the products of the Jacobian with tangents, for each output; None is a product of zeros."""
    with _dual_level(), warnings.catch_warnings():
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


@contextmanager
def _dual_level() -> Iterator[None]:
    """Enters forward mode, once no other check is in it."""
    if not _LEVEL.acquire(timeout=_WAIT):
        raise NotChecked("another thread is in forward mode")
    try:
        level = forward_ad.dual_level()
        try:
            level.__enter__()
        except RuntimeError as error:  # a level of the user's is open
            raise NotChecked(str(error)) from None
        try:
            yield
        finally:
            level.__exit__(None, None, None)
    finally:
        _LEVEL.release()


def _slopes(case: Case, tangents: Sequence[torch.Tensor | None]) -> list[_Slopes] | None:
    """Finds slopes to both sides along tangents, for each output; None if that is not possible in float64."""
    values = [value.to(torch.complex128 if value.is_complex() else torch.float64) for value in case.values]
    pairs = [(value, tangent) for value, tangent in zip(values, tangents, strict=True) if tangent is not None]
    sizes = [(float(v.abs().max()), float(t.abs().max())) for v, t in pairs if v.numel()]
    if not sizes or any(size == 0.0 for _, size in sizes):
        return None
    step = min(_STEP * max(of_value, _STEP) / of_tangent for of_value, of_tangent in sizes)
    found = []
    try:
        for sign in (-1.0, 0.0, 1.0):
            leaves = [v if t is None else v + sign * step * t for v, t in zip(values, tangents, strict=True)]
            found.append([output.detach() for output in case.outputs_in_double(leaves)])
    except Exception:  # it is not defined there, or not in float64
        return None
    slopes = []
    for low, here, high in zip(*found, strict=True):
        noise = _DIGITS * EPSILON / step * torch.maximum(low.abs(), high.abs()).double()
        mean, half = (high - low) / (2.0 * step), (high - here - (here - low)).abs() / (2.0 * step)
        slopes.append(_Slopes(mean, half, noise))
    return slopes


def _inner(one: torch.Tensor, other: torch.Tensor) -> tuple[float, float]:
    """Gives the inner product of two tensors, in double precision, and the norm of its terms."""
    wide = torch.complex128 if one.is_complex() or other.is_complex() else torch.float64
    terms = (one.to(wide).conj() * other.to(wide)).real
    terms = terms[torch.isfinite(terms)]
    return float(terms.sum()), float(terms.norm())


def _inner_half(cotangent: torch.Tensor, slopes: _Slopes) -> float:
    """By how much the inner product with slopes may differ from side to side, and for noise."""
    size = cotangent.abs().double()
    terms = size * (slopes.half + slopes.noise)
    return float(terms[torch.isfinite(terms)].sum())


def _norm(tensor: torch.Tensor | None) -> float:
    return 0.0 if tensor is None else float(tensor.abs().double().norm())
