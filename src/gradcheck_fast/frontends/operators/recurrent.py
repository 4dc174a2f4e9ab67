"""Recurrent layers over a sequence, with PyTorch's gates, weights and biases, and the options of ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradcheck_fast.frontends.operators.activations import activation
from gradcheck_fast.frontends.operators.attention import linear

#: An activation: a name, or a function of an array.
Function = str | Callable[[Any], Any]


class CellWeights(NamedTuple):
    """The parameters of one recurrent layer in one direction, as PyTorch has them.

    Attributes
    ----------
    into : ndarray or TracedArray, shape (gates * size, inputs)
        ``weight_ih``.
    again : ndarray or TracedArray, shape (gates * size, outputs)
        ``weight_hh``.
    into_bias, again_bias : ndarray or TracedArray, shape (gates * size,), optional
        ``bias_ih`` and ``bias_hh``.
    projection : ndarray or TracedArray, shape (outputs, size), optional
        ``weight_hr``, of an LSTM whose outputs are fewer.
    peepholes : dict of str to ndarray or TracedArray, optional
        By the letter of the gate: what the cell is multiplied with, entry by entry, and added to the gate.
    """

    into: Any
    again: Any
    into_bias: Any = None
    again_bias: Any = None
    projection: Any = None
    peepholes: dict[str, Any] | None = None


class Options(NamedTuple):
    """The options of a recurrent layer.

    Attributes
    ----------
    order : str
        The letters of the gates in the order of the weights: "ifgo" (PyTorch) or "iofg" (ONNX) of an LSTM, with g the
        new content; "rzn" (PyTorch) or "zrn" (ONNX) of a GRU. Empty: PyTorch's.
    gate : str or callable
        The activation of gates.
    content : str or callable
        That of the new content; of an RNN, of the only gate.
    output : str or callable
        That of an LSTM's cell, where it is put out.
    clip : float, optional
        What goes into activations is not larger than this.
    coupled : bool
        Whether an LSTM's forget gate is 1 less the input gate.
    reset_after : bool
        Whether a GRU's reset gate acts after the product with the weights, as in PyTorch and cuDNN (ONNX's
        linear_before_reset), or before it (Cho et al., 2014).
    reverse : bool
        Whether the last time comes first.
    lengths : ndarray of int, shape (samples,), optional
        How many times each sample has. Beyond, the state stays and the output is 0.
    """

    order: str = ""
    gate: Function = "sigmoid"
    content: Function = "tanh"
    output: Function = "tanh"
    clip: float | None = None
    coupled: bool = False
    reset_after: bool = True
    reverse: bool = False
    lengths: Any = None


#: The options of PyTorch's own layers.
AS_PYTORCH = Options()


def _applied(function: Function, x: Any, clip: float | None = None) -> Any:
    x = x if clip is None else np.clip(x, -clip, clip)
    return activation(function, x) if isinstance(function, str) else function(x)


def _over_time(x: Any, state: tuple[Any, ...], options: Options, step: Callable[..., Any]) -> tuple[Any, ...]:
    """Returns the outputs at all times, and the last state, whose first array is the output.

    ``step(x, state)`` gives the next state.
    """
    times = range(x.shape[0])
    outputs: list[Any] = [None] * len(times)
    for t in reversed(times) if options.reverse else times:
        new = step(x[t], state)
        if options.lengths is not None:
            inside = (t < np.asarray(options.lengths))[:, np.newaxis]
            if not inside.all():
                new = tuple(np.where(inside, one, old) for one, old in zip(new, state, strict=True))
                outputs[t] = np.where(inside, new[0], 0.0)
        state = new
        outputs[t] = state[0] if outputs[t] is None else outputs[t]
    return (np.stack(outputs) if outputs else np.zeros((0, *state[0].shape)), *state)


def _gates(x: Any, order: str, letters: str) -> dict[str, Any]:
    order = order or letters
    if sorted(order) != sorted(letters):
        raise ValueError(f"order: expected the letters {letters!r} in any order, got {order!r}")
    return dict(zip(order, np.split(x, len(order), axis=-1), strict=True))


def rnn(x: Any, h: Any, weights: CellWeights, options: Options = AS_PYTORCH) -> tuple[Any, Any]:
    """Returns the outputs of a simple recurrent layer, h = content(W x + b + U h + c), and the last one.

    Parameters
    ----------
    x : ndarray or TracedArray, shape (times, samples, inputs)
    h : ndarray or TracedArray, shape (samples, size)
        The state at the beginning.
    weights : CellWeights
    options : Options

    Returns
    -------
    outputs : ndarray or TracedArray, shape (times, samples, size)
    h : ndarray or TracedArray, shape (samples, size)
        The state at the end.
    """

    def step(into: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        total = into + linear(state[0], weights.again, weights.again_bias)
        return (_applied(options.content, total, options.clip),)

    outputs, h = _over_time(linear(x, weights.into, weights.into_bias), (h,), options, step)
    return outputs, h


def gru(x: Any, h: Any, weights: CellWeights, options: Options = AS_PYTORCH) -> tuple[Any, Any]:
    """Returns the outputs of a layer of gated recurrent units, and the last one; see `rnn`.

    With the gates r and z, h = (1 - z) n + z h, where n = content(W x + b + r (U h + c)), or, without ``reset_after``,
    content(W x + b + U (r h) + c).
    """

    def step(into: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        (h,) = state
        own = _gates(into, options.order, "rzn")
        if options.reset_after:
            again = _gates(linear(h, weights.again, weights.again_bias), options.order, "rzn")
            r, z = (_applied(options.gate, own[letter] + again[letter], options.clip) for letter in "rz")
            content = own["n"] + r * again["n"]
        else:
            parts = _gates(np.swapaxes(weights.again, 0, 1), options.order, "rzn")
            none = dict.fromkeys("rzn")
            biases = none if weights.again_bias is None else _gates(weights.again_bias, options.order, "rzn")
            r, z = (_applied(options.gate, own[c] + _plus(h @ parts[c], biases[c]), options.clip) for c in "rz")
            content = own["n"] + _plus((r * h) @ parts["n"], biases["n"])
        n = _applied(options.content, content, options.clip)
        return (n + z * (h - n),)

    outputs, h = _over_time(linear(x, weights.into, weights.into_bias), (h,), options, step)
    return outputs, h


def _plus(x: Any, bias: Any) -> Any:
    return x if bias is None else x + bias


def lstm(x: Any, h: Any, c: Any, weights: CellWeights, options: Options = AS_PYTORCH) -> tuple[Any, Any, Any]:
    """Returns the outputs of a layer of long short-term memory, the last one, and the last cell; see `rnn`.

    With the gates i, f, o and the content g, c = f c + i g and h = o output(c), which is multiplied by the projection.

    Parameters
    ----------
    x : ndarray or TracedArray, shape (times, samples, inputs)
    h : ndarray or TracedArray, shape (samples, outputs)
    c : ndarray or TracedArray, shape (samples, size)
    weights : CellWeights
    options : Options
    """
    peepholes = weights.peepholes or {}

    def step(into: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        h, c = state
        gates = _gates(into + linear(h, weights.again, weights.again_bias), options.order, "ifgo")

        def gate(letter: str, cell: Any) -> Any:
            total = gates[letter]
            if letter in peepholes:
                total = total + peepholes[letter] * cell
            return _applied(options.gate, total, options.clip)

        i = gate("i", c)
        f = 1.0 - i if options.coupled else gate("f", c)
        c = f * c + i * _applied(options.content, gates["g"], options.clip)
        h = gate("o", c) * _applied(options.output, c)
        return (h if weights.projection is None else linear(h, weights.projection)), c

    outputs, h, c = _over_time(linear(x, weights.into, weights.into_bias), (h, c), options, step)
    return outputs, h, c


#: The layers by PyTorch's names.
CELLS: dict[str, Callable[..., Any]] = {"rnn": rnn, "gru": gru, "lstm": lstm}


def stacked(
    cell: str, x: Any, states: Sequence[Any], weights: Sequence[CellWeights], options: Options = AS_PYTORCH, *,
    bidirectional: bool = False, between: Callable[[int, Any], Any] | None = None,
) -> tuple[Any, list[Any]]:  # fmt: skip
    """Returns the outputs of recurrent layers on top of each other, as ``torch.nn.LSTM`` has them.

    Parameters
    ----------
    cell : {"rnn", "gru", "lstm"}
    x : ndarray or TracedArray, shape (times, samples, inputs)
    states : sequence of ndarray or TracedArray, each of the shape (layers * directions, samples, size)
        h, and of an LSTM also c.
    weights : sequence of CellWeights
        Of each layer, forwards and then, if `bidirectional`, backwards.
    options : Options
    bidirectional : bool
    between : callable, optional
        ``between(layer, x)`` changes the output of all layers but the last one, such as by a given dropout.

    Returns
    -------
    outputs : ndarray or TracedArray, shape (times, samples, directions * size)
    states : list of ndarray or TracedArray
        At the end; like `states`.
    """
    directions = 2 if bidirectional else 1
    last: list[list[Any]] = [[] for _ in states]
    for k in range(0, len(weights), directions):
        parts = []
        for direction in range(directions):
            own = [state[k + direction] for state in states]
            turned = options._replace(reverse=options.reverse != bool(direction))
            output, *ends = CELLS[cell](x, *own, weights[k + direction], turned)
            parts.append(output)
            for found, end in zip(last, ends, strict=True):
                found.append(end)
        x = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
        if between is not None and k + directions < len(weights):
            x = between(k // directions, x)
    return x, [np.stack(found) for found in last]
