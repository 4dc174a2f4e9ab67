"""Gathering, scattering and resizing."""

from __future__ import annotations

from typing import Any

import numpy as np

from .registry import Random, calls, draw, pick

# ---- indices


@calls("Gather")
def gather(rng: Random, opset: int) -> Any:
    axis = pick(rng, None, 0, 1, -1)
    return [draw(rng, 3, 4), rng.integers(-3, 3, pick(rng, (), (2,), (2, 2)))], {"axis": axis}, 1


@calls("GatherElements")
def gather_elements(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4), rng.integers(-3, 3, (2, 3))], {"axis": pick(rng, None, 0, 1, -1)}, 1


@calls("GatherND")
def gather_nd(rng: Random, opset: int) -> Any:
    batch = pick(rng, None, 1) if opset >= 12 else None
    shape = (2, 2, pick(rng, 1, 2))
    return [draw(rng, 2, 3, 4), rng.integers(-2, 2, shape)], {"batch_dims": batch}, 1


def with_reduction(rng: Random, opset: int, name: str = "") -> Any:
    if opset < 16:
        return None
    return pick(rng, None, "none", "add", "mul", *(["max", "min"] if opset >= 18 else []))


@calls("ScatterElements")
def scatter_elements(rng: Random, opset: int) -> Any:
    how = with_reduction(rng, opset)
    axis = pick(rng, None, 0, 1)
    if how in (None, "none"):  # else the order would matter
        indices = np.array([[0, 2, 1], [2, -3, 0]]) if axis else np.array([[0, 2, 1, 0], [2, -3, 0, 1]])
    else:
        indices = rng.integers(-3, 3, (2, 3))
    return [draw(rng, 3, 4), indices, draw(rng, *indices.shape)], {"axis": axis, "reduction": how}, 1


@calls("ScatterND")
def scatter_nd(rng: Random, opset: int) -> Any:
    how = with_reduction(rng, opset)
    if pick(rng, True, False):
        indices, updates = np.array([[1, 2], [0, -1], [2, 0]]), draw(rng, 3)
    else:
        indices, updates = np.array([[2], [0]]), draw(rng, 2, 4)
    if how not in (None, "none"):
        indices = np.concatenate([indices, indices])
        updates = np.concatenate([updates, updates + 0.125])
    return [draw(rng, 3, 4), indices, updates], {"reduction": how}, 1


@calls("GridSample")
def grid_sample(rng: Random, opset: int) -> Any:
    mode = pick(rng, None, "nearest", "bilinear", "bicubic") if opset < 20 else pick(rng, None, "nearest", "cubic")
    options = {"padding_mode": pick(rng, None, "border", "reflection"), "align_corners": pick(rng, 0, 1), "mode": mode}
    return [draw(rng, 2, 2, 4, 5), draw(rng, 2, 3, 3, 2) * 0.75], options, 1


@calls("TensorScatter")
def tensor_scatter(rng: Random, opset: int) -> Any:
    mode = pick(rng, None, "linear", "circular")
    starts = rng.integers(0, 5 if mode == "circular" else 3, 2)
    return [draw(rng, 2, 2, 5, 3), draw(rng, 2, 2, 2, 3), starts], {"mode": mode}, 1


# ---- resizing


@calls("Resize")
def resize(rng: Random, opset: int) -> Any:
    mode = pick(rng, "nearest", "linear", "cubic")
    how = ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"]
    options: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": pick(rng, *how)}
    if mode == "nearest":
        options["nearest_mode"] = pick(rng, None, "round_prefer_ceil", "floor", "ceil")
    if mode == "cubic":
        options |= {"cubic_coeff_a": pick(rng, None, -0.5), "exclude_outside": pick(rng, 0, 1)}
    if opset >= 18 and mode != "nearest" and options["coordinate_transformation_mode"] == "half_pixel":
        options["antialias"] = pick(rng, 0, 1)
        if options["antialias"]:
            options.pop("exclude_outside", None)
    x = draw(rng, 1, 2, 4, 6)
    x = [x, None, np.zeros(0) if opset < 13 else None]
    if opset < 13:
        x[1] = np.zeros(0)
    if pick(rng, True, False):
        sizes = np.array([1, 2, *pick(rng, (8, 12), (2, 3), (8, 3), (6, 4))])
        return [*x, sizes], options, 1
    scales = np.array([1.0, 1.0, *pick(rng, (2.0, 2.0), (0.5, 0.5), (1.5, 2.0), (2.0, 1.0), (0.6, 0.7))])
    return [*x[:2], scales], options, 1
