"""Evaluates the graph of a model, node by node, on arrays that may be traced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from gradcheck_fast.frontends.graphs.sources import at
from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.recording import Untraceable
from gradcheck_fast.frontends.onnx.model import (
    array_of,
    attribute_parameters,
    attribute_value,
    defaults,
    needed,
    node_name,
    opsets_of,
    standard,
)
from gradcheck_fast.frontends.onnx.registry import ModelError, Node, Unsupported
from gradcheck_fast.frontends.onnx.table import registered
from gradcheck_fast.frontends.onnx.unknown import by_reference, function_body
from gradcheck_fast.program.program import Source

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.recording import Recording

#: Models whose nodes lie deeper in functions and graphs than this are refused.
DEEPEST = 64


def evaluate(
    model: Any, values: Mapping[str, Any], wanted: Sequence[str], recording: Recording | None = None, *,
    meant: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Returns the values of some names of a model's graph.

    Parameters
    ----------
    model : ModelProto
    values : dict of str to array
        The inputs, and what takes the place of initialisers, constants and trained attributes; plain or traced.
    wanted : sequence of str
    recording : Recording, optional
        Of the traced arrays.
    meant : bool
        How attributes are read; see `attribute_value`.

    Raises
    ------
    ModelError
        If a node cannot be evaluated; the message names it, its operator and the opset.
    Untraceable
        If what it does cannot be written down.
    """
    graph = model.graph
    own = attribute_parameters(graph)
    given = {(number, attribute.name): values[name] for name, number, attribute in own if name in values}
    functions = {(standard(f.domain), f.name): f for f in model.functions}
    run = _Run(recording, functions, meant)
    constants = {tensor.name: array_of(tensor) for tensor in graph.initializer}
    scope = Scope(run, opsets_of(model.opset_import), constants, given=given)
    scope.values.update({name: settled(value) for name, value in values.items()})
    with np.errstate(all="ignore"):
        scope.evaluate(graph.node, wanted)
    return {name: scope.value(name) for name in wanted}


class _Run:
    """What all scopes of one evaluation share."""

    def __init__(self, recording: Recording | None, functions: Mapping[tuple[str, str], Any], meant: bool) -> None:
        self.recording, self.functions, self.meant = recording, functions, meant


class Scope:
    """The values of the names that a graph sees.

    Parameters
    ----------
    run : _Run
    opsets : mapping of str to int
        The opset of each domain.
    values : dict of str to array
    outer : Scope, optional
        Of the graph around this one, whose names are seen, too.
    prefix : str
        What the names of its nodes begin with.
    attributes : mapping, optional
        Of the call of a function: its nodes refer to them.
    depth : int
    given : mapping, optional
        Values in place of attributes of nodes, by the number of the node and the name of the attribute.
    """

    def __init__(
        self, run: _Run, opsets: Mapping[str, int], values: dict[str, Any], outer: Scope | None = None,
        prefix: str = "", attributes: Mapping[str, Any] | None = None, depth: int = 0,
        given: Mapping[tuple[int, str], Any] | None = None,
    ) -> None:  # fmt: skip
        self.values, self.opsets = values, opsets
        self._run, self._outer, self._prefix, self._depth = run, outer, prefix, depth
        self._attributes: Mapping[str, Any] = attributes or {}
        self._given = given or {}
        if depth > DEEPEST:
            raise ModelError(f"{prefix}graphs and functions lie more than {DEEPEST} deep in each other")

    def value(self, name: str) -> Any:
        """Returns the value of a name that this graph sees."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope._outer
        raise ModelError(f"{self._prefix}nothing in the model is called {name!r}")

    def evaluate(self, nodes: Sequence[Any], wanted: Iterable[str]) -> None:
        """Evaluates the nodes that some names need."""
        for number in needed(nodes, wanted):
            node = nodes[number]
            if any(name and name not in self.values for name in node.output):
                self._evaluate(number, node, self._prefix + node_name(number, node))

    def subgraph(self, node: Node, graph: Any, inputs: Sequence[Any]) -> list[Any]:
        """Returns the outputs of a graph among the attributes of a node."""
        values = {tensor.name: array_of(tensor) for tensor in graph.initializer}
        values |= {value.name: settled(x) for value, x in zip(graph.input, inputs, strict=False)}
        inner = Scope(self._run, self.opsets, values, self, f"{node.name}: ", self._attributes, self._depth + 1)
        names = [output.name for output in graph.output]
        inner.evaluate(graph.node, names)
        return [inner.value(name) for name in names]

    def _evaluate(self, number: int, proto: Any, name: str) -> None:
        domain = standard(proto.domain)
        opset = self.opsets.get(domain, 0)
        node = Node(
            proto.op_type,
            domain,
            opset,
            name,
            self._attributes_of(number, proto, opset),
            tuple(proto.output),
            self.subgraph,
        )
        inputs = [self.value(x) if x else None for x in proto.input]
        while inputs and inputs[-1] is None:
            inputs.pop()
        recording = self._run.recording
        with nullcontext() if recording is None else at(recording, Source(name)):
            try:
                found = self._found(node, proto, inputs)
            except (Untraceable, ModelError):
                raise
            except Exception as error:
                raise node.error(f"{type(error).__name__}: {error}") from error
        outputs = found if isinstance(found, tuple) else (found,)
        for output, value in zip(proto.output, outputs, strict=False):
            if output and output not in self.values:
                self.values[output] = settled(value)

    def _found(self, node: Node, proto: Any, inputs: Sequence[Any]) -> Any:
        """Returns the outputs of a node: by the model's own function, the table, ONNX's function, or opaque."""
        local = self._run.functions.get((node.domain, node.operator))
        if local is not None:
            return self._call(node, local, inputs)
        function, why = registered(node.domain, node.operator, node.opset), ""
        if function is not None:
            try:
                return function(node, *inputs)
            except Unsupported as error:
                why = str(error)
        body = function_body(node, proto, inputs)
        if body is not None:
            return self._call(node, body, inputs)
        return by_reference(node, proto, inputs, self._run.recording, why)

    def _call(self, node: Node, function: Any, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """Returns the outputs of a function, the model's own or that of an operator which is one."""
        values = {name: settled(x) for name, x in zip(function.input, inputs, strict=False)}
        values |= dict.fromkeys(function.input[len(inputs) :])
        attributes = {one.name: attribute_value(one, self._run.meant) for one in function.attribute_proto} | dict(
            node.attributes
        )
        opsets = {**self.opsets, **opsets_of(function.opset_import)}
        inner = Scope(self._run, opsets, values, None, f"{node.name}: ", attributes, self._depth + 1)
        names = [name for name, own in zip(function.output, node.outputs, strict=False) if own]
        inner.evaluate(function.node, names)
        return tuple(inner.value(name) if name in names else None for name in function.output)

    def _attributes_of(self, number: int, proto: Any, opset: int) -> dict[str, Any]:
        meant = self._run.meant
        found = dict(defaults(proto.op_type, opset, standard(proto.domain), meant)) if opset else {}
        for attribute in proto.attribute:
            if attribute.ref_attr_name:
                if attribute.ref_attr_name in self._attributes:
                    found[attribute.name] = self._attributes[attribute.ref_attr_name]
                continue
            own = self._given.get((number, attribute.name))
            found[attribute.name] = attribute_value(attribute, meant) if own is None else own
        return found


def settled(value: Any) -> Any:
    """Returns an array of the dtypes that operators are computed with: all floating-point numbers are float64."""
    if value is None or type(value) is TracedArray or isinstance(value, list):
        return value
    array = np.asarray(value)
    if array.dtype.kind == "f" and array.dtype != np.float64:
        return array.astype(np.float64)
    if array.dtype.kind == "V" or array.dtype.type.__module__ == "ml_dtypes":
        kind = onnx.TensorProto.DataType.Name(onnx.helper.np_dtype_to_tensor_dtype(array.dtype))
        return array.astype(np.float64 if "FLOAT" in kind else np.int8)
    return array
