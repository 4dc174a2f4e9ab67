"""Makes a model of a model: in another type, with parameters as inputs, and with what is drawn at random given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from gradcheck_fast.frontends.onnx.model import (
    FLOATS,
    array_of,
    attribute_value,
    needed,
    own_array,
    standard,
    subgraphs,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The attributes by which operators name the type that they give, or compute in.
_TYPES = ("to", "dtype", "softmax_precision", "output_dtype")
#: The operators that draw random numbers.
RANDOM = frozenset(
    ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial")
)


def with_draws(model: Any, draws: Mapping[str, Any]) -> Any:
    """Returns a model in which nodes that draw random numbers have given ones.

    Parameters
    ----------
    model : ModelProto
        It is not changed.
    draws : dict of str to array
        By the name of a node or of its first output: of a ``Dropout`` which entries are kept, of others the numbers.

    Raises
    ------
    ValueError
        If nothing that draws has such a name.
    """
    if not draws:
        return model
    found = onnx.ModelProto()
    found.CopyFrom(model)
    left, nodes = dict(draws), list(found.graph.node)
    constants = dict(_constants(model.graph))
    del found.graph.node[:]
    for node in nodes:
        key = next((name for name in (node.name, node.output[0]) if name in left), None)
        if key is None or node.op_type not in RANDOM | {"Dropout"}:
            found.graph.node.append(node)
            continue
        given = np.asarray(left.pop(key))
        if node.op_type != "Dropout":
            found.graph.node.append(_constant(given, node.output[0], node.name))
            continue
        kept, factor = given.astype(bool), f"{node.output[0]}/factor"
        scale = 1.0 / (1.0 - _ratio(node, key, constants))
        found.graph.node.append(_constant((kept * scale).astype(_float_type(model.graph)), factor, ""))
        found.graph.node.append(onnx.helper.make_node("Mul", [node.input[0], factor], [node.output[0]], name=node.name))
        if len(node.output) > 1 and node.output[1]:
            found.graph.node.append(_constant(kept, node.output[1], ""))
    if left:
        raise ValueError(f"draws: no node that draws random numbers is called {', '.join(map(repr, left))}")
    return found


def _constants(graph: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yields the names and values of initialisers and constants."""
    for tensor in graph.initializer:
        yield tensor.name, array_of(tensor)
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].ref_attr_name == "":
            yield node.output[0], np.asarray(attribute_value(node.attribute[0]))


def _ratio(node: Any, key: str, constants: Mapping[str, NDArray[Any]]) -> float:
    """Returns the share of the entries that a ``Dropout`` in training leaves out."""
    inputs = [*node.input, "", ""]
    training = constants.get(inputs[2])
    if training is None or not training.all():
        raise ValueError(f"draws: {key!r} is a Dropout that is not in training: it leaves nothing out")
    if not inputs[1]:
        return 0.5
    if inputs[1] not in constants:
        raise ValueError(f"draws: the ratio of {key!r} is no constant")
    return float(constants[inputs[1]].item())


def _float_type(graph: Any) -> Any:
    """Returns the dtype that a model computes in: that of its initialisers."""
    return next(
        (own_array(tensor).dtype for tensor in graph.initializer if tensor.data_type in FLOATS and tensor.dims),
        np.dtype(np.float32),
    )


def _constant(value: Any, output: str, name: str) -> Any:
    return onnx.helper.make_node("Constant", [], [output], name=name, value=numpy_helper.from_array(value))


def converted(model: Any, dtype: type, wanted: Iterable[str], shapes: Mapping[str, Sequence[int]]) -> Any:
    """Returns a model that computes some values in one type of floating-point numbers.

    Parameters
    ----------
    model : ModelProto
        It is not changed.
    dtype : {np.float64, np.float32}
    wanted : sequence of str
        The names that become its outputs.
    shapes : dict of str to tuple of int
        The names of initialisers, constants or other values that become inputs, and their shapes.
    """
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    found = _pruned(model, wanted)
    convert = _Conversion(np.dtype(dtype), kind)
    convert.graph(found.graph)
    for function in found.functions:
        for node in function.node:
            convert.node(node)
    graph = found.graph
    kept = [tensor for tensor in graph.initializer if tensor.name not in shapes]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    nodes = [node for node in graph.node if not (node.output[0] in shapes and len(node.output) == 1)]
    del graph.node[:]
    graph.node.extend(nodes)
    inputs = [value for value in graph.input if value.name not in shapes]
    del graph.input[:]
    graph.input.extend(inputs)
    for name, shape in shapes.items():
        graph.input.append(onnx.helper.make_tensor_value_info(name, kind, list(shape)))
    return found


def _pruned(model: Any, wanted: Iterable[str]) -> Any:
    found = onnx.ModelProto()
    found.CopyFrom(model)
    graph, wanted = found.graph, list(wanted)
    nodes = [graph.node[number] for number in needed(graph.node, wanted)]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.output[:]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    del graph.value_info[:]
    return found


class _Conversion:
    """Turns all types of floating-point numbers into one.

    Parameters
    ----------
    dtype : dtype
    kind : int
        ONNX's number of it.
    """

    def __init__(self, dtype: np.dtype[Any], kind: int) -> None:
        self._dtype, self._kind = dtype, kind

    def graph(self, graph: Any) -> None:
        for tensor in graph.initializer:
            self._tensor(tensor)
        for value in [*graph.input, *graph.output]:
            self._type(value.type)
        del graph.value_info[:]
        for node in graph.node:
            self.node(node)

    def node(self, node: Any) -> None:
        for graph in subgraphs(node):
            self.graph(graph)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                self._tensor(attribute.t)
            elif attribute.name in _TYPES and attribute.type == onnx.AttributeProto.INT and attribute.i in FLOATS:
                attribute.i = self._kind
            elif node.op_type == "Constant" and standard(node.domain) == "" and attribute.name.startswith("value_f"):
                value = attribute.f if attribute.name == "value_float" else list(attribute.floats)
                tensor = numpy_helper.from_array(np.asarray(value, self._dtype))
                attribute.CopyFrom(onnx.helper.make_attribute("value", tensor))

    def _type(self, kind: Any) -> None:
        if kind.HasField("tensor_type") and kind.tensor_type.elem_type in FLOATS:
            kind.tensor_type.elem_type = self._kind
        elif kind.HasField("sequence_type"):
            self._type(kind.sequence_type.elem_type)
        elif kind.HasField("optional_type"):
            self._type(kind.optional_type.elem_type)

    def _tensor(self, tensor: Any) -> None:
        if tensor.data_type in FLOATS:
            tensor.CopyFrom(numpy_helper.from_array(array_of(tensor).astype(self._dtype), tensor.name))
