"""Aspects of outputs: views of inputs, inputs that are written into, and outputs without a gradient."""

from __future__ import annotations

import torch

from gradcheck_fast.adapters.torch.aspects.case import Case, NotChecked, Raised, Recorded
from gradcheck_fast.adapters.torch.aspects.cotangents import Found, same_bits

#: What a view is multiplied by.
_TIMES = 1.5
#: What the inputs are multiplied by, to see what changes with them.
_MOVED = 1.0 + 2.0**-10


def written(case: Case) -> list[str]:
    """Gives the names of the inputs with a gradient that the function writes into."""
    given = case.call.given()
    return [
        name for name, tensor in case.recorded.arguments.items()
        if name in case.inputs and not same_bits(tensor.detach(), given[name])
    ]  # fmt: skip


def in_place_output(case: Case) -> Found:
    """An input that is written into is an output of the same gradient, as autograd knows (``ctx.mark_dirty``)."""
    names, recorded = written(case), case.recorded
    if not names:
        raise NotChecked("no input is written into")
    for name in names:
        tensor = recorded.arguments[name]
        if tensor._version == 0:
            return "wrong", f"{name} is written into in a way that autograd does not see (.data, NumPy, a pointer)"
        if case.call.is_autograd_function and not any(out is tensor for out in recorded.found.values()):
            return "wrong", f"{name} is written into, and ctx.mark_dirty does not say so"
        for k, output in enumerate(recorded.outputs):
            if output is tensor or (output.shape == tensor.shape and output.data_ptr() == tensor.data_ptr()):
                alone = [cotangent if k == j else None for j, cotangent in enumerate(case.cotangents)]
                right = case.gradients(recorded, alone)
                found = case.of_pairs([(tensor, case.cotangents[k])], recorded.leaves)
                said = case.difference(found, right)
                if said:
                    return "wrong", f"through {name}, which is written into, {said}"
    return "right", ""


def view_output(case: Case) -> Found:
    """Of an output in the memory of an input, autograd knows that what is written into one is seen in the other."""
    pairs = [pair for pair in _views(case.recorded) if pair[1] in case.inputs]
    if not pairs:
        raise NotChecked("no output is a view of an input")
    if written(case):
        raise NotChecked("an input is written into")
    for output, name in pairs:
        recorded = case.record(case.values)
        view, base = recorded.found[output], recorded.arguments[name]
        if view is base:
            continue  # of which `in_place_output` is
        cotangent = case.random_like(base)
        try:
            with torch.enable_grad():
                view.mul_(_TIMES)
        except RuntimeError:
            continue  # PyTorch refuses to write into it
        try:
            found = case.of_pairs([(base, cotangent)], recorded.leaves)
        except Raised as error:
            return "wrong", f"{output} is a view of {name}; where it is written into, {error}"
        unwritten = [_alone(case, name, k, cotangent) for k in range(len(case.inputs))]
        if not case.difference(found, unwritten):  # as if nothing was written
            said = f"{output} lies in the memory of {name}, and autograd does not know it"
            return "wrong", f"{said}: what is written into one changes the other"
    return "right", ""


def non_differentiable_output(case: Case) -> Found:
    """Outputs that have no gradient are integers, or are said to have none (``ctx.mark_non_differentiable``)."""
    others = {name: tensor for name, tensor in case.recorded.found.items() if not tensor.requires_grad}
    if not others:
        raise NotChecked("every output has a gradient")
    floating = [name for name, tensor in others.items() if tensor.is_floating_point() or tensor.is_complex()]
    try:
        moved = case.record([value * _MOVED for value in case.values]).found
    except Raised:  # it is not defined there
        moved = others
    varying = [n for n in floating if n not in moved or not same_bits(moved[n].detach(), others[n].detach())]
    if varying and not case.call.is_autograd_function:
        raise NotChecked(f"{', '.join(varying)} changes with the inputs, but was detached")
    said = f"{', '.join(varying)} changes with the inputs, and is marked as having no gradient"
    return "right", said if varying else ""


def _views(recorded: Recorded) -> list[tuple[str, str]]:
    """Gives the names of outputs that lie in the memory of inputs, with these."""
    begins = {
        name: tensor for name, tensor in recorded.arguments.items() if tensor.layout is torch.strided and tensor.numel()
    }  # fmt: skip
    return [
        (output, name) for output, view in recorded.found.items()
        if view.requires_grad and view.layout is torch.strided and view.numel()
        for name, tensor in begins.items()
        if tensor.device == view.device and _overlap(tensor, view)
    ]  # fmt: skip


def _overlap(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors share memory."""
    (low, high), (least, most) = map(_range, (one, other))
    return low < most and least < high


def _range(tensor: torch.Tensor) -> tuple[int, int]:
    last = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True))
    begin = tensor.data_ptr()
    return begin, begin + (last + 1) * tensor.element_size()


def _alone(case: Case, name: str, k: int, cotangent: torch.Tensor) -> torch.Tensor:
    """Gives the gradient by input k of the product of a cotangent with the input of that name."""
    return cotangent if case.inputs[k] == name else torch.zeros_like(case.values[k])
