"""What each operator of ONNX does, in NumPy: the table that the modules of this package fill, by operator and opset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What an operator does: a function of its node and of its inputs, each an array, a traced array, a list (a sequence)
#: or None (an optional input that is not given). It returns one output, or a tuple of several.
Function = Callable[..., Any]

#: The domain of the operators of machine learning.
LEARNING = "ai.onnx.ml"


class Unsupported(Exception):
    """An operator of the table is used in a way that its function here does not know."""


class ModelError(ValueError):
    """A model cannot be evaluated; the message names the node, its operator and the opset."""


@dataclass(frozen=True)
class Node:
    """A node of a graph, as the functions of operators see it.

    Attributes
    ----------
    operator, domain : str
    opset : int
        The opset of its domain that the model is written for.
    name : str
        Where it is, for errors and reports, such as ``node 12, Conv conv1``.
    attributes : mapping of str to any
        The values of its attributes, with ONNX's defaults for those that are not given.
    outputs : tuple of str
        The names of its outputs; "" for one that nobody wants.
    subgraph : callable
        ``subgraph(node, graph, inputs)`` evaluates a graph among its attributes, and returns a list of its outputs.
    """

    operator: str
    domain: str
    opset: int
    name: str
    attributes: Mapping[str, Any]
    outputs: tuple[str, ...]
    subgraph: Callable[..., list[Any]] = field(repr=False)

    def get(self, name: str, default: Any = None) -> Any:
        """Returns the value of an attribute, or `default` if it has none."""
        return self.attributes.get(name, default)

    def error(self, text: str) -> ModelError:
        """Returns an error that names this node."""
        return ModelError(f"{self.name} (opset {self.opset}): {text}")

    def wants(self, number: int) -> bool:
        """Returns whether somebody wants the output of this number."""
        return number < len(self.outputs) and bool(self.outputs[number])


#: For each domain and operator, the functions by the opset since which they hold, the newest first.
TABLE: dict[tuple[str, str], list[tuple[int, Function]]] = {}


def operator(*names: str, since: int = 1, domain: str = "") -> Callable[[Function], Function]:
    """Registers a function as what operators of these names do since some opset."""

    def register(function: Function) -> Function:
        for name in names:
            versions = TABLE.setdefault((domain, name), [])
            versions.append((since, function))
            versions.sort(key=lambda version: -version[0])
        return function

    return register


def registered(domain: str, name: str, opset: int) -> Function | None:
    """Returns what an operator does in an opset; None if the table does not say."""
    for since, function in TABLE.get((domain, name), ()):
        if since <= opset:
            return function
    return None


def entries() -> Iterator[tuple[str, str, list[int]]]:
    """Yields the domain and name of each operator of the table, and the opsets since which its functions hold."""
    for (domain, name), versions in sorted(TABLE.items()):
        yield domain, name, sorted(since for since, _ in versions)


def integers(value: Any) -> list[int]:
    """Returns the integers of an input that says sizes, axes or places."""
    return [int(number) for number in np.ravel(plain(value))]


def integer(value: Any) -> int:
    """Returns the one integer of an input."""
    (number,) = integers(value)
    return number


def plain(value: Any) -> NDArray[Any]:
    """Returns an array as a plain one; of a traced one that depends on no parameter, its value."""
    return np.asarray(value)
