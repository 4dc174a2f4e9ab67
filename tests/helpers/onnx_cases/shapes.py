"""Operators that move entries, and those of shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from .registry import Random, calls, draw, pick


@calls("CastLike")
def cast_like(rng: Random, opset: int) -> Any:
    return [pick(rng, rng.integers(-3, 3, 4), rng.random(4) < 0.5), pick(rng, draw(rng, 2), np.array([1]))], {}, 1


@calls("Dropout")
def dropout(rng: Random, opset: int) -> Any:
    """Not in training."""
    return (
        ([draw(rng, 3, 4)], {"ratio": 0.25}, 1)
        if opset < 12
        else ([draw(rng, 3, 4), np.array(0.25)], {}, pick(rng, 1, 2))
    )


@calls("Shape")
def shape(rng: Random, opset: int) -> Any:
    options = {"start": pick(rng, None, 1, -1), "end": pick(rng, None, 2, -1)} if opset >= 15 else {}
    return [draw(rng, 2, 3, 4)], options, 1


@calls("Size")
def size_of(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, 4)], {}, 1


@calls("Constant")
def constant(rng: Random, opset: int) -> Any:
    tensor = onnx.numpy_helper.from_array(draw(rng, 2, 3).astype(np.float32))
    choices: list[dict[str, Any]] = [{"value": tensor}]
    if opset >= 12:
        choices += [{"value_float": 0.5}, {"value_int": 3}, {"value_ints": [1, 2]}, {"value_floats": [0.5, 0.25]}]
    return [], pick(rng, *choices), 1


@calls("ConstantOfShape")
def constant_of_shape(rng: Random, opset: int) -> Any:
    tensor = onnx.helper.make_tensor("value", onnx.TensorProto.INT64, [1], [7])
    return [np.array([2, 3])], {"value": pick(rng, None, tensor)}, 1


@calls("EyeLike")
def eye_like(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4)], {"k": pick(rng, None, 1, -1)}, 1


@calls("Range")
def number_range(rng: Random, opset: int) -> Any:
    if pick(rng, True, False):
        return [np.array(1.0), np.array(5.5), np.array(pick(rng, 0.5, 2.0))], {}, 1
    return [np.array(7), np.array(1), np.array(-2)], {}, 1


@calls("Reshape")
def reshape(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, 4), np.array(pick(rng, [-1], [0, -1], [2, 12], [0, 0, 2, 2], [4, -1, 2]))], {}, 1


@calls("Flatten")
def flatten(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, 4)], {"axis": pick(rng, None, 0, 1, 2, 3, -1, -2)}, 1


@calls("Transpose")
def transpose(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, 4)], {"perm": pick(rng, None, [1, 0, 2], [2, 0, 1])}, 1


@calls("Expand")
def expand(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 1), np.array(pick(rng, [2, 1, 4], [3, 4], [1], [2, 3, 1]))], {}, 1


@calls("Tile")
def tile(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3), np.array(pick(rng, [1, 2], [2, 1], [3, 2]))], {}, 1


@calls("Concat")
def concat(rng: Random, opset: int) -> Any:
    axis = pick(rng, 0, 1, -1)
    return [draw(rng, 2, 3), draw(rng, 2, 3), draw(rng, *((1, 3) if axis == 0 else (2, 1)))], {"axis": axis}, 1


def with_axes(rng: Random, opset: int, x: Any, axes: Any) -> Any:
    """Since opset 13 the axes are an input."""
    if axes is None:
        return [x], {}, 1
    return ([x], {"axes": axes}, 1) if opset < 13 else ([x, np.array(axes)], {}, 1)


@calls("Squeeze")
def squeeze(rng: Random, opset: int) -> Any:
    return with_axes(rng, opset, draw(rng, 1, 3, 1, 2), pick(rng, None, [0], [2], [0, -2]))


@calls("Unsqueeze")
def unsqueeze(rng: Random, opset: int) -> Any:
    return with_axes(rng, opset, draw(rng, 3, 2), pick(rng, [0], [1, 3], [-1], [0, -1]))


@calls("Split")
def split(rng: Random, opset: int) -> Any:
    axis, parts = pick(rng, 0, 1, -1), pick(rng, None, [1, 3, 2])
    options: dict[str, Any] = {"axis": axis}
    x: list[Any] = [draw(rng, 6, 6)]
    if parts is not None and opset < 13:
        options["split"] = parts
    elif parts is not None:
        x.append(np.array(parts))
    elif opset >= 18:
        options["num_outputs"] = 3
    return x, options, 3


@calls("Slice")
def slices(rng: Random, opset: int) -> Any:
    begin, end, axes, steps = pick(
        rng, ([1], [5], [0], [2]), ([0, -3], [100, -1], None, None), ([-1], [-1000], [1], [-2]),
        ([3, 1], [0, 4], [1, 0], [-1, 1]), ([2], [-1], [-1], None), ([5], [2], [0], [1]),
    )  # fmt: skip
    more = [None if value is None else np.array(value) for value in (axes, steps)]
    more = more[: 0 if axes is None else 1 if steps is None else 2]
    return [draw(rng, 6, 7), np.array(begin), np.array(end), *more], {}, 1


@calls("Pad")
def pad(rng: Random, opset: int) -> Any:
    mode = pick(rng, None, "constant", "reflect", "edge", *(["wrap"] if opset >= 19 else []))
    pads = pick(rng, [0, 1, 0, 2], [1, 0, 1, 1], [1, 2, 0, 1], [-1, 1, 0, -1])
    x = [draw(rng, 4, 5), np.array(pads)]
    if mode in (None, "constant") and pick(rng, True, False):
        x.append(np.array(0.5))
    if opset >= 18 and pick(rng, True, False):
        x = [x[0], np.array([1, 2]), x[2] if len(x) > 2 else None, np.array([pick(rng, 0, 1, -1)])]
    return x, {"mode": mode}, 1


@calls("DepthToSpace")
def depth_to_space(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 8, 2, 3)], {"blocksize": 2, "mode": pick(rng, None, "DCR", "CRD")}, 1


@calls("SpaceToDepth")
def space_to_depth(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, 4, 6)], {"blocksize": 2}, 1


@calls("Trilu")
def trilu(rng: Random, opset: int) -> Any:
    k = pick(rng, None, np.array(0), np.array(1), np.array(-2))
    return [draw(rng, 2, 3, 4), *([] if k is None else [k])], {"upper": pick(rng, None, 0, 1)}, 1


@calls("ReverseSequence")
def reverse_sequence(rng: Random, opset: int) -> Any:
    batch = pick(rng, 0, 1)
    lengths = rng.integers(1, 3, 4 if batch else 3)
    x = draw(rng, 3, 4, 2)
    return [x, np.array(lengths)], {"batch_axis": batch, "time_axis": 1 - batch}, 1


@calls("Compress")
def compress(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 3), np.array([True, False, True])], {"axis": pick(rng, None, 0, 1, -1)}, 1


@calls("NonZero")
def nonzero(rng: Random, opset: int) -> Any:
    return [rng.integers(0, 2, (3, 4))], {}, 1


@calls("OneHot")
def one_hot(rng: Random, opset: int) -> Any:
    return [rng.integers(-4, 5, (2, 3)), np.array(4), draw(rng, 2)], {"axis": pick(rng, None, 0, 1, -1, -2)}, 1


@calls("TopK")
def top_k(rng: Random, opset: int) -> Any:
    options = {"axis": pick(rng, None, 0, -1), "largest": pick(rng, None, 0)}
    return [rng.integers(0, 5, (4, 5)) * 1.0, np.array([3])], options, 2


@calls("CenterCropPad")
def center_crop_pad(rng: Random, opset: int) -> Any:
    return [draw(rng, 5, 6), np.array(pick(rng, [3, 8], [8, 3], [4, 5]))], {}, 1
