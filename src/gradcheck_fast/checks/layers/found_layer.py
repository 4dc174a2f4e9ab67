"""Finds out how a layer is written: its two passes, its parameters, and where their gradients are left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from gradcheck_fast.checks.layers.kept_arrays import MOST_WRITTEN, kept_arrays, moved
from gradcheck_fast.checks.layers.layer import Layer, Leaf, Source
from gradcheck_fast.checks.layers.layer_calls import as_loss, with_learning_rate, with_second_look, with_zero
from gradcheck_fast.checks.layers.layer_gradients import (
    fitting_list,
    gradient_of_input,
    gradient_places,
    is_named_as_parameter,
    returned_gradients,
    target_rank,
    with_lists,
    with_names,
)
from gradcheck_fast.checks.layers.layer_notes import on_fixed, on_returned, on_taken
from gradcheck_fast.checks.layers.layer_state import LayerState
from gradcheck_fast.checks.layers.passes import input_names, passes_of, understand
from gradcheck_fast.inputs.arguments import nearest
from gradcheck_fast.inputs.mismatches import listed
from gradcheck_fast.inputs.places import Path, get, is_floating, members, numbers_in, put, spelled
from gradcheck_fast.inputs.random_numbers import generator
from gradcheck_fast.inputs.trees import cast, copy, pack, walk

#: What a layer calls its output, if it leaves it in an attribute.
_OUTPUTS = ("output", "outputs", "out", "y", "a", "z", "A", "Z", "result", "activation")


class Found(NamedTuple):
    """A layer as it was found to be written.

    Attributes
    ----------
    layer : Layer
    called : str
        The name of the layer's class, or of its forward pass.
    names : list of str
        The names of the inputs.
    defaults : dict
        The arguments of the forward pass that were not given.
    notes : tuple of str
        What was taken for what.
    restore : callable
        Puts everything back as it was before the check.
    """

    layer: Layer
    called: str
    names: list[str]
    defaults: dict[str, Any]
    notes: tuple[str, ...]
    restore: Callable[[], None]


def find_layer(
    forward: Any, backward: Any, inputs: tuple[Any, ...], gradients: Mapping[str, str | None], seed: int
) -> Found:
    """Finds out how a layer is written, by its names and by a few calls; see `check_layer` for what can be found.

    Parameters
    ----------
    forward, backward : callable
        The two passes; or, if `backward` is None, a layer that has them as methods.
    inputs : tuple
        The arguments of the forward pass.
    gradients : dict
        What the user has said of gradients.
    seed : int
        The seed of the gradients of the outputs that are tried.
    """
    forward, backward, owner = passes_of(forward, backward)
    names, defaults = input_names(forward, inputs)
    given: Any = (forward, backward, owner)
    state = LayerState(given, owner, MOST_WRITTEN)
    search = _Search(Layer(forward, backward, owner, inputs, state), names, generator(seed))
    try:
        layer, notes = search.found(gradients)
    finally:
        state.restore()
    called = type(owner).__name__ if owner is not None else getattr(forward, "__name__", "")
    return Found(layer, called, names, defaults, notes, state.restore)


class _Search:
    """Finds out about a layer, call by call.

    Parameters
    ----------
    layer : Layer
        The layer as far as it is known: its passes and inputs.
    names : list of str
        The names of the inputs.
    rng : Generator
    """

    def __init__(self, layer: Layer, names: Sequence[str], rng: np.random.Generator) -> None:
        self._layer, self._names, self._rng = layer, names, rng
        self._notes: list[str] = []
        self._owner = layer.owner

    def found(self, gradients: Mapping[str, str | None]) -> tuple[Layer, tuple[str, ...]]:
        """Finds everything out, and returns the layer with it, and what a report should say of it."""
        self._look_forward()
        inputs, kept = self._inputs(), self._kept()
        self._layer = replace(self._layer, leaves=(*inputs, *kept))
        if all(type(leaf.value) is float for leaf in self._layer.leaves):
            raise ValueError(
                "inputs: none is an array of floating-point numbers, so there is nothing to differentiate; make arrays "
                "of lists and integers, as np.array(x, float)"
            )
        values = [leaf.value for leaf in self._layer.leaves]
        out = self._outputs(values)
        packed = pack(out, "forward")
        gradient = cast(packed.unpack(self._rng.standard_normal(packed.flat.size)), out)
        used = {leaf.name for leaf in kept if self._is_used(leaf, values, out)}
        leaves = self._with_gradients(inputs, kept, used, gradients, gradient)
        layer = replace(self._layer, leaves=tuple(leaves), buffers=self._buffers(leaves))
        layer, of_rate = with_learning_rate(layer, gradient)
        noticed = with_second_look(layer, gradient)
        layer, of_loss = as_loss(layer, gradient)
        zero = cast(packed.unpack(np.zeros(packed.flat.size)), out)
        of_zero = () if layer.is_loss else with_zero(layer, gradient, zero)
        return layer, (*self._notes, *of_rate, *noticed, *of_loss, *of_zero)

    # ---- the forward pass

    def _look_forward(self) -> None:
        """Runs the forward pass, and finds out what it gives, and whether it makes the parameters in its first call."""
        layer = self._layer
        before = numbers_in(self._owner)
        _, found = layer.run(())
        if found is None:
            path = self._output_left()
            self._notes.append(f"forward returns nothing: {spelled(path)} is taken for the output")
            layer = replace(layer, output=path)
        new = {path: value for path, value in numbers_in(self._owner).items() if path not in before}
        if self._are_parameters({path: value for path, value in new.items() if isinstance(value, np.ndarray)}):
            layer.run(())
            given: Any = (layer.forward, layer.backward, self._owner)
            # with the parameters that the first call has made
            layer = replace(layer, state=LayerState(given, self._owner, MOST_WRITTEN))
        inputs, found = layer.run(())
        passes = understand(layer.backward, self._names, found, self._owner is not None, inputs)
        self._notes += passes.notes
        self._layer = replace(layer, passes=passes)

    def _are_parameters(self, made: Mapping[Path, Any]) -> bool:
        """Whether some of the arrays that the first forward pass has made stay, and the output depends on them."""

        def again() -> Any:
            self._layer.state.restore_random_numbers()
            _, found = self._layer.run_on(())
            found = get(self._owner, self._output_left()) if found is None else found
            return deepcopy(found[0] if isinstance(found, (tuple, list)) and found else found)

        one = again()
        after = numbers_in(self._owner)
        for path, value in made.items():
            if after.get(path) is value:
                put(self._owner, path, moved(value, self._rng))
        return _differ(one, again())

    def _output_left(self) -> Path:
        arrays = [path for path, value in numbers_in(self._owner).items() if isinstance(value, np.ndarray)]
        found = [path for name in _OUTPUTS for path in arrays if spelled(path) == name]
        if not found:
            place = f" and leaves no array in {', '.join(_OUTPUTS[:3])}" if self._owner is not None else ""
            raise ValueError(f"forward: it returns nothing{place}; let it return its output")
        return found[0]

    def _outputs(self, values: Sequence[Any]) -> Any:
        _, found = self._layer.run([np.array(value) for value in values])
        return copy(self._layer.passes.output(found))

    def _inputs(self) -> list[Leaf]:
        """Returns the arrays of floating-point numbers in the inputs."""
        found = []
        for path, value in members(list(self._layer.inputs)):
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                found.append(Leaf(self._names[path[0].key] + "".join(map(str, path[1:])), value, (path,), True))
        return found

    def _kept(self) -> list[Leaf]:
        """Returns the arrays and floats of the layer that its forward pass leaves as they are: all but its caches."""
        self._layer.state.restore()
        arrays = kept_arrays(self._owner, lambda: self._layer.run_on(()))
        found = [Leaf("", value, paths, False) for value, paths in arrays]
        names = with_names([leaf.paths[0] for leaf in found], self._names)
        return [leaf._replace(name=name) for leaf, name in zip(found, names, strict=True)]

    def _is_used(self, leaf: Leaf, values: Sequence[Any], out: Any) -> bool:
        """Whether the output changes if an array that the layer keeps is moved."""
        own = [moved(each, self._rng) if each is leaf.value else each for each in values]
        try:
            found = self._outputs(own)
        except Exception:  # which it does not raise with its own values
            return type(leaf.value) is not float
        return _differ(out, found)

    def _is_used_at(self, leaf: Leaf, path: Path) -> bool:
        """Whether the output changes if an array that lies at several places is moved at one of them alone."""
        layer = replace(self._layer, leaves=(leaf._replace(paths=(path,)),))
        one, two = (
            deepcopy(self._layer.passes.output(layer.run([value])[1]))
            for value in (np.array(leaf.value), moved(leaf.value, self._rng))
        )
        return _differ(one, two)

    # ---- the backward pass

    def _with_gradients(
        self, inputs: list[Leaf], kept: list[Leaf], used: set[str], said: Mapping[str, str | None], gradient: Any
    ) -> list[Leaf]:
        """Runs both passes, and returns the arrays that have a gradient, each with where that is found."""
        layer = self._layer
        _, returned, before = layer.run_back(deepcopy(gradient), [leaf.value for leaf in layer.leaves])
        after, returned = numbers_in(self._owner), deepcopy(returned)
        untouched = {
            path
            for k, leaf in enumerate(kept, len(inputs))
            for path in leaf.paths
            if np.array_equal(after.get(path, np.nan), before[k], equal_nan=True)
        }
        told = self._told(said, kept, after)
        no_gradients = {path for leaf in kept if leaf.name in used for path in leaf.paths}
        arrays = {path: value for path, value in after.items() if path not in no_gradients}
        places = {path: np.shape(leaf.value) for leaf in kept for path in leaf.paths}
        named = gradient_places(places, arrays, untouched)
        may_be_split = used - told.keys()
        kept = [part for leaf in kept for part in self._parts(leaf, leaf.name in may_be_split, named, after, untouched)]
        used |= {leaf.name for leaf in kept if set(leaf.paths) <= no_gradients}
        found, rest, fixed = [], [], list[Leaf]()
        for leaf in kept:
            path = told[leaf.name] if leaf.name in told else next((named[p] for p in leaf.paths if p in named), None)
            is_parameter = leaf.name in used or is_named_as_parameter(leaf.paths[0])
            if (leaf.name in told and path is None) or not is_parameter:
                continue
            if path is not None:
                found.append(leaf._replace(gradient=Source("attribute", path)))
            elif leaf.name in used and leaf.paths[0] not in untouched:
                found.append(leaf._replace(gradient=Source("update")))
            elif leaf.name in used and type(leaf.value) is not float:
                rest.append(leaf)
            elif leaf.name in used and is_named_as_parameter(leaf.paths[0]):
                fixed.append(leaf)
        in_list = fitting_list([np.shape(leaf.value) for leaf in rest], arrays)
        if in_list:
            found += [
                leaf._replace(gradient=Source("attribute", path)) for leaf, path in zip(rest, in_list, strict=True)
            ]
            rest = []
        known = {leaf.name: leaf for leaf in found}
        others = {leaf.name for leaf in rest}
        parameters = [known.get(leaf.name, leaf) for leaf in kept if leaf.name in known or leaf.name in others]
        all_returned, of_returned = self._of_returned(inputs, rest, parameters, returned)
        earlier = {path: before[k] for k, leaf in enumerate(layer.leaves) if not leaf.is_input for path in leaf.paths}
        self._notes += on_returned(all_returned, of_returned, parameters, after, earlier)
        more = [leaf._replace(gradient=Source("returned", of_returned[leaf.name])) for leaf in (*inputs, *rest)
                if leaf.name in of_returned]  # fmt: skip
        first = min(inputs, key=lambda leaf: target_rank(leaf.name), default=None)
        for leaf in inputs:
            shape = np.shape(leaf.value)
            place = None if leaf.name in of_returned else gradient_of_input(leaf.name, shape, arrays, leaf is first)
            more += [leaf._replace(gradient=Source("attribute", place))] if place is not None else []
        order = [leaf.name for leaf in (*inputs, *kept)]
        leaves = sorted((*more, *found), key=lambda leaf: order.index(leaf.name))
        self._notes += on_taken(leaves, untouched)
        names = {leaf.name for leaf in leaves}
        self._notes += on_fixed([leaf for leaf in (*inputs, *rest, *fixed) if leaf.name not in names], after)
        if not leaves:
            left = ", and leaves none in the layer" if self._owner is not None else ""
            raise ValueError(
                f"backward: it returns no gradient of {listed(dict.fromkeys(leaf.name for leaf in inputs))}{left}; let "
                "it return a tuple with one for each input"
            )
        return leaves

    def _parts(
        self, leaf: Leaf, may_be: bool, named: Mapping[Path, Path], after: Mapping[Path, Any], untouched: set[Path]
    ) -> list[Leaf]:
        """Returns an array that lies at several places as one for each, if each place has a gradient of its own.

        So it is with the weights of an encoder that are those of a decoder, too: each leaves its own part.
        """
        own = {path: named[path] for path in leaf.paths if path in named and named[path] not in untouched}
        arrays = list({id(after[place]): after[place] for place in own.values()}.values())
        if not may_be or len(arrays) < 2 or all(np.array_equal(arrays[0], array) for array in arrays[1:]):
            return [leaf]
        sums = tuple(path for path in own if not self._is_used_at(leaf, path))
        if sums:
            return [leaf._replace(paths=(*sums, *(path for path in leaf.paths if path not in sums)))]
        rest = tuple(path for path in leaf.paths if path not in own)
        paths = [(path, *(rest if k == 0 else ())) for k, path in enumerate(own)]
        self._notes.append(
            f"{' and '.join(map(spelled, own))} are one array, and have gradients of their own: each is checked by "
            "itself"
        )
        return [leaf._replace(name=spelled(some[0]), paths=some) for some in paths]

    def _told(
        self, said: Mapping[str, str | None], kept: Sequence[Leaf], after: Mapping[Path, Any]
    ) -> dict[str, Path | None]:
        """Reads what the user has said of gradients: the path of each, by the names of the parameters."""
        places = {spelled(path): path for path in after}
        known = {name: leaf.name for leaf in kept for name in (leaf.name, *map(spelled, leaf.paths))}
        found: dict[str, Path | None] = {}
        for name, place in said.items():
            if name not in known:
                raise ValueError(f"gradients: the layer keeps no array {name!r}{nearest(name, known)}")
            if place is not None and place not in places:
                raise ValueError(f"gradients: after backward there is no array {place!r}{nearest(place, places)}")
            found[known[name]] = None if place is None else places[place]
        return found

    def _of_returned(
        self, inputs: Sequence[Leaf], rest: Sequence[Leaf], parameters: Sequence[Leaf], returned: Any
    ) -> tuple[dict[Path, Any], dict[str, Path]]:
        """Returns what the backward pass has returned, and of which inputs or parameters each array is the gradient.

        The `rest` of the parameters has none elsewhere; those of all may be returned nevertheless.
        """
        leaves = [(path, value) for path, value in members(returned) if value is None or _is_number(value)]
        if any(np.ndim(leaf.value) for leaf in inputs):
            leaves = with_lists(leaves, returned)
        if all(value is None for _, value in leaves):
            return {}, {}
        names = {leaf.paths[0]: leaf.name for leaf in inputs}
        given = [(names.get(path, ""), value) for path, value in members(list(self._layer.inputs))]
        own = [leaf for leaf in rest if is_named_as_parameter(leaf.paths[0])]
        more = own if len(leaves) == len(inputs) + len(own) else rest
        try:
            found = returned_gradients(leaves, given, [(leaf.name, leaf.value) for leaf in more])
        except ValueError:
            if len(parameters) == len(rest):
                raise
            found = returned_gradients(leaves, given, [(leaf.name, leaf.value) for leaf in parameters])
        return dict(leaves), found

    def _buffers(self, leaves: Sequence[Leaf]) -> tuple[Path, ...]:
        """Returns where the layer has arrays for gradients before a backward pass, at all places of each."""
        self._layer.state.restore()
        arrays = numbers_in(self._owner)
        paths = [leaf.gradient.path for leaf in leaves if leaf.gradient and leaf.gradient.kind == "attribute"]
        owned = {id(arrays[path]) for path in paths if isinstance(arrays.get(path), np.ndarray)}
        return tuple(path for path, value in arrays.items() if path in paths or id(value) in owned)


def _differ(one: Any, other: Any) -> bool:
    """Whether two outputs differ, which are of one form."""
    numbers = [[np.asarray(leaf) for _, leaf in walk(tree) if is_floating(leaf)] for tree in (one, other)]
    return len(numbers[0]) != len(numbers[1]) or not all(map(np.array_equal, *numbers))


def _is_number(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.number, float, int)) and np.asarray(value).dtype.kind in "fiu"
