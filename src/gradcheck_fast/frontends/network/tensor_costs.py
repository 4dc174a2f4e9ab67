"""Costs on arrays alone: of logarithms of probabilities, of margins, of pairs and triplets, and of alignments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gradcheck_fast.frontends.network.cost import Cost
from gradcheck_fast.frontends.network.costs import ignored
from gradcheck_fast.frontends.network.targets import (
    Read,
    along,
    class_axis,
    class_weights,
    read_classes,
    read_lengths,
    require_values,
    require_weights,
)
from gradcheck_fast.frontends.operators import costs as operators
from gradcheck_fast.frontends.operators.activations import log_softmax
from gradcheck_fast.frontends.operators.ctc import ctc
from gradcheck_fast.frontends.operators.elementary import reshaped
from gradcheck_fast.inputs.arguments import integer, number, true_or_false
from gradcheck_fast.inputs.arrays import real_array, require_finite

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class KLDivergence(Cost):
    """The Kullback-Leibler divergence, ``y (log y - log p)``, of targets y of the shape of the outputs.

    Parameters
    ----------
    log_target : bool
        Whether the targets are logarithms of y.
    from_log : bool
        True: the network's outputs are log p, as for PyTorch's KLDivLoss. False: they are p, as in Keras, which also
        clips them to at least 1e-7; this does not.

    Notes
    -----
    What PyTorch calls "batchmean" is the divergence itself; "mean" divides it by the number of outputs, too.
    """

    log_target: bool = False
    from_log: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        true_or_false("KLDivergence: log_target", self.log_target)
        true_or_false("KLDivergence: from_log", self.from_log)

    def _check_values(self, targets: NDArray[Any], outputs: int) -> None:
        if not self.log_target:
            require_values("KLDivergence expects probabilities", targets >= 0, targets)

    def _losses(self, x: Any, targets: Any) -> Any:
        x = reshaped(x, (-1,))
        y = np.exp(targets) if self.log_target else targets
        log_p = x if self.from_log else np.log(np.where(y == 0.0, 1.0, x))
        return operators.kl_div(log_p, targets, log_target=self.log_target, reduction="none")


@dataclass(frozen=True)
class NegativeLogLikelihood(Cost):
    """Negative log-likelihood, ``-log p`` of the class of each sample (PyTorch's NLLLoss); the outputs are log p.

    Parameters
    ----------
    weight, ignore_index, axis
        As for `CrossEntropy`, with class indices as targets.
    """

    weight: Any = None
    ignore_index: int | None = None
    axis: int = -1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "weight", class_weights("NegativeLogLikelihood: weight", self.weight))
        ignored("NegativeLogLikelihood", self.ignore_index)
        class_axis("NegativeLogLikelihood: axis", self.axis)

    def _read(self, y: Any, shape: tuple[int, ...], lengths: Any) -> Read:
        array, (count, form) = real_array("y", y), along(shape, self.axis)
        require_weights("NegativeLogLikelihood: weight", self.weight, count)
        self._require_form(array, {form: " (class indices)"}, f"outputs of the shape {shape}")
        classes = read_classes(array, count, self.ignore_index)
        weights = classes.weights(self.weight)
        return Read(classes.numbers, form, weights, float(weights.sum()))

    def _losses(self, x: Any, targets: Any) -> Any:
        rows = np.moveaxis(x, self.axis, -1)
        rows = reshaped(rows, (-1, rows.shape[-1]))
        return -rows[np.arange(len(targets)), targets]


@dataclass(frozen=True)
class Hinge(Cost):
    """The hinge loss, ``max(0, margin - y x)``, for targets of -1 and 1 of the shape of the outputs.

    Parameters
    ----------
    margin : float
    squared : bool
        Whether it is squared (Keras's SquaredHinge).
    """

    margin: float = 1.0
    squared: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        number("Hinge: margin", self.margin)
        true_or_false("Hinge: squared", self.squared)

    def _check_values(self, targets: NDArray[Any], outputs: int) -> None:
        good = np.isin(targets, (-1, 1)) if targets.dtype != np.bool_ else np.zeros(targets.shape, np.bool_)
        require_values("Hinge expects -1 and 1; of 0 and 1 these are 2 * y - 1", good, targets)

    def _losses(self, x: Any, targets: Any) -> Any:
        found = np.maximum(self.margin - targets * reshaped(x, (-1,)), 0.0)
        return np.square(found) if self.squared else found


@dataclass(frozen=True)
class MultiMargin(Cost):
    """The hinge loss of several classes, the mean over all classes of ``w max(0, margin - x_y + x_k)^p`` for k ≠ y.

    PyTorch's MultiMarginLoss: the outputs have the shape (samples, classes), and y are class indices.

    Parameters
    ----------
    p : {1, 2}
    margin : float
    weight : array_like, shape (classes,), optional
        The weight w of each class y. A mean is over the samples.
    """

    p: int = 1
    margin: float = 1.0
    weight: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.p not in (1, 2) or isinstance(self.p, bool):
            raise ValueError(f"MultiMargin: p: expected 1 or 2, got {self.p!r}")
        number("MultiMargin: margin", self.margin)
        object.__setattr__(self, "weight", class_weights("MultiMargin: weight", self.weight))

    def _read(self, y: Any, shape: tuple[int, ...], lengths: Any) -> Read:
        _require_vectors("MultiMargin", shape)
        array = real_array("y", y)
        require_weights("MultiMargin: weight", self.weight, shape[1])
        self._require_form(array, {shape[:1]: " (class indices)"}, f"outputs of the shape {shape}")
        classes = read_classes(array, shape[1])
        return Read(classes.numbers, shape[:1], classes.weights(self.weight))

    def _losses(self, x: Any, targets: Any) -> Any:
        return operators.multi_margin(x, targets, p=self.p, margin=self.margin, reduction="none")


@dataclass(frozen=True)
class CosineEmbedding(Cost):
    """The cosine loss of pairs of samples: ``1 - cos`` for those that belong together, else ``max(0, cos - margin)``.

    PyTorch's CosineEmbeddingLoss. The outputs have the shape (samples, width).

    Parameters
    ----------
    margin : float
        From -1 to 1.

    Notes
    -----
    The targets are integers of shape (pairs, 3): the numbers of the two samples, and 1 if they belong together, or -1.
    """

    margin: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if abs(number("CosineEmbedding: margin", self.margin, signed=True)) > 1.0:
            raise ValueError(f"CosineEmbedding: margin: expected -1 to 1, got {self.margin!r}")

    def _read(self, y: Any, shape: tuple[int, ...], lengths: Any) -> Read:
        rows = _read_numbers("CosineEmbedding", y, shape, "pairs", 2)
        require_values("CosineEmbedding expects 1 or -1 in the last column", np.isin(rows[:, 2], (-1, 1)), rows[:, 2])
        return Read(rows, (len(rows),))

    def _losses(self, x: Any, targets: Any) -> Any:
        first, second, sign = targets.T
        return operators.cosine_embedding(x[first], x[second], sign, margin=self.margin, reduction="none")


@dataclass(frozen=True)
class TripletMargin(Cost):
    """The triplet loss, ``max(0, margin + |a - p| - |a - n|)``, of an anchor a, a positive p and a negative n.

    PyTorch's TripletMarginLoss: the norms are those of the differences plus eps. The outputs have the shape
    (samples, width).

    Parameters
    ----------
    margin : float
    p : float
        The norm is the p-norm, of at least 1.
    eps : float
    swap : bool
        Whether ``|p - n|`` takes the place of ``|a - n|`` where it is smaller (Balntas et al. 2016).

    Notes
    -----
    The targets are integers of shape (triplets, 3): the numbers of the samples a, p and n.
    """

    margin: float = 1.0
    p: float = 2.0
    eps: float = 1e-6
    swap: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        number("TripletMargin: margin", self.margin, positive=True)
        if number("TripletMargin: p", self.p, positive=True) < 1.0:
            raise ValueError(f"TripletMargin: p: expected a number of at least 1, got {self.p!r}")
        number("TripletMargin: eps", self.eps)
        true_or_false("TripletMargin: swap", self.swap)

    def _read(self, y: Any, shape: tuple[int, ...], lengths: Any) -> Read:
        rows = _read_numbers("TripletMargin", y, shape, "triplets", 3)
        return Read(rows, (len(rows),))

    def _losses(self, x: Any, targets: Any) -> Any:
        a, p, n = (x[numbers] for numbers in targets.T)
        return operators.triplet_margin(
            a, p, n, margin=self.margin, p=self.p, eps=self.eps, swap=self.swap, reduction="none"
        )


@dataclass(frozen=True)
class CTC(Cost):
    """Connectionist temporal classification (Graves et al. 2006): -log of the probability of each sample's labels.

    The outputs have the shape (samples, times, classes). With "mean", each sample's cost is divided by the number of
    its labels, as in PyTorch.

    Parameters
    ----------
    blank : int
        The class of the blank.
    from_logits : bool
        False: the network's outputs are log p, as for PyTorch's CTCLoss. True: they are logits.
    zero_infinity : bool
        Whether samples with more labels than fit into their times cost nothing. Otherwise they are refused, for their
        cost is infinite.

    Notes
    -----
    The targets are a sequence of labels for each sample, or an array of integers of shape (samples, longest), where
    blanks or negative numbers follow the labels. ``Network.loss(..., lengths=...)`` says how many times of each sample
    count.
    """

    blank: int = 0
    from_logits: bool = False
    zero_infinity: bool = False

    takes_lengths: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        integer("CTC: blank", self.blank)
        true_or_false("CTC: from_logits", self.from_logits)
        true_or_false("CTC: zero_infinity", self.zero_infinity)

    def _read(self, y: Any, shape: tuple[int, ...], lengths: Any) -> Read:
        if len(shape) != 3:
            raise ValueError(f"cost: CTC expects outputs of the shape (samples, times, classes), got {shape}")
        samples, times, classes = shape
        if self.blank >= classes:
            raise ValueError(f"CTC: blank: expected 0 to {classes - 1}, got {self.blank}")
        labels = [self._labels(number, row, classes) for number, row in enumerate(y)]
        if len(labels) != samples:
            raise ValueError(f"y: CTC expects the labels of {samples} samples, got those of {len(labels)}")
        valid = np.full(samples, times) if lengths is None else read_lengths(lengths, samples, times)
        sizes = np.array([len(row) for row in labels])
        needed = sizes + np.array([np.count_nonzero(np.diff(row) == 0) for row in labels])
        weights = np.ones(samples)
        if (needed > valid).any():
            sample = int(np.argmax(needed > valid))
            if not self.zero_infinity:
                raise ValueError(
                    f"y: the labels of sample {sample} need {needed[sample]} times, and it has {valid[sample]}: their "
                    "probability is 0; zero_infinity=True leaves such samples out"
                )
            weights = (needed <= valid).astype(np.float64)
        if self.reduction == "mean":
            weights = weights / np.maximum(sizes, 1)
        padded = np.full((samples, int(sizes.max(initial=1))), self.blank)
        for row, own in zip(padded, labels, strict=True):
            row[: len(own)] = own
        return Read((padded, valid, sizes), (samples,), weights)

    def _labels(self, sample: int, row: Any, classes: int) -> NDArray[np.int64]:
        """Reads the labels of one sample, up to the first blank or negative number."""
        array = real_array(f"y: sample {sample}", np.asarray(row, np.int64) if np.size(row) == 0 else row)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise TypeError(f"y: sample {sample}: expected a sequence of integers, got {row!r}")
        ends = (array < 0) | (array == self.blank)
        labels = array[: int(np.argmax(ends))] if ends.any() else array
        if not ends[len(labels) :].all():
            raise ValueError(
                f"y: sample {sample}: a label follows the blank {self.blank} or a negative number: {row!r}"
            )
        if (labels >= classes).any():
            raise ValueError(f"y: sample {sample}: labels run from 0 to {classes - 1}, got {labels.max()}")
        return labels.astype(np.int64)

    def _losses(self, x: Any, targets: Any) -> Any:
        labels, valid, sizes = targets
        log_p = log_softmax(x, axis=-1) if self.from_logits else x
        by_time = np.swapaxes(log_p, 0, 1)
        return ctc(by_time, labels, valid, sizes, blank=self.blank, reduction="none", zero_infinity=self.zero_infinity)


def _require_vectors(kind: str, shape: tuple[int, ...]) -> None:
    if len(shape) != 2:
        raise ValueError(
            f"cost: {kind} expects outputs of the shape (samples, width), got {shape}; a Flatten() makes rows"
        )


def _read_numbers(kind: str, y: Any, shape: tuple[int, ...], what: str, count: int) -> NDArray[np.int64]:
    """Reads rows of three integers, of which the first so many are numbers of samples."""
    _require_vectors(kind, shape)
    array = real_array("y", y)
    if array.ndim != 2 or array.shape[1] != 3 or len(array) == 0:
        raise ValueError(f"y: {kind} expects the shape ({what}, 3), got {array.shape}")
    require_finite("y", array)
    if array.dtype.kind not in "iu":
        raise TypeError(f"y: {kind} expects integers, got dtype {array.dtype}; use y.astype(int)")
    own = array[:, :count]
    require_values(f"samples run from 0 to {shape[0] - 1}", (own >= 0) & (own < shape[0]), own)
    return array.astype(np.int64)
