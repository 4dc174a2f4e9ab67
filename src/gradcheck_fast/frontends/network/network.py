"""Defines `Network`, which names the parameters of its layers, lowers them to a program, and makes compiled losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.engine.engine import Engine
from gradcheck_fast.frontends.network.columns import inputs_in_rows, states_in_rows, targets_in_rows
from gradcheck_fast.frontends.network.costs import L2, Cost
from gradcheck_fast.frontends.network.layers import Layer, Signal
from gradcheck_fast.inputs.arguments import nearest, true_or_false
from gradcheck_fast.inputs.arrays import first_index, format_index, real_array, require_finite
from gradcheck_fast.inputs.trees import Tree, pack_as
from gradcheck_fast.losses.columns import Columns, arrays_in_columns, arrays_in_rows, in_columns
from gradcheck_fast.losses.network_loss import Data, Given, NetworkLoss
from gradcheck_fast.program.program import Program, Source
from gradcheck_fast.running.threads import resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Network:
    """A network: layers one after another, a cost, and perhaps a penalty.

    Parameters
    ----------
    layers : layer or sequence of layers
        Each layer takes what the one before it gives.
    cost : Cost
        The cost, such as ``SquaredError()`` or ``CrossEntropy()``.
    penalty : L2, optional
        The penalty that is added to the cost.
    names : sequence of str, optional
        The names of all arrays, layer after layer, in place of ``W1``, ``b1``, ...
    columns : bool
        Whether samples are columns: X has the shape (inputs, samples) and y (outputs, samples); for a network with
        recurrent layers (inputs, samples, times) and (outputs, samples, times). The matrices of all layers are then
        transposed, and the vectors columns, as in ``activation(W @ x + b)``: W has the shape (outputs, inputs), and b
        has (outputs, 1).

    Raises
    ------
    TypeError
        If an object is given as a layer, cost or penalty that is none.
    ValueError
        If there is no layer, a layer does not fit the one before it, the cost is a string, `names` has not one name for
        each array, or two arrays get the same name.
    """

    def __init__(
        self, layers: Layer | Sequence[Layer], cost: Cost, penalty: L2 | None = None,
        names: Sequence[str] | None = None, columns: bool = False,
    ) -> None:  # fmt: skip
        self.layers: tuple[Layer, ...] = tuple(layers) if isinstance(layers, Sequence) else (layers,)
        self.cost = _require_cost(cost)
        if penalty is not None and not isinstance(penalty, L2):
            raise TypeError(f"penalty: expected gf.L2(strength) or None, got {penalty!r}")
        self.penalty = penalty
        if not self.layers:
            raise ValueError("layers: expected at least one layer, got none")
        for number, layer in enumerate(self.layers, 1):
            if not isinstance(layer, Layer):
                raise TypeError(f"layer {number}: expected a layer such as gf.Dense(2, 3), got {layer!r}")
        for number, (before, after) in enumerate(zip(self.layers, self.layers[1:], strict=False), 1):
            if before.outputs != after.inputs:
                raise ValueError(
                    f"layer {number + 1}: takes {after.inputs} inputs, "
                    f"but layer {number} gives {before.outputs} outputs"
                )
            if after.takes_sequences and not before.return_sequences:
                raise ValueError(
                    f"layer {number + 1}: takes a sequence, but layer {number} gives only its last state; "
                    "give that one return_sequences=True"
                )
        self._sequences = any(layer.takes_sequences for layer in self.layers)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.state_widths: dict[str, int] = {}
        for number, layer in enumerate(self.layers, 1):
            prefix, suffix = (f"{layer.name}.", "") if layer.name else ("", str(number))
            self.state_widths.update({prefix + own + suffix: width for own, width in layer.state_widths.items()})
            for own, shape in layer.shapes.items():
                name = prefix + own + suffix
                if name in self.shapes:
                    raise ValueError(f"layer {number}: another layer has an array {name!r} too; give it another name")
                self.shapes[name] = shape
        if names is not None:
            if len(set(names)) != len(self.shapes) or len(names) != len(self.shapes):
                expected = f"{len(self.shapes)} different ones, for {', '.join(self.shapes)}"
                raise ValueError(f"names: expected {expected}, got {', '.join(names)}")
            self.shapes = dict(zip(names, self.shapes.values(), strict=True))
        self.columns, self._rows = true_or_false("columns", columns), self
        if columns:
            self._rows = Network(layers, cost, penalty, names)
            self.shapes = {name: in_columns(shape) for name, shape in self.shapes.items()}

    @property
    def inputs(self) -> int:
        """The width of a row of X."""
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        """The width of a row of predictions."""
        return self.layers[-1].outputs

    def init(self, seed: int | None = None) -> dict[str, NDArray[np.float64]]:
        """Draws random parameters: normal weights of variance 1/fan-in, normal biases of standard deviation 0.1.

        Returns
        -------
        dict of ndarray of float64
            The arrays by name, in the shapes of `shapes`.
        """
        if self.columns:
            return arrays_in_columns(self._rows.init(seed))
        generator = np.random.default_rng(seed)
        return {
            name: generator.normal(0.0, shape[0] ** -0.5 if len(shape) > 1 else 0.1, shape)
            for name, shape in self.shapes.items()
        }

    def predict(
        self, params: Tree, X: Any, *, lengths: Any = None, states: Any = None, n_threads: int | None = None
    ) -> NDArray[np.float64]:
        """Computes the outputs of the last layer.

        Parameters
        ----------
        params : tree of arrays or flat vector
        X, lengths, states
            As for `loss`.
        n_threads : int, optional

        Returns
        -------
        ndarray of float64, shape (samples, outputs) or (samples, times, outputs)
            Beyond a sample's length, the outputs follow from its last state. If samples are columns, the last axis is
            the first: (outputs, samples) or (outputs, samples, times).

        Raises
        ------
        TypeError, ValueError
            If params, X, lengths or states do not fit the network.
        """
        if self.columns:
            rows = inputs_in_rows(X, self.inputs, self._sequences)
            arrays = arrays_in_rows(pack_as(params, self.shapes), self._rows.shapes)
            found = self._rows.predict(
                arrays, rows, lengths=lengths, states=states_in_rows(states), n_threads=n_threads
            )
            return np.moveaxis(found, -1, 0)
        threads = resolve(n_threads)
        data = self._read_inputs(X, lengths).followed_by(self._read_states(states, len(X)))
        program, last = self.lower(data)
        packed = pack_as(params, self.shapes)
        engine = Engine.of(program, data.inputs, np.empty((data.samples, 0)))
        outputs = [engine.program.numbers[step] for parts in last.parts for step in parts]
        values = engine.values(packed.flat, outputs, threads)
        return values.reshape(data.samples, data.times, self.outputs) if last.sequence else values

    def loss(self, X: Any, y: Any, *, lengths: Any = None, states: Any = None) -> NetworkLoss | Columns:
        """Returns a compiled ``loss(params) -> float`` on these data.

        Parameters
        ----------
        X : array_like, shape (samples, inputs)
            The data; for a network with recurrent layers their shape is (samples, times, inputs).
        y : array_like, shape (samples, outputs)
            The targets. For one output, or for the class indices of `CrossEntropy`, the shape may be (samples,). If the
            last layer gives a sequence, the shape is (samples, times, outputs) or (samples, times).
        lengths : array_like of int, shape (samples,), optional
            How many times of each sample count, from the first on. What X and y hold beyond these is never looked at.
        states : dict of array_like, shape (samples, hidden) or (hidden,)
            The initial states (``h01``, ``c01``, ...) of the layers with ``initial_state="data"``.

        If samples are columns, the axis of the inputs, outputs or hidden units is the first instead of the last.

        Raises
        ------
        TypeError, ValueError
            If X, y, lengths or states has another shape, is not real or not finite, or y does not fit the cost.
        """
        if self.columns:
            rows = inputs_in_rows(X, self.inputs, self._sequences)
            sequence = self._sequences and all(layer.return_sequences for layer in self.layers)
            targets = targets_in_rows(y, len(rows), self.outputs, sequence)
            return Columns(self._rows.loss_of_rows(rows, targets, lengths, states_in_rows(states)))
        return self.loss_of_rows(X, y, lengths, states)

    def loss_of_rows(self, X: Any, y: Any, lengths: Any = None, states: Any = None) -> NetworkLoss:
        """Does what `loss` does for a network whose samples are rows."""
        data = self._read_inputs(X, lengths).followed_by(self._read_states(states, len(X)))
        program, last = self.lower(data)
        if last.sequence:
            targets = self.cost.read_sequences(y, data.samples, data.times, self.outputs, data.valid)
            counted = int(data.valid.sum())
        else:
            targets = self.cost.read_targets(y, data.samples, self.outputs)
            counted = data.samples
        self.cost.lower(program, last, targets, counted)
        return NetworkLoss(self, program, Given(data, targets, counted))

    def lower(self, data: Data) -> tuple[Program, Signal]:
        """Returns the program without its cost, and what the last layer gives."""
        program = Program(data.samples)
        steps = tuple((program.input(self.inputs),) for _ in range(data.times))
        masks = tuple(program.input(1) for _ in range(data.times)) if data.masked else None
        signal = Signal(steps, self._sequences, masks)
        for number, layer in enumerate(self.layers, 1):
            with program.at(Source(f"layer {number}, {type(layer).__name__}")):
                arrays = {own: program.parameter(shape) for own, shape in layer.shapes.items()}
                signal = layer.lower(program, signal, arrays)
        return program, signal

    def _read_inputs(self, X: Any, lengths: Any) -> Data:
        array = real_array("X", X, allow_bool=True)
        if array.ndim == 1 and self.inputs == 1 and not self._sequences:
            array = array[:, np.newaxis]
        form = ("samples", "times", self.inputs) if self._sequences else ("samples", self.inputs)
        if array.ndim != len(form) or array.shape[-1] != self.inputs:
            hint = "; for one sample use X[np.newaxis]" if array.ndim == len(form) - 1 else ""
            if array.ndim == len(form) and array.shape[0] == self.inputs:
                hint = "; if samples are columns, use gf.Network(..., columns=True)"
            expected = ", ".join(map(str, form))
            raise ValueError(f"X: expected the shape ({expected}), got {array.shape}{hint}")
        if len(array) == 0:
            raise ValueError("X: expected at least one sample, got none")
        if array.shape[1] == 0:
            raise ValueError("X: expected at least one time, got none")
        if not self._sequences:
            if lengths is not None:
                raise ValueError("lengths: this network has no recurrent layer")
            require_finite("X", array)
            return Data(np.array(array, np.float64, order="C"), np.ones((len(array), 1), np.bool_), False)
        valid = _read_lengths(lengths, *array.shape[:2])
        counted = np.where(valid[:, :, np.newaxis], array, 0).astype(np.float64)
        require_finite("X", counted)
        inputs = counted.reshape(len(array), -1)
        if lengths is not None:
            inputs = np.concatenate([inputs, valid], axis=1, dtype=np.float64)
        return Data(np.ascontiguousarray(inputs), valid, lengths is not None)

    def _read_states(self, states: Any, samples: int) -> list[NDArray[np.float64]]:
        """Returns the initial states that are data, in the order of the layers, each of shape (samples, hidden)."""
        given = {} if states is None else states
        if not isinstance(given, Mapping) or set(given) != set(self.state_widths):
            expected = f"a dict of {', '.join(self.state_widths)}" if self.state_widths else "none"
            raise ValueError(
                f"states: expected {expected}, got {list(given) if isinstance(given, Mapping) else given!r}"
            )
        arrays = []
        for name, width in self.state_widths.items():
            array = real_array(f"states: {name}", given[name])
            if array.shape not in ((samples, width), (width,)):
                raise ValueError(
                    f"states: {name}: expected the shape ({samples}, {width}) or ({width},), got {array.shape}"
                )
            require_finite(f"states: {name}", array)
            arrays.append(np.broadcast_to(array, (samples, width)).astype(np.float64))
        return arrays

    def __repr__(self) -> str:
        penalty = f", penalty={self.penalty!r}" if self.penalty else ""
        return f"Network({list(self.layers)!r}, cost={self.cost!r}{penalty}{', columns=True' * self.columns})"


def _read_lengths(lengths: Any, samples: int, times: int) -> NDArray[np.bool_]:
    """Returns which times of each sample count, as an array of shape (samples, times)."""
    if lengths is None:
        return np.ones((samples, times), np.bool_)
    array = real_array("lengths", lengths)
    if array.dtype.kind not in "iu":
        raise TypeError(f"lengths: expected integers, got dtype {array.dtype}")
    if array.shape != (samples,):
        raise ValueError(f"lengths: expected the shape ({samples},), one per sample of X, got {array.shape}")
    good = (array >= 1) & (array <= times)
    if not good.all():
        index = first_index(~good)
        raise ValueError(f"lengths: {array[index]} at index {format_index(index)}; expected 1 to {times}")
    return np.asarray(np.arange(times) < array[:, np.newaxis])


def _require_cost(cost: object) -> Cost:
    if isinstance(cost, Cost):
        return cost
    known = [kind.__name__ for kind in Cost.__subclasses__()]
    name = cost if isinstance(cost, str) else getattr(cost, "__name__", "")
    hint = nearest(name, [f"{k}()" for k in known]) if name else ""
    kind = ValueError if isinstance(cost, str) else TypeError
    raise kind(f"cost: expected one of {', '.join(f'gf.{k}()' for k in known)}, got {cost!r}{hint}")
