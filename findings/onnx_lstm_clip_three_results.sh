#!/bin/sh
# onnx 1.23.2 and onnxruntime 1.32.0 (CPU): an LSTM with `clip` has three results. The operator's text says that clipping
# is applied to the input of activations, which would clip the cell before the output's tanh, too. onnxruntime clips
# what goes into the gates and not the cell, and onnx.reference clips nothing. So whoever trains such a model against
# one of them checks another function than the others run; without `clip`, or where nothing is as large, all agree.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
INPUTS, HIDDEN, TIMES = 2, 3, 12
rng = np.random.default_rng(0)
weights = {
    "W": np.abs(rng.normal(size=(1, 4 * HIDDEN, INPUTS))),
    "R": 0.3 * rng.normal(size=(1, 4 * HIDDEN, HIDDEN)),
    "B": 0.3 * rng.normal(size=(1, 8 * HIDDEN)),
}
weights = {name: array.astype(np.float32) for name, array in weights.items()}
X = np.abs(rng.normal(size=(TIMES, 1, INPUTS))).astype(np.float32)


def by_formula(gates_to, cell_to):
    """The last state, with the gates' inputs and the cell cut off at these sizes."""
    sigmoid = lambda z: 1.0 / (1.0 + np.exp(-z))
    h, c = np.zeros((2, 1, HIDDEN))
    W, R, b = weights["W"][0], weights["R"][0], weights["B"][0, : 4 * HIDDEN] + weights["B"][0, 4 * HIDDEN :]
    for x in X:
        i, o, f, g = np.split(np.clip(x @ W.T + h @ R.T + b, -gates_to, gates_to), 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(np.clip(c, -cell_to, cell_to))
    return h


def by_onnx(clip):
    """What onnxruntime and onnx.reference give for it."""
    given = {} if clip == np.inf else {"clip": clip}
    node = helper.make_node("LSTM", ["X", *weights], ["", "H"], hidden_size=HIDDEN, **given)
    graph = helper.make_graph(
        [node], "lstm", [helper.make_tensor_value_info("X", TensorProto.FLOAT, X.shape)],
        [helper.make_tensor_value_info("H", TensorProto.FLOAT, [1, 1, HIDDEN])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"X": X})[0][0], ReferenceEvaluator(model).run(None, {"X": X})[0][0]


def same(a, b):
    return bool(np.abs(a - b).max() < 1e-5)


runtime, reference = by_onnx(0.3)
formulas = {
    "gates and cell cut off": by_formula(0.3, 0.3),
    "gates alone": by_formula(0.3, np.inf),
    "nothing": by_formula(np.inf, np.inf),
}
for name, value in formulas.items():
    print(f"{name:24}", value.round(4)[0], "onnxruntime" * same(runtime, value), "reference" * same(reference, value))
plain = by_onnx(np.inf)
as_stated = (
    [same(runtime, value) for value in formulas.values()] == [False, True, False]
    and [same(reference, value) for value in formulas.values()] == [False, False, True]
    and all(same(value, by_formula(np.inf, np.inf)) for value in plain)
)
sys.exit(0 if as_stated else 1)
PYTHON
