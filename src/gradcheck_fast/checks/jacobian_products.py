"""check_vjp() and check_jvp(): the derivatives of functions with several results, in random directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.checks.as_problem import traced_by
from gradcheck_fast.checks.beside_value import packer
from gradcheck_fast.checks.complex_products import complex_jvp_report, complex_vjp_report
from gradcheck_fast.checks.forward_passes import form_with_cache, name_of
from gradcheck_fast.checks.gradcheck import check_gradient
from gradcheck_fast.checks.options import CommonKeywords, Options, WorkKeywords
from gradcheck_fast.checks.second_look import power_of
from gradcheck_fast.comparison.aspects import of_status
from gradcheck_fast.inputs.arguments import integer
from gradcheck_fast.inputs.arrays import DOUBLE
from gradcheck_fast.inputs.complex_pairs import has_complex
from gradcheck_fast.inputs.random_numbers import generator
from gradcheck_fast.inputs.trees import Tree, cast, pack, parts
from gradcheck_fast.losses.along import Along
from gradcheck_fast.losses.complex_function import gives_complex
from gradcheck_fast.losses.function_loss import python_loss
from gradcheck_fast.losses.rounded_gradient import RoundedGradient
from gradcheck_fast.losses.tree_function import Products, TreeFunction, Trees, require_callable
from gradcheck_fast.numerical.evaluate import writes
from gradcheck_fast.numerical.gradient import PLAIN_STEP
from gradcheck_fast.running.progress import Meter

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from gradcheck_fast.checks.one_precision import InOnePrecision
    from gradcheck_fast.inputs.arrays import Precision
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.losses.problem import Problem
    from gradcheck_fast.report.report import Report

    #: ``losses_of(at, products, names)`` returns what gives the loss of the product with the array of a name.
    LossesOf = Callable[[Packed, Products, Sequence[str]], Callable[[str], Problem]]


def check_vjp(
    f: Callable[..., Tree],
    vjp: Callable[..., Any],
    inputs: Any,
    *,
    directions: int = 1,
    seed: int = 0,
    reference: Callable[..., Tree] | None = None,
    **options: Unpack[WorkKeywords],
) -> Report:
    """Checks a vector-Jacobian product, the backward pass of a function, for random cotangents.

    For a cotangent v the gradient of ``<v, f(*inputs)>`` is ``vjp(v, *inputs)``. Every entry of it is checked.

    Parameters
    ----------
    f : callable
        ``f(*inputs)`` gives an array, or a tree of arrays. It is called with float64 arrays. If it refuses these (it
        raises) or gives coarser numbers, it is taken to compute in one precision only, such as float32 or bfloat16:
        then it is called with arrays of the dtypes of `inputs`, differences have the noise of that precision, which is
        measured, and a note says how large an error would have been seen.
    vjp : callable
        ``vjp(cotangent, *inputs)`` gives a tuple with one gradient for each input; if `inputs` is no tuple, it gives
        the gradient itself. The cotangent has the form and dtypes of ``f(*inputs)``. As for `gradcheck`, arrays may
        differ from their inputs by axes of length 1, and those of a dict may be named as gradients.
    inputs : tuple, or tree of arrays
        The arguments of `f`. Each is a tree of floating-point arrays, or of anything else, such as indices: this is
        left as it is, and its gradient may be None. If `inputs` is no tuple, it is the only argument. Arrays, and those
        that `f` gives, may be complex: each is checked as two real ones. Cotangents of complex outputs and gradients by
        complex arrays follow one convention, which is found out and noted: with PyTorch's a cotangent v stands for
        Re(conj(v) f) and the gradient by z = x + iy is dL/dx + i dL/dy; with JAX's they are Re(v f) and the conjugate.
        Unless all inputs and outputs are complex, it may be half of one of these, a Wirtinger derivative.
    directions : int
        How many cotangents are tried, one after another. The first that fails is the last.
    seed : int
        The seed of the random cotangents, and of a sample.
    reference : callable, optional
        ``reference(*inputs)`` computes in float64 what `f` should give: that defines what is right. The gradient is
        compared with the numerical gradient of it, with the rounding of the precision in which `f` computes, and the
        outputs of `f` with its outputs. If these differ, the report fails and says where (`Report.aspects`).
    **options
        As for `gradcheck`: method, step, rtol, atol, error_bars, sample, n_threads, progress, executor, trace, only,
        fixed, bounds, constraints (the names are those of the report). Each cotangent makes another loss, so there is
        no checkpoint.

    Returns
    -------
    Report
        It is that of the first cotangent for which an entry is not right; if there is none, that of the last cotangent.
        The arrays are called ``inputs[0]`` and so on. If `f` gives several arrays (outputs), each is checked by itself,
        with a cotangent that is zero in the others, and then all together: errors in small outputs do not show beside
        large ones. A note names the output that is wrong, and `Report.seen_from` says how large, relatively, an error
        must be to be seen, for each output and each input.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or `f` or `vjp` gives what does not fit; the message names it. Nothing has been
        changed then. If `f` returns ``(out, cache)``, the message says that this is for `check_layer`.
    """
    settings = Options.from_keywords("check_vjp", options, WorkKeywords, seed=seed)

    def report_of(f: Any, vjp: Any, inputs: Any, reference: Any = reference) -> Report:
        return vjp_report(f, vjp, inputs, settings, directions, reference=reference)

    try:
        if has_complex(inputs):
            return complex_vjp_report(report_of, f, vjp, inputs, reference)
        return report_of(f, vjp, inputs)
    except Exception as error:
        if not has_complex(inputs) and gives_complex(f, inputs):
            return complex_vjp_report(report_of, f, vjp, inputs, reference)
        form = form_with_cache(f, inputs)
        if form:
            raise ValueError(
                f"f: {name_of(f, 'f')} returns {form}: use gf.check_layer({name_of(f, 'f')}, {name_of(vjp, 'vjp')}, "
                "inputs)"
            ) from error
        raise


def vjp_report(
    f: Callable[..., Tree], vjp: Callable[..., Any], inputs: Any, options: Options, directions: int,
    computed_in: Precision = DOUBLE, names: Sequence[str] | None = None, called: tuple[str, str] = ("f", "vjp"),
    losses_of: LossesOf | None = None, grids: Mapping[str, Precision] | None = None,
    reference: Callable[..., Tree] | None = None,
) -> Report:  # fmt: skip
    """Makes the report of `check_vjp`, for a product that is computed in numbers of the precision `computed_in`.

    The inputs may have `names`, and errors may call the function and its product something else. `losses_of` makes the
    losses of cotangents; by default they are traced as NumPy functions, if the options allow it. `grids` has the
    precisions of inputs, by name, where their arrays hold numbers of another dtype than what they stand for. The
    gradients are compared with those of the `reference`, if there is one.
    """
    function = TreeFunction(f, inputs, names, called[0])
    require_callable(called[1], vjp)
    meter, options = _in_parts(options, directions, function.own)
    packed = packer(None, options.selected(function.at).params, finite=False)

    one = _in_one_precision(function, options, called[0], grids or {}, computed_in, reference)

    def gradient(cotangent: Tree, params: Trees) -> Trees:
        return function.by_name(called[1], function.after_f(called[1], vjp, params, cotangent["output"]))

    def check(rng: np.random.Generator) -> Report:
        drawn = one.cotangent(rng) if one else rng.standard_normal(function.own.flat.size)
        by_array = _by_array(drawn, function.own)
        if one:
            in_one = lambda name: one.product_report(gradient, by_array[name])
            return _one_after_another(list(by_array), in_one, "cotangent", lambda output, array: (output, array))
        cotangents = {name: cast(function.own.unpack(v), function.own_outputs) for name, v in by_array.items()}
        vectors = {name: pack(cotangent).flat for name, cotangent in cotangents.items()}
        products = Products(function, list(vectors.values())[-1])  # the last is of all arrays
        losses = losses_of(function.at, products, list(vectors)) if losses_of else None

        def report_of(name: str) -> Report:
            found = gradient(cotangents[name], function.params)
            own = replace(packed(found), computed_in=computed_in)
            in_double = lambda: packed(gradient(function.own.unpack(vectors[name]), function.in_double))
            loss = losses(name) if losses else traced_by(options, python_loss(products.loss(name)), function.params)
            return check_gradient(RoundedGradient(loss, own, in_double), own, function.params, options)

        return _one_after_another(list(cotangents), report_of, "cotangent", lambda output, array: (output, array))

    with meter:
        return _first_failing(check, function, directions, options.seed, one)


def check_jvp(
    f: Callable[..., Tree],
    jvp: Callable[..., Tree],
    inputs: Any,
    *,
    directions: int = 1,
    seed: int = 0,
    reference: Callable[..., Tree] | None = None,
    **options: Unpack[CommonKeywords],
) -> Report:
    """Checks a Jacobian-vector product, the forward-mode derivative of a function, for random tangents.

    For a tangent t, every entry of the product is compared with that of ``(f(x + h t) - f(x - h t)) / 2h``.

    Parameters
    ----------
    f, inputs, directions, seed, reference
        As for `check_vjp`.
    **options
        As for `gradcheck`: method, step, rtol, atol, error_bars, sample, trace, progress. The check takes a few calls
        of `f`. It takes some tens if the step along the tangent must be chosen, or the noise of `f` must be measured.
    jvp : callable
        ``jvp(tangents, *inputs)`` gives an array, or a tree of arrays, of the form of ``f(*inputs)``. `tangents` is a
        tuple with a tangent for each input; the tangent of an input that is no tree of floating-point arrays is None.
        That of a complex array is complex.
        If `inputs` is no tuple, `tangents` is the tangent itself.

    Returns
    -------
    Report
        It is that of the first tangent for which an entry is not right; if there is none, that of the last tangent.
        The arrays are called ``output``, or ``output[0]`` and so on. Several inputs are moved one by one, and then
        together. `Report.seen_from` is as for `check_vjp`.

    Raises
    ------
    TypeError, ValueError
        As for `check_vjp`.
    """
    settings = Options.from_keywords("check_jvp", options, CommonKeywords, seed=seed)
    if settings.is_directional:
        raise ValueError("method: check_jvp compares along directions in any case; leave 'directional' out")

    def report_of(f: Any, jvp: Any, inputs: Any, reference: Any = reference) -> Report:
        return _jvp_report(f, jvp, inputs, settings, directions, reference)

    try:
        if has_complex(inputs):
            return complex_jvp_report(report_of, f, jvp, inputs, reference)
        return report_of(f, jvp, inputs)
    except Exception as error:
        if not has_complex(inputs) and gives_complex(f, inputs):
            return complex_jvp_report(report_of, f, jvp, inputs, reference)
        form = form_with_cache(f, inputs)
        if form:
            first, last = (1, "") if form.startswith("(cache") else (0, -1)
            place = f"{first}" if form.count(",") == 1 else f"{first}:{last}"
            raise ValueError(
                f"f: {name_of(f, 'f')} returns {form}: pass lambda *inputs: {name_of(f, 'f')}(*inputs)[{place}]"
            ) from error
        raise


def _jvp_report(
    f: Callable[..., Tree], jvp: Callable[..., Tree], inputs: Any, settings: Options, directions: int,
    reference: Callable[..., Tree] | None = None,
) -> Report:  # fmt: skip
    function, outputs = TreeFunction(f, inputs), None
    require_callable("jvp", jvp)
    meter, settings = _in_parts(settings, directions, function.at)
    one = _in_one_precision(function, settings, "f", {}, DOUBLE, reference)
    if not one and settings.trace and settings.method == "auto" and settings.step is None:
        # only those who trace wait for its import
        from gradcheck_fast.frontends.numpy_trace.traced_outputs import traced_outputs

        outputs = traced_outputs(function)

    def tangent(tangents: Trees, params: Trees) -> Trees:
        return {"output": function.after_f("jvp", jvp, params, function.as_given(tangents))}

    def check(rng: np.random.Generator) -> Report:
        at = function.at
        if one:
            by_array = _by_array(one.tangent(rng), at)
            in_one = lambda name: one.tangent_report(tangent, by_array[name])
            return _one_after_another(list(by_array), in_one, "tangent", lambda given, array: (array, given))
        direction = rng.standard_normal(at.flat.size) * np.maximum(1.0, np.abs(at.flat))
        along = _by_array(direction, at)
        each = lambda name: report_of(along[name])
        return _one_after_another(list(along), each, "tangent", lambda given, array: (array, given))

    def report_of(direction: NDArray[np.float64]) -> Report:
        at = function.at
        tangents = cast(at.unpack(direction), function.params)
        t = pack(tangents).flat
        own = tangent(tangents, function.params)
        in_double = lambda: tangent(at.unpack(t), function.in_double)
        exact = outputs if outputs and outputs.agree(at.flat, t) else None
        problem = RoundedGradient(Along(function, t, exact), own, in_double)
        report = check_gradient(problem, own, function.outputs.unpack(function.outputs.flat), settings)
        if callable(settings.progress):
            settings.progress(1.0)
        return replace(report, step=report.step or PLAIN_STEP, _what="product")

    with meter:
        return _first_failing(check, function, directions, settings.seed, one)


def _in_parts(options: Options, directions: int, packed: Packed) -> tuple[Meter, Options]:
    """Returns who is told how far all directions are, and options by which each check tells it."""
    meter = Meter(options.progress)
    arrays = sum(part.stop > part.start for _, part, _ in parts(packed.shapes))
    count = integer("directions", directions, positive=True) * (arrays + (arrays > 1))
    return meter, replace(options, progress=meter.parts(max(count, 1))) if options.progress else options


def _in_one_precision(
    function: TreeFunction, options: Options, called: str, grids: Mapping[str, Precision], computed_in: Precision,
    reference: Callable[..., Tree] | None,
) -> InOnePrecision | None:  # fmt: skip
    """Makes what checks a function that computes in one precision only, or has a reference; None for any other."""
    if reference is not None:
        from gradcheck_fast.checks.by_reference import ByReference  # as below

        require_callable("reference", reference)
        return ByReference(function, reference, options, called, grids, computed_in)
    if not function.refusal:
        return None
    # only such functions wait for its import
    from gradcheck_fast.checks.one_precision import InOnePrecision

    return InOnePrecision(function, options, called, grids, computed_in)


def _first_failing(
    check: Callable[[np.random.Generator], Report], function: TreeFunction, directions: int, seed: int,
    one: InOnePrecision | None,
) -> Report:  # fmt: skip
    """Calls `check` with random numbers, once for each direction, and returns the first report that fails, or the last.

    Notes on the function are added to the report.
    """
    rng = generator(seed)
    for _ in range(integer("directions", directions, positive=True)):
        report = check(rng)
        if not report.ok:
            break
    aspects = one.aspects if one else ()
    return replace(
        report,
        ok=report.ok and not of_status(aspects, "wrong"),
        aspects=(*report.aspects, *aspects),
        notes=(*report.notes, *function.notes, *map(writes, function.writers)),
    )


def _by_array(direction: NDArray[np.float64], packed: Packed) -> dict[str, NDArray[np.float64]]:
    """Splits a direction into those that are zero in all arrays but one, by the names of these arrays.

    If there are several, the direction itself comes last, with the name ``""``.
    """
    found = {}
    for name, part, _ in parts(packed.shapes):
        if part.stop > part.start:
            found[name] = np.zeros_like(direction)
            found[name][part] = direction[part]
    return found if len(found) == 1 else {**found, "": direction}


def _one_after_another(
    names: Sequence[str], report_of: Callable[[str], Report], what: str, pair: Callable[[str, str], tuple[str, str]]
) -> Report:
    """Checks each array by itself, and then all together, and returns one of the reports.

    It returns the report of the first array that is wrong by itself. If none is, it returns that of all arrays together
    if that is wrong; else that of the first array that is undecided; and if there is none, that of all together. Small
    numbers do not show beside large ones: that is why each array has a direction that is zero in the others.

    Parameters
    ----------
    names : sequence of str
        The names that `_by_array` gives.
    report_of : callable
        ``report_of(name)`` checks along the direction with that name.
    what : str
        The word for the direction, in notes.
    pair : callable
        ``pair(name, array)`` gives the names of the output and of the input that an array in the report of `name` is
        about.
    """
    seen: dict[tuple[str, str], float] = {}
    undecided, word = None, "of" if what == "cotangent" else "along"
    for name in filter(None, names):
        report = report_of(name)
        seen |= {pair(name, array.name): power_of(report, array) for array in report.arrays}
        said = (f"this is of {name} alone: the {what} is zero in all others",) * (len(names) > 1)
        if report.wrong or len(names) == 1:
            return replace(report, notes=(*said, *report.notes), seen_from=seen, _of_what=f"{word} {name}")
        if undecided is None and any(array.inconclusive for array in report.arrays):
            undecided = replace(report, notes=(*said, *report.notes))
    report = report_of("")
    if report.wrong:
        said = (f"each is right by itself, but not all together: the result is not linear in the {what}",)
        together = f"{word} {'outputs' if word == 'of' else 'inputs'} together"
        return replace(report, notes=(*said, *report.notes), seen_from=seen, _of_what=together)
    return replace(undecided or report, seen_from=seen)
