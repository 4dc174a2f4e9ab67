"""Checks of the products of functions with complex arguments or outputs with vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradcheck_fast.checks.complex_gradients import as_complex, by_convention, with_cause
from gradcheck_fast.inputs.complex_pairs import PYTORCH
from gradcheck_fast.losses.complex_function import ComplexFunction

if TYPE_CHECKING:
    from gradcheck_fast.inputs.complex_pairs import Convention
    from gradcheck_fast.inputs.trees import Tree
    from gradcheck_fast.report.report import Report


def complex_vjp_report(
    report_of: Callable[..., Report], f: Callable[..., Tree], vjp: Callable[..., Any], inputs: Any,
    reference: Callable[..., Tree] | None = None,
) -> Report:  # fmt: skip
    """Checks a vector-Jacobian product with complex arguments or outputs, and finds out which convention it follows.

    Parameters
    ----------
    report_of : callable
        ``report_of(f, vjp, inputs, reference)`` checks that of a function of real arrays.
    f, vjp, inputs, reference
        As for `check_vjp`.
    """
    function = ComplexFunction(f, inputs)

    def report_by(convention: Convention) -> Report:
        return report_of(function, function.vjp(vjp, convention), function.inputs, _of_pairs(reference, inputs))

    first = report_by(PYTORCH)
    form = function.form_of(first.analytic)
    report, convention = by_convention(first, report_by, form.names, function.conventions(), is_of_one_loss=False)
    return as_complex(report, form, convention, function.has_complex_outputs)


def _of_pairs(reference: Callable[..., Tree] | None, inputs: Any) -> ComplexFunction | None:
    return None if reference is None else ComplexFunction(reference, inputs)


def vjp_report_of_torch(
    report_of: Callable[..., Report], f: Callable[..., Tree], vjp: Callable[..., Any], inputs: Any,
    reference: Callable[..., Tree] | None = None,
) -> Report:  # fmt: skip
    """Does the same as `complex_vjp_report` for a product that is known to follow PyTorch's convention."""
    function = ComplexFunction(f, inputs)
    report = report_of(function, function.vjp(vjp, PYTORCH), function.inputs, _of_pairs(reference, inputs))
    form = function.form_of(report.analytic)
    report = with_cause(report, form.names, PYTORCH, is_known=True)
    return as_complex(report, form, PYTORCH, function.has_complex_outputs)


def complex_jvp_report(
    report_of: Callable[..., Report], f: Callable[..., Tree], jvp: Callable[..., Tree], inputs: Any,
    reference: Callable[..., Tree] | None = None,
) -> Report:  # fmt: skip
    """Checks a Jacobian-vector product with complex arguments or outputs, for which there is but one convention.

    Parameters
    ----------
    report_of : callable
        ``report_of(f, jvp, inputs, reference)`` checks that of a function of real arrays.
    f, jvp, inputs, reference
        As for `check_jvp`.
    """
    function = ComplexFunction(f, inputs)
    report = report_of(function, function.jvp(jvp), function.inputs, _of_pairs(reference, inputs))
    form = function.form_of(report.analytic)
    return replace(
        report, analytic=form.gradient(report.analytic, PYTORCH), numerical=form.gradient(report.numerical, PYTORCH)
    )
