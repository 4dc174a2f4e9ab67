"""Checks of gradients, from whatever code computed them, against an ONNX model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnx

from gradcheck_fast.checks.as_problem import PLAIN
from gradcheck_fast.checks.gradcheck import check_gradient
from gradcheck_fast.checks.options import AllKeywords, Options
from gradcheck_fast.frontends.numpy_trace.recording import Untraceable
from gradcheck_fast.frontends.numpy_trace.traced_loss import Disagreement
from gradcheck_fast.frontends.onnx.evaluators import Chosen, Model, choose
from gradcheck_fast.frontends.onnx.float64 import with_draws
from gradcheck_fast.frontends.onnx.graph import traced_model
from gradcheck_fast.frontends.onnx.loss import read_loss
from gradcheck_fast.frontends.onnx.model import (
    FLOATS,
    candidates,
    expected_parameters,
    inputs_of,
    needed,
    read,
    require_given,
)
from gradcheck_fast.inputs.arguments import nearest
from gradcheck_fast.inputs.mismatches import listed
from gradcheck_fast.inputs.trees import pack
from gradcheck_fast.losses.function_loss import python_loss

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from gradcheck_fast.losses.problem import Problem
    from gradcheck_fast.report.report import Report

#: What is said where attributes are read as the numbers that were meant, before what they are compared with otherwise.
MEANT = (
    "attributes such as epsilon are taken as simple numbers, of which ONNX keeps only what float32 has, and "
    "differenced by gradcheck_fast's own operators; with attributes of float32: "
)
#: Arrays by name, a file of them, or a function that makes them of the parameters.
Gradient: TypeAlias = "Mapping[str, Any] | str | os.PathLike[str] | Callable[[dict[str, NDArray[Any]]], Any]"


def gradcheck(
    model: Any,
    gradient: Gradient,
    inputs: Any,
    targets: Any = None,
    *,
    loss: Any,
    output: str | None = None,
    parameters: Iterable[str] | None = None,
    draws: Mapping[str, Any] | None = None,
    **options: Unpack[AllKeywords],
) -> Report:
    """Checks a gradient against an ONNX model, entry by entry.

    The gradient may come from any code, such as a trainer in C++ or Rust or on a device: it is compared with the
    differences of the loss that the exported model has at its own initialisers. All floating-point numbers are
    computed in float64, whatever types the model has. The graph is not believed: it is compared with onnxruntime, or
    with ``onnx.reference``; a note of the report says with which. ``docs/onnx-operators.md`` lists the operators.

    Parameters
    ----------
    model : path, bytes or onnx.ModelProto
        Of opset 11 or newer.
    gradient : dict of str to array, path of an .npz file, or callable
        The gradient of the loss by the initialisers, by their names. A function gets a dict of the initialisers, in
        their own dtypes, and returns such a dict.
    inputs : dict of str to array, or array
        The inputs of the model by name, or its one input. An initialiser that is an input, too, takes the value that is
        given here.
    targets : array, optional
        What the outputs should be, for a cost or a function.
    loss : str, cost or callable
        The name of an output of the model that is the loss; or a cost such as ``gf.CrossEntropy()`` of one output,
        as that of a `Network` with such outputs; or a function in NumPy, ``loss(outputs)`` or ``loss(outputs,
        targets)``, which returns one number. It gets the array of the one output, or a dict if there are several.
    output : str, optional
        The name of the output that a cost or a function is of. The default is the model's one output, and for a
        function all of them. Values inside of the graph can be named, too.
    parameters : iterable of str, optional
        The names of the initialisers that are checked; the others are constants. The default is all of floating-point
        numbers, but not single numbers without axes and running means and variances of batch normalisations, unless
        `gradient` has these. A constant of the graph may be named, too. What a ``LinearClassifier``,
        ``LinearRegressor`` or ``Scaler`` has as attributes is called ``<name of the node>.coefficients``,
        ``.intercepts``, ``.offset`` and ``.scale``, as flat as there.
    draws : dict of str to array, optional
        What nodes have drawn that draw random numbers, by the name of the node or of its first output: for a
        ``Dropout`` in training, which entries are kept (bool); for others the numbers. A model does not say it, for
        its seeds mean other numbers in each library.
    **options
        As for `gradcheck_fast.gradcheck`: method, step, rtol, atol, n_threads, progress, error_bars, executor,
        checkpoint, sample, seed, trace, only, fixed, bounds, constraints.

    Returns
    -------
    Report
        Arrays have the names of the initialisers; steps come from ``node 12, Conv conv1``, counted from 0 as in
        ``model.graph.node``.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it. If a node cannot be evaluated, or has no slope, such as
        ``QuantizeLinear``: the message names the node, its operator and the opset. Or if onnxruntime and
        ``onnx.reference`` compute another loss.
    OSError
        If a file cannot be read.
    """
    settings = Options.from_keywords("gradcheck", options, AllKeywords)
    if settings.method == "complex":
        raise ValueError("method: 'complex' needs a function that takes complex numbers, which no model does")
    proto = with_draws(read(model), draws or {})
    graph = proto.graph
    known = [*inputs_of(graph), *(name for node in graph.node for name in node.output if name)]
    own_loss = read_loss(loss, [value.name for value in graph.output], known, output, targets)
    wanted = needed(graph.node, own_loss.wanted)
    require_given(graph, wanted)
    used = {name for number in wanted for name in graph.node[number].input} | set(own_loss.wanted)
    given = _read_gradient(gradient)
    arrays, notes = _parameters(graph, given, parameters)
    own_inputs = _inputs(graph, inputs, used)
    overridden = {name: np.asarray(own_inputs[name], x.dtype) for name, x in arrays.items() if name in own_inputs}
    at = Model(proto, own_inputs, arrays | overridden, own_loss)
    chosen = choose(at)
    report = _checked(at, chosen, given, settings)
    if not report.ok and not all(pack(at.parameters).precision(name).is_coarse for name in arrays):
        report = _with_fewer_wrong(report, at, chosen, given, settings)
    return replace(report, notes=(*report.notes, *notes))


def _checked(model: Model, chosen: Chosen, gradient: Any, settings: Options) -> Report:
    problem, said = _problem(model, chosen.compute, settings)
    report = check_gradient(problem, gradient, model.parameters, settings)
    return replace(report, notes=(*report.notes, *said, chosen.note))


def _with_fewer_wrong(report: Report, model: Model, before: Chosen, gradient: Any, settings: Options) -> Report:
    """Returns the report of the other reading of attributes, if fewer entries are wrong with that.

    A trainer in float64 computes with a slope of 0.01 or an epsilon of 1e-5, of which the model has what float32 keeps.
    Entries that are inconclusive count, too.
    """
    other = replace(model, meant=True)
    arrays, wanted = {name: np.asarray(x, np.float64) for name, x in model.parameters.items()}, model.loss.wanted
    if model.value(model.by_table(wanted), arrays) == other.value(other.by_table(wanted), arrays):
        return report
    chosen = Chosen(other.by_table(wanted), MEANT + before.note)
    found = _checked(other, chosen, gradient, settings)
    wrong = [sum(array.wrong + array.inconclusive for array in one.arrays) for one in (found, report)]
    return found if found.ok or wrong[0] < wrong[1] else report


def _problem(model: Model, compute: Any, settings: Options) -> tuple[Problem, tuple[str, ...]]:
    """Returns the loss with its program, or without if that is not wanted or cannot be; and what to say of it."""
    function = partial(model.value, compute)
    if not settings.trace or settings.method in PLAIN or settings.step is not None:
        return python_loss(function), ()
    try:
        return traced_model(model, compute, settings.selected(pack(model.parameters)).params), ()
    except (Untraceable, Disagreement) as error:
        if settings.method in ("chain", "incremental"):
            raise ValueError(f"method: {settings.method!r} needs a program of the model, but {error}") from None
        return python_loss(function), (f"differenced as a Python function: {error}",)


def _read_gradient(gradient: Gradient) -> Any:
    if isinstance(gradient, (str, os.PathLike)):
        return _read_file(gradient)
    if callable(gradient) or isinstance(gradient, Mapping):
        return gradient
    raise TypeError(f"gradient: expected a dict of arrays, the path of an .npz file, or a function, got {gradient!r}")


def _read_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        file = np.load(path)
    except ValueError as error:
        raise ValueError(f"gradient: {os.fspath(path)} is no .npz file ({error})") from None
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise TypeError(
            f"gradient: {os.fspath(path)} has one array without a name; expected an .npz file, as numpy.savez(path, "
            "**arrays) writes it"
        )
    with file:
        found = {}
        for name in file.files:
            try:
                found[name] = file[name]
            except ValueError as error:
                raise ValueError(f"gradient: {name} in {os.fspath(path)} cannot be read ({error})") from None
    return found


def _parameters(
    graph: Any, gradient: Any, names: Iterable[str] | None
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Returns the arrays that are checked, by name, and a note on those that are not.

    Raises
    ------
    TypeError, ValueError
        If there is no array of some name, or no gradient of one that should have one.
    """
    known, expected = candidates(graph), expected_parameters(graph)
    if names is not None:
        if not isinstance(names, Iterable):
            raise TypeError(f"parameters: expected names of initialisers, got {names!r}")
        chosen = [names] if isinstance(names, str) else list(names)
        for name in chosen:
            if name not in known:
                raise ValueError(
                    f"parameters: no initialiser of floating-point numbers is called {name!r}; there are "
                    f"{listed(dict.fromkeys(expected))}{nearest(str(name), list(known))}"
                )
        if not chosen:
            raise ValueError(f"parameters: none are named; there are {listed(dict.fromkeys(expected))}")
    elif isinstance(gradient, Mapping) and set(gradient) & set(known):
        missing = [name for name in expected if name not in gradient]
        if missing:
            unknown = [name for name in map(str, gradient) if name not in known]
            instead = "".join(f"; it has {name}{hint}" for name in unknown if (hint := nearest(name, missing)))
            raise ValueError(
                f"gradient: it has no {listed(dict.fromkeys(missing))}, which the model has{instead}; parameters= "
                "chooses what is checked"
            )
        chosen = [name for name in known if name in gradient]
    else:
        chosen = expected
    if not chosen:
        raise ValueError("model: it has no initialisers of floating-point numbers whose gradient could be checked")
    rest = [name for name in expected_or_running(graph) if name not in chosen]
    note = (f"taken as constants: {listed(dict.fromkeys(rest))}",) if rest else ()
    return {name: known[name] for name in chosen}, note


def expected_or_running(graph: Any) -> list[str]:
    """Returns the names of all initialisers of floating-point numbers that have axes, and of trained attributes."""
    arrays = [tensor.name for tensor in graph.initializer if tensor.data_type in FLOATS and tensor.dims]
    return list(dict.fromkeys([*arrays, *expected_parameters(graph)]))


def _inputs(graph: Any, inputs: Any, used: set[str]) -> dict[str, Any]:
    """Returns the inputs by name, in the types that the model declares; floating-point numbers are float64.

    Raises
    ------
    TypeError, ValueError
        If one is missing, unknown, or has another type or shape than the model declares.
    """
    declared = inputs_of(graph)
    required = [name for name in declared if name in used]
    if not isinstance(inputs, Mapping):
        if len(required) != 1:
            raise TypeError(
                f"inputs: the model takes {listed(dict.fromkeys(required))}; give a dict of arrays by these names"
            )
        inputs = {required[0]: inputs}
    overridden = {value.name: value for value in graph.input}
    for name in inputs:
        if name not in overridden:
            hint = nearest(str(name), list(overridden))
            raise ValueError(f"inputs: the model takes no {name!r}, but {listed(declared)}{hint}")
    for name in required:
        if name not in inputs:
            raise ValueError(f"inputs: {name!r} is missing")
    return {name: _typed(name, value, overridden[name].type) for name, value in inputs.items()}


def _typed(name: str, value: Any, kind: Any) -> Any:
    if not kind.HasField("tensor_type"):
        return [np.asarray(part) for part in value] if isinstance(value, (list, tuple)) else value
    try:
        array, tensor = np.asarray(value), kind.tensor_type
    except ValueError as error:
        raise TypeError(f"inputs: {name!r} cannot be read as an array ({error})") from None
    if tensor.elem_type in FLOATS:
        if array.dtype.kind not in "fiub":
            raise TypeError(f"inputs: {name!r} is of floating-point numbers, got {array.dtype}")
        array = array.astype(np.float64)
    elif tensor.elem_type != onnx.TensorProto.STRING:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        cast = array.astype(dtype)
        if not np.array_equal(cast, array):
            raise TypeError(f"inputs: {name!r} is of {dtype}, got {array.dtype} that is not")
        array = cast
    if tensor.HasField("shape"):
        sizes = [axis.dim_value if axis.HasField("dim_value") else None for axis in tensor.shape.dim]
        fits = len(sizes) == array.ndim and all(n is None or n == m for n, m in zip(sizes, array.shape, strict=True))
        if not fits:
            expected = tuple("any" if size is None else size for size in sizes)
            raise ValueError(f"inputs: {name!r} has the shape {expected} in the model, got {array.shape}")
    return array
