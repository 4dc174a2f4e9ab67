"""RNN, GRU and LSTM with all of ONNX's options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck_fast.frontends.onnx.registry import Node, operator, plain
from gradcheck_fast.frontends.operators.activations import activation

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


class _Options:
    """The attributes of a recurrent node: the activations of each direction, and what is common to both."""

    def __init__(self, node: Node, default: list[str]) -> None:
        direction = node.get("direction")
        self.reversed = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
        count = len(default) * len(self.reversed)
        # ONNX's own default for RNN is that of both directions
        names = [name.lower() for name in node.get("activations") or default * len(self.reversed)][:count]
        if len(names) != count or not set(names) <= set(_ACTIVATIONS):
            raise node.error(f"its activations {names} are not known; these are: {', '.join(_ACTIVATIONS)}")
        alphas, betas = iter(node.get("activation_alpha") or ()), iter(node.get("activation_beta") or ())
        self.clip = node.get("clip")
        gates = []
        for name in names:
            alpha, beta = _DEFAULTS.get(name, (0.0, 0.0))
            alpha = next(alphas, alpha) if name in _DEFAULTS else alpha
            beta = next(betas, beta) if name in _HAVE_BETA else beta
            gates.append(self._gate(name, alpha, beta))
        #: The activations of each direction.
        self.gates = [gates[begin : begin + len(default)] for begin in range(0, count, len(default))]
        self.batch_first = bool(node.get("layout"))

    def _gate(self, name: str, alpha: float, beta: float) -> Gate:
        function, clip = _ACTIVATIONS[name], self.clip
        if clip is None:
            return lambda x: function(x, alpha, beta)
        return lambda x: function(np.clip(x, -clip, clip), alpha, beta)


#: What a cell makes of the product of the input with its weights, and of its states: its new states, the output first.
Cell = Callable[[Any, tuple[Any, ...]], tuple[Any, ...]]


def _over_time(
    options: _Options, x: Any, lengths: Any, make_cell: Callable[[int], tuple[Any, Cell]], states: list[Any]
) -> tuple[Any, ...]:
    """Runs the cells of all directions over time.

    Parameters
    ----------
    options : _Options
    x : array, shape (times, samples, inputs)
    lengths : array or None
        How many times each sample has; afterwards its outputs are 0 and its states stay.
    make_cell : callable
        For the number of a direction: the products of all inputs, (times, samples, gates * hidden), and its cell.
    states : list of array, each of shape (directions, samples, hidden)
        The first ones.
    """
    times = x.shape[0]
    counts = None if lengths is None else np.asarray(plain(lengths), np.int64)
    if counts is not None and (counts == times).all():
        counts = None
    outputs, last = [], []
    for direction, is_reversed in enumerate(options.reversed):
        products, cell = make_cell(direction)
        state = tuple(of[direction] for of in states)
        seen: list[Any] = [None] * times
        for time in reversed(range(times)) if is_reversed else range(times):
            new = cell(products[time], state)
            if counts is None:
                state, seen[time] = new, new[0]
                continue
            alive = (time < counts)[:, np.newaxis]
            state = tuple(np.where(alive, after, before) for after, before in zip(new, state, strict=True))
            seen[time] = np.where(alive, new[0], 0.0)
        outputs.append(np.stack(seen) if times else np.zeros((0, *state[0].shape)))
        last.append(state)
    whole = np.stack(outputs, axis=1)  # (times, directions, samples, hidden)
    ends = [np.stack([state[k] for state in last]) for k in range(len(states))]
    if options.batch_first:
        return (np.transpose(whole, (2, 0, 1, 3)), *(np.swapaxes(end, 0, 1) for end in ends))
    return (whole, *ends)


def _first_state(options: _Options, given: Any, x: Any, hidden: int) -> Any:
    if given is None:
        return np.zeros((len(options.reversed), x.shape[1], hidden))
    return np.swapaxes(given, 0, 1) if options.batch_first else given


def _read(
    node: Node, x: Any, w: Any, r: Any, b: Any, default: list[str]
) -> tuple[_Options, Any, int, Callable[[int, int], tuple[Any, Any]]]:
    """Returns the options, the input with time first, the hidden size, and both biases of a direction."""
    options, hidden = _Options(node, default), r.shape[-1]
    x = np.swapaxes(x, 0, 1) if options.batch_first else x

    def biases(direction: int, width: int) -> tuple[Any, Any]:
        return (0.0, 0.0) if b is None else (b[direction][:width], b[direction][width:])

    return options, x, hidden, biases


@operator("RNN")
def _rnn(node: Node, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None, initial: Any = None) -> Any:
    """H = f(x W' + H R' + Wb + Rb)."""
    options, x, hidden, biases = _read(node, x, w, r, b, ["Tanh"])

    def make_cell(direction: int) -> tuple[Any, Cell]:
        (f,) = options.gates[direction]
        of_input, of_state = biases(direction, hidden)
        back = r[direction].T

        def cell(product: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
            return (f(product + state[0] @ back),)

        return x @ w[direction].T + (of_input + of_state), cell

    return _over_time(options, x, lengths, make_cell, [_first_state(options, initial, x, hidden)])


@operator("GRU")
def _gru(node: Node, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None, initial: Any = None) -> Any:
    """Gates z, r, h; with `linear_before_reset` the reset gate scales the product, and otherwise the state."""
    options, x, hidden, biases = _read(node, x, w, r, b, ["Sigmoid", "Tanh"])
    after = bool(node.get("linear_before_reset"))

    def make_cell(direction: int) -> tuple[Any, Cell]:
        f, g = options.gates[direction]
        of_input, of_state = biases(direction, 3 * hidden)
        two, back = 2 * hidden, r[direction].T
        gates_bias = of_state[:two] if b is not None else 0.0
        state_bias = of_state[two:] if b is not None else 0.0

        def cell(product: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
            (h,) = state
            gates = f(product[:, :two] + (h @ back[:, :two] + gates_bias))
            update, reset = gates[:, :hidden], gates[:, hidden:]
            own = (h if after else reset * h) @ back[:, two:] + state_bias
            new = g(product[:, two:] + (reset * own if after else own))
            return ((1.0 - update) * new + update * h,)

        return x @ w[direction].T + of_input, cell

    return _over_time(options, x, lengths, make_cell, [_first_state(options, initial, x, hidden)])


@operator("LSTM")
def _lstm(
    node: Node, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None, initial_h: Any = None,
    initial_c: Any = None, peepholes: Any = None,
) -> Any:  # fmt: skip
    """Gates i, o, f, c; peepholes i, o, f; with `input_forget` the forget gate is 1 - i."""
    options, x, hidden, biases = _read(node, x, w, r, b, ["Sigmoid", "Tanh", "Tanh"])
    coupled = bool(node.get("input_forget"))

    def make_cell(direction: int) -> tuple[Any, Cell]:
        f, g, h = options.gates[direction]
        of_input, of_state = biases(direction, 4 * hidden)
        back = r[direction].T
        peep = None if peepholes is None else [peepholes[direction][k * hidden : (k + 1) * hidden] for k in range(3)]

        def cell(product: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
            out, memory = state
            z = product + out @ back
            i, o, forget, new = (z[:, k * hidden : (k + 1) * hidden] for k in range(4))
            if peep is not None:
                i, forget = i + peep[0] * memory, forget + peep[2] * memory
            i = f(i)
            kept = 1.0 - i if coupled else f(forget)
            memory = kept * memory + i * g(new)
            o = f(o if peep is None else o + peep[1] * memory)
            return o * h(memory), memory

        return x @ w[direction].T + (of_input + of_state), cell

    first = [_first_state(options, given, x, hidden) for given in (initial_h, initial_c)]
    return _over_time(options, x, lengths, make_cell, first)
