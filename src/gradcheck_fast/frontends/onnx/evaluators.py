"""What a model's program is compared with: another implementation of its operators, or the table on plain arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.onnx.evaluation import evaluate
from gradcheck_fast.frontends.onnx.float64 import converted
from gradcheck_fast.frontends.onnx.loss import Loss, plain_number
from gradcheck_fast.frontends.onnx.model import needed, node_name
from gradcheck_fast.inputs.random_numbers import generator

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Two values in float64 of one function differ by less than this part of them.
SAME_IN_DOUBLE = 1e-10
#: And two in float32, or of operators that round to float32 inside, by less than this.
SAME_IN_SINGLE = 1e-3
#: Beside the parameters is where each is moved by this part of it.
MOVED = 2.0**-6

Arrays = Mapping[str, "NDArray[Any]"]
#: Computes the values of some names from the inputs and the parameters.
Compute = Callable[[Arrays], dict[str, Any]]


class Unavailable(Exception):
    """An implementation cannot compute a model."""


@dataclass(frozen=True)
class Model:
    """A model with the inputs at which it is checked.

    Attributes
    ----------
    proto : ModelProto
    inputs : dict of str to array
        All floating-point numbers are float64.
    parameters : dict of str to array
        In their own dtypes.
    loss : Loss
    meant : bool
        How attributes are read; see `attribute_value`.
    """

    proto: Any
    inputs: dict[str, Any]
    parameters: dict[str, Any]
    loss: Loss = field(repr=False)
    meant: bool = False

    def by_table(self, wanted: Sequence[str]) -> Compute:
        """Returns the table's own functions on plain arrays."""
        return lambda arrays: evaluate(self.proto, {**self.inputs, **arrays}, wanted, meant=self.meant)

    def value(self, compute: Compute, arrays: Arrays) -> float:
        """Returns the loss."""
        return plain_number(self.loss.of(compute(arrays)))


def by_onnxruntime(model: Model, wanted: Sequence[str]) -> Compute:
    """Returns what computes with onnxruntime in float64.

    Raises
    ------
    Unavailable
        If it is not installed, or has no kernels of float64 for an operator.
    """
    _require_no_attributes(model)
    shapes = {name: array.shape for name, array in model.parameters.items()}
    return _session(converted(model.proto, np.float64, wanted, shapes), model, wanted)


def in_single(model: Model, wanted: Sequence[str]) -> dict[str, Any]:
    """Returns what onnxruntime computes in float32.

    Raises
    ------
    Unavailable
        If it is not installed, or cannot.
    """
    return _session(converted(model.proto, np.float32, wanted, {}), model, wanted)({})


def _require_no_attributes(model: Model) -> None:
    graph = model.proto.graph
    arrays = {tensor.name for tensor in graph.initializer} | {node.output[0] for node in graph.node if node.output}
    if not set(model.parameters) <= arrays:
        raise Unavailable("parameters are attributes of nodes")


def _session(proto: Any, model: Model, wanted: Sequence[str]) -> Compute:
    try:
        import onnxruntime
    except ImportError:
        raise Unavailable("onnxruntime is not installed") from None
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of many kinds, none of which is documented
        raise Unavailable(_first_line(error)) from None
    types = {value.name: value.type for value in session.get_inputs()}

    def compute(arrays: Arrays) -> dict[str, Any]:
        feeds = {}
        for name, value in {**model.inputs, **arrays}.items():
            if name in types:
                feeds[name] = _as_typed(value, types[name])
        try:
            found = session.run(list(wanted), feeds)
        except Exception as error:
            raise Unavailable(_first_line(error)) from None
        return dict(zip(wanted, found, strict=True))

    return compute


_DTYPES = {"tensor(double)": np.float64, "tensor(float)": np.float32, "tensor(float16)": np.float16}


def _as_typed(value: Any, kind: str) -> Any:
    return value if kind not in _DTYPES or isinstance(value, list) else np.asarray(value, _DTYPES[kind])


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rpartition(" : ")[2]


def by_reference(model: Model, wanted: Sequence[str]) -> Compute:
    """Returns what computes with ``onnx.reference`` in float64.

    Raises
    ------
    Unavailable
        If it cannot.
    """
    from onnx.reference import ReferenceEvaluator  # only where onnxruntime cannot

    _require_no_attributes(model)
    shapes = {name: array.shape for name, array in model.parameters.items()}
    try:
        evaluator = ReferenceEvaluator(converted(model.proto, np.float64, wanted, shapes))
    except Exception as error:
        raise Unavailable(_first_line(error)) from None

    def compute(arrays: Arrays) -> dict[str, Any]:
        known = {value.name for value in model.proto.graph.input} | set(arrays)
        given = {**model.inputs, **{name: np.asarray(array) for name, array in arrays.items()}}
        feeds = {name: value for name, value in given.items() if name in known}
        try:
            with np.errstate(all="ignore"):
                found = evaluator.run(list(wanted), feeds)
        except Exception as error:
            raise Unavailable(f"{type(error).__name__}: {_first_line(error)}") from None
        return dict(zip(wanted, found, strict=True))

    return compute


@dataclass(frozen=True)
class Chosen:
    """What a model's program is compared with.

    Attributes
    ----------
    compute : callable
    note : str
        What it is, for the report.
    """

    compute: Compute
    note: str


def choose(model: Model) -> Chosen:
    """Chooses what a model's program is compared with: the first implementation whose loss is the table's.

    onnxruntime in float64 comes first, then ``onnx.reference``, then the table itself. Where onnxruntime has float64
    for some operators only, its loss in float32 is looked at, too.

    Raises
    ------
    ValueError
        If there are other implementations, and none of them gives the loss that the table does. The message names the
        first node at which they part.
    """
    arrays = {name: np.asarray(array, np.float64) for name, array in model.parameters.items()}
    wanted, said, parted = model.loss.wanted, list[str](), list[str]()
    table = model.by_table(wanted)
    own = model.value(table, arrays)
    for name, make in (("onnxruntime", by_onnxruntime), ("onnx.reference", by_reference)):
        try:
            compute = make(model, wanted)
            value = model.value(compute, arrays)
        except Unavailable as error:
            said.append(f"{name} cannot compute it in float64 ({error})")
            continue
        if _same(value, own, SAME_IN_DOUBLE):
            if name != "onnxruntime" and not parted:
                parted = [text for is_same, text in _in_single(model, own) if not is_same]
            note = "; ".join([f"compared with {name} in float64", *parted])
            slow = name == "onnx.reference" and _same_beside(model, compute, table, arrays)
            return Chosen(table if slow else compute, note)
        if _same(value, own, SAME_IN_SINGLE):
            said.append(f"{name} rounds to float32 inside")
            continue
        parted.append(f"{name} gives another loss, {value:.10g} and not {own:.10g}{_parting(model, make)}")
    single = _in_single(model, own)
    sides = any(is_same for is_same, _ in single)
    others = [*parted, *(text for is_same, text in single if not is_same)]
    if others and not sides:
        raise ValueError(
            f"model: {'; '.join(others)}. Nothing sides with the loss that gradcheck_fast finds, so nothing is said of "
            "the gradient"
        )
    what = "their loss is that of onnxruntime in float32" if sides else "nothing else computes the model"
    return Chosen(table, "; ".join(["differenced by gradcheck_fast's own operators", what, *said, *parted]))


def _same_beside(model: Model, compute: Compute, table: Compute, arrays: Arrays) -> bool:
    """Tells whether an implementation gives the table's loss where the parameters are moved, too.

    The table then stands for it: ``onnx.reference`` takes ten times as long for a convolution.
    """
    rng = generator(0)
    moved = {name: array * (1.0 + MOVED * rng.normal(size=array.shape)) for name, array in arrays.items()}
    try:
        return _same(model.value(compute, moved), model.value(table, moved), SAME_IN_DOUBLE)
    except Unavailable:
        return False


def _same(value: float, own: float, part: float) -> bool:
    both_nan = math.isnan(value) and math.isnan(own)
    return both_nan or math.isclose(value, own, rel_tol=part, abs_tol=1e-3 * part)


def _in_single(model: Model, own: float) -> list[tuple[bool, str]]:
    """Tells whether onnxruntime gives the loss in float32, and if not what is to be said; nothing if it cannot.

    If the values differ but those of no node do, digits have cancelled, and nothing is told either.
    """
    try:
        value = plain_number(model.loss.of(in_single(model, model.loss.wanted)))
    except Unavailable:
        return []
    if _same(value, own, SAME_IN_SINGLE):
        return [(True, "")]
    node = _parting(model, lambda _, wanted: lambda arrays: in_single(model, wanted))
    text = f"onnxruntime in float32 gives another loss, {value:.10g} and not {own:.10g}{node}"
    return [(False, text)] if node else []


def _parting(model: Model, make: Callable[[Model, Sequence[str]], Compute]) -> str:
    """Returns the first node at which an implementation parts from the table; "" if none is found."""
    graph = model.proto.graph
    nodes = [(number, graph.node[number]) for number in needed(graph.node, model.loss.wanted)]
    wanted = [output for _, node in nodes for output in node.output if output and output not in model.parameters]
    arrays = {name: np.asarray(array, np.float64) for name, array in model.parameters.items()}
    try:
        found, own = make(model, wanted)(arrays), model.by_table(wanted)(arrays)
    except (Unavailable, ValueError):
        return ""
    for number, node in nodes:
        for output in node.output:
            if output in found and not _same_arrays(found[output], own[output]):
                return f"; they part at {node_name(number, node)}"
    return ""


def _same_arrays(found: Any, own: Any) -> bool:
    if isinstance(found, list) or isinstance(own, list):
        return True
    found, own = np.asarray(found), np.asarray(own)
    if found.shape != own.shape:
        return False
    if found.dtype.kind != "f" or own.dtype.kind != "f":
        return bool(np.array_equal(found, own))
    scale = np.abs(own[np.isfinite(own)]).max(initial=0.0)
    return bool(np.allclose(found, own, rtol=SAME_IN_SINGLE, atol=SAME_IN_SINGLE * scale, equal_nan=True))
