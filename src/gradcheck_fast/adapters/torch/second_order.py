"""Double backward: the gradient that a backward gives, as a function of the inputs and of the cotangents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from gradcheck_fast.adapters.common import first_line
from gradcheck_fast.adapters.torch.function import FunctionCall
from gradcheck_fast.adapters.torch.function_report import function_report
from gradcheck_fast.comparison.aspects import Aspect
from gradcheck_fast.inputs.arrays import format_index
from gradcheck_fast.inputs.trees import walk

if TYPE_CHECKING:
    from gradcheck_fast.checks.options import Options
    from gradcheck_fast.report.report import Report

#: What the aspect is called.
NAME = "second order"
#: The node that PyTorch puts into the graph of a backward that must not be differentiated.
_ERROR = "torch::autograd::Error"
#: At most so many nodes of a graph are looked at.
_MOST_NODES = 10_000


class FirstOrder:
    """The backward of a function of tensors, as a function that can be differentiated once more.

    Parameters
    ----------
    function : callable
        Of some arguments.
    count : int
        How many arguments it has.
    outputs : list of str
        The paths of those of its outputs that have a gradient.
    names : list of str
        The names of the tensors among its arguments that the gradient is wanted of.
    """

    def __init__(self, function: Callable[..., Any], count: int, outputs: list[str], names: list[str]) -> None:
        self.function, self._count, self._outputs, self._names = function, count, outputs, names

    def __call__(self, *given: Any) -> dict[str, torch.Tensor]:
        """Takes the arguments and then a cotangent for each output, and gives the gradients by name."""
        arguments, cotangents = given[: self._count], given[self._count :]
        wanted = {
            name: leaf for k, part in enumerate(arguments) for name, leaf in walk(part, f"inputs[{k}]")
            if name in self._names
        }  # fmt: skip
        found = dict(walk(self.function(*map(_cloned, arguments))))
        outputs = [found[path] for path in self._outputs]
        gradients = torch.autograd.grad(
            outputs, list(wanted.values()), cotangents, create_graph=True, allow_unused=True
        )
        return {name: grad for name, grad in zip(wanted, gradients, strict=True) if grad is not None}


def second_order(call: FunctionCall, settings: Options, seed: int) -> Aspect:
    """Checks the double backward of a function whose backward was found right.

    Parameters
    ----------
    call : FunctionCall
    settings : Options
    seed : int
        The seed of the cotangents.
    """
    arguments, function = call.own_arguments, call.own_function
    generator = torch.Generator().manual_seed(seed)
    cotangents = [
        torch.randn(shape, generator=generator, dtype=torch.complex128 if dtype.is_complex else torch.float64)
        .to(device, dtype).requires_grad_()
        for shape, dtype, device in call.forms
    ]  # fmt: skip
    first = FirstOrder(function, len(arguments), call.outputs, list(call.checked))
    try:
        again = FunctionCall(first, (*arguments, *cotangents))
        said = _without_graph(again.called([leaf.detach().requires_grad_() for leaf in again.values], False)[1])
        if said:
            return Aspect(NAME, "wrong", said)
        again.look()
    except Exception as error:
        return Aspect(NAME, "wrong", f"backward with create_graph=True fails: {first_line(error)}")
    try:
        report = function_report(again, settings, 1)
    except Exception as error:
        return Aspect(NAME, "not checked", first_line(error))
    if report.wrong:
        return Aspect(NAME, "wrong", _wrong(report, len(arguments), len(cotangents)))
    if not report.ok and any(array.inconclusive for array in report.arrays):
        return Aspect(NAME, "not checked", report.reason)
    return Aspect(NAME, "right")


def _without_graph(gradients: Mapping[str, torch.Tensor]) -> str:
    """Says which gradients cannot be differentiated once more, though they are not zero; "" if all can.

    A gradient is linear in the cotangent, so that it depends on something unless it is zero.
    """
    for name, gradient in gradients.items():
        if not gradient.requires_grad and gradient.any():
            return f"the gradient by {name} that backward gives with create_graph=True has no graph"
        if gradient.grad_fn is not None and _is_once(gradient.grad_fn):
            return "backward is marked once_differentiable, so that it has no double backward"
    return ""


def _is_once(node: Any) -> bool:
    """Whether a gradient comes from a backward that was marked once_differentiable: its error is in the graph."""
    seen: set[Any] = set()
    nodes = [node]
    while nodes:
        node = nodes.pop()
        if node.name() == _ERROR:
            return True
        if node not in seen and len(seen) < _MOST_NODES:
            seen.add(node)
            nodes += [other for other, _ in node.next_functions if other is not None]
    return False


def _wrong(report: Report, arguments: int, cotangents: int) -> str:
    """Says which derivatives of which gradient are wrong; the cotangents are inputs after the arguments."""
    worst = report.worst(1)[0]
    name = worst.array
    for k in range(cotangents):
        own = "the cotangent" if cotangents == 1 else f"the cotangent of output {k}"
        name = name.replace(f"inputs[{arguments + k}]", own)
    of = next(
        (note.split(" alone")[0].removeprefix("this is of output.") for note in report.notes if " alone:" in note), ""
    )
    of = f"of the gradient by {of}, " * bool(of)
    return (
        f"{of}{report.wrong:,} of {report.checked:,} derivatives are wrong: that by {name}"
        f"{format_index(worst.index)} is {worst.analytic:.6g}, and should be {worst.numerical:.6g}"
    )


def _cloned(tree: Any) -> Any:
    """Copies the tensors in an argument, so that they can be written into; the copies belong to the graph."""
    if isinstance(tree, torch.Tensor):
        return tree.clone()
    if isinstance(tree, dict):
        return {key: _cloned(child) for key, child in tree.items()}
    if isinstance(tree, (tuple, list)):
        children = [_cloned(child) for child in tree]
        return type(tree)(*children) if hasattr(tree, "_fields") else type(tree)(children)
    return tree
