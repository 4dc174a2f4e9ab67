"""The loss of a model's outputs: one of them, a cost of a gf.Network's, or a function in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.network.cost import Cost
from gradcheck_fast.inputs.arguments import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Loss:
    """A loss as a function of the outputs that it needs.

    Attributes
    ----------
    wanted : tuple of str
        The names of these outputs.
    function : callable
        Of these outputs, plain or traced, in this order; it returns one number.
    name : str
        What it is called in reports; "" if it is a function of the user's, whose lines are named.
    more : tuple
        What the function takes besides.
    as_dict : bool
        Whether the function takes the outputs as one dict.
    """

    wanted: tuple[str, ...]
    function: Callable[..., Any]
    name: str
    more: tuple[Any, ...] = ()
    as_dict: bool = False

    def of(self, found: Mapping[str, Any], function: Callable[..., Any] | None = None) -> Any:
        """Returns the loss of some outputs, by another version of the function if one is given."""
        call = self.function if function is None else function
        if self.as_dict:
            return call({name: found[name] for name in self.wanted}, *self.more)
        return call(*(found[name] for name in self.wanted), *self.more)


def read_loss(loss: Any, outputs: Sequence[str], known: Sequence[str], output: str | None, targets: Any) -> Loss:
    """Reads what a user gives as a loss.

    Parameters
    ----------
    loss : str, Cost or callable
    outputs : sequence of str
        The names of the model's outputs.
    known : sequence of str
        All names that the model's nodes give.
    output : str, optional
        The output that the cost or the function is of.
    targets : array, optional

    Raises
    ------
    TypeError, ValueError
        If they do not fit; the message names the argument.
    """
    if output is not None and output not in known:
        hint = nearest(output, list(known))
        raise ValueError(f"output: the model has no {output!r}; its outputs are {', '.join(outputs)}{hint}")
    if isinstance(loss, str):
        if loss not in known:
            hint = nearest(loss, list(known))
            raise ValueError(f"loss: the model has no {loss!r}; its outputs are {', '.join(outputs)}{hint}")
        for name, value in (("output", output), ("targets", targets)):
            if value is not None:
                raise ValueError(f"{name}: the loss {loss!r} is computed by the model itself; leave it out")
        return Loss((loss,), lambda found: found, loss)
    if not isinstance(loss, Cost) and not callable(loss):
        raise TypeError(
            f"loss: expected the name of an output, a cost such as gf.CrossEntropy(), or a function, got {loss!r}"
        )
    if isinstance(loss, Cost):
        if targets is None:
            raise TypeError(f"targets: {type(loss).__name__} needs them")
        if output is None and len(outputs) > 1:
            raise ValueError(f"output: the cost is of one output; name one of {', '.join(outputs)}")
        return Loss((output or outputs[0],), partial(cost_of, loss), type(loss).__name__, (targets,))
    wanted = tuple(outputs) if output is None else (output,)
    return Loss(wanted, loss, "", () if targets is None else (targets,), as_dict=len(wanted) > 1)


def cost_of(cost: Cost, x: Any, targets: Any) -> Any:
    """Returns a cost of an output, as that of a `Network` with such outputs.

    Raises
    ------
    TypeError, ValueError
        If the targets do not fit.
    """
    x = x if x.ndim else x.reshape(1)
    try:
        read = cost.targets(targets, x.shape)
    except (TypeError, ValueError) as error:
        raise type(error)(f"targets: {str(error).removeprefix('y: ')}") from None
    return cost.on_arrays(x, read)


def as_number(value: Any) -> Any:
    """Returns a loss without axes.

    Raises
    ------
    ValueError
        If it is not one number.
    """
    if np.size(value) != 1:
        raise ValueError(f"loss: expected one number, got the shape {np.shape(value)}")
    return value if not np.ndim(value) else value.reshape(())


def plain_number(value: Any) -> float:
    """Returns a loss of plain arrays as a float."""
    number: NDArray[Any] = np.asarray(as_number(np.asarray(value)), np.float64)
    return float(number)
