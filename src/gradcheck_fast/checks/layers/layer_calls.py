"""What calls of a layer show: that it updates itself, adds to its gradients, is a loss, or takes targets."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck_fast.checks.layers.layer import Layer
from gradcheck_fast.checks.layers.layer_gradients import target_rank
from gradcheck_fast.checks.layers.passes import RATE_ATTRIBUTES
from gradcheck_fast.checks.layers.updates import EQUAL, are_equal, learning_rate
from gradcheck_fast.inputs.mismatches import listed
from gradcheck_fast.inputs.places import named, spelled


def with_learning_rate(layer: Layer, gradient: Any) -> tuple[Layer, tuple[str, ...]]:
    """Finds the learning rate of a layer that updates itself, and chooses it, with a note. Others stay as they are.

    Parameters
    ----------
    layer : Layer
    gradient : tree
        A gradient of its outputs.

    Raises
    ------
    ValueError
        If no learning rate is found, or if the update is not proportional to it.
    """
    updated = [leaf for leaf in layer.leaves if leaf.gradient and leaf.gradient.kind == "update"]
    if not updated:
        return layer, ()
    names = [leaf.name for leaf in updated]
    if not layer.passes.takes_rate:
        layer.state.restore()
        paths = named(layer.owner, RATE_ATTRIBUTES)
        if not paths:
            raise ValueError(
                f"backward: it changes {names[0]} in place, and no learning rate is found, neither as an argument nor "
                f"as an attribute {', '.join(RATE_ATTRIBUTES[:3])}; let backward take it, as backward(dout, lr)"
            )
        layer = replace(layer, rate_paths=tuple(paths))
    values = [leaf.value for leaf in layer.leaves]

    def update(rate: float) -> dict[str, Any]:
        found = zip(layer.leaves, layer.updated(rate).gradients(deepcopy(gradient), *values), strict=True)
        return {leaf.name: rate * np.asarray(array) for leaf, array in found if leaf.name in names}

    rate = learning_rate("backward", update, {leaf.name: np.asarray(leaf.value) for leaf in updated})
    of = listed(dict.fromkeys(names))
    return layer.updated(rate), (
        f"the learning rate was {rate:g}: the update is then large beside the roundings of {of}",
    )


def with_second_look(layer: Layer, gradient: Any) -> tuple[str, ...]:
    """Returns notes on what changes if the two passes are called a second time, with nothing put back."""
    values = [leaf.value for leaf in layer.leaves]
    notes = []
    try:
        first = list(map(np.asarray, layer.found(deepcopy(gradient), values)))
        layer.state.restore_random_numbers()
        again = list(map(np.asarray, layer.found(deepcopy(gradient), values, clean=False)))
    finally:
        layer.state.restore()
    added, other, more = list[str](), list[str](), list[str]()
    for leaf, one, two in zip(layer.leaves, first, again, strict=True):
        if leaf.gradient is None or one.shape != two.shape or not one.any():
            continue
        if leaf.gradient.kind == "attribute" and are_equal(2.0 * one, two):
            added.append(spelled(leaf.gradient.path))
        elif leaf.gradient.kind != "update" and not are_equal(one, two):
            more.append(leaf.name)
        if leaf.gradient.kind == "update" and not are_equal(one, two):
            other.append(leaf.name)
    if added:
        verb = "are" if len(added) > 1 else "is"
        notes.append(f"backward adds to {listed(dict.fromkeys(added))}, which {verb} set to zero before each call")
    if more:
        notes.append(
            "a second call of forward and backward with the same data finds another gradient of "
            f"{listed(dict.fromkeys(more))}: it depends on what the layer keeps from call to call, as a hidden state, "
            "or a list of caches that grows. That of the first call was taken"
        )
    if other:
        notes.append(
            f"a second update of {listed(dict.fromkeys(other))} with the same data is another: it depends on what the "
            "layer keeps from step to step, as momentum does. The first was taken; it is a gradient only if nothing "
            "was kept before"
        )
    return tuple(notes)


def as_loss(layer: Layer, gradient: Any) -> tuple[Layer, tuple[str, ...]]:
    """Finds out whether a layer of one number takes the gradient of that to be 1, as losses do; then with a note.

    Its backward pass then finds the same whatever it is given, or it is given nothing.
    """
    if not isinstance(gradient, (np.ndarray, np.floating, float)) or np.size(gradient) != 1:
        return layer, ()
    values = [leaf.value for leaf in layer.leaves]
    one = layer.gradients(np.ones_like(gradient), *values)
    two = layer.gradients(2.0 * np.ones_like(gradient), *values)
    if not any(map(np.any, one)) or not all(map(np.array_equal, one, two)):
        return layer, ()
    said = "backward does not use the gradient of its output: that is taken to be 1, as of a loss"
    return replace(layer, is_loss=True), (said,)


def with_zero(layer: Layer, gradient: Any, zero: Any) -> tuple[str, ...]:
    """Returns a note on a backward pass that finds something where the gradient of its outputs is zero.

    Parameters
    ----------
    gradient, zero : tree
        A gradient of its outputs, and one that is zero.

    Raises
    ------
    ValueError
        If what it takes for the gradient has the name of a target: then it is the back-propagation of a whole network.
    """
    values = [leaf.value for leaf in layer.leaves]
    try:
        with np.errstate(all="ignore"):
            none = list(map(np.asarray, layer.gradients(zero, *values)))
    except Exception:  # at a gradient that the user did not ask for
        return ()
    some = list(map(np.asarray, layer.gradients(deepcopy(gradient), *values)))
    names = [
        leaf.name
        for leaf, one, two in zip(layer.leaves, some, none, strict=True)
        if two.dtype.kind == "f" and np.max(np.abs(two), initial=0.0) > EQUAL * np.max(np.abs(one), initial=0.0)
    ]
    if not names:
        return ()
    target = next((name for name in layer.passes.gradient_names if target_rank(name)), None)
    found = f"it finds gradients of {listed(dict.fromkeys(names))} where its argument"
    if target:
        raise ValueError(
            f"backward: {found} {target!r} is zero, so that is a target, and no gradient of the output. Check the "
            "whole network instead: gf.gradcheck(loss, gradient, params), or gf.check_training_step(step, loss, model) "
            "if it updates the parameters"
        )
    return (
        f"backward: {found} for the gradient of the output is zero: it adds something, as weight decay does, or takes "
        "a target there. What it adds is no part of a gradient of the output",
    )
