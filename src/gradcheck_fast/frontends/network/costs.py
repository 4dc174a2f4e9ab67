"""Defines the costs that programs of rows know, too, and the penalty."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.network.cost import Cost
from gradcheck_fast.frontends.network.targets import (
    Read,
    along,
    class_axis,
    class_weights,
    read_classes,
    require_values,
    require_weights,
)
from gradcheck_fast.frontends.operators import costs as operators
from gradcheck_fast.frontends.operators.activations import logsumexp, softplus
from gradcheck_fast.frontends.operators.elementary import reshaped
from gradcheck_fast.inputs.arguments import integer, number, true_or_false
from gradcheck_fast.inputs.arrays import real_array, require_finite

if TYPE_CHECKING:
    from numpy.typing import NDArray


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

    @property
    def has_rows(self) -> bool:
        return True

    def _losses(self, x: Any, targets: Any) -> Any:
        return self.factor * operators.mse(reshaped(x, (-1,)), targets, reduction="none")

    def _kernel(self, by_class: bool) -> tuple[str, float]:
        return "squared_error", self.factor


@dataclass(frozen=True)
class AbsoluteError(Cost):
    """Absolute error, ``|y - x|`` (PyTorch's L1Loss)."""

    @property
    def has_rows(self) -> bool:
        return True

    def _losses(self, x: Any, targets: Any) -> Any:
        return operators.l1(reshaped(x, (-1,)), targets, reduction="none")

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

    @property
    def has_rows(self) -> bool:
        return True

    def _losses(self, x: Any, targets: Any) -> Any:
        return operators.huber(reshaped(x, (-1,)), targets, delta=self.delta, reduction="none")

    def _kernel(self, by_class: bool) -> tuple[str, float]:
        return "huber", self.delta


@dataclass(frozen=True)
class BinaryCrossEntropy(Cost):
    """Binary cross-entropy, ``-y log p - (1 - y) log(1 - p)``, for targets between 0 and 1.

    Parameters
    ----------
    from_logits : bool
        True: the network's outputs are logits, p = sigmoid(x). False: they are the probabilities p themselves.
    label_smoothing : float
        The share s of ½ in the targets, y (1 - s) + s / 2, as in Keras.
    pos_weight : float or array_like, optional
        What the term y log p is multiplied with: one number, or one for each output along the last axis (PyTorch).
    """

    from_logits: bool = True
    _: KW_ONLY
    label_smoothing: float = 0.0
    pos_weight: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        true_or_false("BinaryCrossEntropy: from_logits", self.from_logits)
        share("BinaryCrossEntropy: label_smoothing", self.label_smoothing)
        given = None if self.pos_weight is None else np.atleast_1d(self.pos_weight)
        object.__setattr__(self, "pos_weight", class_weights("BinaryCrossEntropy: pos_weight", given))

    @property
    def has_rows(self) -> bool:
        return not self.label_smoothing and self.pos_weight is None

    def _read(self, y: Any, shape: tuple[int, ...], lengths: Any) -> Read:
        read = super()._read(y, shape, lengths)
        y = read.values * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        if self.pos_weight is not None and len(self.pos_weight) not in (1, shape[-1]):
            raise ValueError(
                f"BinaryCrossEntropy: pos_weight: expected 1 or {shape[-1]} numbers, got {len(self.pos_weight)}"
            )
        weights = np.ones(1) if self.pos_weight is None else np.array(self.pos_weight)
        return read._replace(values=(y * np.broadcast_to(weights, shape).ravel(), 1.0 - y))

    def _losses(self, x: Any, targets: Any) -> Any:
        x, (ones, zeros) = reshaped(x, (-1,)), targets
        if self.from_logits:
            return ones * softplus(-x) + zeros * softplus(x)
        return weighted_log(ones, x) + weighted_log(zeros, 1.0 - x)

    def _kernel(self, by_class: bool) -> tuple[str, float]:
        return "binary_cross_entropy_logits" if self.from_logits else "binary_cross_entropy_probabilities", 0.0

    def _check_values(self, targets: NDArray[Any], outputs: int) -> None:
        require_values("BinaryCrossEntropy expects targets between 0 and 1", (targets >= 0) & (targets <= 1), targets)


@dataclass(frozen=True)
class CrossEntropy(Cost):
    """Cross-entropy, ``-sum_k y_k log p_k``, for class indices, shape (samples,), or rows of probabilities.

    Parameters
    ----------
    from_logits : bool
        True: the network's outputs are logits, p = softmax(x). False: they are the probabilities p themselves.
    weight : array_like, shape (classes,), optional
        The weights w of the classes: each term is multiplied with that of its class. With class indices a mean is over
        the sum of the weights of the targets, as in PyTorch.
    ignore_index : int, optional
        The class index of targets that do not count, such as PyTorch's -100.
    label_smoothing : float
        The share s of the uniform distribution in the targets, y (1 - s) + s / classes.
    axis : int
        The axis of the classes: the last one, or 1 as in PyTorch. Then y has the shape of the outputs, or theirs
        without this axis.
    """

    from_logits: bool = True
    _: KW_ONLY
    weight: Any = None
    ignore_index: int | None = None
    label_smoothing: float = 0.0
    axis: int = -1

    def __post_init__(self) -> None:
        super().__post_init__()
        true_or_false("CrossEntropy: from_logits", self.from_logits)
        object.__setattr__(self, "weight", class_weights("CrossEntropy: weight", self.weight))
        ignored("CrossEntropy", self.ignore_index)
        share("CrossEntropy: label_smoothing", self.label_smoothing)
        class_axis("CrossEntropy: axis", self.axis)

    @property
    def has_rows(self) -> bool:
        return self.weight is None and self.ignore_index is None and not self.label_smoothing and self.axis == -1

    def _read(self, y: Any, shape: tuple[int, ...], lengths: Any) -> Read:
        array, (count, form) = real_array("y", y, allow_bool=True), along(shape, self.axis)
        require_weights("CrossEntropy: weight", self.weight, count)
        self._require_form(
            array, {form: " (class indices)", shape: " (probabilities)"}, f"outputs of the shape {shape}"
        )
        require_finite("y", array)
        of_classes = np.ones(count) if self.weight is None else np.array(self.weight)
        uniform = self.label_smoothing / count
        if array.shape == shape:
            p = np.moveaxis(array, self.axis, -1).reshape(-1, count).astype(np.float64)
            self._check_values(p, count)
            rows = (p * (1.0 - self.label_smoothing) + uniform) * of_classes
            return _as_rows(rows, form, None)
        classes = read_classes(array, count, self.ignore_index)
        weights = classes.weights(self.weight)
        if not self.label_smoothing:
            return Read(classes.numbers, form, weights, float(weights.sum()))
        rows = np.tile(uniform * of_classes, (len(weights), 1)) * classes.counted[:, np.newaxis]
        rows[np.arange(len(weights)), classes.numbers] += (1.0 - self.label_smoothing) * weights
        return _as_rows(rows, form, float(weights.sum()))

    def _losses(self, x: Any, targets: Any) -> Any:
        """Computes log(1 + e^(s - x_y)), where s is the logarithm of the sum of e^x over all classes but y.

        That is -log p_y, and subtracts no numbers near 1 where the class has nearly all of the probability. With other
        targets it is the logarithm of the sum of e^(x - m), where m is the mean of x with the targets as weights.
        """
        rows = np.moveaxis(x, self.axis, -1)
        rows = reshaped(rows, (-1, rows.shape[-1]))
        if targets.ndim == 1:
            own = rows[np.arange(len(targets)), targets]
            if not self.from_logits:
                return -np.log(own)
            is_own = np.arange(rows.shape[-1]) == targets[:, np.newaxis]
            return softplus(logsumexp(np.where(is_own, -np.inf, rows), axis=-1) - own)
        if self.from_logits:
            return logsumexp(rows - np.sum(targets * rows, axis=-1, keepdims=True), axis=-1)
        return np.sum(weighted_log(targets, rows), axis=-1)

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
            require_values(f"class indices run from 0 to {outputs - 1}", (targets >= 0) & (targets < outputs), targets)
            return
        require_values("CrossEntropy expects probabilities", targets >= 0, targets)
        sums = targets.sum(axis=1, dtype=np.float64)
        good = np.abs(sums - 1) < 1e-4
        require_values(
            "CrossEntropy expects rows of probabilities that add up to 1; this is the sum of a row", good, sums
        )


def _as_rows(rows: NDArray[np.float64], form: tuple[int, ...], total: float | None) -> Read:
    """Returns rows that add up to 1, or classes if all of each is one class, with what they added up to as weights."""
    sums = rows.sum(axis=1)
    if (np.count_nonzero(rows, axis=1) <= 1).all():
        return Read(rows.argmax(axis=1), form, sums, total)
    return Read(rows / np.where(sums == 0.0, 1.0, sums)[:, np.newaxis], form, sums, total)


def weighted_log(w: Any, x: Any) -> Any:
    """Returns -w log x, which is 0 where w = 0, even if x is 0 there."""
    return -w * np.log(np.where(w == 0.0, 1.0, x))


def share(what: str, value: Any) -> None:
    """Raises an error unless a value is a share, a number from 0 up to, and without, 1."""
    if number(what, value) >= 1.0:
        raise ValueError(f"{what}: expected a number of at least 0 and less than 1, got {value!r}")


def ignored(kind: str, index: Any) -> None:
    """Raises an error unless the class that is ignored is an integer, or None."""
    if index is not None:
        integer(f"{kind}: ignore_index", abs(index) if isinstance(index, int) else index)


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
