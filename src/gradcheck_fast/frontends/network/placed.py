"""Layers with their places in a network, which also name their arrays; and the forward pass through them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.graphs.sources import at
from gradcheck_fast.frontends.network.attention import Embedding
from gradcheck_fast.frontends.network.layers import Layer
from gradcheck_fast.frontends.network.on_arrays import RowLayer
from gradcheck_fast.frontends.network.tensor_layer import Misfit, TensorLayer
from gradcheck_fast.frontends.operators.elementary import recording_of
from gradcheck_fast.inputs.arrays import real_array, require_finite
from gradcheck_fast.program.program import Source

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Placed:
    """A layer in a network.

    Attributes
    ----------
    layer : TensorLayer
    given : TensorLayer or Layer
        The layer as it was given: another one if it acts on rows.
    place : str
        What errors and reports call it, such as ``layer 2.1, Conv2d``.
    names : dict of str to str
        The names of its arrays in the network, by its own names. Two places of one layer have the same ones.
    inner : tuple of Placed
        The layers that it consists of.
    """

    layer: TensorLayer
    given: TensorLayer | Layer
    place: str
    names: Mapping[str, str]
    inner: tuple[Placed, ...] = ()

    def forward(self, x: Any, arrays: Mapping[str, Any]) -> Any:
        """Returns what the layer makes of `x`; `arrays` are those of the network, by their names in it.

        Raises
        ------
        TypeError, ValueError
            If the layer does not take an array like `x`; the message begins with the place.
        """
        try:
            self.layer.require(x)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self.place}: {error}") from None
        own = {own: arrays[name] for own, name in self.names.items()}
        run = [partial(inner.forward, arrays=arrays) for inner in self.inner]
        with named(self.place, arrays):
            try:
                return self.layer.forward(x, own, run)
            except Misfit as error:
                raise ValueError(f"{self.place}: {error}") from None

    def walk(self) -> Iterator[Placed]:
        """Yields this one and all inside of it."""
        yield self
        for inner in self.inner:
            yield from inner.walk()

    def renamed(self, names: Mapping[str, str]) -> Placed:
        """Returns the same with other names of the arrays in the network."""
        own = {own: names[name] for own, name in self.names.items()}
        return replace(self, names=own, inner=tuple(inner.renamed(names) for inner in self.inner))


def named(place: str, arrays: Mapping[str, Any]) -> AbstractContextManager[None]:
    """Names the steps inside the ``with`` block by a place, if the arrays of the network record them."""
    recording = recording_of(*arrays.values())
    return nullcontext() if recording is None else at(recording, Source(place))


def read_arrays(layers: Sequence[Placed], X: Any) -> NDArray[Any]:
    """Returns a copy of the data: integers for layers with an embedding, if they are integers, else float64.

    For an embedding each sample may be one integer.

    Raises
    ------
    TypeError, ValueError
        If they are no real numbers, not finite, or have no axis of samples.
    """
    array = real_array("X", X, allow_bool=True)
    looks_up = any(isinstance(placed.layer, Embedding) for layer in layers for placed in layer.walk())
    if array.ndim < (1 if looks_up else 2):
        raise ValueError(f"X: expected an axis of samples and at least one more, got the shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"X: expected at least one sample, got the shape {array.shape}")
    require_finite("X", array)
    return np.array(array, np.int64 if looks_up and array.dtype.kind in "iu" else np.float64, order="C")


def place_all(layers: Sequence[Any]) -> tuple[Placed, ...]:
    """Places the layers of a network.

    Arrays of a layer without a name get its number as their ending, as ``weight2``, and inside of another layer those
    of all around it, as ``weight2.1``. Names of layers come before, as ``block.conv.weight`` or ``block.weight1``.

    Raises
    ------
    TypeError
        If an object is given as a layer that is none.
    ValueError
        If two arrays get the same name.
    """
    placing = _Placing()
    return tuple(placing.place(layer, str(number), "", str(number)) for number, layer in enumerate(layers, 1))


class _Placing:
    """Remembers which layers have a place, and which names are taken."""

    def __init__(self) -> None:
        self._names: dict[Any, dict[str, str]] = {}
        self._taken: set[str] = set()

    def place(self, layer: Any, path: str, prefix: str, suffix: str, within: Any = None) -> Placed:
        """Places a layer and all inside of it.

        `path` has the numbers of all layers around it and its own; `prefix` has the names, and `suffix` the numbers
        after the last name, that its arrays get. Two places have the same arrays if they have one object, and so have
        the layers inside of them. Of a dense or recurrent layer, each place has its own arrays, as ``[layer] * 3``
        means three of them; inside of another layer they are those of its place `within` that.
        """
        if not isinstance(layer, (TensorLayer, Layer)):
            raise TypeError(f"layer {path}: expected a layer such as gf.Dense(2, 3), got {layer!r}")
        if layer.name:
            prefix, suffix = f"{prefix}{layer.name}.", ""
        known = id(layer) if isinstance(layer, TensorLayer) else within or path
        if known not in self._names:
            names = {own: prefix + own + suffix for own in layer.shapes}
            for name in names.values():
                if name in self._taken:
                    raise ValueError(f"layer {path}: another layer has an array {name!r} too; give it another name")
                self._taken.add(name)
            self._names[known] = names
        tensor = layer if isinstance(layer, TensorLayer) else RowLayer(layer)
        inner = tuple(
            self.place(part, f"{path}.{k}", prefix, f"{suffix}.{k}" if suffix else str(k), (known, k))
            for k, part in enumerate(tensor.inner, 1)
        )
        return Placed(tensor, layer, f"layer {path}, {tensor.kind}", self._names[known], inner)
