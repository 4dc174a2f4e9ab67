"""Defines the costs, which make one number of a network's outputs and the targets, and the penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.inputs.arguments import choose, number, true_or_false
from gradcheck_fast.inputs.arrays import first_index, format_index, real_array, require_finite
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

    def __post_init__(self) -> None:
        choose(f"{type(self).__name__}: reduction", self.reduction, REDUCTIONS)

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


def _require(what: str, good: NDArray[np.bool_], targets: NDArray[Any]) -> None:
    if not good.all():
        index = first_index(~good)
        raise ValueError(f"y: {targets[index]} at index {format_index(index)}; {what}")


@dataclass(frozen=True)
class SquaredError(Cost):
    """Squared error, ``factor * (y - x)^2``.

    Parameters
    ----------
    factor : float
        1 is PyTorch's MSELoss; 0.5 is the ½(y − x)² of many textbooks.
    """

    factor: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        number("SquaredError: factor", self.factor, positive=True)

    def _kernel(self, by_class: bool) -> tuple[str, float]:
        return "squared_error", self.factor


@dataclass(frozen=True)
class AbsoluteError(Cost):
    """Absolute error, ``|y - x|`` (PyTorch's L1Loss)."""

    def _kernel(self, by_class: bool) -> tuple[str, float]:
        return "absolute_error", 0.0


@dataclass(frozen=True)
class Huber(Cost):
    """Huber's error: with r = x − y, ``r^2 / 2`` up to \\|r\\| = delta and ``delta (|r| - delta/2)`` beyond.

    Parameters
    ----------
    delta : float
        The \\|r\\| at which it turns from quadratic to linear.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        number("Huber: delta", self.delta, positive=True)

    def _kernel(self, by_class: bool) -> tuple[str, float]:
        return "huber", self.delta


@dataclass(frozen=True)
class BinaryCrossEntropy(Cost):
    """Binary cross-entropy, ``-y log p - (1 - y) log(1 - p)``, for targets between 0 and 1.

    Parameters
    ----------
    from_logits : bool
        True: the network's outputs are logits, p = sigmoid(x). False: they are the probabilities p themselves.
    """

    from_logits: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        true_or_false("BinaryCrossEntropy: from_logits", self.from_logits)

    def _kernel(self, by_class: bool) -> tuple[str, float]:
        return "binary_cross_entropy_logits" if self.from_logits else "binary_cross_entropy_probabilities", 0.0

    def _check_values(self, targets: NDArray[Any], outputs: int) -> None:
        _require("BinaryCrossEntropy expects targets between 0 and 1", (targets >= 0) & (targets <= 1), targets)


@dataclass(frozen=True)
class CrossEntropy(Cost):
    """Cross-entropy, ``-sum_k y_k log p_k``, for class indices, shape (samples,), or rows of probabilities.

    Parameters
    ----------
    from_logits : bool
        True: the network's outputs are logits, p = softmax(x). False: they are the probabilities p themselves.
    """

    from_logits: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        true_or_false("CrossEntropy: from_logits", self.from_logits)

    def _elements(self, outputs: int) -> int:
        return 1

    def _kernel(self, by_class: bool) -> tuple[str, float]:
        if self.from_logits:
            return "cross_entropy_logits_class" if by_class else "cross_entropy_logits", 0.0
        return "cross_entropy_probabilities_class" if by_class else "cross_entropy_probabilities", 0.0

    def read_targets(self, y: Any, samples: int, outputs: int) -> NDArray[np.float64]:
        targets = super().read_targets(y, samples, outputs)
        return np.ones_like(targets) if outputs == 1 else targets  # one class: class 0 and probability 1 are the same

    def _forms(self, samples: int, outputs: int) -> dict[tuple[int, ...], str]:
        return {(samples, outputs): " (rows of probabilities)", (samples,): f" ({samples} class indices)"}

    def _check_values(self, targets: NDArray[Any], outputs: int) -> None:
        if targets.ndim == 1:
            if targets.dtype.kind not in "iu":
                raise TypeError(f"y: class indices must be integers, got dtype {targets.dtype}; use y.astype(int)")
            _require(f"class indices run from 0 to {outputs - 1}", (targets >= 0) & (targets < outputs), targets)
            return
        _require("CrossEntropy expects probabilities", targets >= 0, targets)
        sums = targets.sum(axis=1, dtype=np.float64)
        good = np.abs(sums - 1) < 1e-4
        _require("CrossEntropy expects rows of probabilities that add up to 1; this is the sum of a row", good, sums)


@dataclass(frozen=True)
class L2:
    """The penalty ``strength / 2 * sum of W^2``, which is added to the cost whatever its reduction is.

    Parameters
    ----------
    strength : float
    biases : bool
        Whether biases are penalised too.
    """

    strength: float
    biases: bool = False

    def __post_init__(self) -> None:
        number("L2: strength", self.strength)
        true_or_false("L2: biases", self.biases)

    def decay(self, shape: tuple[int, ...]) -> float:
        """Returns the strength for an array of that shape, where a vector is taken for a bias."""
        return self.strength if self.biases or len(shape) > 1 else 0.0
