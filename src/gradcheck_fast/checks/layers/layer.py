"""A layer as a function of its inputs and of the parameters that it keeps, and its backward pass as their gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from gradcheck_fast.checks.layers.passes import Passes
from gradcheck_fast.inputs.places import Path, get, is_floating, put, spelled
from gradcheck_fast.inputs.state import State
from gradcheck_fast.inputs.trees import Tree


class Source(NamedTuple):
    """Where the gradient of an array is found after a backward pass.

    Attributes
    ----------
    kind : {"returned", "attribute", "update"}
        In what the backward pass returns; in the layer; or it is by how much the array itself has become smaller.
    path : Path
        Where it lies there.
    """

    kind: str
    path: Path = ()


class Leaf(NamedTuple):
    """An array that is differentiated: a part of the inputs, or a parameter that the layer keeps.

    Attributes
    ----------
    name : str
        What reports call it.
    value : ndarray
    paths : tuple of Path
        Where it lies: in the list of inputs, or in the layer, which may have it at several places.
    is_input : bool
    gradient : Source, optional
    """

    name: str
    value: Any
    paths: tuple[Path, ...]
    is_input: bool
    gradient: Source | None = None


#: What is taken of a forward pass of which nothing is known yet.
OUTPUTS_ALONE = Passes(None, None, ())


@dataclass(frozen=True)
class Layer:
    """A forward and a backward pass, as functions of the arrays that are differentiated.

    Every call begins and ends with all that the passes keep as it was in the beginning: parameters, caches, running
    averages, and random number generators. So random numbers are the same in every call.

    Parameters
    ----------
    forward, backward : callable
    owner : object
        The layer that keeps parameters; None if the passes are plain functions.
    inputs : tuple
        The arguments of the forward pass.
    state : State
        All that the passes keep.
    leaves : tuple of Leaf
        What is differentiated.
    passes : Passes
        What the two passes take and give; by default, that the forward pass gives the outputs.
    output : Path, optional
        Where the layer leaves its output, if its forward pass returns nothing.
    rate : float
        The learning rate of a backward pass that updates the parameters.
    rate_paths : tuple of Path
        Where the layer keeps it, if the backward pass does not take it as an argument.
    buffers : tuple of Path
        Where the layer has arrays for gradients; they are set to zero before each backward pass.
    copies : bool
        Whether outputs are copied: they may lie in arrays of the layer, which are put back as they were. What a
        function that records returns is not copied.
    is_loss : bool
        Whether the backward pass takes the gradient of its one output to be 1, whatever it is given.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    owner: Any
    inputs: tuple[Any, ...]
    state: State
    leaves: tuple[Leaf, ...] = ()
    passes: Passes = OUTPUTS_ALONE
    output: Path | None = None
    rate: float = 1.0
    rate_paths: tuple[Path, ...] = ()
    buffers: tuple[Path, ...] = ()
    copies: bool = True
    is_loss: bool = False

    @property
    def users_function(self) -> Callable[..., Any]:
        """The user's forward pass."""
        return self.forward

    def with_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Gives the same of another version of the forward pass."""
        return replace(self, forward=function, copies=False)

    def __call__(self, *values: Any) -> Tree:
        """Gives the outputs for these values of the leaves."""
        try:
            found = self.passes.output(self.run(values)[1])
            return deepcopy(found) if self.copies else found
        finally:
            self.state.restore()

    def gradients(self, cotangent: Tree, *values: Any) -> tuple[Any, ...]:
        """Gives what the backward pass finds for these values of the leaves: one gradient for each."""
        try:
            found = self.found(cotangent, values)
        finally:
            self.state.restore()
        return tuple(np.asarray(part) * cotangent for part in found) if self.is_loss else found

    def found(self, cotangent: Tree, values: Sequence[Any], clean: bool = True) -> tuple[Any, ...]:
        """Does the same, and puts nothing back; see `run_back`."""
        _, returned, before = self.run_back(cotangent, values, clean)
        return tuple(self._gradient(leaf, returned, before[k]) for k, leaf in enumerate(self.leaves))

    def updated(self, rate: float) -> Layer:
        """Gives the same with another learning rate."""
        return replace(self, rate=rate)

    def run(self, values: Sequence[Any]) -> tuple[list[Any], Any]:
        """Runs the forward pass, from the state in the beginning, and gives its arguments and what it gave."""
        self.state.restore()
        return self.run_on(values)

    def run_on(self, values: Sequence[Any]) -> tuple[list[Any], Any]:
        """Does the same, from whatever state the layer is in."""
        inputs: Any = list(deepcopy(self.inputs))
        for leaf, value in zip(self.leaves, values, strict=True):
            for path in leaf.paths:
                plain = value.item() if type(leaf.value) is float and type(value) is np.ndarray else value
                inputs = put(inputs, path, plain) if leaf.is_input else inputs
                if not leaf.is_input:
                    put(self.owner, path, plain)
        found = self.forward(*inputs)
        return inputs, (found if self.output is None else get(self.owner, self.output))

    def run_back(
        self, cotangent: Tree, values: Sequence[Any], clean: bool = True
    ) -> tuple[list[Any], Any, list[np.ndarray[Any, Any]]]:
        """Runs both passes, and gives the inputs, what the backward pass returned, and the leaves as they were.

        Parameters
        ----------
        clean : bool
            Whether to begin with the state of the beginning, and with buffers that are zero.
        """
        if clean:
            self.state.restore()
            self._clear(values)
        before = [np.array(value) for value in values]
        own = [value.copy() for value in before]  # which an update may write into
        inputs, found = self.run_on(own)
        for path in self.rate_paths:
            put(self.owner, path, self.rate)
        return inputs, self.passes.backward(self.backward, cotangent, found, inputs, self.rate), before

    def _gradient(self, leaf: Leaf, returned: Any, before: np.ndarray[Any, Any]) -> Any:
        source = leaf.gradient
        if source is None:
            return None
        if source.kind == "update":
            return (before - get(self.owner, leaf.paths[0])) / self.rate
        try:
            found = get(returned if source.kind == "returned" else self.owner, source.path)
            is_list = type(found) is list and isinstance(leaf.value, np.ndarray)
            return np.array(found) if is_list else deepcopy(found)
        except (LookupError, AttributeError, TypeError):
            place = ("what backward returns" if source.kind == "returned" else "the layer") + spelled(source.path)
            raise ValueError(f"backward: there is no gradient of {leaf.name} in {place} in another call") from None

    def _clear(self, values: Sequence[Any]) -> None:
        """Sets the buffers of gradients to zero, each to a new array; an array at several places stays one."""
        made: dict[int, Any] = {}
        dtype = np.result_type(*[np.asarray(value).dtype for value in values])
        for path in self.buffers:
            old = get(self.owner, path)
            if isinstance(old, np.ndarray) and id(old) not in made:
                made[id(old)] = np.zeros(old.shape, dtype)
            put(self.owner, path, made.get(id(old), 0.0))


def settings_of(layer: Layer, names: Sequence[str], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a layer by name: options, entries of dicts of options, and attributes, in this order."""
    found: dict[str, Any] = {}
    for name, value in (*defaults.items(), *zip(names, layer.inputs, strict=True)):
        for key, entry in value.items() if isinstance(value, dict) else [(name, value)]:
            if isinstance(key, str) and not (isinstance(entry, np.ndarray) and is_floating(entry)):
                found.setdefault(key, entry)
    for key, entry in vars(layer.owner).items() if hasattr(layer.owner, "__dict__") else ():
        if not isinstance(entry, (np.ndarray, dict)):
            found.setdefault(key, entry)
    return found
