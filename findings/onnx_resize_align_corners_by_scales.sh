#!/bin/sh
# onnx 1.23.2 and onnxruntime 1.32.0 (CPU): Resize with coordinate_transformation_mode align_corners, given scales
# whose product with the length is no whole number, has two results. By its text the last place of the result is the
# last of the input, x (n - 1) / (m - 1) for lengths n and m; onnxruntime does that, as does torch's interpolate.
# onnx.reference puts n * scale, a fraction, in the place of m, so that no place but the first is met. Given sizes
# instead of scales both agree. A gradient by the one is not that of the other.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
x = np.arange(8, dtype=np.float32).reshape(1, 1, 8)  # a ramp: what comes out is where it was taken from


def places(name, number):
    """Where the two take each entry of the result from, given scales or sizes."""
    inputs = ["x", "", "scales"] if name == "scales" else ["x", "", "", "sizes"]
    kind = TensorProto.FLOAT if name == "scales" else TensorProto.INT64
    node = helper.make_node("Resize", inputs, ["y"], mode="linear", coordinate_transformation_mode="align_corners")
    infos = [helper.make_tensor_value_info(*i) for i in (("x", TensorProto.FLOAT, x.shape), (name, kind, [3]))]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, list("abc"))
    graph = helper.make_graph([node], "resize", infos, [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    onnx.checker.check_model(model)
    given = {"x": x, name: np.array([1, 1, number], np.float32 if name == "scales" else np.int64)}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, given)[0][0, 0], ReferenceEvaluator(model).run(None, given)[0][0, 0]


as_stated = True
for name, number in (("scales", 0.5), ("scales", 0.6), ("scales", 1.5), ("scales", 1.7), ("sizes", 4), ("sizes", 13)):
    runtime, reference = places(name, number)
    by_text = np.arange(len(runtime)) * 7 / (len(runtime) - 1)
    length = 8 * number if name == "scales" else number
    by_fraction = np.arange(len(runtime)) * 7 / (length - 1)
    print(f"{name} {number}: last from {runtime[-1]:.3f} by onnxruntime, {reference[-1]:.3f} by onnx.reference")
    as_stated &= np.allclose(runtime, by_text, atol=1e-3) and np.allclose(reference, by_fraction, atol=1e-3)
    as_stated &= np.allclose(runtime, reference, atol=1e-3) == float(length).is_integer()
sys.exit(0 if as_stated else 1)
PYTHON
