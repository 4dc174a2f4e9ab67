"""check_objective(): gradients and second derivatives of boosting objectives, as LightGBM and XGBoost call them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.checks.as_problem import as_traced_problem
from gradcheck_fast.checks.jacobian import JacobianKeywords
from gradcheck_fast.checks.options import Options
from gradcheck_fast.checks.second_look import compared, named_arrays, one_step, report_on
from gradcheck_fast.checks.second_order.deviations import Deviation, deviations
from gradcheck_fast.checks.second_order.objective_calls import Given, call_of, read_pair
from gradcheck_fast.inputs.arguments import true_or_false
from gradcheck_fast.inputs.arrays import SINGLE, real_array
from gradcheck_fast.inputs.trees import Packed, pack
from gradcheck_fast.losses.gradient_function import as_function, exact_gradient
from gradcheck_fast.losses.jacobian import Columns
from gradcheck_fast.losses.row_losses import Total, own_second_derivatives, second_differences_of_rows
from gradcheck_fast.losses.tree_function import require_callable
from gradcheck_fast.numerical.joined import Piece, joined
from gradcheck_fast.running.progress import Meter
from gradcheck_fast.running.runner import Runner

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from gradcheck_fast.diagnosis.diagnose import Diagnosis
    from gradcheck_fast.losses.problem import Problem
    from gradcheck_fast.numerical.gradient import Numerical
    from gradcheck_fast.report.report import Report

    Reals = NDArray[np.float64]


def check_objective(
    objective: Callable[..., Any],
    loss: Callable[..., Any],
    predictions: Any,
    targets: Any = None,
    *,
    weights: Any = None,
    group: Any = None,
    strict: bool = False,
    seed: int = 0,
    **options: Unpack[JacobianKeywords],
) -> Report:
    """Checks a boosting objective: the gradient and the second derivative of a loss by every prediction.

    Parameters
    ----------
    objective : callable
        It gives ``(grad, hess)``, and is called as its arguments are named: ``objective(y_true, y_pred)``, with the
        weights and the groups after them, as the scikit-learn interfaces of LightGBM and XGBoost do;
        ``objective(preds, dtrain)``, as their training functions do, where ``dtrain`` has ``get_label()``,
        ``get_weight()`` and ``get_group()``; or ``objective(preds)``. A note says which was taken.
    loss : callable
        What `grad` should be the gradient of: ``loss(y_true, y_pred)``, ``loss(preds, labels)`` or ``loss(preds)``. It
        gives the sum over the rows, or one number for each row.
    predictions : array, shape (rows,), (rows, classes), or (rows * classes,)
        Where both are checked: raw scores. A flat vector of several classes has all rows of a class after another, as
        older versions of LightGBM have them. Not modified.
    targets : array, or a data set with ``get_label()``; optional
        What is handed on beside the predictions.
    weights : array, shape (rows,), optional
        The weights of the rows. If `loss` takes none, what it gives for each row is multiplied by them.
    group : array, optional
        How many rows each group of a ranking has.
    strict : bool
        Whether `hess` must be the second derivative. By default what boosting libraries change on purpose is right, if
        nearly every entry is changed so, and a note says what it is: the factor 2 of XGBoost's softmax, K / (K - 1) of
        LightGBM's, a lower bound, an absolute value, or a constant where the second derivative is zero.
    seed : int
        The seed of random signs, with which predictions of all rows are moved together; where these act on each other,
        as in a ranking, every prediction is moved by itself.
    **options
        As for `check_hessian`.

    Returns
    -------
    Report
        Of two arrays, ``grad`` and ``hess``, which have the shape of `predictions`.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or if the names of arguments do not tell what is what; the message names it.
        Nothing has been changed then.

    Examples
    --------
    >>> import numpy as np
    >>> import gradcheck_fast as gf
    >>> def logistic(y_true, y_pred):
    ...     p = 1 / (1 + np.exp(-y_pred))
    ...     return p - y_true, p * (1 - p)
    >>> loss = lambda y_true, y_pred: np.logaddexp(0, y_pred) - y_true * y_pred
    >>> gf.check_objective(logistic, loss, np.array([0.5, -1.0, 2.0]), np.array([1.0, 0.0, 1.0])).ok
    True
    """
    started = perf_counter()
    settings = Options.from_keywords("check_objective", options, JacobianKeywords, seed=seed)
    strict = true_or_false("strict", strict)
    require_callable("objective", objective)
    require_callable("loss", loss)
    given = Given(_array(targets), _weights(weights, targets), _array(group))
    call, losses = call_of("objective", objective, given), call_of("loss", loss, given)
    scores = real_array("predictions", predictions)
    at = pack({"predictions": np.array(scores)}, "predictions")
    rows = len(given.labels) if np.ndim(given.labels) else len(scores)
    row_weights = None if given.weights is None or losses.takes_weights else np.asarray(given.weights, np.float64)
    total = Total(lambda p, function: losses(p, function), loss, row_weights)
    found = read_pair(call(np.array(scores)))
    with Runner(settings.n_threads, Meter(settings.progress)) as runner:
        checked = _Objective(total, at, scores.shape, rows, settings, runner)
        gradient = checked.gradient()
        grad, order = _in_order("grad", found[0], scores.shape, gradient.gradient)
        hess, _ = _in_order("hess", found[1], scores.shape, gradient.gradient, order)
        analytic = pack({"grad": grad, "hess": hess}, finite=False)
        second = checked.second_derivatives()
        runner.tell(1.0)
        deviation = None if strict else _deviation(analytic, gradient, second, checked, given)
        numerical = checked.joined(gradient, second if deviation is None else deviation.of(second))
        sizes = {"the number of rows N": float(rows)} if rows > 1 else {}
        report = report_on(analytic, numerical, settings, at, named_arrays(analytic, "result", sizes), what="result")
    report = report.replaced(diagnoses=_on_weights(given, report) or report.diagnoses)
    notes = []
    if deviation is not None:
        said = "it is taken to be right (strict=True compares with the second derivative itself)"
        notes.append(f"{deviation.said}: {said}")
    notes += [f"the objective is called as {call}, the loss as {losses}"]
    notes += [f"grad and hess are flat: read {order}"] if order else []
    return report.replaced(notes=(*notes, *report.notes), seconds=perf_counter() - started)


#: What is changed on purpose is told by all entries but one of so many.
FEW = 4
#: Results that are right but for weights differ by less than this part of the largest.
SAME = 1e-6


class _Objective:
    """Finds the numerical gradient and second derivatives of a loss of predictions."""

    def __init__(
        self, total: Total, at: Packed, shape: tuple[int, ...], rows: int, options: Options, runner: Runner
    ) -> None:
        self.total, self.at, self.options, self.runner = total, at, options, runner
        self.size, self.classes = at.flat.size, max(1, at.flat.size // max(rows, 1))
        entries = np.arange(self.size)
        if len(shape) > 1 or self.size == rows:
            self.groups = [entries[k :: self.classes] for k in range(self.classes)]
        else:  # a flat vector, class after class
            self.groups = np.array_split(entries, self.classes)
        self.problem: Problem = as_traced_problem(_OfTree(total), at.unpack(at.flat), options)
        self.packed = self.problem.pack(at.unpack(at.flat))

    def gradient(self) -> Numerical:
        """Finds the gradient by the predictions."""
        return self.problem.central_differences(
            self.packed, method="auto", step=one_step(self.options), runner=self.runner.part(0, 2), kinks=True
        )

    def second_derivatives(self) -> Numerical:
        """Finds the second derivative by every prediction."""
        found, _ = exact_gradient(self.problem, self.packed, self.runner)
        if found is None:
            unpack = lambda theta: self.at.unpack(theta)["predictions"]
            return second_differences_of_rows(self.total, self.at.flat, unpack, self.groups, self.options.seed)
        columns = Columns(as_function(found.function, self.packed), None, one_step(self.options), found.roundings)
        return own_second_derivatives(columns, self.groups, self.options.seed)

    def joined(self, gradient: Numerical, second: Numerical) -> Numerical:
        """Joins both, as ``grad`` and ``hess`` are."""
        every = np.arange(self.size)

        def doubted(errors: Reals) -> Numerical | None:
            other = gradient.doubted(errors[: self.size]) if gradient.doubted and errors[: self.size].any() else None
            return None if other is None else self.joined(other, second)

        pieces = [Piece(gradient, every, every), Piece(second, every, every + self.size)]
        return joined(pieces, 2 * self.size, doubted)


class _OfTree:
    """A total as a loss of a tree with the predictions."""

    def __init__(self, total: Total) -> None:
        self._total, self.users_function = total, total.users_function

    def __call__(self, params: Any) -> float:
        return self._total(params["predictions"])

    def with_function(self, function: Callable[..., Any]) -> Callable[[Any], Any]:
        """Gives the same of another version of the user's loss."""
        own = self._total.with_function(function)
        return lambda params: own(params["predictions"])


def _deviation(
    analytic: Packed, gradient: Numerical, second: Numerical, checked: _Objective, given: Given
) -> Deviation | None:
    """Returns what was changed on purpose in all second derivatives, or in all but a few, if anything was."""
    size = checked.size
    hess = pack({"hess": analytic.flat[size:].astype(analytic.dtypes["hess"])}, finite=False)
    _, comparison = compared(hess, second, checked.options)
    plainly = sum(array.wrong for array in comparison.arrays)
    if not plainly:
        return None
    weights = np.ones(size)
    if given.weights is not None:
        for group in checked.groups:
            weights[group] = np.asarray(given.weights, np.float64)
    best, fewest = None, min(plainly // 2, size // FEW)
    for deviation in deviations(hess.flat, second.gradient, checked.classes, weights):
        _, comparison = compared(hess, deviation.of(second), checked.options)
        wrong = sum(array.wrong for array in comparison.arrays)
        if not wrong and any(array.inconclusive for array in comparison.arrays):
            continue
        if wrong < fewest or (not wrong and best is None):
            best, fewest = deviation, wrong
    return best


def _in_order(
    what: str, given: NDArray[Any], shape: tuple[int, ...], numerical: Reals, order: str = ""
) -> tuple[NDArray[Any], str]:
    """Returns an array in the shape of the predictions, and how a flat one was read, if there is a choice."""
    array = real_array(what, given)
    if array.shape == shape:
        return array, order
    if array.size != int(np.prod(shape)):
        raise ValueError(f"objective: {what} has the shape {array.shape}; expected that of the predictions, {shape}")
    flat = array.reshape(-1)
    if len([axis for axis in shape if axis > 1]) < 2:
        return flat.reshape(shape), order
    orders: Sequence[tuple[str, str]] = (("C", "row after row"), ("F", "class after class"))
    if not order:
        off = {said: np.abs(flat.reshape(shape, order=how).ravel() - numerical).sum() for how, said in orders}  # type: ignore[call-overload]
        order = min(off, key=lambda said: float(off[said]))
    how = next(how for how, said in orders if said == order)
    return flat.reshape(shape, order=how), order  # type: ignore[call-overload]


def _weights(weights: Any, targets: Any) -> Any:
    """Returns the weights of the rows as a data set has them, which may be in float32, or as they are given.

    Raises
    ------
    ValueError
        If a data set is not built yet, or has other weights than those that are given.
    """
    own = None
    if hasattr(targets, "get_weight"):
        try:
            own = targets.get_weight()
        except Exception as error:
            advice = "; call targets.construct() first" if hasattr(targets, "construct") else ""
            raise ValueError(f"targets: {str(error).rstrip('.')}{advice}") from error
    own = None if own is None or not np.size(own) else own
    if weights is None or not np.size(weights):
        return own
    if own is not None and not np.allclose(own, weights, rtol=SINGLE.eps, atol=0.0):
        raise ValueError("weights: the data set in targets= has others; leave them out, or give the labels alone")
    return _array(weights) if own is None else own


def _on_weights(given: Given, report: Report) -> tuple[Diagnosis, ...]:
    """Says that the results are not multiplied by the weights of the rows, if they would be right then."""
    if not report.wrong or given.weights is None:
        return ()
    rows = len(given.weights)
    own, right = (flat.reshape(2, rows, -1) for flat in (report.flat_analytic, report.flat_numerical))
    apart = np.abs(own * np.reshape(given.weights, (rows, 1)) - right)
    if not (apart <= SAME * np.abs(right).max()).all():
        return ()
    from gradcheck_fast.diagnosis.diagnose import Diagnosis  # only wrong ones wait for its import

    cause = "the weights of the rows are left out: grad and hess must be multiplied by them"
    return (Diagnosis(cause, "times the weights, every entry is right", ("grad", "hess")),)


def _array(value: Any) -> Any:
    """Returns lists as arrays, and anything else as it is."""
    return np.array(value) if isinstance(value, (list, tuple)) else value
