"""Matrix products, convolutions and pools."""

from __future__ import annotations

from typing import Any

import numpy as np

from .registry import Random, calls, draw, pick


@calls("MatMul")
def matmul(rng: Random, opset: int) -> Any:
    first, second = pick(rng, ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((3,), (3, 4)), ((2, 3), (3,)),
                         ((2, 1, 2, 3), (4, 3, 2)))  # fmt: skip
    return [draw(rng, *first), draw(rng, *second)], {}, 1


@calls("Gemm")
def gemm(rng: Random, opset: int) -> Any:
    a, b = pick(rng, 0, 1), pick(rng, 0, 1)
    c = pick(rng, None, draw(rng, 4), draw(rng, 2, 4), draw(rng), draw(rng, 2, 1))
    x = [draw(rng, *((3, 2) if a else (2, 3))), draw(rng, *((4, 3) if b else (3, 4))), c]
    options = {"transA": a, "transB": b, "alpha": pick(rng, None, 0.5), "beta": pick(rng, None, 0.25)}
    return x if c is not None else x[:2], options, 1


@calls("Einsum")
def einsum(rng: Random, opset: int) -> Any:
    equation, *shapes = pick(
        rng, ("ij,jk->ik", (2, 3), (3, 4)), ("bij, bjk -> bik", (2, 2, 3), (2, 3, 2)), ("...i,ij", (2, 2, 3), (3, 2)),
        ("ii->i", (3, 3)), ("bhqd,bhkd->bhqk", (1, 2, 3, 2), (1, 2, 2, 2)), ("i,j->ij", (2,), (3,)),
    )  # fmt: skip
    return [draw(rng, *shape) for shape in shapes], {"equation": equation}, 1


def window(rng: Random, axes: int, kernel: Any, *, pads: bool = True) -> dict[str, Any]:
    """Draws strides, dilations and padding for a kernel."""
    mode = pick(rng, None, "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
    pad = [int(rng.integers(0, max(k, 1))) for k in (*kernel, *kernel)]
    return {
        "strides": pick(rng, None, [int(n) for n in rng.integers(1, 4, axes)]),
        "pads": pad if mode in (None, "NOTSET") and pads and pick(rng, True, False) else None,
        "auto_pad": mode,
    }


def spatial(rng: Random) -> tuple[tuple[int, ...], list[int]]:
    axes = pick(rng, 1, 2, 2, 3)
    return tuple(int(n) for n in rng.integers(6, 9, axes)), [int(n) for n in rng.integers(1, 4, axes)]


@calls("Conv")
def conv(rng: Random, opset: int) -> Any:
    size, kernel = spatial(rng)
    group = pick(rng, 1, 1, 2, 4)
    x = [draw(rng, 2, 4, *size), draw(rng, 4, 4 // group, *kernel), pick(rng, None, draw(rng, 4))]
    options = {**window(rng, len(size), kernel), "group": group, "kernel_shape": pick(rng, None, kernel)}
    options["dilations"] = pick(rng, None, [int(n) for n in rng.integers(1, 3, len(size))])
    return x if x[2] is not None else x[:2], options, 1


@calls("ConvTranspose")
def conv_transpose(rng: Random, opset: int) -> Any:
    size, kernel = spatial(rng)
    group, axes = pick(rng, 1, 2), len(size)
    x = [draw(rng, 2, 4, *size), draw(rng, 4, 3, *kernel), pick(rng, None, draw(rng, 3 * group))]
    strides = [int(n) for n in rng.integers(1, 4, axes)]
    options: dict[str, Any] = {"strides": strides, "group": group}
    how = pick(rng, "pads", "output_shape", "auto_pad", "none")
    if how == "pads":
        options["pads"] = [int(rng.integers(0, k)) for k in (*kernel, *kernel)]
        options["output_padding"] = [int(rng.integers(0, s)) for s in strides]
        options["dilations"] = pick(rng, None, [int(n) for n in rng.integers(1, 3, axes)])
    elif how == "output_shape":
        options["output_shape"] = [s * (n - 1) + k for n, s, k in zip(size, strides, kernel, strict=True)]
        options["auto_pad"] = pick(rng, None, "SAME_UPPER", "SAME_LOWER")
    elif how == "auto_pad":
        options["auto_pad"] = pick(rng, "SAME_UPPER", "SAME_LOWER", "VALID")
        options["strides"] = [min(s, k) for s, k in zip(strides, kernel, strict=True)]
    return x if x[2] is not None else x[:2], options, 1


@calls("MaxPool")
def max_pool(rng: Random, opset: int) -> Any:
    size, kernel = spatial(rng)
    options = {**window(rng, len(size), kernel), "kernel_shape": kernel, "ceil_mode": pick(rng, 0, 1)}
    if options["auto_pad"] in (None, "NOTSET", "VALID"):
        options["dilations"] = pick(rng, None, [int(n) for n in rng.integers(1, 3, len(size))])
    outputs = pick(rng, 1, 2)
    if outputs == 2:
        options["storage_order"] = pick(rng, 0, 1)
    return [draw(rng, 2, 3, *size)], options, outputs


@calls("AveragePool")
def average_pool(rng: Random, opset: int) -> Any:
    size, kernel = spatial(rng)
    options = {**window(rng, len(size), kernel), "kernel_shape": kernel, "ceil_mode": pick(rng, 0, 1)}
    options["count_include_pad"] = pick(rng, 0, 1)
    if opset >= 19 and not options["ceil_mode"] and options["auto_pad"] in (None, "NOTSET", "VALID"):
        options["dilations"] = pick(rng, None, [int(n) for n in rng.integers(1, 3, len(size))])
    return [draw(rng, 2, 3, *size)], options, 1


@calls("LpPool")
def lp_pool(rng: Random, opset: int) -> Any:
    size, kernel = spatial(rng)
    return (
        [draw(rng, 2, 3, *size)],
        {**window(rng, len(size), kernel), "kernel_shape": kernel, "p": pick(rng, 1, 2, 3)},
        1,
    )


@calls("GlobalAveragePool", "GlobalMaxPool")
def global_pool(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, *spatial(rng)[0])], {}, 1


@calls("GlobalLpPool")
def global_lp_pool(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, *spatial(rng)[0])], {"p": pick(rng, 1, 2, 3)}, 1


@calls("MaxUnpool")
def max_unpool(rng: Random, opset: int) -> Any:
    places = np.array([[[[0, 3], [8, 11]]]]) + rng.integers(0, 2, (1, 1, 2, 2))
    return [draw(rng, 1, 1, 2, 2), places], {"kernel_shape": [2, 2], "strides": [2, 2]}, 1


@calls("Col2Im")
def col2im(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3 * 4, 6), np.array([3, 4]), np.array([2, 2])], {}, 1
