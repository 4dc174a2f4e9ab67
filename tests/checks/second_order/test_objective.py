"""check_objective: boosting objectives as users write them, right and wrong."""

from __future__ import annotations

import numpy as np
import pytest
from boosting import CASES, ROWS, logistic, logistic_loss, quantile, quantile_loss, softmax, softmax_loss

import gradcheck_fast as gf

NAMES = pytest.mark.parametrize("name", CASES)
#: Those that are always run, and the others, which are long tests.
SOMETIMES = pytest.mark.parametrize(
    "name", [name if name in ("softmax", "quantile") else pytest.param(name, marks=pytest.mark.long) for name in CASES]
)
WRONG = [
    pytest.param(name, mistake, marks=[pytest.mark.long] * (mistake != next(iter(case.wrong)) or name == "pairwise"))
    for name, case in CASES.items()
    for mistake in case.wrong
]


def check(name, objective=None, **options):
    case = CASES[name]
    return gf.check_objective(
        objective or case.objective, case.loss, case.predictions, case.targets, **case.more, **options
    )


@NAMES
def test_a_right_objective_passes(name):
    report = check(name)
    assert report.ok, str(report)
    assert [array.name for array in report.arrays] == ["grad", "hess"]
    assert report.arrays[0].shape == report.arrays[1].shape == CASES[name].predictions.shape


@SOMETIMES
def test_it_passes_where_its_loss_cannot_be_traced(name):
    assert check(name, trace=False).ok


@pytest.mark.parametrize("trace", [True, pytest.param(False, marks=pytest.mark.long)])
@pytest.mark.parametrize(("name", "mistake"), WRONG)
def test_a_wrong_one_fails_and_the_wrong_array_is_named(name, mistake, trace):
    objective, arrays = CASES[name].wrong[mistake]
    report = check(name, objective, trace=trace)
    assert report.verdict == "FAIL"
    assert tuple(array.name for array in report.arrays if array.wrong) == arrays


def test_nothing_that_is_given_is_changed():
    def greedy(y_true, y_pred):
        found = logistic(y_true, y_pred)
        y_true[:], y_pred[:] = 7.0, 7.0
        return found

    case = CASES["logistic"]
    predictions, targets = case.predictions.copy(), case.targets.copy()
    assert gf.check_objective(greedy, logistic_loss, predictions, targets).ok
    assert np.array_equal(predictions, case.predictions)
    assert np.array_equal(targets, case.targets)


# ---- what libraries change on purpose


def notes(report):
    return " ".join(report.notes)


def test_xgboosts_factor_of_a_softmax_is_said_and_is_wrong_if_asked_strictly():
    assert "twice the second derivatives, as XGBoost's" in notes(check("softmax"))
    strict = check("softmax", strict=True)
    assert [array.name for array in strict.arrays if array.wrong] == ["hess"]
    assert strict.diagnoses[0].cause == "hess is doubled"


def test_lightgbms_factor_and_flat_results_class_after_class():
    def by_class(y_true, y_pred):
        class Data:
            get_label = staticmethod(lambda: y_true)

        grad, hess = softmax(y_pred, Data)
        return grad.ravel(order="F"), 0.75 * hess.ravel(order="F")

    report = check("softmax", by_class)
    assert report.ok
    assert "K / (K - 1) = 1.5 times" in notes(report)
    assert "read class after class" in notes(report)


def test_flat_predictions_class_after_class():
    case = CASES["softmax"]

    def flat(preds, dtrain):
        return tuple(part.ravel(order="F") for part in softmax(preds.reshape(-1, ROWS).T, dtrain))

    loss = lambda preds, labels: softmax_loss(preds.reshape(-1, ROWS).T, labels)
    report = gf.check_objective(flat, loss, case.predictions.ravel(order="F"), case.targets)
    assert report.ok
    assert "XGBoost" in notes(report)


def test_the_constant_of_a_quantile_is_said():
    assert "hess is 1, as LightGBM and XGBoost have it for absolute errors and quantiles" in notes(check("quantile"))
    assert not check("quantile", strict=True).ok


@pytest.mark.parametrize("low", [1e-16, 1e-6, 0.01])
def test_a_lower_bound_is_said_if_it_shows(low):
    case = CASES["logistic"]
    bounded = lambda y_true, y_pred: (logistic(y_true, y_pred)[0], np.maximum(logistic(y_true, y_pred)[1], low))
    far = case.predictions * 20.0
    report = gf.check_objective(bounded, logistic_loss, far, case.targets)
    assert report.ok
    assert (f"no less than {low:.4g}" in notes(report)) == (low > 1e-10)


def test_an_absolute_value_where_the_loss_is_not_convex():
    loss = lambda y_true, y_pred: np.log1p((y_pred - y_true) ** 2)

    def cauchy(y_true, y_pred):
        d = y_pred - y_true
        return 2 * d / (1 + d**2), np.abs(2 * (1 - d**2) / (1 + d**2) ** 2)

    case = CASES["quantile"]
    report = gf.check_objective(cauchy, loss, 3.0 * case.predictions, case.targets)
    assert report.ok
    assert "absolute value" in notes(report)


@pytest.mark.parametrize("place", [0, *(pytest.param(place, marks=pytest.mark.long) for place in range(1, ROWS))])
def test_no_single_wrong_entry_passes_for_something_made_on_purpose(place):
    def wrong(y_true, y_pred):
        grad, hess = logistic(y_true, y_pred)
        hess[place] *= 1.3
        return grad, hess

    assert check("logistic", wrong).wrong == 1


@pytest.mark.parametrize("name", ["softmax", "quantile"])
def test_a_wrong_entry_beside_what_is_changed_on_purpose_is_the_only_one_that_is_wrong(name):
    own = CASES[name].objective

    def wrong(first, second):
        grad, hess = own(first, second)
        hess.flat[5] *= 1.001
        return grad, hess

    by_data = lambda preds, dtrain: wrong(preds, dtrain)
    by_targets = lambda y_true, y_pred: wrong(y_true, y_pred)
    report = check(name, by_data if name == "softmax" else by_targets)
    assert report.wrong == 1
    assert "taken to be right" in notes(report)


# ---- how objectives are called


def test_weights_of_rows():
    case, weights = CASES["logistic"], np.linspace(0.5, 2.0, ROWS)
    weighed = lambda y_true, y_pred, weight: tuple(weight * part for part in logistic(y_true, y_pred))
    assert gf.check_objective(weighed, logistic_loss, case.predictions, case.targets, weights=weights).ok
    assert not gf.check_objective(logistic, logistic_loss, case.predictions, case.targets, weights=weights).ok
    of_data = lambda preds, dtrain: tuple(dtrain.get_weight() * part for part in logistic(dtrain.get_label(), preds))
    assert gf.check_objective(of_data, logistic_loss, case.predictions, case.targets, weights=weights).ok
    total = lambda y_true, y_pred: np.sum(logistic_loss(y_true, y_pred))
    with pytest.raises(ValueError, match="rows cannot be weighed"):
        gf.check_objective(weighed, total, case.predictions, case.targets, weights=weights)


def test_a_data_set_of_the_users_own():
    case = CASES["logistic"]

    class Data:
        get_label = staticmethod(lambda: case.targets)
        get_weight = staticmethod(lambda: np.full(ROWS, 2.0))

    objective = lambda preds, dtrain: tuple(2.0 * part for part in logistic(dtrain.get_label(), preds))
    assert gf.check_objective(objective, logistic_loss, case.predictions, Data()).ok


class Weighted:
    """A data set that has labels and weights in float32, as those of LightGBM and XGBoost do."""

    def __init__(self, labels, weights):
        self.labels, self.weights = np.float32(labels), np.float32(weights)

    def get_label(self):
        return self.labels

    def get_weight(self):
        return self.weights


WEIGHTS = np.random.default_rng(5).uniform(0.5, 2.0, ROWS)


def weighted(preds, dtrain):
    return tuple(dtrain.get_weight() * part for part in logistic(dtrain.get_label(), preds))


def test_the_weights_of_a_data_set_may_be_given_once_more():
    case = CASES["logistic"]
    data = Weighted(case.targets, WEIGHTS)
    assert gf.check_objective(weighted, logistic_loss, case.predictions, data, weights=WEIGHTS).ok
    with pytest.raises(ValueError, match=r"weights: the data set in targets= has others"):
        gf.check_objective(weighted, logistic_loss, case.predictions, data, weights=2.0 * WEIGHTS)


def test_weights_that_are_left_out_are_named():
    case = CASES["logistic"]
    forgetful = lambda preds, dtrain: logistic(dtrain.get_label(), preds)
    report = gf.check_objective(forgetful, logistic_loss, case.predictions, Weighted(case.targets, WEIGHTS))
    assert report.diagnoses[0].cause.startswith("the weights of the rows are left out"), str(report)
    wrong = lambda preds, dtrain: tuple(1.01 * part for part in forgetful(preds, dtrain))
    report = gf.check_objective(wrong, logistic_loss, case.predictions, Weighted(case.targets, WEIGHTS))
    assert not any("weights" in one.cause for one in report.diagnoses)


def test_a_data_set_that_is_not_built_yet_is_refused_with_what_to_call():
    class Lazy(Weighted):
        def construct(self):
            """Reads the data."""

        def get_weight(self):
            raise RuntimeError("Cannot get weight before construct Dataset")

    case = CASES["logistic"]
    with pytest.raises(ValueError, match=r"targets: Cannot get weight .*; call targets\.construct\(\) first"):
        gf.check_objective(weighted, logistic_loss, case.predictions, Lazy(case.targets, WEIGHTS))


def test_float32_results_are_as_accurate_as_they_can_be():
    single = lambda y_true, y_pred: tuple(part.astype(np.float32) for part in logistic(y_true, y_pred))
    assert check("logistic", single).ok


def test_a_mean_where_the_objective_is_that_of_the_sum_is_diagnosed():
    case = CASES["logistic"]
    mean = lambda y_true, y_pred: np.mean(logistic_loss(y_true, y_pred))
    report = gf.check_objective(logistic, mean, case.predictions, case.targets)
    assert report.diagnoses[0].cause == f"the whole result is multiplied by the number of rows N = {ROWS}"


def test_arguments_that_do_not_tell_what_they_are():
    case = CASES["logistic"]
    with pytest.raises(ValueError, match="call them y_true and y_pred, or preds and dtrain"):
        gf.check_objective(lambda a, b: logistic(a, b), logistic_loss, case.predictions, case.targets)
    with pytest.raises(TypeError, match=r"expected \(grad, hess\)"):
        gf.check_objective(lambda y_true, y_pred: 0.0, logistic_loss, case.predictions, case.targets)
    with pytest.raises(ValueError, match="grad has the shape"):
        gf.check_objective(lambda y_true, y_pred: (y_pred[:3], y_pred), logistic_loss, case.predictions, case.targets)
    with pytest.raises(ValueError, match="targets="):
        gf.check_objective(quantile, quantile_loss, case.predictions)
