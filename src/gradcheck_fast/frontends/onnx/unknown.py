"""Operators that the table does not know: as the functions that ONNX defines them by, or by ONNX's own evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from gradcheck_fast.frontends.numpy_trace.opaque import call_opaque
from gradcheck_fast.frontends.onnx.model import schema_of, subgraphs
from gradcheck_fast.frontends.onnx.registry import LEARNING, Node

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.recording import Recording


def function_body(node: Node, proto: Any, inputs: Sequence[Any]) -> Any:
    """Returns the function that ONNX defines an operator by, for inputs like these; None if there is none."""
    schema = schema_of(node.operator, node.opset, node.domain) if node.opset else None
    if schema is None:
        return None
    if schema.has_function:
        versions = [version for version in schema.function_opset_versions if version <= node.opset]
        if versions:
            return onnx.FunctionProto.FromString(schema.get_function_with_opset_version(max(versions)))
    if schema.has_context_dependent_function:
        versions = [version for version in schema.context_dependent_function_opset_versions if version <= node.opset]
        types = [_type_of(x).SerializeToString() for x in inputs]
        types += [onnx.TypeProto().SerializeToString()] * (len(proto.input) - len(inputs))
        if versions:
            found = schema.get_context_dependent_function_with_opset_version(
                max(versions), proto.SerializeToString(), types
            )
            return onnx.FunctionProto.FromString(found) if found else None
    return None


def _type_of(x: Any) -> Any:
    if x is None:
        return onnx.TypeProto()
    if isinstance(x, list):
        return onnx.helper.make_sequence_type_proto(_type_of(x[0] if x else np.zeros(())))
    return onnx.helper.make_tensor_type_proto(_element_type(x), x.shape)


def _element_type(x: Any) -> int:
    return int(onnx.helper.np_dtype_to_tensor_dtype(x.dtype if x.dtype.kind not in "US" else np.dtype(object)))


@dataclass(frozen=True)
class ReferenceNode:
    """One node, evaluated by ``onnx.reference``, as a function of its inputs.

    Attributes
    ----------
    name : str
    node : bytes
        The node, as ONNX writes it.
    opset : int
    domain : str
    """

    name: str
    node: bytes
    opset: int
    domain: str

    def __post_init__(self) -> None:
        # how notes call it
        object.__setattr__(self, "__name__", self.name)
        object.__setattr__(self, "__module__", "onnx")

    def __call__(self, *x: Any) -> Any:
        evaluator, names = _evaluator(self.node, self.opset, self.domain)
        found = evaluator.run(None, dict(zip(names, x, strict=True)))
        return found[0] if len(found) == 1 else tuple(found)


@lru_cache(maxsize=256)
def _evaluator(node: bytes, opset: int, domain: str) -> tuple[Any, list[str]]:
    """Returns the evaluator of one node, and the names of its inputs."""
    from onnx.reference import ReferenceEvaluator  # only what is not known waits for its import

    proto = onnx.NodeProto.FromString(node)
    names = [name for name in dict.fromkeys(proto.input) if name]
    inputs = [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in names]
    outputs = [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in proto.output if name]
    graph = onnx.helper.make_graph([proto], "node", inputs, outputs)
    imports = [onnx.helper.make_opsetid(domain, opset)]
    if domain:
        imports.append(onnx.helper.make_opsetid("", onnx.defs.onnx_opset_version()))
    return ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=imports)), names


def by_reference(node: Node, proto: Any, inputs: Sequence[Any], recording: Recording | None, why: str) -> Any:
    """Returns the outputs of a node by ``onnx.reference``; those of traced arrays are differenced by themselves.

    Raises
    ------
    ModelError
        If that does not know the operator, or if it takes graphs or sequences.
    """
    unknown = f"{why} is not known" if why else "the operator is not known"
    if node.domain not in ("", LEARNING) or schema_of(node.operator, node.opset, node.domain) is None:
        raise node.error(f"{unknown}, and ONNX has no operator of that name in the domain {node.domain!r}")
    if any(True for _ in subgraphs(proto)) or any(isinstance(x, list) for x in inputs):
        raise node.error(f"{unknown}, and it takes a graph or a sequence")
    call = ReferenceNode(node.operator, proto.SerializeToString(), node.opset, node.domain)
    given = {name: x for name, x in zip(proto.input, inputs, strict=False) if name}
    try:
        if recording is None:
            return call(*given.values())
        return call_opaque(recording, call, list(given.values()), {})
    except NotImplementedError as error:
        raise node.error(f"{unknown}, and onnx.reference does not know it either: {error}") from error
