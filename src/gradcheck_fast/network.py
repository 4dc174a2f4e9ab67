"""Network: names the parameters of its layers, lowers them to a program, and makes compiled losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import real_array, require_finite
from .costs import L2, Cost
from .differences import EXACT_STEP, Numerical, exact_rounding, plain_rounding, plain_steps
from .layers import Layer
from .methods import Engine
from .names import choose, nearest
from .program import Program
from .threads import resolve
from .trees import Packed, Tree, pack_as

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

METHODS = ("auto", "units", "incremental", "direct")


class Network:
    """A feed-forward network: layers one after another, a cost, and perhaps a penalty.

    Parameters
    ----------
    layers : layer or sequence of layers
        Each takes what the one before gives.
    cost : Cost
        Such as ``SquaredError()`` or ``CrossEntropy()``.
    penalty : L2, optional
        Added to the cost.

    Raises
    ------
    TypeError
        If a layer, the cost or the penalty is none.
    ValueError
        If there is no layer, two layers do not chain, or two arrays get one name.
    """

    def __init__(self, layers: Layer | Sequence[Layer], cost: Cost, penalty: L2 | None = None) -> None:
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
        self.shapes: dict[str, tuple[int, ...]] = {}
        for number, layer in enumerate(self.layers, 1):
            for own, shape in layer.shapes.items():
                name = f"{layer.name}.{own}" if layer.name else f"{own}{number}"
                if name in self.shapes:
                    raise ValueError(f"layer {number}: another layer has an array {name!r} too; give it another name")
                self.shapes[name] = shape

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

    def predict(self, params: Tree, X: Any, *, n_threads: int | None = None) -> NDArray[np.float64]:
        """The outputs of the last layer.

        Parameters
        ----------
        params : tree of arrays or flat vector
        X : array_like, shape (samples, inputs)

        Returns
        -------
        ndarray, shape (samples, outputs)
        """
        threads = resolve(n_threads)
        program, last = self._lower()
        packed = pack_as(params, self.shapes)
        inputs = self._read_inputs(X)
        return Engine(program, inputs, np.empty((len(inputs), 0))).values(packed.flat, last, threads)

    def loss(self, X: Any, y: Any) -> NetworkLoss:
        """A compiled ``loss(params) -> float`` on these data.

        Parameters
        ----------
        X : array_like, shape (samples, inputs)
        y : array_like, shape (samples, outputs)
            Or (samples,) for one output, or for the class indices of `CrossEntropy`.

        Raises
        ------
        TypeError, ValueError
            If X or y has another shape, is not real or not finite, or y does not fit the cost.
        """
        inputs = self._read_inputs(X)
        targets = self.cost.read_targets(y, len(inputs), self.outputs)
        program, last = self._lower()
        self.cost.lower(program, last, targets)
        return NetworkLoss(self, Engine(program, inputs, targets), program)

    def _lower(self) -> tuple[Program, int]:
        """The program without its cost, and its last step."""
        program = Program()
        step = program.input(self.inputs)
        for layer in self.layers:
            parameters = {
                own: program.parameter(shape, self.penalty.decay(shape) if self.penalty else 0.0)
                for own, shape in layer.shapes.items()
            }
            step = layer.lower(program, step, parameters)
        return program, step

    def _read_inputs(self, X: Any) -> NDArray[np.float64]:
        array = real_array("X", X, allow_bool=True)
        if array.ndim == 1 and self.inputs == 1:
            array = array[:, np.newaxis]
        if array.ndim != 2 or array.shape[1] != self.inputs:
            hint = "; for one sample use X[np.newaxis, :]" if array.shape == (self.inputs,) else ""
            raise ValueError(f"X: expected the shape (samples, {self.inputs}), got {array.shape}{hint}")
        if len(array) == 0:
            raise ValueError("X: expected at least one sample, got none")
        require_finite("X", array)
        return np.array(array, np.float64, order="C")

    def __repr__(self) -> str:
        penalty = f", penalty={self.penalty!r}" if self.penalty else ""
        return f"Network({list(self.layers)!r}, cost={self.cost!r}{penalty})"


class NetworkLoss:
    """A network's cost on given data: call it with parameters, or give it to `gradcheck`.

    Made by `Network.loss`; it keeps its own copy of the data.
    """

    def __init__(self, network: Network, engine: Engine, program: Program) -> None:
        self.network = network
        self._engine = engine
        self._program = program
        self._decay = program.decay()

    def __call__(self, params: Tree) -> float:
        """The cost, penalty included, at these parameters (any tree or flat vector that the network takes)."""
        theta = self.pack(params).flat
        return self._engine.cost(theta, resolve(None)) + float(0.5 * self._decay @ (theta * theta))

    def pack(self, params: Tree) -> Packed:
        """Parameters of this network as a flat vector; see `trees.pack_as` for what is accepted."""
        return pack_as(params, self.network.shapes)

    def central_differences(
        self, params: Packed, *, method: str, step: float | None, n_threads: int, report: Callable[[float], object]
    ) -> Numerical:
        """The central differences (E(p + h) - E(p - h)) / 2h; see `numerical_gradient`."""
        method = choose("method", method, METHODS)
        if method == "auto":
            method = self._cheaper()
        if method == "direct":
            return self._direct(params.flat, step, n_threads, report)
        h = EXACT_STEP if step is None else step
        run = self._engine.units if method == "units" else self._engine.incremental
        changes, magnitude = run(params.flat, h, n_threads, report)
        with np.errstate(over="ignore", invalid="ignore"):
            # the penalty's own difference, ½λ(w + h)² - ½λ(w - h)² = λ(w (2h))
            changes += self._decay * params.flat * (2 * h)
            return Numerical(changes / (2 * h), method, True, h, exact_rounding(magnitude / (2 * h)))

    def _cheaper(self) -> str:
        engine = self._engine
        return "units" if engine.work(engine.unit_routes) <= engine.work(engine.parameter_routes) else "incremental"

    def _direct(
        self, theta: NDArray[np.float64], step: float | None, n_threads: int, report: Callable[[float], object]
    ) -> Numerical:
        plus, minus, width = plain_steps(theta, step)
        changes = self._engine.direct(theta, plus, minus, n_threads, report)
        with np.errstate(over="ignore", invalid="ignore"):
            changes += 0.5 * self._decay * plus**2 - 0.5 * self._decay * minus**2
        rounding = plain_rounding(self._engine.cost(theta, n_threads), width)
        return Numerical(changes / width, "direct", False, step, rounding)

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
