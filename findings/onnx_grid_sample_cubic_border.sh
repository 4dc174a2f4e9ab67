#!/bin/sh
# onnx 1.23.2 and onnxruntime 1.32.0 (CPU): GridSample with mode cubic and padding_mode border has two results outside
# the image. onnxruntime takes the four weights from where the point lies and the entries beyond the border from the
# border, as torch does: the result moves on until the point is one pixel away, and has a derivative by it.
# onnx.reference moves the point to the border first: from there on the result is constant and its derivative by the
# grid is zero. Inside, and in linear mode, both agree.
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
LENGTH = 8
row = np.array([3.0, -1.0, 2.0, 0.5, 1.0, -2.0, 0.0, 1.0], np.float32)


def weight(t, a=-0.75):
    """The kernel of cubic convolution."""
    t = abs(t)
    return (a + 2) * t**3 - (a + 3) * t**2 + 1 if t < 1 else a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0


def cubic(place):
    first = int(np.floor(place)) - 1
    return sum(weight(place - i) * row[min(max(i, 0), LENGTH - 1)] for i in range(first, first + 4))


def by_onnx(places, mode):
    """What the two give at these pixels of the row."""
    image = np.tile(row, (1, 1, LENGTH, 1)).reshape(1, 1, LENGTH, LENGTH)
    grid = np.zeros((1, 1, len(places), 2), np.float32)
    grid[0, 0, :, 0] = 2 * np.array(places) / (LENGTH - 1) - 1
    node = helper.make_node("GridSample", ["x", "grid"], ["y"], mode=mode, padding_mode="border", align_corners=1)
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in (("x", image), ("grid", grid))]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, list("abcd"))
    graph = helper.make_graph([node], "sample", infos, [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = {"x": image, "grid": grid}
    return session.run(None, given)[0].ravel(), ReferenceEvaluator(model).run(None, given)[0].ravel()


places = [2.3, 6.8, -0.2, -0.7, -1.5, -3.0, 7.4]
runtime, reference = by_onnx(places, "cubic")
outside = np.array([not 0 <= place <= LENGTH - 1 for place in places])
near = outside & np.array([-1 < place < LENGTH for place in places])
by_weights = np.array([cubic(place) for place in places])
moved_first = np.array([cubic(min(max(place, 0), LENGTH - 1)) for place in places])
for numbers in zip(places, runtime, by_weights, reference, moved_first):
    print("at {:4}: onnxruntime {:8.5f} (weights {:8.5f}), onnx.reference {:8.5f} (moved {:8.5f})".format(*numbers))
linear = by_onnx(places, "linear")
as_stated = (
    np.allclose(runtime, by_weights, atol=1e-4)
    and np.allclose(reference, moved_first, atol=1e-4)
    and ((abs(runtime - reference) > 1e-2) == near).all()
    and np.allclose(*linear, atol=1e-4)
)
sys.exit(0 if as_stated else 1)
PYTHON
