"""Reads a model: its opsets, what it takes and gives, and the arrays that can be its parameters."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from gradcheck_fast.frontends.onnx.learning import PARAMETERS, TRAINED
from gradcheck_fast.frontends.onnx.registry import LEARNING, ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

#: The oldest opset whose operators are known.
OLDEST_OPSET = 11
#: The types of ONNX's that are floating-point numbers which networks compute with.
FLOATS = frozenset(
    (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
)

#: Decimal numbers of so many digits, and fractions of so small a denominator, are simple.
FEW_DIGITS, LARGEST_DENOMINATOR = 6, 1000
#: Alpha and gamma of SELU (Klambauer et al. 2017), of which ONNX's defaults are those of float32.
SELU = 1.6732632423543772, 1.0507009873554805


def standard(domain: str) -> str:
    """Returns the name of a domain; that of ONNX's own operators is empty."""
    return "" if domain == "ai.onnx" else domain


def array_of(tensor: Any) -> NDArray[Any]:
    """Returns the array of a tensor, of float64 if it is of floating-point numbers."""
    found: NDArray[Any] = numpy_helper.to_array(tensor)
    if found.dtype.kind in "iubOUS":
        return found
    if tensor.data_type in FLOATS or "FLOAT" in onnx.TensorProto.DataType.Name(tensor.data_type):
        return found.astype(np.float64)
    if "INT" in onnx.TensorProto.DataType.Name(tensor.data_type):  # of 2 or 4 bits
        return found.astype(np.int8)
    raise ModelError(f"{tensor.name}: arrays of {onnx.TensorProto.DataType.Name(tensor.data_type)} are not known")


def own_array(tensor: Any) -> NDArray[Any]:
    """Returns the array of a tensor of floating-point numbers, in the dtype that NumPy has for it, or float32."""
    found: NDArray[Any] = numpy_helper.to_array(tensor)
    return found if found.dtype.kind == "f" else found.astype(np.float32)


def subgraphs(node: Any) -> Iterator[Any]:
    """Yields the graphs among the attributes of a node."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def names_read(node: Any) -> Iterator[str]:
    """Yields the names that a node reads, with those that its graphs read."""
    yield from filter(None, node.input)
    for graph in subgraphs(node):
        for inner in graph.node:
            yield from names_read(inner)
        yield from (output.name for output in graph.output)


def needed(nodes: Sequence[Any], wanted: Iterable[str]) -> list[int]:
    """Returns the numbers of the nodes that some outputs need, in order."""
    names, found = set(wanted), []
    for number in reversed(range(len(nodes))):
        if names & set(nodes[number].output):
            found.append(number)
            names.update(names_read(nodes[number]))
    return found[::-1]


@cache
def schema_of(operator: str, opset: int, domain: str) -> Any:
    """Returns ONNX's own description of an operator in an opset; None if there is none."""
    try:
        return onnx.defs.get_schema(operator, opset, domain)
    except onnx.defs.SchemaError:
        return None


@cache
def defaults(operator: str, opset: int, domain: str, meant: bool) -> Mapping[str, Any]:
    """Returns the values of the attributes of an operator that a node need not give; see `attribute_value`."""
    schema = schema_of(operator, opset, domain)
    found = {}
    for name, attribute in () if schema is None else schema.attributes.items():
        if attribute.default_value.type != onnx.AttributeProto.UNDEFINED:
            found[name] = attribute_value(attribute.default_value, meant)
    return MappingProxyType(found)


def attribute_value(attribute: Any, meant: bool = False) -> Any:
    """Returns the value of an attribute; texts as str, and tensors as arrays.

    Attributes are of float32. With `meant` they are simple numbers that float32 rounds to them, such as 1e-05 or 1/6:
    those that trainers in float64 compute with.
    """
    value = onnx.helper.get_attribute_value(attribute)
    if meant and attribute.type == onnx.AttributeProto.FLOAT:
        return number_meant(value)
    if meant and attribute.type == onnx.AttributeProto.FLOATS:
        return [number_meant(number) for number in value]
    if attribute.type == onnx.AttributeProto.TENSOR:
        return array_of(value)
    if attribute.type == onnx.AttributeProto.STRING:
        return value.decode()
    if attribute.type == onnx.AttributeProto.STRINGS:
        return [text.decode() for text in value]
    if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return list(value)
    if attribute.type in (onnx.AttributeProto.SPARSE_TENSOR, onnx.AttributeProto.SPARSE_TENSORS):
        raise ModelError(f"the attribute {attribute.name} is a sparse tensor, which is not known")
    return value


def number_meant(value: float) -> float:
    """Returns the simplest number that float32 rounds to this one.

    That is a decimal number of few digits, a fraction, one of SELU's constants, or else the shortest decimal number.
    """
    decimal = float(str(np.float32(value)))
    if float(f"{decimal:.{FEW_DIGITS - 1}e}") == decimal or not math.isfinite(decimal):
        return decimal
    fraction = float(Fraction(decimal).limit_denominator(LARGEST_DENOMINATOR))
    return next((one for one in (fraction, *SELU) if float(np.float32(one)) == float(np.float32(value))), decimal)


def read(model: Any) -> Any:
    """Returns a model as a ``ModelProto``.

    Parameters
    ----------
    model : path, bytes or onnx.ModelProto

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If it is no model, or its opset is older than 11 or newer than the installed onnx.
    OSError
        If the file cannot be read.
    """
    proto = _loaded(model)
    if not proto.graph.node:
        raise ValueError("model: it has no nodes")
    opset = opsets_of(proto.opset_import).get("", OLDEST_OPSET)
    newest = onnx.defs.onnx_opset_version()
    if opset < OLDEST_OPSET:
        raise ValueError(
            f"model: its opset is {opset}, and those from {OLDEST_OPSET} on are known; "
            f"onnx.version_converter.convert_version(model, {OLDEST_OPSET}) makes it newer"
        )
    if opset > newest:
        raise ValueError(f"model: its opset is {opset}, and onnx {onnx.__version__} knows those up to {newest}")
    if proto.graph.sparse_initializer:
        raise ValueError("model: it has sparse initializers, which are not known")
    for tensor in proto.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ValueError(
                f"model: the numbers of {tensor.name} lie in another file; give the path of the model, or call "
                "onnx.load_external_data_for_model(model, folder) first"
            )
    return proto


def _loaded(model: Any) -> Any:
    if isinstance(model, onnx.ModelProto):
        return model
    what, load, given = "what was given", onnx.load_from_string, model
    if isinstance(model, (str, os.PathLike)):
        what = given = os.fspath(model)
        load = onnx.load
    elif isinstance(model, (bytes, bytearray)):
        given = bytes(model)
    else:
        raise TypeError(f"model: expected a path, bytes or an onnx.ModelProto, got {type(model).__name__}")
    try:
        return load(given)
    except OSError:
        raise
    except Exception as error:  # protobuf's and onnx.checker's
        raise ValueError(f"model: {what} cannot be read as an ONNX model ({type(error).__name__}: {error})") from None


def require_given(graph: Any, numbers: Iterable[int]) -> None:
    """Refuses a graph, some of whose nodes read what nothing gives.

    Raises
    ------
    ModelError
        It names the node.
    """
    given = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    given.update(name for node in graph.node for name in node.output)
    for number in numbers:
        for name in filter(None, graph.node[number].input):
            if name not in given:
                raise ModelError(f"model: {node_name(number, graph.node[number])} reads {name!r}, which nothing gives")


def opsets_of(imports: Iterable[Any]) -> dict[str, int]:
    """Returns the opset of each domain."""
    return {standard(entry.domain): entry.version for entry in imports}


def node_name(number: int, node: Any) -> str:
    """Returns how a node is called in errors and reports, such as ``node 12, Conv conv1``."""
    domain = standard(node.domain)
    operator = f"{domain}.{node.op_type}" if domain and domain != LEARNING else node.op_type
    return f"node {number}, {operator}{f' {node.name}' if node.name else ''}"


def attribute_parameters(graph: Any) -> Iterator[tuple[str, int, Any]]:
    """Yields for each attribute that can be a parameter its name as one, the number of its node, and itself."""
    for number, node in enumerate(graph.node):
        if standard(node.domain) == LEARNING:
            for attribute in node.attribute:
                if attribute.name in PARAMETERS.get(node.op_type, ()) and attribute.floats:
                    yield f"{node.name or f'node {number}'}.{attribute.name}", number, attribute


def candidates(graph: Any) -> dict[str, NDArray[Any]]:
    """Returns the arrays that can be parameters, by name, in their own dtypes.

    These are the initialisers and constants of floating-point numbers, and attributes such as the coefficients of a
    ``LinearClassifier``, which are called ``<name of the node>.coefficients``. An ``Identity`` of an initialiser is one
    by itself, for so exporters merge two that are equal.
    """
    found = {tensor.name: own_array(tensor) for tensor in graph.initializer if tensor.data_type in FLOATS}
    for node in graph.node:
        if node.op_type == "Constant" and standard(node.domain) == "":
            for attribute in node.attribute:
                if attribute.name == "value" and attribute.t.data_type in FLOATS:
                    found[node.output[0]] = own_array(attribute.t)
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in found:  # exporters merge initialisers of equal values
            found[node.output[0]] = found[node.input[0]].copy()
    for name, _, attribute in attribute_parameters(graph):
        found[name] = np.array(attribute.floats, np.float32)
    return found


def expected_parameters(graph: Any) -> list[str]:
    """Returns the names of the arrays whose gradient a trainer computes.

    These are the initialisers of floating-point numbers that are no single number without axes, and no running mean
    or variance of a batch normalisation, and the attributes of linear models. Only those that are read count.
    """
    running: set[str] = set()
    read_names: set[str] = set()
    for node in graph.node:
        read_names.update(names_read(node))
        if node.op_type == "BatchNormalization":
            running.update(node.input[3:5])
    read_names.update(output.name for output in graph.output)
    found = [
        tensor.name
        for tensor in graph.initializer
        if tensor.data_type in FLOATS and tensor.dims and tensor.name in read_names and tensor.name not in running
    ]
    return found + [name for name, number, _ in attribute_parameters(graph) if graph.node[number].op_type in TRAINED]


def inputs_of(graph: Any) -> dict[str, Any]:
    """Returns the inputs of a graph that are no initialisers, by name."""
    own = {tensor.name for tensor in graph.initializer}
    return {value.name: value for value in graph.input if value.name not in own}
