"""check_layer(): the backward pass of a layer, written as two functions or as an object with its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

from gradcheck_fast.checks.jacobian_products import vjp_report
from gradcheck_fast.checks.layers.configuration import trivial_settings
from gradcheck_fast.checks.layers.found_layer import find_layer
from gradcheck_fast.checks.layers.layer import settings_of
from gradcheck_fast.checks.options import Options, WorkKeywords

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gradcheck_fast.report.report import Report


@overload
def check_layer(
    layer: Any, inputs: Any, /, *, gradients: Mapping[str, str | None] | None = None, directions: int = 1,
    seed: int = 0, **options: Unpack[WorkKeywords],
) -> Report: ...  # fmt: skip
@overload
def check_layer(
    forward: Callable[..., Any], backward: Callable[..., Any], inputs: Any, /, *,
    gradients: Mapping[str, str | None] | None = None, directions: int = 1, seed: int = 0,
    **options: Unpack[WorkKeywords],
) -> Report: ...  # fmt: skip
def check_layer(
    *layer: Any, gradients: Mapping[str, str | None] | None = None, directions: int = 1, seed: int = 0,
    **options: Unpack[WorkKeywords],
) -> Report:  # fmt: skip
    """Checks the backward pass of a layer, for random gradients of its outputs.

    It is called as ``check_layer(layer, inputs)`` or as ``check_layer(forward, backward, inputs)``.

    Parameters
    ----------
    layer : object
        It has methods ``forward`` and ``backward``, or ``fprop`` and ``bprop``, ``forward_pass`` and
        ``backward_pass``, ``__call__`` and ``backward``, or the like. The arrays of floating-point numbers that it
        keeps, in attributes, dicts, lists, objects within it, are its parameters if the output depends on them. Their
        gradients are found by name and shape: that of ``W`` in ``dW``, ``grad_W``, ``W_grad``, ``dLdW``,
        ``grads['W']``, ``W.grad`` and so on; that of ``params[0]`` in ``grads[0]``; those of ``weights`` and ``bias``
        in ``dweights``, ``dW`` and ``db``. A backward pass may also return them after the gradients of the inputs. Or
        it updates the parameters at a learning rate, which it takes as an argument (``lr``, ``learning_rate``,
        ``eta``), or which the layer keeps under such a name: the gradients are then before - after, over the rate. The
        report notes which array was taken for what. An array at several places, as weights that an encoder and a
        decoder share, is checked at each if each has a gradient of its own.
    forward : callable
        ``forward(*inputs)`` gives ``(out, cache)``: one or several arrays, and whatever `backward` needs. If
        `backward` needs nothing but the inputs, or if both are methods of one object, it may give the outputs alone.
    backward : callable
        ``backward(dout, cache)`` gives a tuple, in the order of the inputs; a dict with the names of the gradients, as
        ``dx`` of ``x``; or one array. It may take the gradients of several outputs, ``backward(dh, dc, cache)``, the
        cache first, inputs of `forward` by their names, or all of them in their order, as for `check_vjp`, or the
        output, as ``out``, ``y`` or ``a``. Its arguments are told apart by their names. It need not give the gradient
        of all inputs. Its arrays are matched with the inputs by their order, or by their shapes if these do not fit in
        this order.
    inputs : array, or tuple
        The arguments of the forward pass; if it is no tuple, the only one. Arrays of floating-point numbers, also in
        dicts and lists, are checked. Anything else is passed on as it is: integers, numbers, None, dicts of options.
    gradients : dict of str to str, optional
        The gradients of parameters of `layer` whose names do not tell it: ``{"W": "update_w"}``. With None instead of
        a name, a parameter is taken to be fixed. Both names are spelled as Python spells them from the layer on:
        ``"layers[0].params['W']"``.
    directions : int
        How many random gradients of the outputs are tried, one after another. The first that fails is the last.
    seed : int
        The seed of the random gradients, and of a sample.
    **options
        As for `check_vjp`.

    Returns
    -------
    Report
        As that of `check_vjp`; arrays have the names of the inputs and of the parameters. If the layer was checked at
        a configuration at which some mistakes do not show, as at stride 1, the notes say so.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, if no gradient is found for an array that looks like a parameter, or if it cannot
        be told what the backward pass takes or gives, or if it takes targets instead of a gradient of the output, as
        that of a whole network may. The message says what to write instead. Nothing has been
        changed then; nor is anything of the layer's after a check.
    Exception
        What the two passes themselves raise.
    """
    settings = Options.from_keywords("check_layer", options, WorkKeywords, seed=seed)
    if len(layer) not in (2, 3):
        raise TypeError("check_layer: expected (layer, inputs) or (forward, backward, inputs)")
    forward, backward, inputs = layer if len(layer) == 3 else (layer[0], None, layer[1])
    found = find_layer(forward, backward, inputs if isinstance(inputs, tuple) else (inputs,), gradients or {}, seed)
    own = found.layer
    try:
        report = vjp_report(
            own, own.gradients, tuple(leaf.value for leaf in own.leaves), settings, directions,
            names=[leaf.name for leaf in own.leaves], called=("forward", "backward"),
        )  # fmt: skip
    finally:
        found.restore()
    arrays = ({leaf.name: leaf.value for leaf in own.leaves if leaf.is_input is which} for which in (True, False))
    said = trivial_settings(found.called, settings_of(own, found.names, found.defaults), *arrays)
    return replace(report, notes=(*found.notes, *said, *report.notes))
