"""Checks of the back-propagation of scikit-learn's MLPClassifier and MLPRegressor, and of classes derived from them."""

from __future__ import annotations

import inspect
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils.validation import check_is_fitted

from gradcheck_fast.adapters.common import Arrays, choose_loss
from gradcheck_fast.checks.gradcheck import check_gradient
from gradcheck_fast.checks.options import AllKeywords, Options
from gradcheck_fast.frontends.network.cost import Cost
from gradcheck_fast.frontends.network.costs import L2, BinaryCrossEntropy, CrossEntropy, SquaredError
from gradcheck_fast.frontends.network.layers import Dense
from gradcheck_fast.frontends.network.network import Network
from gradcheck_fast.frontends.unknown import Unknown
from gradcheck_fast.losses.network_loss import NetworkLoss

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gradcheck_fast.report.report import Report

_ACTIVATIONS = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
#: scikit-learn pairs each activation of the last layer with one loss.
_COSTS: dict[str, Cost] = {
    "identity": SquaredError(factor=0.5, reduction="batchmean"),
    "logistic": BinaryCrossEntropy(reduction="batchmean"),
    "softmax": CrossEntropy(),
}


def gradcheck(estimator: MLPClassifier | MLPRegressor, X: Any, y: Any, **options: Unpack[AllKeywords]) -> Report:
    """Checks the gradient that an estimator's `_backprop` gives at its ``coefs_`` and ``intercepts_``.

    The penalty, ``alpha``, is part of it. The compiled engine is used if the estimator computes what scikit-learn's own
    does. If not (a derived class may not, nor does ``loss="poisson"``), its loss is differenced as a Python function,
    with two calls per parameter. A note of the report says which of the two was done.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        It may be of a class derived from these. It must be fitted, if only by one `partial_fit`. It is not changed.
    X, y : array_like
        As for ``estimator.fit``.
    **options
        As for `gradcheck_fast.gradcheck`: method, step, rtol, atol, n_threads, progress, error_bars, executor,
        checkpoint, sample, seed.

    Returns
    -------
    Report
        It names the arrays ``coefs_[0]``, ``intercepts_[0]`` and so on.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted; it is a ValueError.
    TypeError, ValueError
        If an argument does not fit.
    """
    if not isinstance(estimator, (MLPClassifier, MLPRegressor)):
        raise TypeError(f"estimator: expected an MLPClassifier or MLPRegressor, got {estimator!r}")
    check_is_fitted(estimator, "coefs_")
    settings = Options.from_keywords("gradcheck", options, AllKeywords)
    copy = _EstimatorCopy(estimator, X, y)
    gradient = copy.gradient(copy.params)
    loss, note = choose_loss(copy.describe, copy.loss, gradient, copy.in_double, copy.params, settings.method)
    report = check_gradient(loss, gradient, copy.params, settings)
    return replace(report, notes=(*report.notes, note, *copy.notes))


class _EstimatorCopy:
    """A copy of an estimator, its parameters by name, and the data in the form in which its `_backprop` reads them."""

    def __init__(self, estimator: Any, X: Any, y: Any) -> None:
        self._estimator = deepcopy(estimator)
        self._X, y = self._estimator._validate_input(X, y, incremental=True, reset=False)
        self._y = y.reshape(-1, 1) if y.ndim == 1 else y
        self.params = _by_name(self._estimator.coefs_, self._estimator.intercepts_)
        outputs = int(self._estimator.n_outputs_)
        self._averaged = outputs if self._estimator.out_activation_ == "identity" else 1
        mean = (
            f"scikit-learn's loss is the mean over {outputs} outputs, its gradient that of the sum; the sum is checked"
        )
        self.notes = (mean,) if self._averaged > 1 else ()

    def gradient(self, params: Arrays) -> Arrays:
        """Finds the gradient by the estimator's own back-propagation."""
        _, coefs, intercepts = self._backprop(params, self._X)
        return _by_name(coefs, intercepts)

    def in_double(self, params: Arrays) -> Arrays:
        """Finds the gradient by the estimator's own back-propagation in float64."""
        _, coefs, intercepts = self._backprop(params, self._X.astype(np.float64))
        return _by_name(coefs, intercepts)

    def loss(self, params: Arrays) -> float:
        """Gives the loss that the gradient belongs to: that of the estimator, but with the sum over the outputs."""
        loss, *_ = self._backprop(params, self._X.astype(np.float64))
        penalty: float = self._decay / 2.0 * sum(np.vdot(coefs, coefs) for coefs in self._estimator.coefs_)
        return self._averaged * (float(loss) - penalty) + penalty

    def describe(self) -> NetworkLoss:
        """Describes the estimator as a network, if it is one of scikit-learn's own."""
        hidden, last = self._estimator.activation, self._estimator.out_activation_
        if hidden not in _ACTIVATIONS or last not in _COSTS:
            raise Unknown(f"it does not know {hidden!r} units with {last!r} ones in the last layer")
        shapes: list[tuple[int, int]] = [coefs.shape for coefs in self._estimator.coefs_]
        activations = [_ACTIVATIONS[hidden]] * (len(shapes) - 1) + ["identity"]
        layers = [Dense(*shape, name) for shape, name in zip(shapes, activations, strict=True)]
        network = Network(layers, _COSTS[last], L2(self._decay), names=list(self.params))
        X = self._X.toarray() if hasattr(self._X, "toarray") else self._X
        return network.loss_of_rows(X, self._y)

    @property
    def _decay(self) -> float:
        return float(self._estimator.alpha) / len(self._y)

    def _backprop(self, params: Arrays, X: Any) -> Any:
        """Calls `_backprop` as scikit-learn does. In newer versions the weights of samples follow after y."""
        own = self._estimator
        arrays = [np.array(array) for array in params.values()]
        own.coefs_, own.intercepts_ = arrays[::2], arrays[1::2]
        weights = [None] if "sample_weight" in inspect.signature(MLPClassifier._backprop).parameters else []
        deltas: list[Any] = [None] * len(own.coefs_)
        gradients = [[np.empty_like(array) for array in group] for group in (own.coefs_, own.intercepts_)]
        return own._backprop(X, self._y, *weights, [X, *deltas], deltas, *gradients)


def _by_name(coefs: Any, intercepts: Any) -> Arrays:
    """Names the weights and biases, layer after layer."""
    arrays: Arrays = {}
    for k, (weights, biases) in enumerate(zip(coefs, intercepts, strict=True)):
        arrays |= {f"coefs_[{k}]": weights, f"intercepts_[{k}]": biases}
    return arrays
