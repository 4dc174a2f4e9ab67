"""The loss of a network that is a program of tensor steps: its forward pass in NumPy, written down once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gradcheck_fast.engine.units import differences_of_units
from gradcheck_fast.engine.units_plan import UnitsPlan
from gradcheck_fast.frontends.graphs.graph_loss import GraphLoss
from gradcheck_fast.frontends.graphs.replay import replayed
from gradcheck_fast.frontends.network.placed import named
from gradcheck_fast.frontends.numpy_trace.trace import Traced, as_cost
from gradcheck_fast.inputs.arguments import choose
from gradcheck_fast.inputs.arrays import same_bits
from gradcheck_fast.inputs.trees import pack_as

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.frontends.network.cost import Cost
    from gradcheck_fast.frontends.network.placed import Placed
    from gradcheck_fast.frontends.network.targets import Targets
    from gradcheck_fast.frontends.numpy_trace.array import TracedArray
    from gradcheck_fast.frontends.numpy_trace.recording import Recording
    from gradcheck_fast.inputs.trees import Packed, Tree
    from gradcheck_fast.losses.network_loss import Penalty
    from gradcheck_fast.numerical.gradient import Numerical
    from gradcheck_fast.program.program import Program
    from gradcheck_fast.running.runner import Runner


class Runnable(Protocol):
    """What a loss needs to know of its network."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of its arrays, by name."""

    @property
    def placed(self) -> tuple[Placed, ...]: ...

    @property
    def cost(self) -> Cost: ...

    @property
    def penalty(self) -> Penalty | None:
        """The penalty on its weights; None if it has none."""

    def init(self, seed: int | None = None) -> dict[str, NDArray[np.float64]]: ...

    def forward(self, X: Any, arrays: Mapping[str, Any]) -> Any: ...


class ForwardPass:
    """The cost of a network on given data, as a function of its parameters.

    Parameters
    ----------
    network : Runnable
    X : ndarray
    targets : Targets
    """

    def __init__(self, network: Runnable, X: NDArray[Any], targets: Targets) -> None:
        self.network, self.X, self.targets = network, X, targets

    def __call__(self, params: Tree) -> float:
        """Computes the cost at any tree or flat vector of parameters that the network takes."""
        packed = pack_as(params, self.network.shapes, finite=False)
        with np.errstate(all="ignore"):
            return float(self._cost(dict(packed.arrays(packed.flat))))

    def replay(self, recording: Recording, arrays: dict[str, TracedArray]) -> Any:
        """Computes the cost of arrays that record what is done to them."""
        return self._cost(arrays)

    def _cost(self, arrays: Mapping[str, Any]) -> Any:
        network = self.network
        outputs = network.forward(self.X, arrays)
        with named(f"cost, {type(network.cost).__name__}", arrays):
            cost = network.cost.on_arrays(outputs, self.targets)
        if network.penalty is None:
            return cost
        with named("penalty, L2", arrays):
            for name, shape in network.shapes.items():
                decay = network.penalty.decay(shape)
                if decay:
                    cost = cost + (0.5 * decay) * np.sum(np.square(arrays[name]))
        return cost


class TensorLoss(GraphLoss):
    """A network's cost on given data: call it with parameters, or give it to `gradcheck`.

    `Network.loss` makes it where not all layers are dense or recurrent ones. It keeps its own copy of the data.

    Parameters
    ----------
    forward : ForwardPass
    found : Traced
    params : Packed
        Where it was written down.
    """

    methods = ("units", "chain", "incremental", "direct")
    function: ForwardPass

    def __init__(self, forward: ForwardPass, found: Traced, params: Packed) -> None:
        super().__init__(forward, found, params)
        self.network = forward.network

    @classmethod
    def of(cls, network: Runnable, X: NDArray[Any], targets: Targets) -> TensorLoss:
        """Writes the forward pass of a network down."""
        forward = ForwardPass(network, X, targets)
        params = pack_as(network.init(0), network.shapes)
        return cls(forward, Traced.of(*replayed(forward.replay, params, as_cost)), params)

    @property
    def samples(self) -> int:
        """How many samples the data have."""
        return len(self.function.X)

    def pack(self, params: Tree) -> Packed:
        """Makes a flat vector of parameters of this network; `trees.pack_as` says in which forms they may be."""
        return pack_as(params, self.network.shapes)

    def central_differences(
        self, params: Packed, *, method: str, step: float | None, runner: Runner, kinks: bool = False,
        entries: NDArray[np.intp] | None = None,
    ) -> Numerical:  # fmt: skip
        """Finds the gradient; see `ProgramLoss`.

        Raises
        ------
        TypeError, ValueError
            If the method is none of `methods`; if it is ``units``, and samples are mixed; or as `ProgramLoss` says.
        """
        if choose("method", method, ("auto", *self.methods)) == "units" and step is None:
            self._require_apart()
        return super().central_differences(
            params, method=method, step=step, runner=runner, kinks=kinks, entries=entries
        )

    @cached_property
    def _units(self) -> UnitsPlan:
        return UnitsPlan(self.engine, self.samples)

    def _differences(
        self, method: str, theta: NDArray[np.float64], runner: Runner, entries: NDArray[np.intp] | None
    ) -> tuple[NDArray[np.float64], float]:
        if method != "units":
            return super()._differences(method, theta, runner, entries)
        return differences_of_units(self._units, theta, runner)

    def _require_apart(self) -> None:
        """Raises a ValueError if samples are mixed, or the cost is no sum of parts by samples; it names the layer."""
        units, steps = self._units, self.program.steps
        if not units.mixed and not units.whole:
            return
        others = self._of_others()
        mixed = [steps[number].source.name for number in units.mixed if self._reads_data(number, others)]
        mixing = [steps[number].source.name for number, source in units.mixing if self._reads_data(source, others)]
        whole = [steps[number].source.name for number in units.whole if self._reads_data(number, others)]
        if not mixed and not whole:
            return
        if units.unknown:
            message = f"it is not known whether {steps[units.unknown[0]]} mixes samples"
        elif whole:
            message = f"{whole[0]} is no sum of parts, one for each of {self.samples} samples"
        else:
            message = f"{mixing[0]} mixes samples" if mixing else f"samples are mixed in or after {mixed[0]}"
        raise ValueError(f"method: 'units': {message}; use 'incremental' or 'chain'")

    def _of_others(self) -> Program:
        """Writes the forward pass down for other data: the samples in another order."""
        forward = ForwardPass(self.network, np.roll(self.function.X, 1, axis=0), self.function.targets)
        return Traced.of(*replayed(forward.replay, self._params, as_cost)).program

    def _reads_data(self, number: int, others: Program) -> bool:
        """Whether a step depends on the data, and not on the parameters alone: whether it is another for other data."""
        steps, above, waiting = self.program.steps, {number}, [number]
        while waiting:
            more = set(steps[waiting.pop()].inputs) - above
            above |= more
            waiting += more
        return any(
            k >= len(others.steps)
            or steps[k].attributes.keys() != others.steps[k].attributes.keys()
            or not all(
                np.array_equal(value, others.steps[k].attributes[key]) for key, value in steps[k].attributes.items()
            )
            for k in above
        )

    def _by_chain(self, params: Packed, runner: Runner) -> Numerical | str:
        if same_bits(params.flat, self._params.flat):  # at other parameters this is looked at anyway
            said = self.disagreement(self.looking_at(params))
            if said:
                return f"the program of the network is not used, for {said}"
        return super()._by_chain(params, runner)

    def __repr__(self) -> str:
        return f"<loss of {self.network!r} on {self.samples} samples>"
