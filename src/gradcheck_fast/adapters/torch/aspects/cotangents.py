"""Aspects of cotangents: how they lie in memory, those that are missing or zero, batches of them, and none changed."""

from __future__ import annotations

from typing import Any

import torch

from gradcheck_fast.adapters.torch.aspects.case import MOST, Case, NotChecked, Raised
from gradcheck_fast.comparison.aspects import Status

#: How many cotangents are in a batch.
_BATCH = 3
#: The memory formats of PyTorch's, by the number of axes that a tensor must have.
_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}

#: What a look at an aspect has found: its status and the detail.
Found = tuple[Status, str]


def unchanged_tensors(case: Case) -> Found:
    """Backward leaves the cotangents, the inputs, the outputs and what was saved for it as they are."""
    saved: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor)
        return tensor

    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            recorded = case.record(case.values)
    except Raised:  # transforms of torch.func do not allow such hooks
        saved.clear()
        recorded = case.record(case.values)
    own = {
        **{f"the cotangent of {name}": c.clone() for name, c in zip(case.outputs, case.cotangents, strict=True)},
        **recorded.arguments, **recorded.found,
        **{f"tensor {k} of those that were saved for it": tensor for k, tensor in enumerate(saved)},
    }  # fmt: skip
    before = {name: tensor.detach().clone() for name, tensor in own.items()}
    case.gradients(recorded, list(own.values())[: len(case.cotangents)])
    for name, tensor in own.items():
        if not same_bits(tensor.detach(), before[name]):
            return "wrong", f"backward writes into {name}"
    return "right", ""


def backward_twice(case: Case) -> Found:
    """Two calls of backward, of the same graph, give the same bits."""
    recorded = case.recorded
    try:
        one, other = (case.gradients(recorded, case.cotangents) for _ in range(2))
    except Raised as error:
        return "wrong", f"called again with retain_graph=True, backward fails: {error}"
    said = case.difference(other, one) or case.difference(one, case.right)
    if said:
        return "wrong", f"called again with retain_graph=True, backward gives other numbers: {said}"
    if not all(map(same_bits, one, other)):
        return "right", "the last bits differ from call to call: backward is not deterministic"
    return "right", ""


def zero_cotangent(case: Case) -> Found:
    """The gradient for a cotangent of zeros is zero."""
    found = case.gradients(case.recorded, [torch.zeros_like(c) for c in case.cotangents])
    said = case.difference(found, [torch.where(torch.isfinite(g), torch.zeros_like(g), g) for g in case.right])
    return ("wrong", f"for a cotangent of zeros {said}") if said else ("right", "")


def no_cotangent(case: Case) -> Found:
    """An output that the loss does not depend on counts as one whose cotangent is zero."""
    if len(case.outputs) == 1:
        raise NotChecked("there is one output")
    for k, name in list(enumerate(case.outputs))[:MOST]:
        alone = [cotangent if k == j else None for j, cotangent in enumerate(case.cotangents)]
        zeros = [cotangent if k == j else torch.zeros_like(cotangent) for j, cotangent in enumerate(case.cotangents)]
        right = case.gradients(case.recorded, zeros)
        try:
            said = case.difference(case.gradients(case.recorded, alone), right)
        except Raised as error:
            said = str(error)
        if said:
            return "wrong", f"with a cotangent of {name} alone, and None for the others, {said}"
    return "right", ""


def expanded_cotangent(case: Case) -> Found:
    """One number that is expanded (strides of 0), as ``sum().backward()`` gives it, counts as a tensor full of it."""
    if all(cotangent.numel() < 2 for cotangent in case.cotangents):
        raise NotChecked("no output has several entries")
    return _compared(case, "an expanded cotangent (strides of 0)", [_expanded(c) for c in case.cotangents])


def strided_cotangent(case: Case) -> Found:
    """Cotangents may lie in memory in any way: every second number, transposed, or in another memory format."""
    if all(cotangent.numel() < 2 for cotangent in case.cotangents):
        raise NotChecked("no output has several entries")
    ways = {
        "of which every second number of its memory is read": [_spread(c) for c in case.cotangents],
        "that is transposed": [_transposed(c) for c in case.cotangents],
    }
    if any(cotangent.dim() in _FORMATS for cotangent in case.cotangents):
        ways["in the memory format channels_last"] = [_channels_last(c) for c in case.cotangents]
    for way, cotangents in ways.items():
        status, said = _compared(case, f"a cotangent {way}", cotangents)
        if said:
            return status, said
    return "right", ""


def batched_backward(case: Case) -> Found:
    """A batch of cotangents (``is_grads_batched``, torch.func.vmap) gives what they give one by one."""
    recorded = case.recorded
    batches = [torch.stack([c, *(case.random_like(c) for _ in range(_BATCH - 1))]) for c in case.cotangents]
    try:
        found = case.of_pairs(list(zip(recorded.outputs, batches, strict=True)), recorded.leaves, batched=True)
    except Raised as error:
        raise NotChecked(f"it cannot be batched: {error}") from None
    for k in range(_BATCH):
        right = case.gradients(case.recorded, [batch[k] for batch in batches])
        said = case.difference([grad[k] for grad in found], right)
        if said:
            return "wrong", f"in a batch of {_BATCH} cotangents, {said}"
    return "right", ""


def _compared(case: Case, what: str, cotangents: list[torch.Tensor]) -> Found:
    """Compares the gradient for cotangents that lie in memory in another way."""
    right = case.gradients(
        case.recorded, [cotangent.clone(memory_format=torch.contiguous_format) for cotangent in cotangents]
    )
    try:
        said = case.difference(case.gradients(case.recorded, cotangents), right)
    except Raised as error:
        said = str(error)
    return ("wrong", f"for {what} {said}") if said else ("right", "")


def _expanded(cotangent: torch.Tensor) -> torch.Tensor:
    """Gives the first number with strides of 0, in the memory of all: that is what is read if strides are ignored."""
    return cotangent.clone().as_strided(cotangent.shape, (0,) * cotangent.dim())


def _spread(cotangent: torch.Tensor) -> torch.Tensor:
    """Gives the same numbers with others between them."""
    memory = torch.stack([torch.full_like(cotangent, 3.0) + cotangent, cotangent], dim=-1)
    return memory[..., 1]


def _transposed(cotangent: torch.Tensor) -> torch.Tensor:
    """Gives the same numbers with the axes in the opposite order in memory."""
    axes = tuple(reversed(range(cotangent.dim())))
    return cotangent.permute(axes).contiguous().permute(axes)


def _channels_last(cotangent: torch.Tensor) -> torch.Tensor:
    wanted: Any = _FORMATS.get(cotangent.dim(), torch.preserve_format)
    return cotangent.clone(memory_format=wanted)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors have the same numbers; NaN counts as one number."""
    if a.layout is not torch.strided:
        a, b = a.to_dense(), b.to_dense()
    return bool(((a == b) | ((a != a) & (b != b))).all())
