"""Defines the recurrent layers RNN, GRU and LSTM, which are unrolled over time into steps like everything else.

Each of them is a cell, ``(x_t, state) -> state``, written in steps. The code that runs a cell over time, in both
directions and with sequences of different lengths, is written once for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, TypeAlias

from gradcheck_fast.frontends.network.layers import Signal, Steps, activations, row_blocks
from gradcheck_fast.inputs.arguments import choose, integer, true_or_false

#: The state of a cell as steps, of which the first is the output. None stands for zeros.
State: TypeAlias = tuple[int | None, ...]
#: A function of the steps that stand side by side in x_t, and of the state before, that returns the state after.
Cell: TypeAlias = Callable[[Sequence[int], State], tuple[int, ...]]


class _Gates:
    """The arrays of a cell, cut into the blocks of its gates.

    Parameters
    ----------
    program : Steps
    arrays : dict of str to int
        The steps of the layer's arrays, by the layer's own names.
    x_widths : sequence of int
        The widths of the steps that stand side by side in x.
    hidden : int
    gates : str
        The letters of the gates, in the order of the columns.
    joint : str
        As for `Recurrent`.
    """

    def __init__(
        self, program: Steps, arrays: dict[str, int], x_widths: Sequence[int], hidden: int, gates: str, joint: str
    ) -> None:
        self._program = program
        inputs = sum(x_widths)
        x_array, h_array = (arrays["W"], arrays["W"]) if joint else (arrays["Wx"], arrays["Wh"])
        x_row, h_row = {"": (0, 0), "xh": (0, inputs), "hx": (hidden, 0)}[joint]
        self._x: dict[str, list[int]] = {}
        self._h: dict[str, int] = {}
        self._biases: dict[str, dict[str, int]] = {}
        for k, gate in enumerate(gates):
            at = {"column": k * hidden, "columns": hidden}
            self._x[gate] = row_blocks(program, x_array, x_widths, first_row=x_row, **at)
            self._h[gate] = program.block(h_array, row=h_row, rows=hidden, **at)
            self._biases[gate] = {own: program.block(arrays[own], **at) for own in ("b", "bx", "bh") if own in arrays}

    def from_x(self, gate: str, x: Sequence[int]) -> list[tuple[int, int]]:
        return list(zip(x, self._x[gate], strict=True))

    def from_h(self, gate: str, h: int | None) -> list[tuple[int, int]]:
        return [] if h is None else [(h, self._h[gate])]

    def biases(self, gate: str, *names: str) -> list[int]:
        return [bias for own, bias in self._biases[gate].items() if own in names]

    def __call__(
        self, gate: str, x: Sequence[int], h: int | None, diagonals: Sequence[tuple[int, int]] = (),
        offset: float = 0.0,
    ) -> int:  # fmt: skip
        """Adds the pre-activation of a gate, ``x Wx + h Wh + biases + diagonals + offset``."""
        return self._program.affine(
            self.from_x(gate, x) + self.from_h(gate, h),
            more_biases=self.biases(gate, "b", "bx", "bh"),
            diagonals=diagonals,
            offset=offset,
        )


@dataclass(frozen=True)
class Recurrent(ABC):
    """The base class of the recurrent layers.

    Parameters
    ----------
    inputs, hidden : int
        The widths of x_t and of the state. With G gates, Wx has the shape (inputs, G * hidden), Wh has
        (hidden, G * hidden), and b has (G * hidden,).
    bias : bool or "double"
        With True there is one vector b, with "double" there are two, bx and bh, as in PyTorch, and with False none.
    joint : {"", "xh", "hx"}
        If it is not empty, one matrix W takes the place of Wx and Wh, and multiplies x and h side by side in this
        order.
    return_sequences : bool
        Whether the output is the state at every time, or else only the last one.
    bidirectional : bool
        Whether a second set of arrays (``Wx_reverse``, ...) runs backwards. Both outputs then stand side by side.
    initial_state : {"zeros", "parameters", "data"}
        With "parameters" the initial state is an array h0 (and c0) of shape (hidden,), to be checked like the others.
        With "data" it is given to `Network.loss` and `Network.predict`, for each sample.
    name : str, optional
        With a name, the arrays are called ``name.Wx``, ...; without it they are numbered, ``Wx1``, ...

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.
    """

    inputs: int
    hidden: int
    bias: bool | str = True
    joint: str = ""
    return_sequences: bool = False
    bidirectional: bool = False
    initial_state: str = "zeros"
    name: str | None = None

    takes_sequences: ClassVar[bool] = True
    _states: ClassVar[tuple[str, ...]] = ("h0",)

    def __post_init__(self) -> None:
        kind = type(self).__name__
        integer(f"{kind}: inputs", self.inputs, positive=True)
        integer(f"{kind}: hidden", self.hidden, positive=True)
        if self.bias != "double":
            true_or_false(f'{kind}: bias (or "double")', self.bias)
        choose(f"{kind}: joint", self.joint, ("", "xh", "hx"))
        true_or_false(f"{kind}: return_sequences", self.return_sequences)
        true_or_false(f"{kind}: bidirectional", self.bidirectional)
        choose(f"{kind}: initial_state", self.initial_state, ("zeros", "parameters", "data"))
        if self.name is not None and not (isinstance(self.name, str) and self.name):
            raise TypeError(f"{kind}: name: expected a non-empty string or None, got {self.name!r}")

    @property
    def outputs(self) -> int:
        return self.hidden * (2 if self.bidirectional else 1)

    @property
    @abstractmethod
    def letters(self) -> str:
        """One letter for each gate, in the order of the columns."""

    @property
    def _more_shapes(self) -> dict[str, tuple[int, ...]]:
        return {}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        columns = len(self.letters) * self.hidden
        shapes: dict[str, tuple[int, ...]]
        if self.joint:
            shapes = {"W": (self.inputs + self.hidden, columns)}
        else:
            shapes = {"Wx": (self.inputs, columns), "Wh": (self.hidden, columns)}
        biases = ("bx", "bh") if self.bias == "double" else ("b",) * bool(self.bias)
        shapes.update(dict.fromkeys(biases, (columns,)), **self._more_shapes)
        if self.initial_state == "parameters":
            shapes.update(dict.fromkeys(self._states, (self.hidden,)))
        if self.bidirectional:
            shapes.update({f"{own}_reverse": shape for own, shape in shapes.items()})
        return shapes

    @property
    def state_widths(self) -> dict[str, int]:
        """The widths of the states that are given as data, in the order in which the program reads them."""
        if self.initial_state != "data":
            return {}
        endings = ("", "_reverse") if self.bidirectional else ("",)
        return {own + ending: self.hidden for ending in endings for own in self._states}

    def lower(self, program: Steps, signal: Signal, arrays: dict[str, int]) -> Signal:
        runs = [self._run(program, signal, {own: arrays[own] for own in arrays if "_reverse" not in own}, False)]
        if self.bidirectional:
            back = {own.removesuffix("_reverse"): arrays[own] for own in arrays if "_reverse" in own}
            runs.append(self._run(program, signal, back, True))
        if self.return_sequences:
            return Signal(tuple(zip(*(outputs for outputs, _ in runs), strict=True)), True, signal.masks)
        return Signal((tuple(last for _, last in runs),), False, None)

    def _run(self, program: Steps, signal: Signal, arrays: dict[str, int], reverse: bool) -> tuple[list[int], int]:
        """Returns the outputs at all times, and the output of the time that is run last."""
        widths = [program.steps[step].shape[1] for step in signal.parts[0]]
        gates = _Gates(program, arrays, widths, self.hidden, self.letters, self.joint)
        state: State = (None,) * len(self._states)
        if self.initial_state == "parameters":
            state = tuple(program.affine([], program.block(arrays[own])) for own in self._states)
        elif self.initial_state == "data":
            state = tuple(program.input(self.hidden) for _ in self._states)
        elif signal.masks and reverse:  # a padded time may come first, and must leave zeros behind
            state = tuple(program.zeros(self.hidden) for _ in self._states)
        times = range(len(signal.parts))
        outputs = [0] * len(times)
        last = 0
        cell = self._cell(program, gates, arrays)
        for time in reversed(times) if reverse else times:
            new = cell(signal.parts[time], state)
            if signal.masks:  # a state is None only at the first time, which every sample has
                mask = signal.masks[time]
                new = tuple(
                    n if s is None else program.add("where", mask, n, s) for n, s in zip(new, state, strict=True)
                )
            state = new
            outputs[time] = last = new[0]
        return outputs, last

    @abstractmethod
    def _cell(self, program: Steps, gates: _Gates, arrays: dict[str, int]) -> Cell:
        """Returns the function ``(x, state) -> state``, which adds the steps of one time."""


@dataclass(frozen=True)
class RNN(Recurrent):
    """The simple recurrent layer, ``h_t = activation(x_t Wx + h_{t-1} Wh + b)``.

    Parameters
    ----------
    inputs, hidden, bias, joint, return_sequences, bidirectional, initial_state, name
        As for every `Recurrent` layer.
    activation : str
        "tanh", "relu", or another activation that acts entry by entry.
    """

    activation: str = "tanh"

    def __post_init__(self) -> None:
        super().__post_init__()
        choose(
            "RNN: activation", self.activation, [name for name in activations() if name not in ("identity", "softmax")]
        )

    @property
    def letters(self) -> str:
        return "h"

    def _cell(self, program: Steps, gates: _Gates, arrays: dict[str, int]) -> Cell:
        def cell(x: Sequence[int], state: State) -> tuple[int, ...]:
            return (program.add(self.activation, gates("h", x, state[0])),)

        return cell


@dataclass(frozen=True)
class GRU(Recurrent):
    """The gated recurrent unit (Cho et al. 2014), with the gates r and z and the candidate n.

    Parameters
    ----------
    inputs, hidden, bias, joint, return_sequences, bidirectional, initial_state, name
        As for every `Recurrent` layer.
    gates : str
        The order of r, z and n in the columns: "rzn" as in PyTorch, "zrn" as in Keras.
    reset_after : bool
        With True, as in PyTorch and Keras, ``n = tanh(x Wx + bx + r (h Wh + bh))``; a single b is added as bx is. With
        False, as in the paper, ``n = tanh(x Wx + (r h) Wh + b)``.
    keep : {"z", "1-z"}
        What the old state is multiplied with. With "z", as in PyTorch and Keras, ``h' = (1 - z) n + z h``.
    """

    gates: str = "rzn"
    reset_after: bool = True
    keep: str = "z"

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_order("GRU", self.gates, "rzn")
        true_or_false("GRU: reset_after", self.reset_after)
        choose("GRU: keep", self.keep, ("z", "1-z"))
        if self.joint and self.reset_after:
            raise ValueError("GRU: joint: one matrix for x and h side by side needs reset_after=False")

    @property
    def letters(self) -> str:
        return self.gates

    def _cell(self, program: Steps, gates: _Gates, arrays: dict[str, int]) -> Cell:
        def candidate(x: Sequence[int], h: int | None, r: int) -> int:
            if not self.reset_after:
                return gates("n", x, None if h is None else program.add("multiply", r, h))
            from_x = program.affine(gates.from_x("n", x), more_biases=gates.biases("n", "b", "bx"))
            matrices, biases = gates.from_h("n", h), gates.biases("n", "bh")
            if not matrices and not biases:
                return from_x
            return program.add("add", from_x, program.add("multiply", r, program.affine(matrices, more_biases=biases)))

        def cell(x: Sequence[int], state: State) -> tuple[int, ...]:
            (h,) = state
            r, z = (program.add("sigmoid", gates(gate, x, h)) for gate in "rz")
            n = program.add("tanh", candidate(x, h, r))
            old, new = (h, n) if self.keep == "z" else (n, h)
            return (_mix(program, z, old, new),)

        return cell


@dataclass(frozen=True)
class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000).

    ``c' = f c + i g``, ``h' = o tanh(c')``, with i, f, o the sigmoids and g the tanh of ``x Wx + h Wh + b``.

    Parameters
    ----------
    inputs, hidden, bias, joint, return_sequences, bidirectional, initial_state, name
        As for every `Recurrent` layer.
    gates : str
        The order of i, f, g and o in the columns: "ifgo" as in PyTorch and Keras.
    peepholes : bool
        Whether i, f and o also see the cell state (o the new one), through the rows of an array P of shape
        (3, hidden), in the order i, f, o.
    forget_bias : float
        A number that is added to f before its sigmoid.
    coupled : bool
        Whether ``i = 1 - f``. Then there is no i among the gates ("fgo"), and P has the two rows f, o.
    """

    gates: str = ""
    peepholes: bool = False
    forget_bias: float = 0.0
    coupled: bool = False

    _states: ClassVar[tuple[str, ...]] = ("h0", "c0")

    def __post_init__(self) -> None:
        super().__post_init__()
        true_or_false("LSTM: peepholes", self.peepholes)
        true_or_false("LSTM: coupled", self.coupled)
        _require_order("LSTM", self.letters, "fgo" if self.coupled else "ifgo")
        if isinstance(self.forget_bias, bool) or not isinstance(self.forget_bias, (int, float)):
            raise TypeError(f"LSTM: forget_bias: expected a number, got {self.forget_bias!r}")
        if not isfinite(self.forget_bias):
            raise ValueError(f"LSTM: forget_bias: expected a finite number, got {self.forget_bias!r}")

    @property
    def letters(self) -> str:
        return self.gates or ("fgo" if self.coupled else "ifgo")

    @property
    def _more_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"P": (2 if self.coupled else 3, self.hidden)} if self.peepholes else {}

    def _cell(self, program: Steps, gates: _Gates, arrays: dict[str, int]) -> Cell:
        seeing = ("fo" if self.coupled else "ifo") if self.peepholes else ""
        peepholes = {gate: program.block(arrays["P"], row=k, rows=1) for k, gate in enumerate(seeing)}

        def sigmoid(gate: str, x: Sequence[int], h: int | None, c: int | None, offset: float = 0.0) -> int:
            diagonals = [(c, peepholes[gate])] if c is not None and gate in peepholes else []
            return program.add("sigmoid", gates(gate, x, h, diagonals, offset))

        def cell(x: Sequence[int], state: State) -> tuple[int, ...]:
            h, c = state
            f = sigmoid("f", x, h, c, self.forget_bias)
            g = program.add("tanh", gates("g", x, h))
            if self.coupled:
                c_new = _mix(program, f, c, g)
            else:
                c_new = program.add("multiply", sigmoid("i", x, h, c), g)
                if c is not None:
                    c_new = program.add("add", program.add("multiply", f, c), c_new)
            o = sigmoid("o", x, h, c_new)
            return program.add("multiply", o, program.add("tanh", c_new)), c_new

        return cell


def _mix(program: Steps, z: int, old: int | None, new: int | None) -> int:
    """Adds the mixture ``z old + (1 - z) new = new + z (old - new)``, where one may be None for zeros."""
    if new is None:
        assert old is not None
        return program.add("multiply", z, old)
    if old is None:
        return program.add("subtract", new, program.add("multiply", z, new))
    return program.add("add", new, program.add("multiply", z, program.add("subtract", old, new)))


def _require_order(kind: str, gates: object, letters: str) -> None:
    if not isinstance(gates, str) or sorted(gates) != sorted(letters):
        raise ValueError(f"{kind}: gates: expected the letters {letters} in some order, got {gates!r}")
