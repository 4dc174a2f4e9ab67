"""Checks of the gradients of losses of complex arrays, which follow one of four conventions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.checks.as_problem import as_traced_problem, require_no_complex_steps
from gradcheck_fast.inputs._norms import root_mean_square
from gradcheck_fast.inputs.complex_pairs import (
    CONVENTIONS,
    IMAG,
    JAX,
    PYTORCH,
    REAL,
    ComplexLoss,
    ComplexPairs,
    gradient_by_name,
)
from gradcheck_fast.inputs.returned import RETURNS_MORE
from gradcheck_fast.inputs.trees import pack, pack_as, parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.checks.beside_value import Gradient
    from gradcheck_fast.checks.options import Options
    from gradcheck_fast.inputs.complex_pairs import Convention
    from gradcheck_fast.inputs.trees import Packed, Tree
    from gradcheck_fast.report.report import Report

#: An entry has the value of the numerical gradient, to tell conventions apart, if it differs by less than this part of
#: it, and of the root mean square of its array.
SAME, OF_ARRAY = 1e-3, 1e-6
#: A convention holds for an array if all entries differ by less than this part of its root mean square.
HOLDS = 1e-5


def check_complex_gradient(
    check: Callable[..., Report], loss: Callable[[Tree], Any], gradient: Gradient, params: Tree, options: Options,
    loss_value: float | None = None, vectorized: bool = False,
) -> Report:  # fmt: skip
    """Does what `gradcheck` does, for parameters with complex arrays, by `check`, which is `check_gradient`.

    Which convention the gradient follows is found out: one that holds for all arrays, PyTorch's if it does. If none
    holds, the gradient is compared by the nearest.

    Raises
    ------
    TypeError, ValueError
        As `gradcheck` does. Or if the method is ``complex``.
    """
    require_no_complex_steps(options)
    pairs = ComplexPairs(params)
    real = pairs.split(params)
    problem = as_traced_problem(ComplexLoss(loss, pairs), real, options, vectorized)
    at = pack(real)
    is_beside = gradient is True
    find: Any = loss if is_beside else gradient

    def packed(given: Any, convention: Convention) -> Packed:
        tree, notes = pairs.derivatives(given, convention, beside_value=is_beside)
        return replace(pack_as(tree, at.shapes, "gradient", finite=False, gradient=True), notes=notes)

    def report_by(convention: Convention) -> Report:
        if callable(find):
            return check(problem, lambda tree: packed(find(pairs.join(tree)), convention), real, options, loss_value)
        return check(problem, packed(find, convention), real, options, loss_value)

    report, convention = by_convention(report_by(PYTORCH), report_by, pairs.names)
    notes = tuple(note for note in report.notes if not (is_beside and note.startswith(RETURNS_MORE)))
    return as_complex(replace(report, notes=notes), pairs, convention)


def by_convention(
    first: Report, report_by: Callable[[Convention], Report], names: tuple[str, ...],
    conventions: tuple[Convention, ...] = CONVENTIONS, *, is_of_one_loss: bool = True,
) -> tuple[Report, Convention]:  # fmt: skip
    """Finds the convention that holds for a whole gradient; if none does, the nearest. Returns its report, and which.

    Parameters
    ----------
    first : Report
        That by the first convention. If this holds, no other is tried.
    report_by : callable
        ``report_by(convention)`` compares the derivatives that the gradient stands for by a convention.
    names : tuple of str
        The complex arrays, each of which is two in the report.
    conventions : tuple of Convention
    is_of_one_loss : bool
        Whether all these are compared with one numerical gradient, which shows which of them may hold.
    """
    best, found = first, conventions[0]
    if first.wrong:
        for convention in _nearer(first, names, conventions) if is_of_one_loss else conventions[1:]:
            report = report_by(convention)
            if report.wrong * best.checked < best.wrong * report.checked:
                best, found = report, convention
            if not report.wrong:
                break
    return with_cause(best, names, found), found


def as_complex(report: Report, pairs: ComplexPairs, convention: Convention, cotangents: bool = False) -> Report:
    """Returns a report whose two gradients are complex, by the convention, with a note on that.

    `cotangents` tells whether the gradient depends on cotangents of complex outputs, which follow the convention, too.
    """
    return replace(
        report,
        analytic=pairs.gradient(report.analytic, convention),
        numerical=pairs.gradient(report.numerical, convention),
        notes=(*report.notes, _note(report, pairs.names, convention, cotangents), *_on_signs(report)),
    )


def of_known_convention(report: Report, names: tuple[str, ...], convention: Convention) -> Report:
    """Returns a report on arrays by name as one on complex gradients by a library's convention, which is noted.

    Parameters
    ----------
    report : Report
    names : tuple of str
        The complex arrays, each of which is two in the report.
    convention : Convention
        `PYTORCH` or `JAX`.
    """
    report = with_cause(report, names, convention, is_known=True)
    return replace(
        report,
        analytic=gradient_by_name(report.analytic, names, convention),
        numerical=gradient_by_name(report.numerical, names, convention),
        notes=(*report.notes, known(convention), *_on_signs(report)),
    )


def known(convention: Convention) -> str:
    """Makes the note on the convention of a library."""
    other = JAX if convention == PYTORCH else PYTORCH
    return f"complex gradients are {convention.formula}, as {convention.name} has them; {other.name} has the conjugate"


def _on_signs(report: Report) -> tuple[str, ...]:
    """Makes the note on causes that speak of signs: a conjugate is the sign of one of two parts."""
    if not any("sign" in diagnosis.cause for diagnosis in report.diagnoses):
        return ()
    return (
        "causes are those of real and imaginary parts: a wrong sign of one of them, or of a product of two, is where "
        "a conjugate is missing or too much",
    )


def _note(report: Report, names: tuple[str, ...], convention: Convention, cotangents: bool) -> str:
    """Makes the note on the convention by which a gradient was compared."""
    if not names:
        paired = {1.0: "Re(conj(v) f), as in PyTorch", -1.0: "Re(v f), as in JAX"}
        own, other = paired[convention.sign], paired[-convention.sign]
        return f"a cotangent v of a complex output f stands for {own}, and not for {other}"
    if report.wrong:
        return f"complex gradients are compared as {convention.formula}, which is {_whose(convention)}"
    if not cotangents and not any(report.flat_analytic[part].any() for part in _imaginary(report, names)):
        return "the imaginary part of the gradient is zero, so that conventions cannot be told apart"
    if convention == PYTORCH:
        return known(PYTORCH)
    what = "the conjugate, as JAX has it" if convention == JAX else _whose(convention)
    return (
        f"the gradient is {what}: {convention.formula}; PyTorch has {PYTORCH.formula}, the direction in which the loss "
        "grows most"
    )


def _whose(convention: Convention) -> str:
    return f"that of {convention.name}" if convention.times == 1.0 else convention.name


def _imaginary(report: Report, names: Iterable[str]) -> Iterator[slice]:
    """Yields the place of the imaginary part of each complex array in flat vectors."""
    wanted = {f"{name}.{IMAG}" for name in names}
    yield from (part for name, part, _ in parts({a.name: a.shape for a in report.arrays}) if name in wanted)


def _factors(report: Report, names: Iterable[str], convention: Convention) -> NDArray[np.float64]:
    """Returns by what a convention multiplies the parts of a gradient, in the order of flat vectors."""
    by_name = {f"{name}.{REAL}": convention.times for name in names}
    by_name |= {f"{name}.{IMAG}": convention.sign * convention.times for name in names}
    return np.concatenate([np.full(array.size, by_name.get(array.name, 1.0)) for array in report.arrays])


def _nearer(report: Report, names: tuple[str, ...], conventions: tuple[Convention, ...]) -> list[Convention]:
    """Returns the conventions by which more entries have the value of the numerical gradient, the nearest first."""
    given = report.flat_analytic / _factors(report, names, conventions[0])
    numerical = report.flat_numerical
    known = np.isfinite(given) & np.isfinite(numerical)
    if not known.any():  # arrays were compared along directions
        return list(conventions[1:])
    allowed = SAME * np.abs(numerical)
    for _, part, _ in parts({array.name: array.shape for array in report.arrays}):
        allowed[part] += OF_ARRAY * root_mean_square(np.where(known, numerical, 0.0)[part])
    with np.errstate(invalid="ignore", over="ignore"):
        counts = [
            int((np.abs(given * _factors(report, names, c) - numerical) <= allowed)[known].sum()) for c in conventions
        ]
    order = sorted(range(1, len(conventions)), key=lambda k: -counts[k])
    return [conventions[k] for k in order if counts[k] > counts[0]]


def with_cause(report: Report, names: tuple[str, ...], convention: Convention, is_known: bool = False) -> Report:
    """Adds the diagnosis that arrays follow another convention than the rest, or than the library, if they do."""
    wrong = {array.name for array in report.arrays if array.wrong}
    if not wrong:
        return report
    holding = {name: _holding(report, name, convention) for name in names}
    sure = {name: found for name, found in holding.items() if len({which.sign for which in found}) == 1}
    own = {name: convention if convention in found else found[0] for name, found in sure.items()}
    explained = tuple(
        part for name, which in own.items() if which != convention
        for part in (f"{name}.{REAL}", f"{name}.{IMAG}") if part in wrong
    )  # fmt: skip
    if not explained or not (is_known or convention in own.values()):
        return report
    turned = [name for name, which in own.items() if which.sign != (convention if is_known else PYTORCH).sign]
    halved = [name for name, which in own.items() if which.times != 1.0]
    marked, what = (turned, "conjugated") if turned and (is_known or len(turned) < len(own)) else (halved, "halved")
    others = [] if is_known else [name for name in own if name not in marked]
    cause = f"{_are(marked)} {what}, {_are(others)} not" if others else f"the gradient of {_are(marked)} {what}"
    fits = "; ".join(f"{name} has {own[name].formula}" for name in (*marked, *others))
    from gradcheck_fast.diagnosis.diagnose import Diagnosis  # only wrong gradients wait for its import

    kept = [found for found in report.diagnoses if not set(found.arrays) <= set(explained)]
    said = Diagnosis(cause, fits, explained)
    is_part = any(set(found.arrays) > set(explained) for found in kept)  # of what a line explains
    return replace(report, diagnoses=(*kept, said) if is_part else (said, *kept))


def _are(names: list[str]) -> str:
    return f"{names[0]} is" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} are"


def _holding(report: Report, name: str, compared_by: Convention) -> list[Convention]:
    """Returns the conventions by which the gradient of a complex array is the numerical one in all known entries."""
    places = {own: part for own, part, _ in parts({a.name: a.shape for a in report.arrays})}
    given, numerical = report.flat_analytic, report.flat_numerical
    real, imag = (np.stack([given[part], numerical[part]]) for part in (places[f"{name}.{k}"] for k in (REAL, IMAG)))
    known = np.isfinite(real).all(axis=0) & np.isfinite(imag).all(axis=0)
    if not known.any():
        return []
    real, imag = real[:, known], imag[:, known]
    allowed = HOLDS * root_mean_square(np.concatenate([real[1], imag[1]]))
    found = []
    for which in CONVENTIONS:
        times = which.times / compared_by.times
        turn = times * which.sign * compared_by.sign
        off = np.concatenate([times * real[0] - real[1], turn * imag[0] - imag[1]])
        if np.abs(off).max() <= allowed:
            found.append(which)
    return found
