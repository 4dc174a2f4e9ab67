"""The aspects of a function of tensors that are looked at once its gradient is right."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from gradcheck_fast.adapters.torch.aspects.case import Case, NotChecked, Raised
from gradcheck_fast.adapters.torch.aspects.cotangents import (
    Found,
    backward_twice,
    batched_backward,
    expanded_cotangent,
    no_cotangent,
    strided_cotangent,
    unchanged_tensors,
    zero_cotangent,
)
from gradcheck_fast.adapters.torch.aspects.forward_mode import forward_mode
from gradcheck_fast.adapters.torch.aspects.inputs import input_without_gradient, integer_input, same_tensor_twice
from gradcheck_fast.adapters.torch.aspects.outputs import in_place_output, non_differentiable_output, view_output
from gradcheck_fast.comparison.aspects import Aspect

if TYPE_CHECKING:
    from gradcheck_fast.adapters.torch.function import FunctionCall
    from gradcheck_fast.checks.options import Options

#: These are looked at first. If backward changes tensors, nothing else can be compared.
UNCHANGED, TWICE = "unchanged tensors", "backward twice"
#: What looks at each aspect, by its name.
LOOKS: dict[str, Callable[[Case], Found]] = {
    UNCHANGED: unchanged_tensors,
    TWICE: backward_twice,
    "zero cotangent": zero_cotangent,
    "no cotangent": no_cotangent,
    "expanded cotangent": expanded_cotangent,
    "strided cotangent": strided_cotangent,
    "batched backward": batched_backward,
    "forward mode": forward_mode,
    "view output": view_output,
    "in-place output": in_place_output,
    "non-differentiable output": non_differentiable_output,
    "integer input": integer_input,
    "input without gradient": input_without_gradient,
    "same tensor twice": same_tensor_twice,
}


def look_at(call: FunctionCall, skip: Collection[str], options: Options) -> tuple[Aspect, ...]:
    """Looks at all aspects of a function whose gradient is right, but for those that are to be skipped.

    Parameters
    ----------
    call : FunctionCall
    skip : collection of str
    options : Options
        The seed of cotangents and tangents, and the constraints of inputs.
    """
    names = [name for name in LOOKS if name not in skip]
    if not names:
        return ()
    try:
        case = Case(call, options)
    except NotChecked as why:
        return tuple(Aspect(name, "not checked", str(why)) for name in names)
    case.may_repeat, found = TWICE in names, []
    for name in names:
        aspect = _found(name, case)
        found.append(aspect)
        if name == UNCHANGED and aspect.status == "wrong":
            return (aspect, *(Aspect(other, "not checked", aspect.detail) for other in names if other != name))
        if name == TWICE and aspect.status == "wrong":
            case.may_repeat = False
    return tuple(found)


def _found(name: str, case: Case) -> Aspect:
    try:
        return Aspect(name, *LOOKS[name](case))
    except NotChecked as why:
        return Aspect(name, "not checked", str(why))
    except Raised as error:
        return Aspect(name, "wrong", str(error))
