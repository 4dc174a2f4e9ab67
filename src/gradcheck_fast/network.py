"""Network: names the parameters of its layers, lowers them to a program, and makes compiled losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _compare
from .arrays import digest, first_index, format_index, real_array, require_finite
from .costs import L2, Cost
from .differences import EXACT_STEPS, Kinks, Numerical, jitter, plain_steps
from .layers import Layer, Signal
from .methods import Engine
from .names import choose, nearest
from .program import Program
from .progress import duration
from .recurrent import Recurrent
from .threads import resolve
from .trees import Packed, Tree, pack_as

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .runner import Runner


class Network:
    """A network: layers one after another, a cost, and perhaps a penalty.

    Parameters
    ----------
    layers : layer or sequence of layers
        Each takes what the one before gives.
    cost : Cost
        Such as ``SquaredError()`` or ``CrossEntropy()``.
    penalty : L2, optional
        Added to the cost.
    names : sequence of str, optional
        Of all arrays, layer after layer, in place of ``W1``, ``b1``, ...

    Raises
    ------
    TypeError
        If a layer, the cost or the penalty is none.
    ValueError
        If there is no layer, two layers do not chain, or two arrays get one name.
    """

    def __init__(
        self, layers: Layer | Sequence[Layer], cost: Cost, penalty: L2 | None = None,
        names: Sequence[str] | None = None,
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
        self._states: dict[str, int] = {}
        for number, layer in enumerate(self.layers, 1):
            prefix, suffix = (f"{layer.name}.", "") if layer.name else ("", str(number))
            self._states.update({prefix + own + suffix: width for own, width in layer.state_widths.items()})
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

    @property
    def inputs(self) -> int:
        """Width of a row of X."""
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        """Width of a row of predictions."""
        return self.layers[-1].outputs

    def init(self, seed: int | None = None) -> dict[str, NDArray[np.float64]]:
        """Random parameters: weights normal with variance 1/fan-in, biases normal with standard deviation 0.1."""
        generator = np.random.default_rng(seed)
        return {
            name: generator.normal(0.0, shape[0] ** -0.5 if len(shape) > 1 else 0.1, shape)
            for name, shape in self.shapes.items()
        }

    def predict(
        self, params: Tree, X: Any, *, lengths: Any = None, states: Any = None, n_threads: int | None = None
    ) -> NDArray[np.float64]:
        """The outputs of the last layer.

        Parameters
        ----------
        params : tree of arrays or flat vector
        X, lengths, states
            As for `loss`.

        Returns
        -------
        ndarray, shape (samples, outputs) or (samples, times, outputs)
            Beyond a sample's length: what follows from its last state.
        """
        threads = resolve(n_threads)
        data = self._read_inputs(X, lengths).followed_by(self._read_states(states, len(X)))
        program, last = self._lower(data)
        packed = pack_as(params, self.shapes)
        engine = Engine(program, data.inputs, np.empty((data.samples, 0)))
        values = engine.values(packed.flat, [step for parts in last.parts for step in parts], threads)
        return values.reshape(data.samples, data.times, self.outputs) if last.sequence else values

    def loss(self, X: Any, y: Any, *, lengths: Any = None, states: Any = None) -> NetworkLoss:
        """A compiled ``loss(params) -> float`` on these data.

        Parameters
        ----------
        X : array_like, shape (samples, inputs)
            (samples, times, inputs) for a network with recurrent layers.
        y : array_like, shape (samples, outputs)
            Or (samples,) for one output, or for the class indices of `CrossEntropy`. If the last layer gives a
            sequence, (samples, times, outputs) or (samples, times).
        lengths : array_like of int, shape (samples,), optional
            How many times of each sample count, from the first on; what X and y hold beyond is never looked at.
        states : dict of array_like, shape (samples, hidden) or (hidden,)
            The initial states (``h01``, ``c01``, ...) of the layers with ``initial_state="data"``.

        Raises
        ------
        TypeError, ValueError
            If X, y, lengths or states has another shape, is not real or not finite, or y does not fit the cost.
        """
        data = self._read_inputs(X, lengths).followed_by(self._read_states(states, len(X)))
        program, last = self._lower(data)
        if last.sequence:
            targets = self.cost.read_sequences(y, data.samples, data.times, self.outputs, data.valid)
            counted = int(data.valid.sum())
        else:
            targets = self.cost.read_targets(y, data.samples, self.outputs)
            counted = data.samples
        self.cost.lower(program, last, targets, counted)
        return NetworkLoss(self, Engine(program, data.inputs, targets), program, _Given(data, targets, counted))

    def _lower(self, data: _Data) -> tuple[Program, Signal]:
        """The program without its cost, and what the last layer gives."""
        program = Program()
        steps = tuple((program.input(self.inputs),) for _ in range(data.times))
        masks = tuple(program.input(1) for _ in range(data.times)) if data.masked else None
        signal = Signal(steps, self._sequences, masks)
        for layer in self.layers:
            arrays = {
                own: program.array(shape, self.penalty.decay(shape) if self.penalty else 0.0)
                for own, shape in layer.shapes.items()
            }
            signal = layer.lower(program, signal, arrays)
        return program, signal

    def _read_inputs(self, X: Any, lengths: Any) -> _Data:
        array = real_array("X", X, allow_bool=True)
        if array.ndim == 1 and self.inputs == 1 and not self._sequences:
            array = array[:, np.newaxis]
        form = ("samples", "times", self.inputs) if self._sequences else ("samples", self.inputs)
        if array.ndim != len(form) or array.shape[-1] != self.inputs:
            hint = "; for one sample use X[np.newaxis]" if array.ndim == len(form) - 1 else ""
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
            return _Data(np.array(array, np.float64, order="C"), np.ones((len(array), 1), np.bool_), False)
        valid = _read_lengths(lengths, *array.shape[:2])
        counted = np.where(valid[:, :, np.newaxis], array, 0).astype(np.float64)
        require_finite("X", counted)
        inputs = counted.reshape(len(array), -1)
        if lengths is not None:
            inputs = np.concatenate([inputs, valid], axis=1, dtype=np.float64)
        return _Data(np.ascontiguousarray(inputs), valid, lengths is not None)

    def _read_states(self, states: Any, samples: int) -> list[NDArray[np.float64]]:
        """The initial states that are data, in the order of the layers, each of shape (samples, hidden)."""
        given = {} if states is None else states
        if not isinstance(given, Mapping) or set(given) != set(self._states):
            expected = f"a dict of {', '.join(self._states)}" if self._states else "none"
            raise ValueError(
                f"states: expected {expected}, got {list(given) if isinstance(given, Mapping) else given!r}"
            )
        arrays = []
        for name, width in self._states.items():
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
        return f"Network({list(self.layers)!r}, cost={self.cost!r}{penalty})"


class _Data(NamedTuple):
    """The data as the program reads them, which (sample, time) count, and whether the masks follow the inputs."""

    inputs: NDArray[np.float64]
    valid: NDArray[np.bool_]
    masked: bool

    def followed_by(self, more: list[NDArray[np.float64]]) -> _Data:
        """The same with more columns after the inputs and masks."""
        return self._replace(inputs=np.concatenate([self.inputs, *more], axis=1)) if more else self

    @property
    def samples(self) -> int:
        return len(self.inputs)

    @property
    def times(self) -> int:
        return int(self.valid.shape[1])


class _Given(NamedTuple):
    """What a loss was made of: the data, the targets, and how many samples (or samples and times) count."""

    data: _Data
    targets: NDArray[np.float64]
    counted: int


class Unrolled(NamedTuple):
    """A network's steps on its data."""

    network: Network
    program: Program
    engine: Engine
    targets: NDArray[np.float64]


def _read_lengths(lengths: Any, samples: int, times: int) -> NDArray[np.bool_]:
    """Which times of each sample count, shape (samples, times)."""
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


class NetworkLoss:
    """A network's cost on given data: call it with parameters, or give it to `gradcheck`.

    Made by `Network.loss`; it keeps its own copy of the data.
    """

    methods = ("units", "incremental", "direct")

    def __init__(self, network: Network, engine: Engine, program: Program, given: _Given) -> None:
        self.network = network
        self._engine = engine
        self._program = program
        self._given = given

    @property
    def samples(self) -> int:
        """How many samples the data have."""
        return self._engine.samples

    @property
    def times(self) -> int:
        """How many times a sample has; 1 if there is no recurrent layer."""
        return self._given.data.times

    def unroll(self) -> Unrolled:
        """The same network, where every initial state that is zero is an input: all times then have the same steps."""
        data, targets, counted = self._given
        layers = [
            replace(layer, initial_state="data")
            if isinstance(layer, Recurrent) and layer.initial_state == "zeros"
            else layer
            for layer in self.network.layers
        ]
        network = Network(layers, self.network.cost, self.network.penalty, list(self.network.shapes))
        ends = np.cumsum([data.times * (self.network.inputs + data.masked), *self.network._states.values()])
        inputs, *parts = np.split(data.inputs, ends[:-1] if self.network._states else [], axis=1)
        given = dict(zip(self.network._states, parts, strict=True))
        states = [given.get(name, np.zeros((data.samples, width))) for name, width in network._states.items()]
        data = data._replace(inputs=inputs).followed_by(states)
        program, last = network._lower(data)
        network.cost.lower(program, last, targets, counted)
        return Unrolled(network, program, Engine(program, data.inputs, targets), targets)

    def __call__(self, params: Tree) -> float:
        """The cost, penalty included, at these parameters (any tree or flat vector that the network takes)."""
        packed = self.pack(params)
        return self.cost(packed, packed.flat)

    def cost(self, params: Packed, theta: NDArray[np.float64]) -> float:
        """The cost at a flat vector `theta`."""
        penalty = float(0.5 * self._decay @ (theta * theta)) if self.network.penalty else 0.0
        return self._engine.cost(theta, resolve(None)) + penalty

    def pack(self, params: Tree) -> Packed:
        """Parameters of this network as a flat vector; see `trees.pack_as` for what is accepted."""
        return pack_as(params, self.network.shapes)

    def fingerprint(self, params: Packed) -> str:
        """What tells this loss from others: the network and its data."""
        engine = self._engine
        return digest(self.network, engine.inputs, engine.targets)

    def faster(self, method: str, seconds: float) -> str:
        """What would take less than these seconds."""
        method, cheaper = self._cheaper if method == "auto" else method, self._cheaper
        if method == cheaper:
            return "with fewer samples it takes less, and executor= spreads it over more processes"
        part = self._engine.method_work(cheaper) / self._engine.method_work(method)
        return f"method={cheaper!r} would take about {duration(part * seconds)}"

    def central_differences(
        self, params: Packed, *, method: str, step: float | None, runner: Runner, kinks: bool = False
    ) -> Numerical:
        """The central differences (E(p + h) - E(p - h)) / 2h; see `numerical_gradient`."""
        method = choose("method", method, ("auto", *self.methods))
        if method == "auto":
            method = self._cheaper
        theta = params.flat
        roundings = lambda: self._engine.roundings(theta, runner.quietly("roundings"))
        if method == "direct":
            gradient = self._direct(theta, step, 1.0, runner)
            again = lambda times: self._direct(jitter(theta), step, times, runner.quietly())
            width = plain_steps(theta, step)[2]
            noise = lambda: abs(self._engine.cost(theta, runner.n_threads)) / width
            quietly = runner.quietly("kinks")
            found = self._kinks(theta, float(width.max(initial=0.0)) / 2.0, quietly, gradient) if kinks else None
            return Numerical(gradient, method, False, step, again, noise, roundings, found)
        for h in EXACT_STEPS if step is None else (step,):
            gradient, found = self._exact(method, theta, h, runner, kinks)
            if _compare.largest(gradient)[1]:  # all are finite
                break
        again = lambda times: self._exact(method, jitter(theta), times * h, runner.quietly(), False)[0]
        return Numerical(gradient, method, True, h, again, lambda: 0.0, roundings, found)

    @cached_property
    def _cheaper(self) -> str:
        return min(("units", "incremental"), key=self._engine.method_work)

    def _exact(
        self, method: str, theta: NDArray[np.float64], h: float, runner: Runner, kinks: bool
    ) -> tuple[NDArray[np.float64], Kinks | None]:
        perturb = self._engine.units if method == "units" else self._engine.incremental
        gradient, found = perturb(theta, h, runner, kinks=kinks)
        if self.network.penalty:  # its own difference, ½λ(w + h)² - ½λ(w - h)² = λw (2h)
            with np.errstate(over="ignore", invalid="ignore"):
                gradient += self._decay * theta
        return gradient, found

    def _direct(
        self, theta: NDArray[np.float64], step: float | None, times: float, runner: Runner
    ) -> NDArray[np.float64]:
        plus, minus, width = plain_steps(theta, step, times)
        changes = self._engine.direct(theta, plus, minus, runner)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.network.penalty:
                changes += 0.5 * self._decay * plus**2 - 0.5 * self._decay * minus**2
        return np.divide(changes, width, out=changes)

    def _kinks(
        self, theta: NDArray[np.float64], h: float, runner: Runner, gradient: NDArray[np.float64]
    ) -> Kinks | None:
        """Those that `direct`, which gave `gradient`, crosses with steps up to h: difference arithmetic sees them."""
        _, crossed = self._exact("incremental", theta, h, runner, True)
        if crossed is None:
            return None
        sharp, here = self._exact("units", theta, EXACT_STEPS[0], runner, True)
        slopes = (sharp, sharp) if here is None else (sharp + here.low, sharp + here.high)
        low, high = (np.where(crossed.where, slope - gradient, 0.0) for slope in slopes)
        return Kinks(crossed.crossed, low, high)

    @cached_property
    def _decay(self) -> NDArray[np.float64]:
        return self._program.decay()

    def __repr__(self) -> str:
        return f"<loss of {self.network!r} on {self._engine.samples} samples>"


def _require_cost(cost: object) -> Cost:
    if isinstance(cost, Cost):
        return cost
    known = [kind.__name__ for kind in Cost.__subclasses__()]
    name = cost if isinstance(cost, str) else getattr(cost, "__name__", "")
    hint = nearest(name, [f"{k}()" for k in known]) if name else ""
    kind = ValueError if isinstance(cost, str) else TypeError
    raise kind(f"cost: expected one of {', '.join(f'gf.{k}()' for k in known)}, got {cost!r}{hint}")
