"""Calls of ONNX's operators at random attributes and inputs: `CALLS` has a generator of them for each operator.

A generator takes a random generator and an opset, and returns the inputs (arrays, or None for one that is left out),
the attributes, and how many outputs are wanted. Arrays of float64 are floating-point inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import onnx

Random = np.random.Generator
Generator = Callable[[Random, int], "tuple[list[Any], dict[str, Any], int]"]
CALLS: dict[tuple[str, str], Generator] = {}
LEARNING = "ai.onnx.ml"


class Call(NamedTuple):
    """A model of one node, and its inputs by name."""

    operator: str
    opset: int
    node: Any
    inputs: dict[str, Any]
    opsets: list[Any]

    @property
    def outputs(self) -> list[str]:
        return [name for name in self.node.output if name]

    def model(self, dtype: type) -> Any:
        """Returns the model with floating-point inputs of this type."""
        kinds = {name: array.astype(dtype) if array.dtype.kind == "f" else array for name, array in self.inputs.items()}
        values = [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in kinds.items()
        ]  # fmt: skip
        outputs = [onnx.ValueInfoProto(name=name) for name in self.outputs]
        node = onnx.NodeProto()
        node.CopyFrom(self.node)
        graph = onnx.helper.make_graph([node], "call", values, outputs)
        return onnx.helper.make_model(graph, opset_imports=self.opsets, ir_version=10)


def calls(*names: str, domain: str = "") -> Callable[[Generator], Generator]:
    def register(generator: Generator) -> Generator:
        for name in names:
            CALLS[domain, name] = generator
        return generator

    return register


def opsets_of(name: str, domain: str) -> list[int]:
    """Returns the opsets from 11 on at which an operator changed, and the first in which it is looked at."""
    if domain:
        return [3]
    versions = sorted(
        schema.since_version
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.name == name and schema.domain == domain
    )
    first = max((version for version in versions if version <= 11), default=None)
    return ([11] if first is not None else []) + [version for version in versions if version > 11]


def make(name: str, domain: str, opset: int, seed: int) -> Call:
    """Returns one call of an operator."""
    rng = np.random.default_rng([seed, opset])
    arrays, attributes, outputs = CALLS[domain, name](rng, opset)
    names = [f"x{k}" if array is not None else "" for k, array in enumerate(arrays)]
    attributes = {key: value for key, value in attributes.items() if value is not None}
    node = onnx.helper.make_node(name, names, [f"y{k}" for k in range(outputs)], domain=domain, **attributes)
    inputs = {key: np.asarray(array) for key, array in zip(names, arrays, strict=True) if key}
    opsets = [onnx.helper.make_opsetid("", opset if not domain else 18)]
    if domain:
        opsets.append(onnx.helper.make_opsetid(domain, opset))
    return Call(name, opset, node, inputs, opsets)


def all_calls(seeds: int) -> Iterator[tuple[str, str, int, int]]:
    """Yields the name, domain, opset and seed of calls of all operators."""
    for domain, name in CALLS:
        for opset in opsets_of(name, domain):
            for seed in range(seeds):
                yield name, domain, opset, seed


def draw(rng: Random, *shape: int) -> Any:
    """Draws numbers that float32 holds exactly, apart from each other by more than its rounding."""
    return rng.integers(-2000, 2000, shape) / 1024.0 + 1.0 / 4096.0


def pick(rng: Random, *choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def positive(rng: Random, *shape: int) -> Any:
    return np.abs(draw(rng, *shape)) + 0.125


# ---- single entries


@calls("Abs", "Neg", "Exp", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Tanh", "Asinh", "Floor", "Ceil", "Round",
       "Sign", "Erf", "IsNaN", "Identity", "Relu", "Sigmoid", "Softplus", "Softsign", "Mish", "HardSwish")  # fmt: skip
def unary(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, 4)], {}, 1


@calls("Log", "Sqrt", "Reciprocal")
def of_positive(rng: Random, opset: int) -> Any:
    return [positive(rng, 2, 3)], {}, 1


@calls("Asin", "Acos", "Atanh")
def of_small(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3) / 4], {}, 1


@calls("Acosh")
def above_one(rng: Random, opset: int) -> Any:
    return [positive(rng, 2, 3) + 1], {}, 1


@calls("IsInf")
def is_infinite(rng: Random, opset: int) -> Any:
    options = {"detect_positive": pick(rng, 0, 1), "detect_negative": pick(rng, 0, 1)}
    return [np.array([1.0, np.inf, -np.inf, np.nan])], options, 1


@calls("Add", "Sub", "Mul", "Div", "Max", "Min", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal")
def binary(rng: Random, opset: int) -> Any:
    if pick(rng, True, False):
        shape = pick(rng, (3,), (2, 1), (2, 3), ())
        return [draw(rng, 2, 3), draw(rng, *shape)], {}, 1
    other = rng.integers(1, 9, (2, 3)) * pick(rng, 1, -1)
    return [rng.integers(-9, 9, (2, 3)), other], {}, 1


@calls("Sum", "Mean")
def variadic(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3), draw(rng, 3), draw(rng, 2, 1)][: pick(rng, 1, 2, 3)], {}, 1


@calls("And", "Or", "Xor")
def logical(rng: Random, opset: int) -> Any:
    return [rng.random((2, 3)) < 0.5, rng.random(3) < 0.5], {}, 1


@calls("Not")
def negation(rng: Random, opset: int) -> Any:
    return [rng.random((2, 3)) < 0.5], {}, 1


@calls("BitShift")
def shift(rng: Random, opset: int) -> Any:
    numbers = rng.integers(0, 9, 4).astype(np.uint32), rng.integers(0, 4, 4).astype(np.uint32)
    return [*numbers], {"direction": pick(rng, "LEFT", "RIGHT")}, 1


@calls("BitwiseAnd", "BitwiseOr", "BitwiseXor")
def bitwise(rng: Random, opset: int) -> Any:
    return [rng.integers(0, 9, 4), rng.integers(0, 9, 4)], {}, 1


@calls("BitwiseNot")
def bitwise_not(rng: Random, opset: int) -> Any:
    return [rng.integers(0, 9, 4)], {}, 1


@calls("Pow")
def power(rng: Random, opset: int) -> Any:
    exponent = pick(rng, np.array(2.0), np.array(0.5), draw(rng, 3), np.array(3.0))
    return [positive(rng, 2, 3), exponent], {}, 1


@calls("Mod")
def modulo(rng: Random, opset: int) -> Any:
    if pick(rng, True, False):
        return [rng.integers(-9, 9, (2, 3)), rng.integers(1, 5, 3) * pick(rng, 1, -1)], {"fmod": pick(rng, 0, 1)}, 1
    return [draw(rng, 2, 3), positive(rng, 3)], {"fmod": 1}, 1


@calls("Clip")
def clip(rng: Random, opset: int) -> Any:
    low, high = pick(rng, None, np.array(-0.5)), pick(rng, None, np.array(0.75))
    return [draw(rng, 2, 3), low, high][: 1 if low is high is None else 2 if high is None else 3], {}, 1


@calls("Where")
def where(rng: Random, opset: int) -> Any:
    return [rng.random((2, 3)) < 0.5, draw(rng, 3), draw(rng, 2, 1)], {}, 1


@calls("CumSum", "CumProd")
def cumulative(rng: Random, opset: int) -> Any:
    options = {"exclusive": pick(rng, 0, 1), "reverse": pick(rng, 0, 1)}
    return [draw(rng, 2, 4), np.array(pick(rng, 0, 1, -1))], options, 1


@calls("Cast")
def cast(rng: Random, opset: int) -> Any:
    x = pick(rng, draw(rng, 4), rng.integers(-3, 3, 4), rng.random(4) < 0.5)
    return [x], {"to": pick(rng, onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.INT32)}, 1


@calls("Det")
def determinant(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, 3)], {}, 1


# ---- activations


@calls("LeakyRelu", "Elu", "Celu", "ThresholdedRelu", "Swish")
def with_alpha(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4)], {"alpha": pick(rng, None, 0.5, 1.5)}, 1


@calls("Selu")
def selu(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4)], {"alpha": pick(rng, None, 0.5), "gamma": pick(rng, None, 1.5)}, 1


@calls("HardSigmoid")
def hard_sigmoid(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4)], {"alpha": pick(rng, None, 0.25), "beta": pick(rng, None, 0.25)}, 1


@calls("Shrink")
def shrink(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4)], {"bias": pick(rng, None, 0.25), "lambd": pick(rng, None, 1.0)}, 1


@calls("Gelu")
def gelu(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4)], {"approximate": pick(rng, None, "none", "tanh")}, 1


@calls("PRelu")
def prelu(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, 4), draw(rng, *pick(rng, (3, 1), (1,), (2, 3, 4), (4,)))], {}, 1


@calls("Softmax", "LogSoftmax", "Hardmax")
def softmax(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, 4)], {"axis": pick(rng, None, 0, 1, 2, -1, -2)}, 1


@calls("SwiGLU")
def swiglu(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 4), draw(rng, 2, 4)], {}, 1


# ---- matrix products, convolutions, pools


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


# ---- normalisations


@calls("BatchNormalization")
def batch_norm(rng: Random, opset: int) -> Any:
    x = [draw(rng, 3, 4, *pick(rng, (), (5,), (2, 3))), draw(rng, 4), draw(rng, 4), draw(rng, 4), positive(rng, 4)]
    options: dict[str, Any] = {"epsilon": pick(rng, None, 0.125)}
    if opset >= 14 and pick(rng, True, False):
        options |= {"training_mode": 1, "momentum": pick(rng, None, 0.75)}
        return x, options, 3
    return x, options, 1


@calls("InstanceNormalization")
def instance_norm(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, 4, 2), draw(rng, 3), draw(rng, 3)], {"epsilon": pick(rng, None, 0.125)}, 1


@calls("LayerNormalization")
def layer_norm(rng: Random, opset: int) -> Any:
    axis = pick(rng, -1, 1, 2, -2)
    shape = (2, 3, 4)[axis:]
    x = [draw(rng, 2, 3, 4), draw(rng, *shape), pick(rng, None, draw(rng, *shape))]
    return x if x[2] is not None else x[:2], {"axis": axis, "epsilon": pick(rng, None, 0.125)}, pick(rng, 1, 3)


@calls("RMSNormalization")
def rms_norm(rng: Random, opset: int) -> Any:
    axis = pick(rng, -1, 1, 2, -2)
    return [draw(rng, 2, 3, 4), draw(rng, *(2, 3, 4)[axis:])], {"axis": axis, "epsilon": pick(rng, None, 0.125)}, 1


@calls("GroupNormalization")
def group_norm(rng: Random, opset: int) -> Any:
    groups = pick(rng, 1, 2, 4)
    scale = groups if opset < 21 else 4
    options = {"num_groups": groups, "epsilon": pick(rng, None, 0.125)}
    return [draw(rng, 2, 4, 3, 2), draw(rng, scale), draw(rng, scale)], options, 1


@calls("LRN")
def lrn(rng: Random, opset: int) -> Any:
    options = {"size": pick(rng, 1, 2, 3, 4, 5), "alpha": pick(rng, None, 0.5), "beta": pick(rng, None, 0.5)}
    return (
        [
            draw(rng, 2, 6, 3)[..., None],
        ],
        {**options, "bias": pick(rng, None, 2.0)},
        1,
    )


@calls("LpNormalization")
def lp_norm(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, 4)], {"axis": pick(rng, None, 0, 1, -1), "p": pick(rng, 1, 2)}, 1


@calls("MeanVarianceNormalization")
def mean_variance(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, 4, 2)], {"axes": pick(rng, None, [0, 2, 3], [1])}, 1


# ---- reductions


@calls("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum",
       "ReduceLogSumExp", "ReduceSumSquare")  # fmt: skip
def reduction(rng: Random, opset: int) -> Any:
    axes = pick(rng, None, [0], [1, 2], [-1], [0, -1])
    options = {"keepdims": pick(rng, None, 0, 1)}
    return [positive(rng, 2, 3, 4)], {**options, "axes": axes}, 1


def reduction_by_input(first: int, name: str) -> None:
    """From some opset on the axes are an input."""

    def generate(rng: Random, opset: int) -> Any:
        x, options, outputs = reduction(rng, opset)
        if opset < first:
            return x, options, outputs
        axes = options.pop("axes")
        options["noop_with_empty_axes"] = pick(rng, 0, 1)
        return x + ([np.array(axes)] if axes is not None else []), options, outputs

    CALLS["", name] = generate


for _name in list(CALLS):
    if _name[1].startswith("Reduce"):
        reduction_by_input(13 if _name[1] == "ReduceSum" else 18, _name[1])


@calls("ArgMax", "ArgMin")
def arg(rng: Random, opset: int) -> Any:
    options = {"axis": pick(rng, 0, 1, -1), "keepdims": pick(rng, None, 0)}
    if opset >= 12:
        options["select_last_index"] = pick(rng, 0, 1)
    return [rng.integers(0, 3, (3, 4)) * 1.0], options, 1


# ---- shapes


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
    mode = pick(rng, None, "nearest", "bilinear") if opset < 20 else pick(rng, None, "nearest", "linear")
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
    scales = np.array([1.0, 1.0, *pick(rng, (2.0, 2.0), (0.5, 0.5), (1.5, 2.0), (2.0, 1.0))])
    return [*x[:2], scales], options, 1


# ---- recurrences

CELLS = {"RNN": 1, "GRU": 3, "LSTM": 4}


def recurrent(name: str) -> None:
    gates = CELLS[name]
    count = {"RNN": 1, "GRU": 2, "LSTM": 3}[name]

    def generate(rng: Random, opset: int) -> Any:
        direction = pick(rng, None, "forward", "reverse", "bidirectional")
        both, hidden, times, samples = 2 if direction == "bidirectional" else 1, 3, 4, 2
        x: list[Any] = [draw(rng, times, samples, 2), draw(rng, both, gates * hidden, 2) / 2]
        x.append(draw(rng, both, gates * hidden, hidden) / 2)
        x.append(pick(rng, None, draw(rng, both, 2 * gates * hidden)))
        x.append(pick(rng, None, np.array([4, 2], np.int32)))
        x.append(pick(rng, None, draw(rng, both, samples, hidden)))
        if name == "LSTM":
            x.append(pick(rng, None, draw(rng, both, samples, hidden)))
            x.append(pick(rng, None, draw(rng, both, 3 * hidden)))
        while x[-1] is None:
            x.pop()
        options: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
        options["clip"] = pick(rng, None, None, 0.75)
        if pick(rng, True, False):
            names = [pick(rng, "Sigmoid", "Tanh", "Relu", "Softsign", "HardSigmoid") for _ in range(count * both)]
            options["activations"] = names
        if name == "GRU":
            options["linear_before_reset"] = pick(rng, 0, 1)
        if name == "LSTM":
            options["input_forget"] = pick(rng, 0, 0, 1)
        return x, options, 3 if name == "LSTM" else 2

    CALLS["", name] = generate


for _cell in CELLS:
    recurrent(_cell)


# ---- losses and attention


def targets(rng: Random, weights: bool, options: dict[str, Any], outputs: int) -> Any:
    more = pick(rng, (), (3,), (2, 2))
    scores, labels = draw(rng, 4, 5, *more), rng.integers(0, 5, (4, *more))
    options["reduction"] = pick(rng, None, "none", "sum", "mean")
    if pick(rng, True, False):
        options["ignore_index"] = 2
    return [scores, labels, *([positive(rng, 5)] if weights else [])], options, outputs


@calls("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(rng: Random, opset: int) -> Any:
    return targets(rng, pick(rng, True, False), {}, pick(rng, 1, 2))


@calls("NegativeLogLikelihoodLoss")
def negative_log_likelihood(rng: Random, opset: int) -> Any:
    return targets(rng, pick(rng, True, False), {}, 1)


@calls("Attention")
def attention(rng: Random, opset: int) -> Any:
    heads, groups = pick(rng, (2, 2), (4, 2))
    times, before = 3, pick(rng, 3, 5)
    options: dict[str, Any] = {"is_causal": pick(rng, 0, 1), "scale": pick(rng, None, 0.25)}
    options["softcap"] = pick(rng, None, None, 2.0)
    if pick(rng, True, False):
        x = [draw(rng, 2, heads, times, 4), draw(rng, 2, groups, before, 4), draw(rng, 2, groups, before, 4)]
    else:
        x = [draw(rng, 2, times, heads * 4), draw(rng, 2, before, groups * 4), draw(rng, 2, before, groups * 4)]
        options |= {"q_num_heads": heads, "kv_num_heads": groups}
    mask = pick(rng, None, draw(rng, times, before), rng.random((times, before)) < 0.7)
    if mask is not None and mask.dtype == bool:
        mask[:, 0] = True
    return [*x, *([] if mask is None else [mask])], options, 1


@calls("RotaryEmbedding")
def rotary(rng: Random, opset: int) -> Any:
    x = draw(rng, 2, 3, 4, 6)
    places = rng.integers(0, 8, (2, 4))
    return [x, draw(rng, 8, 3), draw(rng, 8, 3), places], {"interleaved": pick(rng, None, 0, 1)}, 1


# ---- quantisation, and machine learning


@calls("DequantizeLinear")
def dequantize(rng: Random, opset: int) -> Any:
    x = rng.integers(-100, 100, (3, 4)).astype(np.int8)
    if opset >= 13 and pick(rng, True, False):
        return [x, positive(rng, 4), rng.integers(-5, 5, 4).astype(np.int8)], {"axis": 1}, 1
    return [x, positive(rng), *pick(rng, [], [np.array(3, np.int8)])], {}, 1


@calls("LinearRegressor", domain=LEARNING)
def linear_regressor(rng: Random, opset: int) -> Any:
    options = {
        "coefficients": draw(rng, 8).tolist(),
        "intercepts": pick(rng, None, draw(rng, 2).tolist()),
        "targets": 2,
    }
    return [draw(rng, 3, 4)], options, 1


@calls("LinearClassifier", domain=LEARNING)
def linear_classifier(rng: Random, opset: int) -> Any:
    options = {"coefficients": draw(rng, 12).tolist(), "intercepts": draw(rng, 3).tolist()}
    how = pick(rng, None, "LOGISTIC", "SOFTMAX")
    return [draw(rng, 3, 4)], {**options, "classlabels_ints": [0, 1, 2], "post_transform": how, "multi_class": 1}, 2


@calls("Scaler", domain=LEARNING)
def scaler(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4)], {"offset": draw(rng, 4).tolist(), "scale": positive(rng, 4).tolist()}, 1


@calls("Normalizer", domain=LEARNING)
def normalizer(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4)], {"norm": pick(rng, "MAX", "L1", "L2")}, 1


@calls("Binarizer", domain=LEARNING)
def binarizer(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4)], {"threshold": 0.5}, 1


@calls("Imputer", domain=LEARNING)
def imputer(rng: Random, opset: int) -> Any:
    x = draw(rng, 3, 2)
    x[1, 1] = np.nan
    return [x], {"imputed_value_floats": [0.5, 0.25], "replaced_value_float": float("nan")}, 1


@calls("ArrayFeatureExtractor", domain=LEARNING)
def array_feature_extractor(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4), np.array([[2, 0]])], {}, 1


@calls("FeatureVectorizer", domain=LEARNING)
def feature_vectorizer(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4), draw(rng, 3, 2)], {"inputdimensions": [4, 2]}, 1


# ---- single calls at which implementations differ, or are easily misunderstood


def one(name: str, opset: int, *arrays: Any, outputs: int = 1, **attributes: Any) -> Call:
    """Returns a call of an operator with these inputs."""
    names = [f"x{k}" if array is not None else "" for k, array in enumerate(arrays)]
    node = onnx.helper.make_node(name, names, [f"y{k}" for k in range(outputs)], **attributes)
    inputs = {key: np.asarray(array) for key, array in zip(names, arrays, strict=True) if key}
    return Call(name, opset, node, inputs, [onnx.helper.make_opsetid("", opset)])


def probes() -> Iterator[tuple[str, Call]]:
    """Yields a description of each call, and the call."""
    ramp = np.arange(4.0).reshape(1, 2, 2)
    yield "Softmax of [[[0, 1], [2, 3]]], axis 1, opset 11: all axes from 1 on", one("Softmax", 11, ramp, axis=1)
    yield "the same, opset 13: axis 1 alone", one("Softmax", 13, ramp, axis=1)
    yield "LogSoftmax of [1000, 0]", one("LogSoftmax", 13, np.array([1000.0, 0.0]))
    yield "LpNormalization of [1, −3], p 1", one("LpNormalization", 22, np.array([1.0, -3.0]), p=1)
    line = np.arange(1.0, 5.0).reshape(1, 1, 4)
    yield (
        "MaxPool of [4, 3, 2, 1], kernel 2, SAME_LOWER",
        one("MaxPool", 12, line[..., ::-1], kernel_shape=[2], auto_pad="SAME_LOWER"),
    )
    yield (
        "MaxPool of 1 to 5, kernel 2, dilation 2, stride 2, SAME_UPPER",
        one("MaxPool", 12, np.arange(1.0, 6.0).reshape(1, 1, 5), kernel_shape=[2], dilations=[2], strides=[2],
            auto_pad="SAME_UPPER"),
    )  # fmt: skip
    yield (
        "MaxPool of [1, NaN, 3, 4], kernel 2",
        one("MaxPool", 12, np.array([[[1.0, np.nan, 3.0, 4.0]]]), kernel_shape=[2]),
    )
    yield "LRN of 2 channels, size 2", one("LRN", 13, np.array([[[[1.0]], [[2.0]]]]), size=2, alpha=1.0)
    yield "ReduceMean of no entries", one("ReduceMean", 18, np.zeros((0,)))
    yield "Mod of −1.5 and 1, fmod 1", one("Mod", 13, np.array([-1.5]), np.array([1.0]), fmod=1)
    yield "Div of −7 and 2, integers", one("Div", 14, np.array([-7]), np.array([2]))
    yield (
        "HardSigmoid of 1: its slope is 0.2, in PyTorch and Keras 3 it is 1/6",
        one("HardSigmoid", 22, np.array([1.0])),
    )
    ones = np.ones((1, 3, 1))
    gates = np.array([[[0.5], [0.25], [1.0]]])
    bias = np.array([[0.0, 0.0, 0.0, 0.0, 0.0, 1.0]])
    gru = (np.ones((1, 1, 1)), ones, gates, bias, None, np.full((1, 1, 1), 0.5))
    yield "GRU, linear_before_reset 0, the default", one("GRU", 14, *gru, outputs=2, hidden_size=1)
    yield "the same, 1, as PyTorch has it", one("GRU", 14, *gru, outputs=2, hidden_size=1, linear_before_reset=1)
    lstm = [np.full((1, 1, 1), 2.0), np.ones((1, 4, 1)), np.zeros((1, 4, 1)), None, None, None, np.ones((1, 1, 1))]
    more: dict[str, Any] = {"outputs": 3, "hidden_size": 1}
    yield "LSTM, clip 0.5, for what goes into the output's tanh, too", one("LSTM", 14, *lstm, clip=0.5, **more)
    yield (
        "the same, with softsign there",
        one("LSTM", 14, *lstm, clip=0.5, activations=["Sigmoid", "Tanh", "Softsign"], **more),
    )
    yield "LSTM, input_forget 1", one("LSTM", 14, *lstm, input_forget=1, **more)
    yield "RNN of 2 times, sequence_lens [1]", one(
        "RNN", 14, np.ones((2, 1, 1)), np.ones((1, 1, 1)), np.ones((1, 1, 1)), None, np.array([1], np.int32), outputs=2,
        hidden_size=1,
    )  # fmt: skip
    batch = np.array([[0.0], [1.0], [2.0]])
    yield (
        "BatchNormalization in training: the running variance is that over n",
        one("BatchNormalization", 15, batch, *(np.ones(1) for _ in range(4)), outputs=3, training_mode=1, momentum=0.0),
    )
    yield "Resize of 1 to 4 to the same size, tf_crop_and_resize, roi 0.5 to 1", one(
        "Resize", 19, np.arange(1.0, 5.0), np.array([0.5, 1.0]), None, np.array([4]), mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
    )  # fmt: skip
