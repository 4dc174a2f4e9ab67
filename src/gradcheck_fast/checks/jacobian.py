"""check_jacobian(): every entry of a Jacobian, dense or sparse, by output and input."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from gradcheck_fast.checks.as_problem import may_trace, traced_by
from gradcheck_fast.checks.forward_passes import form_with_cache
from gradcheck_fast.checks.forward_passes import name_of as name_of_function
from gradcheck_fast.checks.options import Options
from gradcheck_fast.checks.row_scales import compared_by_rows
from gradcheck_fast.checks.second_look import compared, one_step, report_on, seen_from
from gradcheck_fast.checks.sparse_jacobian import check_stored
from gradcheck_fast.inputs.complex_blocks import CONJUGATE, ComplexBlocks
from gradcheck_fast.inputs.complex_pairs import JAX, PYTORCH, has_complex
from gradcheck_fast.inputs.jacobian_blocks import Blocks, Stored, is_sparse, name_of
from gradcheck_fast.inputs.random_numbers import generator
from gradcheck_fast.losses.complex_function import ComplexFunction, gives_complex
from gradcheck_fast.losses.function_loss import python_loss
from gradcheck_fast.losses.jacobian import Columns, by_columns, by_rows, rows_are_less
from gradcheck_fast.losses.tree_function import TreeFunction, require_callable
from gradcheck_fast.numerical.evaluate import writes
from gradcheck_fast.running.progress import Meter
from gradcheck_fast.running.runner import Runner

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gradcheck_fast.comparison.results import Comparison
    from gradcheck_fast.diagnosis.diagnose import Diagnosis
    from gradcheck_fast.inputs.trees import Packed, Tree
    from gradcheck_fast.losses.along import ExactChanges
    from gradcheck_fast.numerical.gradient import Numerical
    from gradcheck_fast.report.report import Report
    from gradcheck_fast.running.progress import Progress


class JacobianKeywords(TypedDict, total=False):
    """The keywords of checks of Jacobians and of second derivatives. `Options` says what each of them means."""

    step: float | None
    rtol: float | None
    atol: float | None
    error_bars: bool
    trace: bool
    progress: Progress


def check_jacobian(
    f: Callable[..., Tree], J: Any, inputs: Any, *, seed: int = 0, **options: Unpack[JacobianKeywords]
) -> Report:
    """Checks every entry of a Jacobian, the derivatives of all outputs of a function by all its inputs.

    Parameters
    ----------
    f : callable
        ``f(*inputs)`` gives an array, or a tree of arrays. It is called with float64 arrays, and must compute in
        float64.
    J : array, sparse matrix, tree of such, or callable
        One array of outputs and one of inputs have the Jacobian of the shape ``output.shape + input.shape``, or as a
        matrix, (outputs, inputs). For several there is a tree like the outputs, of trees like the inputs, of such
        arrays, as JAX gives them: a tuple with one for each input; or one matrix for all outputs by all inputs, in
        their order. Inputs that are no arrays of floating-point numbers have none, or None. A sparse matrix is one of
        SciPy's, or anything with ``tocoo``: what it does not store must be zero. Or ``J(*inputs)`` gives any of
        these; it is called right after `f`. Where inputs or outputs are complex, J is dense. Then a change dz of an
        input changes an output w by ``dw = J dz``; by the real part of that, if w is real. Reverse mode of PyTorch has
        the conjugate of J, which is right, too, where all inputs are complex or all outputs real. Where only w is
        complex, J is ``dw/dx``.
    inputs : tuple, or tree of arrays
        The arguments of `f`, as for `check_vjp`.
    seed : int
        The seed of the random directions that are taken if `J` is sparse.
    **options
        As for `gradcheck`: step, rtol, atol, error_bars, trace, progress. A function that can be traced is differenced
        exactly: every input is moved by itself, or the gradient of every output is chained, whichever is less work. Any
        other takes four calls for each input, and some tens where the step must be chosen. If `J` is sparse, inputs
        that reach no output in common are moved together (Curtis, Powell and Reid, On the estimation of sparse Jacobian
        matrices, J. Inst. Maths Applics 13, 1974); and all of them along random directions, which show what is not
        stored.

    Returns
    -------
    Report
        The arrays are called ``output by inputs[0]`` and so on, and have the shape of the output followed by that of
        the input. Both parts of a complex array have names, as in ``output.real by inputs[0].imag``. Those of a sparse
        `J` are vectors of the entries that are stored, or that should be. Of a dense `J`, each row, which is of one
        entry of the outputs, is judged by its own scale. `Report.worst` gives the indices in the Jacobian for both.
        `Report.seen_from` says how large, relatively, an error must be to be seen, for each output and input.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or `f` or `J` gives what does not fit; the message names it. Nothing has been
        changed then.

    Examples
    --------
    >>> import numpy as np
    >>> import gradcheck_fast as gf
    >>> f = lambda x: np.array([x[0] * x[1], np.sin(x[1])])
    >>> J = lambda x: np.array([[x[1], x[0]], [0.0, np.cos(x[1])]])
    >>> gf.check_jacobian(f, J, np.array([2.0, 3.0])).ok
    True
    >>> report = gf.check_jacobian(f, lambda x: J(x).T, np.array([2.0, 3.0]))
    >>> report.diagnoses[0].cause
    'it is the transpose: inputs by outputs instead of outputs by inputs, in the whole Jacobian'
    """
    started = perf_counter()
    settings = Options.from_keywords("check_jacobian", options, JacobianKeywords, seed=seed)
    require_callable("f", f)
    function, own = _function(f, inputs)
    report = _of_real(function, J, settings) if own is None else _of_complex(function, own, J, settings)
    notes = (*report.notes, *function.notes, *map(writes, function.writers))
    return report.replaced(notes=notes, seconds=perf_counter() - started)


def _function(f: Callable[..., Tree], inputs: Any) -> tuple[TreeFunction, ComplexFunction | None]:
    """Reads a function with its arguments, with pairs in the place of complex arrays, which the second one knows.

    If it returns a cache beside its outputs, the error says what to pass.
    """
    own = ComplexFunction(f, inputs) if has_complex(inputs) else None
    try:
        return (TreeFunction(f, inputs) if own is None else TreeFunction(own, own.inputs)), own
    except Exception as error:
        form = form_with_cache(f, inputs)
        if form:
            called = name_of_function(f, "f")
            raise ValueError(f"f: {called} returns {form}: pass a function that gives the outputs alone") from error
        if own is not None or not gives_complex(f, inputs):
            raise
        own = ComplexFunction(f, inputs)
        return TreeFunction(own, own.inputs), own


def _of_real(function: TreeFunction, J: Any, settings: Options) -> Report:
    blocks = _blocks(function)
    read = blocks.read(_given(function, J), "J")
    if isinstance(read, Stored):
        return check_stored(read, Columns(function, exactly(function, settings), one_step(settings)), blocks, settings)
    return jacobian_report(read, numerical_jacobian(function, blocks, settings), blocks, settings, function.at)


def _of_complex(function: TreeFunction, own: ComplexFunction, J: Any, settings: Options) -> Report:
    """Does the same for a function with complex arrays. Of a wrong J the conjugate is tried."""
    blocks = ComplexBlocks(_blocks(function), own.complex_outputs, own.complex_inputs)
    if callable(J) and not is_sparse(J):
        J = own.jacobian(J)
    given = _given(function, J)
    read = blocks.read(given, "J", JAX)
    numerical = numerical_jacobian(function, blocks.pairs, settings)
    report = jacobian_report(read, numerical, blocks.pairs, settings, function.at)
    if report.wrong and blocks.has_conjugate:
        read = blocks.read(given, "J", PYTORCH)
        other = jacobian_report(read, numerical, blocks.pairs, settings, function.at)
        if not other.wrong:
            return other.replaced(notes=(*other.notes, CONJUGATE))
    return report.replaced(notes=(*report.notes, *blocks.said_of(report.numerical))) if report.wrong else report


def _blocks(function: TreeFunction) -> Blocks:
    return Blocks(
        function.outputs.shapes, function.at.shapes,
        [path.removeprefix("output") for path in function.outputs.paths],
        [path.removeprefix("inputs") for path in function.at.paths],
    )  # fmt: skip


def _given(function: TreeFunction, J: Any) -> Any:
    if not callable(J) or is_sparse(J):
        return J
    function.flat(function.params)  # J may use what f has kept
    return function.call("J", J, function.params)


def jacobian_report(
    read: Packed, numerical: Numerical, blocks: Blocks, options: Options, params: Packed, what: str = "Jacobian"
) -> Report:
    """Compares a Jacobian, or a Hessian, with a numerical one, and makes the report.

    Parameters
    ----------
    read : Packed
        What is checked, by blocks.
    numerical : Numerical
    blocks : Blocks
    options : Options
    params : Packed
        Where it was taken.
    what : str
        ``Jacobian`` or ``Hessian``.
    """

    def diagnose(found: Numerical, comparison: Comparison) -> tuple[Diagnosis, ...]:
        from gradcheck_fast.diagnosis.jacobians import diagnose_jacobian  # only wrong ones wait for its import

        return diagnose_jacobian(read, found, comparison, blocks, what)

    compare = partial(compared_by_rows, blocks=blocks) if what == "Jacobian" else compared
    report = report_on(read, numerical, options, params, diagnose, what=what, compared=compare)
    pairs = {name_of(own, other): (own, other) for own in blocks.outputs for other in blocks.inputs}
    return report.replaced(seen_from=seen_from(report, pairs) if len(pairs) > 1 else {})


def numerical_jacobian(function: TreeFunction, blocks: Blocks, options: Options) -> Numerical:
    """Finds the numerical Jacobian of a function, exactly where the function can be traced."""
    if may_trace(options) and rows_are_less(function):
        trace = lambda loss, params: traced_by(options, python_loss(loss), params)
        with Runner(options.n_threads, Meter(options.progress)) as runner:
            found = by_rows(trace, function, blocks, runner)
        if found is not None:
            return found
    with Runner(options.n_threads, Meter(options.progress)) as runner:
        return by_columns(Columns(function, exactly(function, options), one_step(options)), blocks, runner)


def exactly(function: TreeFunction, options: Options) -> ExactChanges | None:
    """Returns what knows the exact changes of a function's outputs; None if it cannot be traced."""
    if not may_trace(options):
        return None
    # only those who trace wait for its import
    from gradcheck_fast.frontends.numpy_trace.traced_outputs import traced_outputs

    found = traced_outputs(function)
    size = function.at.flat
    direction = generator(options.seed).standard_normal(size.size) * np.maximum(1.0, np.abs(size))
    return found if found is not None and found.agree(size, direction) else None
