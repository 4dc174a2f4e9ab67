"""Operators that evaluate graphs, and sequences of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_fast.frontends.onnx.registry import Node, integer, integers, operator, plain

#: A loop that has not ended after so many turns is given up.
MOST_TURNS = 100_000


@operator("If")
def _branch(node: Node, condition: Any) -> Any:
    """The condition is looked at once, where the parameters are."""
    graph = node.get("then_branch" if bool(condition) else "else_branch")
    return tuple(node.subgraph(node, graph, []))


@operator("Loop")
def _loop(node: Node, most: Any, condition: Any, *carried: Any) -> Any:
    body = node.get("body")
    turns = MOST_TURNS if most is None else integer(most)
    going = True if condition is None else bool(condition)
    state, collected = list(carried), [list[Any]() for _ in range(len(body.output) - 1 - len(carried))]
    turn = 0
    while going and turn < turns:
        found = node.subgraph(node, body, [np.array(turn, np.int64), np.array(going), *state])
        going, state = bool(found[0]), list(found[1 : 1 + len(carried)])
        for series, value in zip(collected, found[1 + len(carried) :], strict=True):
            series.append(value)
        turn += 1
        if turn == MOST_TURNS:
            raise node.error(f"it has not ended after {MOST_TURNS:,} turns")
    return (*state, *(np.stack(series) if series else np.zeros((0,)) for series in collected))


@operator("Scan", since=9)
def _scan(node: Node, *values: Any) -> Any:
    """Goes along one axis of each of its last inputs, forwards or backwards."""
    body, count = node.get("body"), node.get("num_scan_inputs")
    states, series = list(values[: len(values) - count]), values[len(values) - count :]
    collected = [list[Any]() for _ in range(len(body.output) - len(states))]
    axes = node.get("scan_input_axes") or [0] * count
    backwards = node.get("scan_input_directions") or [0] * count
    ordered = [
        np.flip(np.moveaxis(x, axis, 0), 0) if back else np.moveaxis(x, axis, 0)
        for x, axis, back in zip(series, axes, backwards, strict=True)
    ]
    for turn in range(ordered[0].shape[0]):
        found = node.subgraph(node, body, [*states, *(x[turn] for x in ordered)])
        states = list(found[: len(states)])
        for kept, value in zip(collected, found[len(states) :], strict=True):
            kept.append(value)
    axes = node.get("scan_output_axes") or [0] * len(collected)
    backwards = node.get("scan_output_directions") or [0] * len(collected)
    outputs = [
        np.stack(kept[::-1] if back else kept, axis=axis)
        for kept, axis, back in zip(collected, axes, backwards, strict=True)
    ]
    return (*states, *outputs)


@operator("SequenceConstruct")
def _construct(node: Node, *x: Any) -> Any:
    return [*x]


@operator("SequenceEmpty")
def _empty(node: Node) -> Any:
    return []


@operator("SequenceAt")
def _element(node: Node, sequence: Any, place: Any) -> Any:
    return sequence[integer(place)]


@operator("SequenceLength")
def _length(node: Node, sequence: Any) -> Any:
    return np.array(len(sequence), np.int64)


@operator("SequenceInsert")
def _insert(node: Node, sequence: Any, x: Any, place: Any = None) -> Any:
    at = len(sequence) if place is None else integer(place)
    return [*sequence[:at], x, *sequence[at:]]


@operator("SequenceErase")
def _erase(node: Node, sequence: Any, place: Any = None) -> Any:
    at = (-1 if place is None else integer(place)) % len(sequence)
    return [*sequence[:at], *sequence[at + 1 :]]


@operator("ConcatFromSequence")
def _concat_from_sequence(node: Node, sequence: Any) -> Any:
    join = np.stack if node.get("new_axis") else np.concatenate
    return join(sequence, axis=node.get("axis"))


@operator("SplitToSequence")
def _split_to_sequence(node: Node, x: Any, sizes: Any = None) -> Any:
    """A number is the length of the parts, of which the last may be shorter."""
    axis = node.get("axis")
    total = x.shape[axis]
    if sizes is None or plain(sizes).ndim == 0:
        each = 1 if sizes is None else integer(sizes)
        ends = list(range(each, total, each))
    else:
        ends = list(np.cumsum(integers(sizes))[:-1])
    parts = np.split(x, ends, axis=axis)
    if sizes is None and not node.get("keepdims"):
        return [part.reshape(tuple(n for k, n in enumerate(part.shape) if k != axis % x.ndim)) for part in parts]
    return list(parts)


@operator("Optional")
def _optional(node: Node, x: Any = None) -> Any:
    return x


@operator("OptionalGetElement")
def _optional_element(node: Node, x: Any) -> Any:
    return x


@operator("OptionalHasElement")
def _has_element(node: Node, x: Any = None) -> Any:
    return np.array(x is not None)
