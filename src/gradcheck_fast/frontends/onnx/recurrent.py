"""RNN, GRU and LSTM with all of ONNX's options, by the recurrent layers that all front ends share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck_fast.frontends.onnx.registry import Node, operator, plain
from gradcheck_fast.frontends.operators.activations import activation
from gradcheck_fast.frontends.operators.recurrent import CELLS, CellWeights, Options

Gate = Callable[[Any], Any]
#: The activations of recurrent operators, as functions of x, alpha and beta.
_ACTIVATIONS: dict[str, Callable[[Any, float, float], Any]] = {
    "relu": lambda x, a, b: activation("relu", x),
    "tanh": lambda x, a, b: np.tanh(x),
    "sigmoid": lambda x, a, b: activation("sigmoid", x),
    "affine": lambda x, a, b: a * x + b,
    "leakyrelu": lambda x, a, b: activation("leaky_relu", x, a),
    "thresholdedrelu": lambda x, a, b: np.where(x > a, x, 0.0),
    "scaledtanh": lambda x, a, b: a * np.tanh(b * x),
    "hardsigmoid": lambda x, a, b: np.clip(a * x + b, 0.0, 1.0),
    "elu": lambda x, a, b: activation("elu", x, a),
    "softsign": lambda x, a, b: activation("softsign", x),
    "softplus": lambda x, a, b: activation("softplus", x),
}
#: The alpha and beta of those that have any, where the node has none.
_DEFAULTS = {
    "affine": (1.0, 0.0), "leakyrelu": (float(np.float32(0.01)), 0.0), "thresholdedrelu": (1.0, 0.0),
    "scaledtanh": (1.0, 1.0), "hardsigmoid": (float(np.float32(0.2)), 0.5), "elu": (1.0, 0.0),
}  # fmt: skip
_HAVE_BETA = ("affine", "scaledtanh", "hardsigmoid")


class _Directions:
    """The attributes of a recurrent node, as options of each direction.

    Parameters
    ----------
    node : Node
    default : list of str
        The activations of one direction.
    """

    def __init__(self, node: Node, default: list[str]) -> None:
        direction = node.get("direction")
        self.reversed = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
        count = len(default) * len(self.reversed)
        # ONNX's own default for RNN is that of both directions
        names = [name.lower() for name in node.get("activations") or default * len(self.reversed)][:count]
        if len(names) != count or not set(names) <= set(_ACTIVATIONS):
            raise node.error(f"its activations {names} are not known; these are: {', '.join(_ACTIVATIONS)}")
        alphas, betas = iter(node.get("activation_alpha") or ()), iter(node.get("activation_beta") or ())
        gates = []
        for name in names:
            alpha, beta = _DEFAULTS.get(name, (0.0, 0.0))
            alpha = next(alphas, alpha) if name in _DEFAULTS else alpha
            beta = next(betas, beta) if name in _HAVE_BETA else beta
            gates.append(_gate(name, alpha, beta, node.get("clip")))
        #: The activations of each direction.
        self.gates = [gates[begin : begin + len(default)] for begin in range(0, count, len(default))]
        self.batch_first = bool(node.get("layout"))


def _gate(name: str, alpha: float, beta: float, clip: float | None) -> Gate:
    """Returns an activation of what is clipped before."""
    function = _ACTIVATIONS[name]
    if clip is None:
        return lambda x: function(x, alpha, beta)
    return lambda x: function(np.clip(x, -clip, clip), alpha, beta)


def _run(
    cell: str, directions: _Directions, x: Any, weights: Callable[[int], CellWeights], options: Options, size: int,
    lengths: Any, *states: Any,
) -> tuple[Any, ...]:  # fmt: skip
    """Runs the layers of all directions, and returns the outputs as ONNX lays them out, and the last states.

    Parameters
    ----------
    cell : {"rnn", "gru", "lstm"}
    directions : _Directions
    x : array, shape (times, samples, inputs), or (samples, times, inputs) with ONNX's layout 1
    weights : callable
        Of the number of a direction.
    options : Options
        What all directions share.
    size : int
        The hidden size.
    lengths : array or None
        How many times each sample has.
    *states : array, each of shape (directions, samples, hidden), or None for zeros
        With layout 1, samples come first.
    """
    x = np.swapaxes(x, 0, 1) if directions.batch_first else x
    counts = None if lengths is None else np.asarray(plain(lengths), np.int64)
    outputs, last = [], []
    for k, is_reversed in enumerate(directions.reversed):
        first = [_first_state(directions, given, k, (x.shape[1], size)) for given in states]
        gates = directions.gates[k]
        own = options._replace(reverse=is_reversed, lengths=counts, content=gates[min(len(gates) - 1, 1)])
        own = own._replace(gate=gates[0], output=gates[-1])  # an RNN has none of them, and a GRU no output's
        found, *ends = CELLS[cell](x, *first, weights(k), own)
        outputs.append(found)
        last.append(ends)
    whole = np.stack(outputs, axis=1)  # (times, directions, samples, hidden)
    ends = [np.stack(found) for found in zip(*last, strict=True)]
    if directions.batch_first:
        return (np.transpose(whole, (2, 0, 1, 3)), *(np.swapaxes(end, 0, 1) for end in ends))
    return (whole, *ends)


def _first_state(directions: _Directions, given: Any, direction: int, shape: tuple[int, int]) -> Any:
    if given is None:
        return np.zeros(shape)
    return given[:, direction] if directions.batch_first else given[direction]


def _biases(b: Any, direction: int) -> tuple[Any, Any]:
    """Returns the bias of the input and that of the state, of one direction."""
    return (None, None) if b is None else tuple(np.split(b[direction], 2))  # type: ignore[return-value]


def _one_bias(b: Any, direction: int) -> Any:
    """Returns both biases of a direction in one, where nothing comes between them."""
    of_input, of_state = _biases(b, direction)
    return None if b is None else of_input + of_state


@operator("RNN")
def _rnn(node: Node, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None, initial: Any = None) -> Any:
    """H = f(x W' + H R' + Wb + Rb)."""
    directions = _Directions(node, ["Tanh"])
    weights = lambda k: CellWeights(w[k], r[k], _one_bias(b, k))
    return _run("rnn", directions, x, weights, Options(), r.shape[-1], lengths, initial)


@operator("GRU")
def _gru(node: Node, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None, initial: Any = None) -> Any:
    """Gates z, r, h; with `linear_before_reset` the reset gate scales the product, and otherwise the state."""
    directions = _Directions(node, ["Sigmoid", "Tanh"])
    weights = lambda k: CellWeights(w[k], r[k], *_biases(b, k))
    options = Options("zrn", reset_after=bool(node.get("linear_before_reset")))
    return _run("gru", directions, x, weights, options, r.shape[-1], lengths, initial)


@operator("LSTM")
def _lstm(
    node: Node, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None, initial_h: Any = None,
    initial_c: Any = None, peepholes: Any = None,
) -> Any:  # fmt: skip
    """Gates i, o, f, c; peepholes i, o, f; with `input_forget` the forget gate is 1 - i."""
    directions = _Directions(node, ["Sigmoid", "Tanh", "Tanh"])

    def weights(k: int) -> CellWeights:
        peep = None if peepholes is None else dict(zip("iof", np.split(peepholes[k], 3), strict=True))
        return CellWeights(w[k], r[k], _one_bias(b, k), peepholes=peep)

    options = Options("iofg", coupled=bool(node.get("input_forget")))
    return _run("lstm", directions, x, weights, options, r.shape[-1], lengths, initial_h, initial_c)
