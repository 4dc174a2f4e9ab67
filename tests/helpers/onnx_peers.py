"""Computes the calls of `onnx_cases` by the table of operators, by onnxruntime and by ``onnx.reference``."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx_cases import Call

from gradcheck_fast.frontends.onnx.evaluation import evaluate


class CannotError(Exception):
    """A library does not know an operator, or not with these attributes."""


def by_table(call: Call) -> list[Any]:
    found = evaluate(call.model(np.float64), call.inputs, call.outputs)
    return [found[name] for name in call.outputs]


def by_onnxruntime(call: Call) -> list[Any]:
    """In float64, or, where it has no kernel for that, in float32."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    for dtype in (np.float64, np.float32):
        inputs = {name: x.astype(dtype) if x.dtype.kind == "f" else x for name, x in call.inputs.items()}
        try:
            session = onnxruntime.InferenceSession(
                call.model(dtype).SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            return session.run(call.outputs, inputs)
        except Exception as error:  # of many kinds, none of which is documented
            reason = error
    raise CannotError from reason


def by_reference(call: Call) -> list[Any]:
    from onnx.reference import ReferenceEvaluator

    try:
        with np.errstate(all="ignore"):
            return ReferenceEvaluator(call.model(np.float64)).run(call.outputs, dict(call.inputs))
    except Exception as error:  # what it does not know, it notices in many ways
        raise CannotError from error


def difference(found: Any, own: Any) -> float:
    """Returns how far two arrays are from each other, relative to the largest entry; infinity for other shapes."""
    x, y = np.asarray(found), np.asarray(own)
    if x.shape != y.shape:
        return np.inf
    if x.dtype.kind != "f" or y.dtype.kind != "f":
        return 0.0 if np.array_equal(x, y) else np.inf
    finite = np.isfinite(y)
    if not np.array_equal(finite, np.isfinite(x)) or not np.array_equal(x[~finite], y[~finite], equal_nan=True):
        return np.inf
    scale = np.abs(y[finite]).max(initial=0.0) or 1.0
    return float(np.abs(x[finite] - y[finite]).max(initial=0.0) / scale)


def plain_attribute(attribute: Any) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (list, tuple)) or type(value).__name__.startswith("Repeated"):
        return [part.decode() if isinstance(part, bytes) else part for part in value]
    return f"{value:.6g}" if isinstance(value, float) else value


def written(array: Any) -> str:
    """Returns an array as a short text."""
    return np.array2string(np.asarray(array), precision=4, separator=", ").replace("\n", "")
