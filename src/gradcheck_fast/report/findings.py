"""What a check has found, as a value that every view of a report reads."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.comparison.aspects import Aspect, of_status
from gradcheck_fast.comparison.results import ArrayResult, Entry
from gradcheck_fast.inputs import _norms
from gradcheck_fast.inputs.trees import Tree, pack_as

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Self

    from gradcheck_fast.diagnosis.diagnose import Diagnosis
    from gradcheck_fast.diagnosis.graph.astray import Astray
    from gradcheck_fast.diagnosis.intermediates.results import IntermediateResult
    from gradcheck_fast.frontends.numpy_trace.lines import SourceLine, StepVerdicts
    from gradcheck_fast.numerical.certificate import Certificate
    from gradcheck_fast.program.program import Program

#: The relative error from which on a report says "opposite sign" in place of the number. For a = -c n it is (1 + c) /
#: |1 − c|, so c is then 1 but for two parts in a thousand, and the number tells nothing else. Other mistakes do not
#: come near it: for two unrelated gradients it is about 1.
_OPPOSITE = 1e3
#: How many arrays the verdict names, at most: it is to be one line.
_MOST_NAMED = 5


@dataclass(frozen=True, repr=False, eq=False)
class Findings:
    """The verdict on a gradient, and what it rests on. `Report`, which shows it, describes each attribute."""

    ok: bool
    relative_error: float
    arrays: tuple[ArrayResult, ...]
    analytic: Tree
    numerical: Tree
    method: str
    step: float | None
    _flat: tuple[NDArray[np.float64], NDArray[np.float64]] = field(repr=False)
    _find_excess: Callable[[], NDArray[np.float64]] = field(repr=False)
    seconds: float = 0.0
    error_bars: Tree | None = None
    notes: tuple[str, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = ()
    kinks_crossed: int = 0
    coverage: str = ""
    evaluations: int | None = None
    seen_from: dict[tuple[str, str], float] = field(default_factory=dict)
    finite_here: bool | None = None
    certificate: Certificate | None = None
    intermediates: tuple[IntermediateResult, ...] = ()
    aspects: tuple[Aspect, ...] = ()
    #: What the derivatives are called.
    _what: str = "gradient"
    #: What the arrays are derivatives of, or along, where a function has outputs: ``of output[1]``.
    _of_what: str = ""
    _find_lines: Callable[[StepVerdicts], tuple[SourceLine, ...]] | None = field(default=None, repr=False)
    #: Where the way back through a program goes wrong, if that was found.
    _astray: Astray | None = field(default=None, repr=False)
    #: The indices of the entries of arrays, such as sparse ones, that hold some entries of a larger one.
    _indices: Mapping[str, NDArray[np.intp]] = field(default_factory=dict, repr=False)

    @property
    def verdict(self) -> str:
        """``"PASS"``, ``"FAIL"``, or ``"INCONCLUSIVE"`` if nothing is wrong, but too little could be checked."""
        return "PASS" if self.ok else "FAIL" if self.wrong or self.wrong_aspects else "INCONCLUSIVE"

    @property
    def wrong_aspects(self) -> list[Aspect]:
        """Those of `aspects` that are wrong."""
        return of_status(self.aspects, "wrong")

    @property
    def checked(self) -> int:
        """The number of entries that were compared."""
        return sum(array.checked for array in self.arrays)

    @property
    def wrong(self) -> int:
        """The number of entries that are wrong; along directions it may be an estimate."""
        return sum(array.wrong for array in self.arrays)

    @property
    def flat_analytic(self) -> NDArray[np.float64]:
        """The gradient that was checked as one vector of shape (size,), array after array."""
        return self._flat[0]

    @property
    def flat_numerical(self) -> NDArray[np.float64]:
        """The numerical gradient as one vector of shape (size,), array after array; NaN where it is not known."""
        return self._flat[1]

    def replaced(self, **changes: Any) -> Self:
        """Returns the same findings with other values of some attributes, as `dataclasses.replace` does, but faster."""
        unknown = changes.keys() - self.__dict__.keys()
        if unknown:
            raise TypeError(f"findings have no {', '.join(sorted(unknown))}")
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, **changes)
        return other

    @cached_property
    def _excess(self) -> NDArray[np.float64]:
        """The error of each entry over its tolerance, shape (size,); -infinity where it was not compared."""
        return self._find_excess()

    @cached_property
    def lines(self) -> tuple[SourceLine, ...]:
        """The lines of a traced loss, with the size of what they are the derivatives by; none of any other loss."""
        return () if self._find_lines is None else self._find_lines(self._step_verdicts)

    def _step_verdicts(self, program: Program) -> dict[int, str]:
        """Says of the steps of a traced loss whether their sensitivities are right on the user's way back."""
        from gradcheck_fast.diagnosis.graph.astray import step_verdicts  # only who looks at lines waits for its import

        between = [(found.step, found.status) for found in self.intermediates if found.step >= 0]
        return step_verdicts(program, [array.status for array in self.arrays], self._astray, between)

    @property
    def _along_directions(self) -> bool:
        """Whether arrays were compared along random directions, and not entry by entry."""
        return self.evaluations is not None

    @property
    def _compared(self) -> NDArray[np.bool_]:
        """A mask, of shape (size,), of the entries that were compared one by one, or are not finite."""
        return np.asarray(self._excess != -np.inf)

    @property
    def blind(self) -> bool:
        """Whether no derivative could be found: the differences of no entry are finite and converge."""
        if self._along_directions:
            return all(a.power is None for a in self.arrays) and any(a.inconclusive for a in self.arrays)
        if not _norms.any_finite(self.flat_numerical):
            return True
        if self.bars is None or any(a.at_kink or a.wrong + a.inconclusive < a.checked for a in self.arrays):
            return False
        return not any(np.isfinite(bars).any() for bars in self.bars.values())

    @property
    def bars(self) -> dict[str, NDArray[np.float64]] | None:
        """The error bars of each array, by its name; None if they were not computed."""
        if self.error_bars is None:
            return None
        packed = pack_as(self.error_bars, {array.name: array.shape for array in self.arrays}, finite=False)
        return dict(packed.arrays(packed.flat))

    def bar_of(self, entry: Entry) -> float:
        """Returns the error bar of an entry, as `worst` gives them; NaN if error bars were not computed."""
        bars, own = self.bars, self._indices.get(entry.array)
        if bars is None:
            return float("nan")
        place = entry.index if own is None else int(np.flatnonzero((own == entry.index).all(axis=1))[0])
        return float(bars[entry.array][place])

    @property
    def shares(self) -> dict[str, float]:
        """Which parts of the entries, 0 to 1, are at kinks, inconclusive, or in arrays with nothing to check."""
        counts = {
            "at kinks": sum(array.at_kink for array in self.arrays),
            "inconclusive": sum(array.inconclusive for array in self.arrays),
            "nothing to check": sum(array.checked for array in self.arrays if array.status == "nothing to check"),
        }
        return {what: count / max(self.checked, 1) for what, count in counts.items()}

    def worst(self, k: int = 1) -> list[Entry]:
        """Returns the k entries that exceed their tolerance most, or come nearest to it, the worst first.

        They are chosen from the entries that were compared one by one, and from those that are not finite.

        Parameters
        ----------
        k : int

        Returns
        -------
        list of Entry
        """
        known = np.flatnonzero(self._compared)
        order = known[np.argsort(-self._excess[known], kind="stable")[: max(k, 0)]]
        begins = np.cumsum([0] + [array.size for array in self.arrays])
        entries = []
        for at in order:
            which = int(np.searchsorted(begins, at, side="right")) - 1
            array = self.arrays[which]
            place = int(at - begins[which])
            own = self._indices.get(array.name)
            index = tuple(int(i) for i in (np.unravel_index(place, array.shape) if own is None else own[place]))
            entries.append(Entry(array.name, index, float(self._flat[0][at]), float(self._flat[1][at])))
        return entries

    def to_dict(self, worst: int = 5) -> dict[str, Any]:
        """Returns the report as plain numbers, strings, lists and dicts, without the gradients themselves.

        Parameters
        ----------
        worst : int
            How many of the worst entries are included.
        """
        return {
            "ok": self.ok,
            "verdict": self.verdict,
            "relative_error": self.relative_error,
            "checked": self.checked,
            "wrong": self.wrong,
            "method": self.method,
            "step": self.step,
            "shares": self.shares,
            "kinks_crossed": self.kinks_crossed,
            "seconds": self.seconds,
            "coverage": self.coverage,
            "certificate": self.certificate and self.certificate._asdict() | {"holds": self.certificate.holds},
            "evaluations": self.evaluations,
            "seen_from": [{"output": o, "input": i, "seen_from": size} for (o, i), size in self.seen_from.items()],
            "notes": list(self.notes),
            "diagnoses": [
                d._asdict() | {"arrays": list(d.arrays), "lines": [_line(*place) for place in d.lines]}
                for d in self.diagnoses
            ],
            "intermediates": [result._asdict() for result in self.intermediates],
            "aspects": [aspect._asdict() for aspect in self.aspects],
            "arrays": [
                {
                    "name": a.name,
                    "shape": list(a.shape),
                    "relative_error": a.relative_error,
                    "largest_error": a.largest_error,
                    "status": a.status,
                    "wrong": a.wrong,
                    "at_kink": a.at_kink,
                    "inconclusive": a.inconclusive,
                    "size": a.size,
                    "checked": a.checked,
                    "power": a.power,
                    "estimated": a.estimated,
                    "entries": [list(index) for index in a.entries],
                    "blocks": [block.to_dict() for block in a.blocks],
                    "rtol": a.rtol,
                    "atol": a.atol,
                }
                for a in self.arrays
            ],
            "worst": [entry._asdict() | {"index": list(entry.index)} for entry in self.worst(worst)],
        }

    @property
    def reason(self) -> str:
        """The verdict in words, which name the arrays or the aspects that are wrong."""
        if self.wrong_aspects and not self.wrong:
            names = ", ".join(aspect.name for aspect in self.wrong_aspects)
            return f"wrong in {names}: {self.wrong_aspects[0].detail}"
        if not self.checked:
            empty = [array.name for array in self.arrays]
            are = "is" if len(empty) == 1 else "are"
            return f"nothing was checked: {f'{_few(empty)} {are} empty' if empty else 'there are no parameters'}"
        if self.ok:
            some = bool(self.coverage) or any(array.checked < array.size for array in self.arrays)
            who = "all that was compared agrees" if some else "every entry agrees"
            return f"{who}, {format_error(self.relative_error, 'relative error ')}"
        if self.certificate and not self.certificate.holds:
            return "the numerical gradient could not be certified, so nothing was compared"
        if self.blind and self.certificate:
            return "too little is known to decide: differences of the loss do not tell the two gradients apart"
        if self.blind:
            return {
                False: "the loss is not finite here, so no derivative could be found",
                True: "the loss is finite here, but its differences are not, or do not converge",
                None: "the differences are not finite, or do not converge",
            }[self.finite_here]
        if not self.wrong:
            undecided = [a.name for a in self.arrays if a.status == "inconclusive"]
            if undecided:
                return f"too little is known to decide: the error bars are too wide, in {_few(undecided)}"
            return f"there is nothing to check: the {self._what} is zero, or less than its error bars, everywhere"
        broken = [a.name for a in self.arrays if a.wrong]
        about = "about " if any(a.estimated for a in self.arrays) else ""
        which = f", {self._of_what}" if self._of_what else ""
        return f"{about}{self.wrong:,} of {self.checked:,} entries are wrong, in {_few(broken)}{which}"


def format_error(ratio: float, label: str = "") -> str:
    """Writes a relative error after its label; ``opposite sign`` if the two gradients are each other's negatives."""
    return "opposite sign" if ratio >= _OPPOSITE else f"{label}{ratio:.1e}"


def _line(file: str, line: int) -> dict[str, Any]:
    return {"file": file, "line": line, "text": linecache.getline(file, line).strip()}


def _few(names: Sequence[str]) -> str:
    """Lists names, and says how many more there are."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more arrays" if more > 0 else "")
