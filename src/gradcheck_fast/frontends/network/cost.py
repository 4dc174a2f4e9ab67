"""Defines `Cost`, the base class of the costs, which make one number of a network's outputs and the targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gradcheck_fast.frontends.network.targets import Read, Targets, weighted
from gradcheck_fast.inputs.arguments import choose
from gradcheck_fast.inputs.arrays import real_array, require_finite
from gradcheck_fast.program.steps.costs import BEFORE_LINK, COSTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.frontends.network.layers import Signal
    from gradcheck_fast.program.program import Program

#: The ways to add up, or average, the costs of all samples and outputs.
REDUCTIONS = ("sum", "batchmean", "mean")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The base class of all costs.

    A cost on arrays is written once, in NumPy: on arrays that record what is done to them it writes its steps. Those
    costs that programs of rows know, too, also lower themselves to one of their steps.

    Parameters
    ----------
    reduction : {"mean", "batchmean", "sum"}
        The names are PyTorch's. Over samples n and outputs k, ``"sum"`` is Σ_n Σ_k, ``"batchmean"`` is 1/N Σ_n Σ_k,
        and ``"mean"`` is the mean of all elements (for `CrossEntropy`, which has one element per sample, the mean of
        all samples).

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.
    """

    reduction: str = "mean"

    #: Whether the cost looks at the first times of each sample only, if it is given their numbers.
    takes_lengths: ClassVar[bool] = False

    def __post_init__(self) -> None:
        choose(f"{type(self).__name__}: reduction", self.reduction, REDUCTIONS)

    @property
    def has_rows(self) -> bool:
        """Whether a program of rows knows this cost, with these options."""
        return False

    # ---- on arrays

    def targets(self, y: Any, shape: tuple[int, ...], sample_weight: Any = None, lengths: Any = None) -> Targets:
        """Reads the targets for outputs of some shape, which begins with the samples.

        Raises
        ------
        TypeError, ValueError
            If they do not fit the cost or the outputs, or the weights do not fit them.
        """
        read = self._read(y, shape, lengths)
        losses = int(np.prod(read.form))
        mean = losses if read.total is None else read.total
        divisor = {"sum": 1.0, "batchmean": read.form[0], "mean": mean}[self.reduction]
        return weighted(read, sample_weight, float(divisor))

    def on_arrays(self, x: Any, targets: Targets) -> Any:
        """Returns the cost of outputs `x`, plain ones or such that record, as one number."""
        losses = self._losses(x, targets.values)
        if targets.kept is not None:
            losses = losses[targets.kept]
        if targets.weights is not None:
            losses = losses * targets.weights
        return np.sum(losses) / targets.divisor

    def _read(self, y: Any, shape: tuple[int, ...], lengths: Any) -> Read:
        """Reads targets of the shape of the outputs, one for each of them; an axis of length 1 may be missing."""
        array = real_array("y", y, allow_bool=True)
        forms = dict.fromkeys((shape, shape[:-1]) if shape[-1] == 1 else (shape,), "")
        self._require_form(array, forms, f"outputs of the shape {shape}")
        require_finite("y", array)
        self._check_values(array, 0)
        return Read(array.astype(np.float64).ravel(), shape)

    def _losses(self, x: Any, targets: Any) -> Any:
        """Returns the loss of each target, as one flat vector."""
        raise NotImplementedError

    # ---- in a program of rows

    def lower(self, program: Program, signal: Signal, targets: NDArray[np.float64], counted: int) -> None:
        """Adds the steps that compute the cost of `signal`.

        Parameters
        ----------
        program : Program
        signal : Signal
            What the last layer gives.
        targets : ndarray of float64, shape (samples, times * width)
        counted : int
            The number of samples, or of pairs of sample and time, that count.
        """
        width = sum(program.steps[step].shape[1] for step in signal.parts[0])
        divisor = {"sum": 1, "batchmean": len(targets), "mean": counted * self._elements(width)}[self.reduction]
        by_class = targets.shape[1] == len(signal.parts) and width > 1
        kernel, constant = self._kernel(by_class)
        if len(signal.parts[0]) > 1 and not COSTS[kernel].separable:
            raise ValueError(
                f"{type(self).__name__} needs the outputs of one layer; put a Dense after the bidirectional one"
            )
        for time, parts in enumerate(signal.parts):
            mask = signal.masks[time] if signal.masks else None
            for step in parts:
                name, at, last = kernel, step, program.steps[step]
                before = BEFORE_LINK.get(kernel)
                if before and last.name == before.link:  # logits lose nothing where it is saturated
                    name, at = before.name, last.inputs[0]
                target = program.target(1 if by_class else last.shape[1])
                program.cost(name, at, target, constant=constant, scale=1.0 / divisor, mask=mask)

    def read_sequences(
        self, y: Any, samples: int, times: int, outputs: int, valid: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Returns the targets of all times as a float64 array of shape (samples, times * width).

        `valid`, of shape (samples, times), says which of them are looked at.

        Raises
        ------
        TypeError, ValueError
            If they do not fit the cost, the samples, the times or the outputs.
        """
        array = real_array("y", y, allow_bool=True)
        forms = {(samples, times, *shape[1:]): meaning for shape, meaning in self._forms(samples, outputs).items()}
        self._require_form(array, forms, f"{samples} samples of {times} times")
        array = array.copy()
        array[~valid] = array[0, 0]  # every sample has a first time
        require_finite("y", array)
        flat = array.reshape(samples * times, *array.shape[2:])
        return self.read_targets(flat, samples * times, outputs).reshape(samples, -1)

    def read_targets(self, y: Any, samples: int, outputs: int) -> NDArray[np.float64]:
        """Returns the targets as a float64 array of shape (samples, width).

        Raises
        ------
        TypeError, ValueError
            If they do not fit the cost, the samples or the outputs.
        """
        array = real_array("y", y, allow_bool=True)
        self._require_form(array, self._forms(samples, outputs), f"{samples} samples")
        require_finite("y", array)
        self._check_values(array, outputs)
        return np.array(array, np.float64, order="C").reshape(samples, -1)

    def _require_form(self, array: NDArray[Any], forms: dict[tuple[int, ...], str], data: str) -> None:
        if array.shape not in forms:
            expected = " or ".join(f"{shape}{meaning}" for shape, meaning in forms.items())
            raise ValueError(f"y: {type(self).__name__} on {data} expects {expected}, got {array.shape}")

    def _elements(self, outputs: int) -> int:
        return outputs

    def _kernel(self, by_class: bool) -> tuple[str, float]:
        """Returns the name of the cost's primitive, and its constant."""
        raise NotImplementedError

    def _forms(self, samples: int, outputs: int) -> dict[tuple[int, ...], str]:
        """Returns the shapes that targets may have, and what errors say about each."""
        rows: dict[tuple[int, ...], str] = {(samples, outputs): ""}
        return {**rows, (samples,): ""} if outputs == 1 else rows

    def _check_values(self, targets: NDArray[Any], outputs: int) -> None:
        pass
