"""Boosting objectives as users write them, each with its loss, with mistakes that are made in them, and with data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

ROWS, CLASSES = 12, 3


class Case(NamedTuple):
    """An objective, the loss that it belongs to, wrong objectives with the arrays that are wrong in them, and data."""

    objective: Callable[..., Any]
    loss: Callable[..., Any]
    wrong: dict[str, tuple[Callable[..., Any], tuple[str, ...]]]
    predictions: np.ndarray
    targets: np.ndarray
    more: Mapping[str, Any] = MappingProxyType({})


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


# ---- LightGBM's scikit-learn interface: objective(y_true, y_pred)


def logistic(y_true, y_pred):
    p = sigmoid(y_pred)
    return p - y_true, p * (1.0 - p)


def logistic_loss(y_true, y_pred):
    return np.logaddexp(0.0, y_pred) - y_true * y_pred


def poisson(y_true, y_pred):
    return np.exp(y_pred) - y_true, np.exp(y_pred)


def poisson_loss(y_true, y_pred):
    return np.sum(np.exp(y_pred) - y_true * y_pred)


def gamma(y_true, y_pred):
    ratio = y_true * np.exp(-y_pred)
    return 1.0 - ratio, ratio


def gamma_loss(y_true, y_pred):
    return y_true * np.exp(-y_pred) + y_pred


RHO = 1.5


def tweedie(y_true, y_pred):
    first, second = y_true * np.exp((1 - RHO) * y_pred), np.exp((2 - RHO) * y_pred)
    return second - first, (2 - RHO) * second - (1 - RHO) * first


def tweedie_loss(y_true, y_pred):
    return -y_true * np.exp((1 - RHO) * y_pred) / (1 - RHO) + np.exp((2 - RHO) * y_pred) / (2 - RHO)


def asymmetric(y_true, y_pred):
    residual = y_true - y_pred
    return np.where(residual < 0, -2.0 * residual, -20.0 * residual), np.where(residual < 0, 2.0, 20.0)


def asymmetric_loss(y_true, y_pred):
    residual = y_true - y_pred
    return np.where(residual < 0, residual**2, 10.0 * residual**2)


def quantile(y_true, y_pred, alpha=0.8):
    return np.where(y_true < y_pred, 1.0 - alpha, -alpha), np.ones_like(y_pred)


def quantile_loss(y_true, y_pred, alpha=0.8):
    return np.maximum(alpha * (y_true - y_pred), (alpha - 1.0) * (y_true - y_pred))


# ---- XGBoost's training function: objective(preds, dtrain)


def pseudo_huber(predt, dtrain):
    d, delta = predt - dtrain.get_label(), 1.5
    scale = 1.0 + (d / delta) ** 2
    return d / np.sqrt(scale), 1.0 / (scale * np.sqrt(scale))


def pseudo_huber_loss(predt, labels):
    return np.sum(1.5**2 * (np.sqrt(1.0 + ((predt - labels) / 1.5) ** 2) - 1.0))


def softmax(predt, dtrain):
    p = np.exp(predt - predt.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    grad = p.copy()
    grad[np.arange(len(p)), dtrain.get_label().astype(int)] -= 1.0
    return grad, np.maximum(2.0 * p * (1.0 - p), 1e-6)


def softmax_loss(predt, labels):
    largest = predt.max(axis=1)
    log_sum = largest + np.log(np.exp(predt - largest[:, None]).sum(axis=1))
    return log_sum - predt[np.arange(len(predt)), labels.astype(int)]


ALPHA, POWER = 0.25, 2.0


def focal(preds, train_data):
    y = train_data.get_label()
    sign, own = np.where(y == 1, 1.0, -1.0), np.where(y == 1, ALPHA, 1.0 - ALPHA)
    p = sigmoid(sign * preds)
    log = np.log(p)
    q = 1.0 - p
    grad = sign * own * q**POWER * (POWER * p * log - q)
    inner = q**POWER * (POWER * p * log - q)
    slope = -POWER * q ** (POWER - 1) * (POWER * p * log - q) + q**POWER * (POWER * log + POWER + 1.0)
    hess = own * slope * p * q
    return grad, hess + 0.0 * inner


def focal_loss(preds, labels):
    own = np.where(labels == 1, ALPHA, 1.0 - ALPHA)
    p = sigmoid(np.where(labels == 1, 1.0, -1.0) * preds)
    return -own * (1.0 - p) ** POWER * np.log(p)


# ---- pairs of rows in groups


def _pairs(y, group):
    begins = np.cumsum([0, *group[:-1]])
    for begin, count in zip(begins, group, strict=True):
        for i in range(begin, begin + count):
            for j in range(begin, begin + count):
                if y[i] > y[j]:
                    yield i, j


def pairwise(y_true, y_pred, weight, group):
    grad, hess = np.zeros_like(y_pred), np.zeros_like(y_pred)
    for i, j in _pairs(y_true, group):
        p = sigmoid(y_pred[j] - y_pred[i])
        grad[i] -= p
        grad[j] += p
        hess[i] += p * (1.0 - p)
        hess[j] += p * (1.0 - p)
    return grad, hess


def pairwise_loss(y_true, y_pred, weight, group):
    return sum(np.log1p(np.exp(y_pred[j] - y_pred[i])) for i, j in _pairs(y_true, group))


def _changed(objective, grad=lambda values: values, hess=lambda values: values):
    """Makes an objective with changed results, which takes what the other takes."""

    def by_data(preds, dtrain):
        found = objective(preds, dtrain)
        return grad(found[0]), hess(found[1])

    def by_targets(y_true, y_pred):
        found = objective(y_true, y_pred)
        return grad(found[0]), hess(found[1])

    return by_data if objective in (pseudo_huber, softmax, focal) else by_targets


def _one(values):
    changed = np.array(values)
    changed.flat[3] *= 1.0 + 1e-4
    return changed


def _no_sign(y_true, y_pred, weight, group):
    grad, hess = pairwise(y_true, y_pred, weight, group)
    return np.abs(grad), hess


_RNG = np.random.default_rng(7)
_SCORES = _RNG.normal(size=ROWS)
_LABELS = (_RNG.random(ROWS) < 0.5).astype(float)
_COUNTS = _RNG.poisson(2.0, size=ROWS).astype(float)
_POSITIVE = _RNG.gamma(2.0, size=ROWS)
_REAL = _RNG.normal(size=ROWS)

CASES = {
    "logistic": Case(
        logistic, logistic_loss,
        {"hess without 1 - p": (_changed(logistic, hess=np.sqrt), ("hess",)),
         "one entry of grad": (_changed(logistic, grad=_one), ("grad",))},
        _SCORES, _LABELS,
    ),
    "softmax": Case(
        softmax, softmax_loss,
        {"one entry of hess": (_changed(softmax, hess=_one), ("hess",)),
         "three times": (_changed(softmax, hess=lambda h: 1.5 * h), ("hess",))},
        _RNG.normal(size=(ROWS, CLASSES)), _RNG.integers(0, CLASSES, size=ROWS),
    ),
    "poisson": Case(
        poisson, poisson_loss, {"wrong sign": (_changed(poisson, grad=np.negative), ("grad",))}, _SCORES, _COUNTS
    ),
    "gamma": Case(
        gamma, gamma_loss, {"halved": (_changed(gamma, hess=lambda h: h / 2), ("hess",))}, _SCORES, _POSITIVE
    ),
    "tweedie": Case(
        tweedie, tweedie_loss, {"one entry": (_changed(tweedie, hess=_one), ("hess",))}, _SCORES, _COUNTS
    ),
    "quantile": Case(
        quantile, quantile_loss,
        {"other side": (lambda y_true, y_pred: quantile(y_true, y_pred, alpha=0.2), ("grad",))}, _SCORES, _REAL,
    ),
    "pseudo-Huber": Case(
        pseudo_huber, pseudo_huber_loss,
        {"power": (_changed(pseudo_huber, hess=lambda h: h ** (2 / 3)), ("hess",))}, _SCORES, _REAL,
    ),
    "focal": Case(
        focal, focal_loss, {"one entry": (_changed(focal, grad=_one, hess=_one), ("grad", "hess"))}, _SCORES, _LABELS
    ),
    "asymmetric": Case(
        asymmetric, asymmetric_loss,
        {"all steep": (_changed(asymmetric, hess=lambda h: np.full_like(h, 20.0)), ("hess",))}, _SCORES, _REAL,
    ),
    "pairwise": Case(
        pairwise, pairwise_loss, {"no sign": (_no_sign, ("grad",))},
        _SCORES, _RNG.integers(0, 3, size=ROWS).astype(float), {"group": np.array([5, 4, 3])},
    ),
}  # fmt: skip
