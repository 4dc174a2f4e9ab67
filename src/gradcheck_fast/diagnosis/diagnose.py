"""Finds out why a gradient is wrong: the most likely mistakes, each with its evidence.

A mistake is described by a *hypothesis*: the wrong numbers that it would give. It is diagnosed only if the analytic
gradient has just these numbers, to rounding, wherever they differ from the right ones. Nothing is guessed: an error
that fits no hypothesis gets no diagnosis. Some hypotheses are made from the two gradients alone (`patterns`). The
others are *mutants*: back-propagation with one mistake in it, through the steps of a described network (`adjoint`,
`slopes`, `weights`, `recurrence`) or of any traced function (`graph`). If the gradient is a function, the first line of
it that is not right is looked for, too (`backward_pass`). If no hypothesis holds, and the errors are small, more values
of the loss may show that the gradient is that of an exact problem (`approximate`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.comparison.results import ArrayResult, Drawn
from gradcheck_fast.diagnosis import approximate, patterns
from gradcheck_fast.diagnosis.backward_pass.lines import PartingSearch, parting_line
from gradcheck_fast.diagnosis.graph.astray import astray_by
from gradcheck_fast.diagnosis.graph.backward import Change
from gradcheck_fast.diagnosis.graph.search import SECONDS
from gradcheck_fast.diagnosis.hypotheses import FITS, FITS_PLAIN, Case, Hypothesis, make_case
from gradcheck_fast.diagnosis.stages import by_patterns, stages
from gradcheck_fast.inputs.arrays import is_float32
from gradcheck_fast.losses.columns import Columns
from gradcheck_fast.losses.function_loss import FunctionLoss
from gradcheck_fast.losses.problem import samples_of
from gradcheck_fast.losses.program_loss import ProgramLoss
from gradcheck_fast.losses.rounded_gradient import RoundedGradient

if TYPE_CHECKING:
    from gradcheck_fast.comparison.results import Comparison
    from gradcheck_fast.diagnosis.graph.astray import Astray
    from gradcheck_fast.diagnosis.graph.backward import Backward
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.losses.problem import Problem
    from gradcheck_fast.numerical.gradient import Numerical


#: What is noted if the search for a mistake was ended.
TOO_LONG = (
    f"the search for the mistake was ended after {SECONDS:.0f} seconds; smaller sizes show the same mistakes sooner"
)
#: What is noted if there is no search at all.
TOO_LARGE = "the function is too large for a search for the mistake; smaller sizes show the same mistakes"
#: What is noted if the search for a mistake raises an error, before the error.
FAILED = "the search for the mistake failed. This is a fault of gradcheck_fast: please report it, with the functions."


class Diagnosis(NamedTuple):
    """A mistake that would explain the wrong entries.

    Attributes
    ----------
    cause : str
        The mistake, in one line: "the gradient of W2 is transposed".
    evidence : str
        What was compared, and how well it fits: "W2.T agrees to 1e-16".
    arrays : tuple of str
        The arrays that it explains.
    lines : tuple of (str, int)
        The lines of the user's files that it is about: the file, and the number of the line.
    """

    cause: str
    evidence: str
    arrays: tuple[str, ...]
    lines: tuple[tuple[str, int], ...] = ()


class _Explanation(NamedTuple):
    """A hypothesis that holds, with the misfit of each array that it explains."""

    cause: str
    evidence: str
    misfits: dict[str, float]
    lines: tuple[tuple[str, int], ...]
    mistakes: tuple[Change, ...]


class Diagnoses(NamedTuple):
    """The mistakes that explain a wrong gradient, the one that explains most arrays first, and notes on the search.

    `astray` says where the way back through a program goes wrong, if a mistake on it was found.
    """

    found: tuple[Diagnosis, ...]
    notes: tuple[str, ...] = ()
    astray: Astray | None = None


def diagnose(
    problem: Problem, params: Packed, analytic: Packed, numerical: Numerical, comparison: Comparison,
    gradient: Callable[[Any], Any] | None = None,
) -> Diagnoses:  # fmt: skip
    """Returns the mistakes that explain a wrong gradient.

    There are none if there is no evidence of any.

    Parameters
    ----------
    problem : Problem
        The loss. That of a network, or of a traced function, shows its steps; of any other the numbers alone are known.
    params, analytic : Packed
        The parameters and the gradient that is checked.
    numerical : Numerical
    comparison : Comparison
        The comparison of the two, which holds the numerical gradient as it was found in the end.
    gradient : callable, optional
        The user's function that has given the gradient.
    """
    with np.errstate(all="ignore"):  # wrong numbers may well overflow
        try:
            return _all_diagnoses(problem, params, analytic, numerical, comparison, gradient)
        except MemoryError:
            raise
        except Exception as error:  # whatever goes wrong here, the verdict stands
            return Diagnoses((), (_failed(error),))


def _all_diagnoses(
    problem: Problem, params: Packed, analytic: Packed, numerical: Numerical, comparison: Comparison,
    gradient: Callable[[Any], Any] | None,
) -> Diagnoses:  # fmt: skip
    case = make_case(problem, params, analytic, numerical, comparison)
    mistakes: dict[str, tuple[Change, ...]] = {}
    by_columns = _diagnose_columns(problem, case, params, analytic, numerical, comparison)
    said = by_columns or _diagnose(case, analytic, mistakes)
    notes, astray = _on_search(case, problem, analytic, numerical), _astray(case, mistakes)
    if case.search is not None and gradient is not None:
        try:
            is_known = set(case.wrong) <= {name for found in said for name in found.arrays}
            partings, is_over_time, parted = _in_backward_pass(
                problem, gradient, params, case, case.search.backward, is_cause_known=is_known
            )
            astray = astray or parted
            for parting in partings:
                lines = ((parting.file, parting.line),)
                said = (*said, Diagnosis(parting.cause, parting.evidence, parting.arrays, lines))
            notes = (TOO_LONG, *(note for note in notes if note != TOO_LONG)) if is_over_time else notes
        except Exception as error:  # what was found before stands
            notes = (*notes, _failed(error)) if case.search.failure is None else notes
    exact = None if said else approximate.of_exact_problem(problem, params, analytic, comparison)
    return Diagnoses((Diagnosis(*exact),) if exact else said, notes, astray)


def _astray(case: Case, mistakes: Mapping[str, tuple[Change, ...]]) -> Astray | None:
    """Returns where the way back goes wrong by the mistakes that explain each array; None if none is known."""
    if case.search is None or not mistakes:
        return None
    changes = {id(change): change for some in mistakes.values() for change in some}
    return astray_by(case.search.backward, changes.values(), is_whole=set(case.wrong) <= mistakes.keys())


def _failed(error: Exception) -> str:
    return f"{FAILED} It raised {type(error).__name__}: {error}"


def _on_search(case: Case, problem: Problem, analytic: Packed, numerical: Numerical) -> tuple[str, ...]:
    """Returns a note if a program was not searched, or not to the end."""
    loss = problem.problem if isinstance(problem, RoundedGradient) else problem
    if case.search is not None:
        failed = (_failed(case.search.failure),) if case.search.failure else ()
        return (TOO_LONG,) * case.search.is_over_time + failed
    is_searched = isinstance(loss, ProgramLoss) and numerical.exact and len(case.analytic) == len(analytic.shapes)
    return (TOO_LARGE,) if is_searched else ()


def _in_backward_pass(
    problem: Problem, gradient: Callable[[Any], Any], params: Packed, case: Case, backward: Backward, *,
    is_cause_known: bool,
) -> PartingSearch:  # fmt: skip
    """Looks for the first line of the user's gradient function that is not right."""
    loss = problem.problem if isinstance(problem, RoundedGradient) else problem
    if isinstance(loss, FunctionLoss) and loss.function is not None:
        return parting_line(
            loss.function, gradient, params, backward, case.analytic, case.wrong, is_cause_known=is_cause_known
        )
    return PartingSearch()


def diagnose_drawn(
    problem: Problem, analytic: Packed, drawn: Mapping[str, Drawn], arrays: Iterable[ArrayResult]
) -> tuple[Diagnosis, ...]:
    """Returns the mistakes that explain entries drawn from wrong parts of arrays, in which only factors can show.

    Parameters
    ----------
    problem : Problem
    analytic : Packed
        The gradient that is checked.
    drawn : mapping of str to Drawn
        The drawn entries, by the labels of the parts.
    arrays : iterable of ArrayResult
        The results for all arrays.
    """
    samples = samples_of(problem) or 1
    known = {array.name for array in arrays if array.status in ("right", "wrong", "not checked")}
    case = Case(
        params={label: part.params for label, part in drawn.items()},
        analytic={label: part.analytic for label, part in drawn.items()},
        numerical={label: part.numerical for label, part in drawn.items()},
        wrong=tuple(drawn),
        fits=max(FITS["float32" if is_float32(analytic.flat) else "float64"], FITS_PLAIN),
        whole=known <= set(drawn),
        sizes={"the number of samples N": samples} if samples > 1 else {},
    )
    with np.errstate(all="ignore"):
        rounding = _rounding(case, analytic)
        said = [rounding] if rounding else _cover(case, _holding(case, by_patterns(case, patterns.FACTORS)))
        return tuple(
            found._replace(
                evidence=found.evidence if rounding else found.evidence.replace(" entries", " entries differenced"),
                arrays=tuple(dict.fromkeys(drawn[label].array for label in found.arrays)),
            )
            for found in said
        )


def diagnose_by(case: Case, analytic: Packed, hypotheses: Iterable[Hypothesis]) -> tuple[Diagnosis, ...]:
    """Returns those of some hypotheses that explain what is wrong, of which the first are preferred.

    Parameters
    ----------
    case : Case
    analytic : Packed
        What is checked.
    hypotheses : iterable of Hypothesis
    """
    with np.errstate(all="ignore"):
        rounding = _rounding(case, analytic)
        case = replace(case, wrong=tuple(name for name in case.wrong if case.is_changed(name, case.analytic[name])))
        return (rounding,) if rounding else tuple(_cover(case, _holding(case, hypotheses)))


def _diagnose_columns(
    problem: Problem, case: Case, params: Packed, analytic: Packed, numerical: Numerical, comparison: Comparison
) -> tuple[Diagnosis, ...]:
    """Does what `_diagnose` does for a network whose samples are columns, by one of rows; () for any other problem.

    Rows and columns, and the order of entries, are what the user calls so only in the user's own arrays.
    """
    if not isinstance(problem, Columns):
        return ()
    rows = replace(make_case(*problem.in_rows(params, analytic, numerical, comparison)), turned=True)
    for own, chosen in ((rows, (patterns.gates_in_another_order,)), (case, patterns.REORDERED)):
        found = _holding(own, by_patterns(own, chosen))
        if any(set(case.wrong) <= set(explanation.misfits) for explanation in found):
            return tuple(_cover(own, found))
    return _diagnose(rows, analytic)


def _diagnose(
    case: Case, analytic: Packed, mistakes: dict[str, tuple[Change, ...]] | None = None
) -> tuple[Diagnosis, ...]:
    """Explains a wrong gradient. The mistakes on the way back that explain each array are added to `mistakes`."""
    rounding = _rounding(case, analytic)
    if rounding:
        return (rounding,)
    case = replace(case, wrong=tuple(name for name in case.wrong if case.is_changed(name, case.analytic[name])))
    if not case.wrong:
        return ()
    found: list[_Explanation] = []
    for hypotheses in stages(case):
        found += _holding(case, hypotheses)
        explained = [set(explanation.misfits) for explanation in found]
        together = set[str]().union(*explained) if case.search is not None else set[str]()
        if any(set(case.wrong) <= arrays for arrays in (*explained, together)):
            break
    return (*_cover(case, found, mistakes), *_entrance(case))


def _holding(case: Case, hypotheses: Iterable[Hypothesis]) -> list[_Explanation]:
    """Returns the hypotheses that hold, in their order, and merges those with the same words into one."""
    found: dict[tuple[str, str], _Explanation] = {}
    for cause, arrays, evidence, lines, mistakes in hypotheses:
        misfits = case.explained(arrays)
        if misfits:
            same = found.get((cause, evidence), _Explanation(cause, evidence, {}, lines, ()))
            if not misfits.keys() <= same.misfits.keys():
                same = same._replace(mistakes=(*same.mistakes, *mistakes))
            same.misfits.update(misfits)
            found[cause, evidence] = same
    return [explanation for explanation in found.values() if case.are_evidence(explanation.misfits)]


def _cover(
    case: Case, found: list[_Explanation], mistakes: dict[str, tuple[Change, ...]] | None = None
) -> Iterator[Diagnosis]:
    """Yields the explanation of most wrong arrays, then that of most of the rest, as long as there are any."""
    left, chosen = set(case.wrong), list[_Explanation]()
    while left:
        best = max(found, key=lambda explanation: len(left & set(explanation.misfits)), default=None)
        if best is None or not left & set(best.misfits):
            break
        chosen.append(best)
        if mistakes is not None and best.mistakes:
            mistakes.update(dict.fromkeys(left & set(best.misfits), best.mistakes))
        left -= set(best.misfits)
    for best in chosen:
        same = [e.cause for e in found if e.misfits.keys() == best.misfits.keys() and e is not best]
        # "only" is not true if other arrays are wrong for another reason
        cause = re.sub(r" only(?=; and |$)", "", best.cause) if left else best.cause
        yield _said(case, best._replace(cause=cause), same)


def _said(case: Case, explanation: _Explanation, same: list[str]) -> Diagnosis:
    arrays = tuple(name for name in case.numerical if name in explanation.misfits)
    entries = sum(case.numerical[name].size for name in arrays)
    names = few(arrays)
    evidence = explanation.evidence.format(arrays=names)
    misfit = max(explanation.misfits.values())
    fit = f"agree{'s' * (len(arrays) == 1)} with that {f'to {misfit:.0e}' if misfit else 'exactly'}"
    evidence = f"{evidence}{'; ' * bool(evidence)}{names} {fit} in {_all(entries)}"
    if same and not explanation.evidence:
        evidence += f". The same numbers come from: {'; '.join(cause.format(arrays=names) for cause in same[:2])}"
    return Diagnosis(explanation.cause.format(arrays=names), evidence, arrays, explanation.lines)


def _all(entries: int) -> str:
    return f"all {entries:,} entries" if entries > 1 else "its one entry"


def _entrance(case: Case) -> Iterator[Diagnosis]:
    """Yields the layer at which the error enters on the way back, if there is one.

    All layers above must then be right, and that layer and all below it wrong. For a single wrong array nothing is
    yielded, because its name says as much.
    """
    entry = max((case.layers[name] for name in case.wrong if name in case.layers), default=0)
    below = {name for name, layer in case.layers.items() if layer <= entry and case.numerical[name].any()}
    above = [name for name, layer in case.layers.items() if layer > entry]
    if above and len(below) > 1 and below == set(case.wrong):
        evidence = f"right: {few(above)}; wrong: {few(case.wrong)}"
        yield Diagnosis(f"the error enters at layer {entry}: everything above is right", evidence, case.wrong)


def few(names: Sequence[str]) -> str:
    """Returns up to six names in a row, and says how many more there are."""
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _rounding(case: Case, analytic: Packed) -> Diagnosis | None:
    """Returns a diagnosis if the gradient is right, but was computed in float32 and passed as float64; else None."""
    worst = max((case.misfit(name, case.numerical[name], case.analytic[name]) for name in case.wrong), default=0.0)
    if not case.wrong or not is_float32(analytic.flat) or worst > FITS["float32"]:
        return None
    return Diagnosis(
        "the gradient was computed in float32, and is right to its rounding",
        f"all {analytic.flat.size:,} entries are float32 numbers; the largest error is {worst:.0e} of its array's "
        "largest entry",
        case.wrong,
    )
