"""Defines `Network`, which names the parameters of its layers, lowers them to a program, and makes compiled losses.

Layers that all act on rows become a program of rows; any others are run on arrays that record what is done to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from gradcheck_fast.engine.engine import Engine
from gradcheck_fast.frontends.network.columns import inputs_in_rows, states_in_rows, targets_in_rows
from gradcheck_fast.frontends.network.cost import Cost
from gradcheck_fast.frontends.network.costs import L2
from gradcheck_fast.frontends.network.layers import Layer, Signal
from gradcheck_fast.frontends.network.placed import place_all, read_arrays
from gradcheck_fast.frontends.network.recurrent import Recurrent
from gradcheck_fast.frontends.network.targets import read_lengths
from gradcheck_fast.frontends.network.tensor_layer import TensorLayer
from gradcheck_fast.inputs.arguments import nearest, true_or_false
from gradcheck_fast.inputs.arrays import real_array, require_finite
from gradcheck_fast.inputs.trees import Tree, pack_as
from gradcheck_fast.losses.columns import Columns, arrays_in_columns, arrays_in_rows, in_columns
from gradcheck_fast.losses.network_loss import Data, Given, NetworkLoss
from gradcheck_fast.program.program import Program, Source
from gradcheck_fast.running.threads import resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.frontends.network.tensor_network import TensorLoss

#: Any layer.
AnyLayer: TypeAlias = "Layer | TensorLayer"
#: What errors say where a network of any layers was given what only some take.
_ROWS_ONLY = "only for a network of dense and recurrent layers, and a cost without options"


class Network:
    """A network: layers one after another, a cost, and perhaps a penalty.

    Parameters
    ----------
    layers : layer or sequence of layers
        Each layer takes what the one before it gives. A layer that is there twice has one set of arrays, unless it is a
        dense or recurrent one. All networks know the methods ``chain``, ``incremental`` and ``units``; but ``units``
        needs samples that stay apart, and refuses a `BatchNorm` of training. ``auto`` is ``chain`` unless all layers
        are dense or recurrent.
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
        has (outputs, 1). This is for networks of dense and recurrent layers alone.

    Raises
    ------
    TypeError
        If an object is given as a layer, cost or penalty that is none.
    ValueError
        If there is no layer, a layer does not fit the one before it, the cost is a string, `names` has not one name for
        each array, or two arrays get the same name.

    Examples
    --------
    >>> import numpy as np, gradcheck_fast as gf
    >>> layers = [gf.Conv2d(1, 2, 3), gf.Activation("relu"), gf.MaxPool2d(2), gf.Flatten(), gf.Dense(18, 3)]
    >>> net = gf.Network(layers, gf.CrossEntropy())
    >>> list(net.shapes)
    ['weight1', 'bias1', 'W5', 'b5']
    >>> net.output_shape((4, 1, 8, 8))
    (4, 3)
    >>> rng, params = np.random.default_rng(0), net.init(0)
    >>> loss = net.loss(rng.normal(size=(4, 1, 8, 8)), np.array([0, 2, 1, 1]))
    >>> gf.gradcheck(loss, gf.numerical_gradient(loss, params), params).verdict
    'PASS'
    """

    def __init__(
        self, layers: AnyLayer | Sequence[AnyLayer], cost: Cost, penalty: L2 | None = None,
        names: Sequence[str] | None = None, columns: bool = False,
    ) -> None:  # fmt: skip
        self.layers: tuple[AnyLayer, ...] = tuple(layers) if isinstance(layers, Sequence) else (layers,)
        self.cost = _require_cost(cost)
        if penalty is not None and not isinstance(penalty, L2):
            raise TypeError(f"penalty: expected gf.L2(strength) or None, got {penalty!r}")
        self.penalty = penalty
        if not self.layers:
            raise ValueError("layers: expected at least one layer, got none")
        self.placed = place_all(self.layers)
        walked = [placed for layer in self.placed for placed in layer.walk()]
        #: Whether each layer acts on rows, so that it can be a program of rows.
        self.has_rows = all(isinstance(placed.given, Layer) for placed in walked)
        self._sequences = False
        self.state_widths: dict[str, int] = {}
        if self.has_rows:
            self._require_rows()
        self.shapes: dict[str, tuple[int, ...]] = {
            name: placed.given.shapes[own] for placed in walked for own, name in placed.names.items()
        }
        if names is not None:
            if len(set(names)) != len(self.shapes) or len(names) != len(self.shapes):
                expected = f"{len(self.shapes)} different ones, for {', '.join(self.shapes)}"
                raise ValueError(f"names: expected {expected}, got {', '.join(names)}")
            renamed = dict(zip(self.shapes, names, strict=True))
            self.placed = tuple(placed.renamed(renamed) for placed in self.placed)
            self.shapes = {renamed[name]: shape for name, shape in self.shapes.items()}
        self.columns, self._rows = true_or_false("columns", columns), self
        if columns:
            if not self.has_rows or not self.cost.has_rows:
                raise ValueError(f"columns: {_ROWS_ONLY}; give samples as the first axis")
            self._rows = Network(layers, cost, penalty, names)
            self.shapes = {name: in_columns(shape) for name, shape in self.shapes.items()}

    def _require_rows(self) -> None:
        """Looks whether layers that act on rows fit one after another, and finds the states that are data."""
        rows = self._row_layers
        for number, (before, after) in enumerate(pairwise(rows), 1):
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
        self._sequences = any(layer.takes_sequences for layer in rows)
        for number, layer in enumerate(rows, 1):
            prefix, suffix = (f"{layer.name}.", "") if layer.name else ("", str(number))
            self.state_widths.update({prefix + own + suffix: width for own, width in layer.state_widths.items()})

    @property
    def _looks_ahead(self) -> bool:
        """Whether a layer runs backwards over the times, so that what is beyond a sample's length would matter."""
        walked = (placed.given for layer in self.placed for placed in layer.walk())
        return any(isinstance(layer, Recurrent) and layer.bidirectional for layer in walked)

    @property
    def _row_layers(self) -> tuple[Layer, ...]:
        """The layers, if all of them act on rows."""
        return cast("tuple[Layer, ...]", self.layers)

    @property
    def inputs(self) -> int:
        """The width of a row of X, if all layers act on rows."""
        return self._row_layers[0].inputs

    @property
    def outputs(self) -> int:
        """The width of a row of predictions, if all layers act on rows."""
        return self._row_layers[-1].outputs

    def init(self, seed: int | None = None) -> dict[str, NDArray[np.float64]]:
        """Draws random parameters: normal weights of variance 1/fan-in, normal biases of standard deviation 0.1.

        The weights of normalisations are drawn around 1, and those of embeddings have variance 1.

        Returns
        -------
        dict of ndarray of float64
            The arrays by name, in the shapes of `shapes`.
        """
        if self.columns:
            return arrays_in_columns(self._rows.init(seed))
        generator = np.random.default_rng(seed)
        found: dict[str, NDArray[np.float64]] = {}
        for placed in (inner for layer in self.placed for inner in layer.walk()):
            for own, name in placed.names.items():
                if name not in found:
                    found[name] = placed.layer.initial(own, self.shapes[name], generator)
        return found

    def forward(self, X: Any, arrays: Mapping[str, Any]) -> Any:
        """Returns what the last layer makes of an array of data, by the arrays of the network; both may record.

        Raises
        ------
        TypeError, ValueError
            If a layer does not take what the one before it gives; the message names the layer.
        """
        for placed in self.placed:
            X = placed.forward(X, arrays)
        return X

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Returns the shape of what the last layer gives, for data of a shape that begins with the samples.

        Raises
        ------
        ValueError
            If a layer does not take what the one before it gives; the message names the layer, and both shapes.
        """
        arrays = {name: np.zeros(own) for name, own in (self._rows.shapes if self.columns else self.shapes).items()}
        with np.errstate(all="ignore"):
            return tuple(np.shape(self.forward(read_arrays(self.placed, np.zeros(tuple(shape), np.int64)), arrays)))

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
        ndarray of float64, shape (samples, outputs), (samples, times, outputs), or whatever the last layer gives
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
        if not self.has_rows:
            for what, given in (("lengths", lengths), ("states", states)):
                if given is not None:
                    raise ValueError(f"{what}: {_ROWS_ONLY}")
            given = pack_as(params, self.shapes)
            with np.errstate(all="ignore"):
                return np.array(self.forward(read_arrays(self.placed, X), dict(given.arrays(given.flat))), np.float64)
        data = self._read_inputs(X, lengths).followed_by(self._read_states(states, len(X)))
        program, last = self.lower(data)
        packed = pack_as(params, self.shapes)
        engine = Engine.of(program, data.inputs, np.empty((data.samples, 0)))
        outputs = [engine.program.numbers[step] for parts in last.parts for step in parts]
        values = engine.values(packed.flat, outputs, threads)
        return values.reshape(data.samples, data.times, self.outputs) if last.sequence else values

    def loss(
        self, X: Any, y: Any, *, lengths: Any = None, states: Any = None, sample_weight: Any = None
    ) -> NetworkLoss | Columns | TensorLoss:
        """Returns a compiled ``loss(params) -> float`` on these data.

        Parameters
        ----------
        X : array_like, shape (samples, inputs)
            The data; for a network with recurrent layers their shape is (samples, times, inputs), and otherwise the
            first axis is that of the samples. For an `Embedding` they are integers.
        y : array_like, shape (samples, outputs)
            The targets. For one output, or for the class indices of `CrossEntropy`, the shape may be (samples,). If the
            last layer gives a sequence, the shape is (samples, times, outputs) or (samples, times). See the cost.
        lengths : array_like of int, shape (samples,), optional
            How many times of each sample count, from the first on. What X and y hold beyond these is never looked at.
        states : dict of array_like, shape (samples, hidden) or (hidden,)
            The initial states (``h01``, ``c01``, ...) of the layers with ``initial_state="data"``.
        sample_weight : array_like, shape (samples,), or that of the targets, optional
            What the cost of each sample, or of each of its targets, is multiplied with; 0 leaves it out. As in PyTorch
            and Keras, a mean is over all of them, whatever their weights are.

        If samples are columns, the axis of the inputs, outputs or hidden units is the first instead of the last.

        Raises
        ------
        TypeError, ValueError
            If X, y, lengths or states has another shape, is not real or not finite, or y does not fit the cost.
        """
        if not self.has_rows or not self.cost.has_rows or sample_weight is not None:
            return self._loss_of_arrays(X, y, lengths, states, sample_weight)
        if self.columns:
            rows = inputs_in_rows(X, self.inputs, self._sequences)
            sequence = self._sequences and all(layer.return_sequences for layer in self._row_layers)
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

    def _loss_of_arrays(self, X: Any, y: Any, lengths: Any, states: Any, sample_weight: Any) -> TensorLoss:
        """Does what `loss` does by a program of tensor steps."""
        if self.columns:
            raise ValueError("sample_weight: needs samples as the first axis, without columns=True")
        if states is not None or self.state_widths:
            raise ValueError(f"states: {_ROWS_ONLY}")
        array = self._read_inputs(X, None).inputs if self.has_rows else read_arrays(self.placed, X)
        if self._sequences:
            array = array.reshape(len(array), -1, self.inputs)
        shape = self.output_shape(array.shape)
        if lengths is not None and (not self.cost.takes_lengths or self._looks_ahead):
            raise ValueError(f"lengths: {_ROWS_ONLY}; or for CTC without a bidirectional layer")
        targets = self.cost.targets(y, shape, sample_weight, lengths)
        # only networks of tensor steps wait for its import
        from gradcheck_fast.frontends.network.tensor_network import TensorLoss

        return TensorLoss.of(self, array, targets)

    def lower(self, data: Data) -> tuple[Program, Signal]:
        """Returns the program without its cost, and what the last layer gives."""
        program = Program(data.samples)
        steps = tuple((program.input(self.inputs),) for _ in range(data.times))
        masks = tuple(program.input(1) for _ in range(data.times)) if data.masked else None
        signal = Signal(steps, self._sequences, masks)
        for number, layer in enumerate(self._row_layers, 1):
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
        valid = _valid_times(lengths, *array.shape[:2])
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


def _valid_times(lengths: Any, samples: int, times: int) -> NDArray[np.bool_]:
    """Returns which times of each sample count, as an array of shape (samples, times)."""
    if lengths is None:
        return np.ones((samples, times), np.bool_)
    return np.asarray(np.arange(times) < read_lengths(lengths, samples, times)[:, np.newaxis])


def _require_cost(cost: object) -> Cost:
    if isinstance(cost, Cost):
        return cost
    known = [kind.__name__ for kind in Cost.__subclasses__()]
    name = cost if isinstance(cost, str) else getattr(cost, "__name__", "")
    hint = nearest(name, [f"{k}()" for k in known]) if name else ""
    kind = ValueError if isinstance(cost, str) else TypeError
    raise kind(f"cost: expected one of {', '.join(f'gf.{k}()' for k in known)}, got {cost!r}{hint}")
