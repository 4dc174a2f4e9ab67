"""Compares derivatives of any kind with numerical ones, and makes the report: what checks have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.checks.options import DIRECTIONAL
from gradcheck_fast.comparison.compare import compare
from gradcheck_fast.inputs.arrays import coarsest
from gradcheck_fast.report.report import Report, make_report
from gradcheck_fast.running.threads import resolve

if TYPE_CHECKING:
    from gradcheck_fast.checks.options import Options
    from gradcheck_fast.comparison.results import ArrayResult, Comparison
    from gradcheck_fast.diagnosis.diagnose import Diagnosis
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.numerical.gradient import Numerical

    #: What compares derivatives: it is called with those to be checked, numerical ones, and options.
    Compared = Callable[[Packed, Numerical, Options], tuple[Numerical, Comparison]]

#: Exact differences show errors of this relative size.
EXACTLY_SEEN = 1e-12


def compared(
    analytic: Packed, numerical: Numerical, options: Options, n_threads: int | None = None
) -> tuple[Numerical, Comparison]:
    """Compares with numerical derivatives, or with others if these do not stand up to a second look.

    By default as many threads are used as the options say.
    """
    threads = resolve(options.n_threads) if n_threads is None else n_threads
    comparison = compare(analytic, numerical, options.tolerances, with_bars=options.error_bars, n_threads=threads)
    other = seen_again(analytic, numerical, comparison)
    return (numerical, comparison) if other is None else compared(analytic, other, options, n_threads)


def seen_again(analytic: Packed, numerical: Numerical, comparison: Comparison) -> Numerical | None:
    """Looks once more at numerical derivatives where others seem wrong; None if there is nothing else to be seen."""
    if numerical.doubted is None or not any(array.wrong for array in comparison.arrays):
        return None
    seems_wrong = (comparison.excess > 1.0) & np.isfinite(analytic.flat)
    return numerical.doubted(np.where(seems_wrong, analytic.flat - numerical.gradient, 0.0))


def one_step(options: Options) -> float | None:
    """Returns the user's step, which must be one number; None if the step is to be chosen."""
    if isinstance(options.step, Mapping):
        raise ValueError("step: expected one number for all parameters")
    return options.step


def report_on(
    analytic: Packed, numerical: Numerical, options: Options, params: Packed,
    diagnose: Callable[[Numerical, Comparison], tuple[Diagnosis, ...]], like: Packed | None = None,
    what: str = "Jacobian", compared: Compared = compared,
) -> Report:  # fmt: skip
    """Compares derivatives with numerical ones, looks for the mistake if something is wrong, and makes the report.

    Parameters
    ----------
    analytic : Packed
        What is checked.
    numerical : Numerical
    options : Options
    params : Packed
        Where the derivatives were taken, whose dtypes say how accurate they can be.
    diagnose : callable
        ``diagnose(numerical, comparison)`` gives the mistakes that explain what is wrong.
    like : Packed, optional
        Whose form the report gives to the derivatives; by default it is that of `analytic`.
    what : str
        What the report calls the derivatives.
    compared : callable
        ``compared(analytic, numerical, options)`` compares, and returns which numerical derivatives were compared with.
    """
    if coarsest(params.precisions).is_coarse:
        analytic = replace(analytic, computed_in=coarsest((*params.precisions, analytic.computed_in)))
    numerical, comparison = compared(analytic, numerical, options)
    notes = numerical.finish()
    is_wrong = any(array.wrong for array in comparison.arrays)
    diagnoses = diagnose(numerical, comparison) if is_wrong else ()
    return make_report(
        comparison, analytic, numerical, like or analytic, notes=(*analytic.notes, *notes), diagnoses=diagnoses,
        _what=what,
    )  # fmt: skip


def named_arrays(
    analytic: Packed, what: str, sizes: Mapping[str, float] | None = None
) -> Callable[[Numerical, Comparison], tuple[Diagnosis, ...]]:
    """Returns what looks for mistakes in arrays of derivatives; see `diagnose_arrays`."""

    def diagnose(numerical: Numerical, comparison: Comparison) -> tuple[Diagnosis, ...]:
        from gradcheck_fast.diagnosis.jacobians import diagnose_arrays  # only wrong ones wait for its import

        return diagnose_arrays(analytic, numerical, comparison, what, sizes)

    return diagnose


def power_of(report: Report, array: ArrayResult) -> float:
    """The relative size from which on an error in an array is seen: infinite if unknown, NaN if nothing is there."""
    if array.status in ("nothing to check", "not checked"):
        return nan
    if array.power is not None and report.method == DIRECTIONAL:
        return array.power
    if array.power is None and array.status == "inconclusive" and not report.certificate:
        return inf
    exactly = report.certificate.power if report.certificate else EXACTLY_SEEN
    return exactly if array.power is None else max(array.power, exactly)


def seen_from(report: Report, pairs: Mapping[str, tuple[str, str]]) -> dict[tuple[str, str], Any]:
    """Returns from which relative size on errors are seen, by output and input, for arrays of these pairs by name."""
    return {pairs[array.name]: power_of(report, array) for array in report.arrays}
