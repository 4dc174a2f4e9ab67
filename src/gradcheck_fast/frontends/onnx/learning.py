"""Operators of the domain ai.onnx.ml, as scikit-learn's models become."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_fast.frontends.onnx.registry import LEARNING, Node, Unsupported, operator
from gradcheck_fast.frontends.operators.activations import activation, softmax

#: The attributes of these operators that can be parameters.
PARAMETERS = {
    "LinearClassifier": ("coefficients", "intercepts"),
    "LinearRegressor": ("coefficients", "intercepts"),
    "Scaler": ("offset", "scale"),
}
#: The operators of which these are trained by a gradient.
TRAINED = frozenset(("LinearClassifier", "LinearRegressor"))


def _after(node: Node, scores: Any) -> Any:
    how = node.get("post_transform", "NONE")
    if how == "NONE":
        return scores
    if how == "LOGISTIC":
        return activation("sigmoid", scores)
    if how == "SOFTMAX":
        return softmax(scores, axis=-1)
    raise Unsupported(f"post_transform {how}")


def _vector(value: Any) -> Any:
    return value if value is None or hasattr(value, "reshape") else np.asarray(value, np.float64)


def _rows(x: Any) -> Any:
    return x.reshape(1, -1) if x.ndim == 1 else x


def _linear(node: Node, x: Any, count: int) -> Any:
    scores = x @ _vector(node.get("coefficients")).reshape(count, -1).T
    intercepts = node.get("intercepts")
    return scores if intercepts is None or not len(intercepts) else scores + _vector(intercepts)


@operator("LinearRegressor", domain=LEARNING)
def _linear_regressor(node: Node, x: Any) -> Any:
    return _after(node, _linear(node, _rows(x), node.get("targets")))


@operator("LinearClassifier", domain=LEARNING)
def _linear_classifier(node: Node, x: Any) -> Any:
    """Returns the labels and the scores; of two classes that have one row of coefficients, the scores -s and s."""
    x = _rows(x)
    labels = node.get("classlabels_ints") or node.get("classlabels_strings") or [0, 1]
    count = len(_vector(node.get("coefficients"))) // x.shape[1]
    scores = _linear(node, x, count)
    if count == 1 and len(labels) == 2:
        raise Unsupported("two classes with the coefficients of one")
    places = np.asarray(np.argmax(scores, axis=1), np.int64) if node.wants(0) else np.zeros(len(x), np.int64)
    return np.array(labels)[places], _after(node, scores)


@operator("Scaler", domain=LEARNING)
def _scaler(node: Node, x: Any) -> Any:
    return (x - _vector(node.get("offset"))) * _vector(node.get("scale"))


@operator("Normalizer", domain=LEARNING)
def _normalizer(node: Node, x: Any) -> Any:
    """Divides rows by their largest entry, the sum of the sizes, or the Euclidean norm, unless that is 0."""
    how = node.get("norm")
    if how == "MAX":
        norm = np.max(x, axis=-1, keepdims=True)
    elif how == "L1":
        norm = np.sum(np.abs(x), axis=-1, keepdims=True)
    else:
        norm = np.sqrt(np.sum(np.square(x), axis=-1, keepdims=True))
    return x / np.where(norm == 0.0, 1.0, norm)


@operator("Imputer", domain=LEARNING)
def _imputer(node: Node, x: Any) -> Any:
    values = _vector(node.get("imputed_value_floats"))
    replaced = node.get("replaced_value_float")
    if values is None or x.dtype.kind != "f":
        raise Unsupported("an imputer of integers")
    missing = np.isnan(x) if replaced is None or np.isnan(replaced) else x == replaced
    return np.where(missing, values, x)


@operator("Binarizer", domain=LEARNING)
def _binarizer(node: Node, x: Any) -> Any:
    return np.where(x > node.get("threshold"), 1.0, 0.0)


@operator("FeatureVectorizer", domain=LEARNING)
def _feature_vectorizer(node: Node, *x: Any) -> Any:
    return np.concatenate([_rows(one) for one in x], axis=1)
