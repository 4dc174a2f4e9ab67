"""Checks of the gradient of a loss that computes in one precision only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.checks.beside_value import beside_value, packer, without_said
from gradcheck_fast.checks.one_precision import METHODS, InOnePrecision
from gradcheck_fast.inputs.arrays import DOUBLE, coarsest
from gradcheck_fast.inputs.returned import value_and_rest
from gradcheck_fast.inputs.trees import cast, copy
from gradcheck_fast.losses.tree_function import TreeFunction
from gradcheck_fast.numerical.evaluate import writes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.checks.beside_value import Gradient
    from gradcheck_fast.checks.options import Options
    from gradcheck_fast.inputs.arrays import Precision
    from gradcheck_fast.inputs.trees import Packed, Tree
    from gradcheck_fast.losses.function_loss import FunctionLoss
    from gradcheck_fast.report.report import Report


def refuses_float64(problem: FunctionLoss, params: Tree, options: Options) -> bool:
    """Tells whether a loss that is not traced raises an error for float64, though its parameters are of less."""
    at = problem.pack(params)
    if problem.function is None or options.method not in METHODS or not coarsest(at.precisions).is_coarse:
        return False
    try:
        problem.function(at.unpack(at.flat.copy()))
    except Exception:
        return True
    return False


def loss_report(
    problem: FunctionLoss, gradient: Gradient, params: Tree, options: Options,
    grids: Mapping[str, Precision] | None = None,
) -> Report:  # fmt: skip
    """Makes the report on the gradient of a loss of one precision; see `InOnePrecision`.

    Parameters
    ----------
    problem : FunctionLoss
        Of a Python function.
    gradient : tree of arrays, Packed, callable, or True
    params : tree of arrays
    options : Options
    grids : mapping of str to Precision, optional
        The precisions of arrays that stand for numbers of another dtype, by name.

    Raises
    ------
    ValueError
        If the function gives several numbers, or as for `InOnePrecision`.
    """
    assert problem.function is not None
    function = TreeFunction(_value(problem.function), params, [""], "params")
    if function.own.flat.size != 1:
        raise ValueError(f"loss: expected it to return one real number, got the shapes {function.own.shapes}")
    one = InOnePrecision(function, options, "the loss", grids or {}, DOUBLE)
    given = beside_value(gradient, problem)
    pack = packer(given, function.at, finite=False)
    if not callable(given):
        report = one.gradient_report(pack(given), None)
    else:
        find = given

        def gradient_at(theta: NDArray[np.float64]) -> Packed:
            tree = cast(function.at.unpack(theta), function.params)[""]
            return pack(find(copy(tree)))

        report = one.gradient_report(gradient_at(function.at.flat), gradient_at)
    written = tuple(writes("the loss") for _ in function.writers)
    trees = {name: getattr(report, name) for name in ("analytic", "numerical", "error_bars")}
    return report.replaced(
        notes=(*without_said(report.notes, given), *function.notes, *written),
        **{name: tree if tree is None else tree[""] for name, tree in trees.items()},  # like the parameters themselves
    )


def _value(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Makes a function that gives the value of a loss as an array of its own dtype, without what is beside it."""

    def value(params: Tree) -> Any:
        found = function(params)
        pair = value_and_rest(found)
        return np.asarray(found if pair is None else pair[0])

    return value
