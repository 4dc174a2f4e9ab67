"""gf.sklearn: scikit-learn's own back-propagation, and what users put in its place."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import gradcheck_fast as gf

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.neural_network import MLPClassifier, MLPRegressor

COMPILED = "differenced by the compiled engine"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4))
TARGETS = {
    "binary": RNG.integers(0, 2, 30),
    "named": np.array(["cat", "dog", "owl"])[RNG.integers(0, 3, 30)],
    "multiclass": RNG.integers(0, 4, 30),
    "multilabel": RNG.integers(0, 2, (30, 3)),
}


def classifier(y, kind=MLPClassifier, dtype=np.float64, **options):
    settings = {"hidden_layer_sizes": (5, 4), "alpha": 0.3, "random_state": 0, **options}
    classes = np.arange(y.shape[1]) if y.ndim == 2 else np.unique(y)
    return kind(**settings).partial_fit(X.astype(dtype), y, classes=classes)


def regressor(y, **options):
    settings = {"hidden_layer_sizes": (5,), "activation": "tanh", "alpha": 0.3, "random_state": 0, **options}
    return MLPRegressor(**settings).partial_fit(X, y)


# ---- its own back-propagation is right


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("name", TARGETS)
def test_classifiers(name, activation):
    y = TARGETS[name]
    report = gf.sklearn.gradcheck(classifier(y, activation=activation), X, y)
    assert report.ok, str(report)
    assert report.relative_error < 1e-13
    assert COMPILED in report.notes[-1]


@pytest.mark.parametrize("outputs, mean", [(None, False), (1, False), (3, True)])
def test_regressors(outputs, mean):
    """With several outputs scikit-learn's gradient is not that of the loss that it shows."""
    y = X[:, 0] if outputs is None else X[:, :outputs] ** 2
    with_shape = y if outputs != 1 else y[:, 0]
    report = gf.sklearn.gradcheck(regressor(with_shape), X, with_shape)
    assert report.ok, str(report)
    assert report.relative_error < 1e-13
    assert COMPILED in report.notes[0]
    assert any("mean over 3 outputs" in note for note in report.notes) == mean


def test_arrays_are_named_and_shaped_as_scikit_learns():
    report = gf.sklearn.gradcheck(classifier(TARGETS["multiclass"]), X, TARGETS["multiclass"])
    shapes = {"coefs_[0]": (4, 5), "intercepts_[0]": (5,), "coefs_[1]": (5, 4), "intercepts_[1]": (4,),
              "coefs_[2]": (4, 4), "intercepts_[2]": (4,)}  # fmt: skip
    assert {a.name: a.shape for a in report.arrays} == shapes


def test_float32():
    y = TARGETS["multiclass"]
    report = gf.sklearn.gradcheck(classifier(y, dtype=np.float32, activation="tanh"), X.astype(np.float32), y)
    assert report.ok
    assert 1e-9 < report.relative_error < 1e-6


def test_sparse_samples():
    y = TARGETS["binary"]
    sparse = csr_matrix(np.where(X > 0, X, 0))
    report = gf.sklearn.gradcheck(classifier(y), sparse, y)
    assert report.ok
    assert COMPILED in report.notes[-1]


def test_a_fitted_estimator_with_a_warm_start():
    y = TARGETS["multiclass"]
    estimator = MLPClassifier((5,), solver="lbfgs", max_iter=5, alpha=0.1, warm_start=True, random_state=0)
    with pytest.warns(ConvergenceWarning):
        estimator.fit(X, y)
    assert gf.sklearn.gradcheck(estimator, X, y)


def test_poisson_regression_is_a_python_function():
    y = TARGETS["multiclass"].astype(float)
    try:
        estimator = regressor(y, loss="poisson")
    except TypeError:
        pytest.skip("this scikit-learn has no Poisson loss")
    report = gf.sklearn.gradcheck(estimator, X, y)
    assert report.ok
    assert "differenced as a Python function: it does not know 'tanh' units with 'exp' ones" in report.notes[-1]


def test_options_are_those_of_gradcheck():
    y = TARGETS["multiclass"]
    report = gf.sklearn.gradcheck(classifier(y), X, y, method="incremental", step=2.0**-20, error_bars=True)
    assert (report.method, report.step) == ("incremental", 2.0**-20)
    assert report.error_bars["coefs_[1]"].shape == (5, 4)


# ---- what users put in its place


class HalfTheSlope(MLPClassifier):
    """The derivative of tanh taken as 1 - a, as by hand."""

    def _backprop(self, X, y, *args):
        *_, activations, _, coef_grads, intercept_grads = args
        activations = self._forward_pass(activations)
        p, n = activations[-1], len(X)
        loss = -np.sum(np.log(p[y])) / n + 0.5 * self.alpha * sum((W**2).sum() for W in self.coefs_) / n
        delta = p - y
        for k in reversed(range(len(self.coefs_))):
            coef_grads[k] = (activations[k].T @ delta + self.alpha * self.coefs_[k]) / n
            intercept_grads[k] = delta.mean(axis=0)
            delta = delta @ self.coefs_[k].T * (1 - activations[k])
        return loss, coef_grads, intercept_grads


class OneEntryOff(MLPClassifier):
    def _backprop(self, *args, **kwargs):
        loss, coef_grads, intercept_grads = super()._backprop(*args, **kwargs)
        coef_grads[1][2, 3] *= 1.0001
        return loss, coef_grads, intercept_grads


class Swish(MLPClassifier):
    """Another forward pass, z sigmoid(z) in the hidden layer, with a back-propagation of its own."""

    def _backprop(self, X, y, *args):
        (W1, W2), (b1, b2), n = self.coefs_, self.intercepts_, len(X)
        z = X @ W1 + b1
        s = 1 / (1 + np.exp(-z))
        logits = s * z @ W2 + b2
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        loss = -np.log(p[y]).mean() + 0.5 * self.alpha * ((W1**2).sum() + (W2**2).sum()) / n
        d2 = (p - y) / n
        d1 = d2 @ W2.T * (s + z * s * (1 - s))
        weights = [X.T @ d1 + self.alpha * W1 / n, (s * z).T @ d2 + self.alpha * W2 / n]
        return loss, weights, [d1.sum(axis=0), d2.sum(axis=0)]


def test_a_wrong_derivative_is_found_below_the_last_layer():
    y = TARGETS["multiclass"]
    report = gf.sklearn.gradcheck(classifier(y, HalfTheSlope, activation="tanh"), X, y)
    assert report.verdict == "FAIL"
    assert COMPILED in report.notes[-1]
    wrong = {array.name for array in report.arrays if array.wrong}
    assert wrong == {"coefs_[0]", "intercepts_[0]", "coefs_[1]", "intercepts_[1]"}
    assert report.diagnoses[0].cause == "in every layer the derivative of tanh is 1 - a"
    assert report.diagnoses[0].arrays == ("coefs_[0]", "intercepts_[0]", "coefs_[1]", "intercepts_[1]")


def test_one_wrong_entry_is_found():
    y = TARGETS["multiclass"]
    report = gf.sklearn.gradcheck(classifier(y, OneEntryOff), X, y)
    assert (report.verdict, report.wrong) == ("FAIL", 1)
    assert report.worst()[0][:2] == ("coefs_[1]", (2, 3))


def test_another_forward_pass_is_a_python_function():
    y = TARGETS["multiclass"]
    report = gf.sklearn.gradcheck(classifier(y, Swish, hidden_layer_sizes=(5,)), X, y)
    assert report.ok, str(report)
    assert "Python function: the network that describes it has the cost" in report.notes[-1]


# ---- nothing is changed, and bad input is explained


def test_the_estimator_and_the_data_stay_as_they_are():
    class Careless(MLPClassifier):
        def _backprop(self, X, *args, **kwargs):
            result = super()._backprop(X, *args, **kwargs)
            for array in (*self.coefs_, *self.intercepts_):
                array[...] = 0
            return result

    y = TARGETS["multiclass"]
    estimator = classifier(y)
    estimator.__class__ = Careless
    before, state = copy.deepcopy(estimator.__dict__), estimator._random_state.get_state()[1].copy()
    samples = X.copy()
    assert gf.sklearn.gradcheck(estimator, X, y)
    np.testing.assert_array_equal(X, samples)
    np.testing.assert_array_equal(estimator._random_state.get_state()[1], state)
    assert estimator.__dict__.keys() == before.keys()
    for name in ("coefs_", "intercepts_", "classes_", "n_iter_", "loss_"):
        np.testing.assert_equal(getattr(estimator, name), before[name])


def test_arguments_that_do_not_fit():
    y = TARGETS["multiclass"]
    with pytest.raises(NotFittedError, match="not fitted yet"):
        gf.sklearn.gradcheck(MLPClassifier(), X, y)
    with pytest.raises(TypeError, match="estimator: expected an MLPClassifier or MLPRegressor, got 'mlp'"):
        gf.sklearn.gradcheck("mlp", X, y)
    with pytest.raises(ValueError, match="3 features"):
        gf.sklearn.gradcheck(classifier(y), X[:, :3], y)
    with pytest.raises(ValueError, match="classes"):
        gf.sklearn.gradcheck(classifier(y), X, y + 1)
    with pytest.raises(ValueError, match="method: 'units' is one of the compiled engine"):
        gf.sklearn.gradcheck(classifier(y, Swish, hidden_layer_sizes=(5,)), X, y, method="units")
