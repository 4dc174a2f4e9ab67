"""The gradient that a loss returns beside its value: what ``gradient=True`` stands for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from gradcheck_fast.inputs.returned import RETURNS_MORE, pack_gradient
from gradcheck_fast.inputs.trees import parts
from gradcheck_fast.losses.function_loss import FunctionLoss

if TYPE_CHECKING:
    from gradcheck_fast.inputs.trees import Packed, Tree
    from gradcheck_fast.losses.problem import Problem

#: What users give as a gradient: a tree, a function that makes one, or True.
Gradient: TypeAlias = "Tree | Packed | Callable[[Tree], Any] | bool"


class BesideValue:
    """The gradient function of a loss that returns ``(value, gradient)``. It returns both, as the loss does.

    Parameters
    ----------
    loss : callable

    Attributes
    ----------
    users_function : callable
        The loss.
    """

    def __init__(self, loss: Callable[[Any], Any]) -> None:
        self.users_function = loss

    def __call__(self, params: Tree) -> Any:
        return self.users_function(params)

    def with_function(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Returns the same of another version of the loss, as one that records what it does."""
        return function


def beside_value(gradient: Gradient, problem: Problem) -> Tree | Packed | Callable[[Tree], Any]:
    """Returns the gradient function of a loss if the gradient is True, else the gradient as it is.

    Raises
    ------
    TypeError
        If the gradient is True, and the loss is not a Python function of one set of parameters.
    """
    if gradient is not True:
        return gradient
    if not isinstance(problem, FunctionLoss) or problem.function is None:
        raise TypeError(
            "gradient=True: that is for a Python function of one set of parameters, which returns (value, gradient); "
            "pass the gradient itself, or a function that gives it"
        )
    return BesideValue(problem.function)


def packer(gradient: Any, at: Packed, **options: Any) -> Callable[[Any], Packed]:
    """Makes the function that packs what `gradient` is, or has returned, as the gradient at these parameters."""
    is_beside = isinstance(gradient, BesideValue)
    if at.domain is not None:
        stays = at.domain.low == at.domain.high
        options["fixed"] = [name for name, part, _ in parts(at.shapes) if stays[part].all()]
    return partial(pack_gradient, shapes=at.shapes, paths=at.paths, beside_value=is_beside, **options)


def without_said(notes: tuple[str, ...], gradient: Any) -> tuple[str, ...]:
    """Leaves out of the notes what the user has said by ``gradient=True``: that the loss returns both."""
    if not isinstance(gradient, BesideValue):
        return notes
    return tuple(note for note in notes if not note.startswith(RETURNS_MORE))
