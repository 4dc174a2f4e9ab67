"""Aspects of inputs: integers, those that need no gradient, and one tensor that is given twice."""

from __future__ import annotations

import torch

from gradcheck_fast.adapters.torch.aspects.case import MOST, Case, NotChecked, Raised
from gradcheck_fast.adapters.torch.aspects.cotangents import Found, same_bits
from gradcheck_fast.adapters.torch.aspects.outputs import written


def integer_input(case: Case) -> Found:
    """Integers among the inputs, such as indices, are not changed, and have no gradient."""
    recorded = case.recorded
    integers = {
        name: tensor for name, tensor in recorded.arguments.items()
        if not (tensor.is_floating_point() or tensor.is_complex())
    }  # fmt: skip
    if not integers:
        raise NotChecked("no input is of integers")
    given = case.call.given()
    case.gradients(recorded, case.cotangents)
    for name, tensor in integers.items():
        if tensor.requires_grad or not same_bits(tensor, given[name]):
            return "wrong", f"{name} is written into"
    return "right", ""


def input_without_gradient(case: Case) -> Found:
    """The gradient by an input is the same whether others require one or not (``ctx.needs_input_grad``)."""
    count = len(case.inputs)
    if count == 1:
        raise NotChecked("one input requires a gradient")
    for k in range(min(count, MOST)):
        for some in ([j for j in range(count) if j != k], [k]):
            who = case.inputs[k] if len(some) > 1 or count == 2 else f"all but {case.inputs[k]}"
            if some == [k] and count == 2:
                continue  # it is what is left when the other needs none
            try:
                recorded = case.record(case.values, [j in some for j in range(count)])
                said = case.difference(case.gradients(recorded, case.cotangents), case.right, some)
            except Raised as error:
                said = str(error)
            if said:
                return "wrong", f"where {who} requires no gradient, {said}"
    return "right", f"by the first {MOST} of {count} inputs" if count > MOST else ""


def same_tensor_twice(case: Case) -> Found:
    """Of a tensor that is given for two inputs, the gradients by these add up."""
    like = [
        (tuple(v.shape), v.dtype, v.device, t.layout)
        for v, t in zip(case.values, case.call.checked.values(), strict=True)
    ]
    pairs = [(j, k) for k in range(len(like)) for j in range(k) if like[j] == like[k]]
    if not pairs:
        raise NotChecked("no two inputs have one shape and dtype")
    if written(case):
        raise NotChecked("an input is written into")
    for pair in pairs[:MOST]:
        said = _given_twice(case, pair)
        if said:
            return "wrong", said
    return "right", f"for {MOST} of {len(pairs)} pairs of inputs" if len(pairs) > MOST else ""


def _given_twice(case: Case, pair: tuple[int, int]) -> str:
    """Says what is wrong if one tensor is given for two inputs; "" if nothing is."""
    j, k = pair
    values = [case.values[j] if place == k else value for place, value in enumerate(case.values)]
    try:
        right = case.gradients(case.record(values), case.cotangents)
    except Raised as error:
        raise NotChecked(f"for two equal tensors, {error}") from None
    right[j] = right[k] = right[j] + right[k]
    if not torch.isfinite(right[j]).any():
        raise NotChecked("for two equal tensors, the gradient is not finite")
    try:
        said = case.difference(case.gradients(case.record(values, twins=pair), case.cotangents), right)
    except Raised as error:
        said = str(error)
    return f"where one tensor is given for {case.inputs[j]} and {case.inputs[k]}, {said}" if said else ""
