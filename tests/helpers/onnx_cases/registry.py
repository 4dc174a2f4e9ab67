"""What generates calls of ONNX's operators: `CALLS` has a generator of them for each operator.

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
