"""Whole arrays checked along random directions: a few evaluations of the cost, however large the array.

For an array with the analytic gradient g and the true one t, and a random direction r, g·r is compared with the central
difference D of the cost along r. What remains, e·r with e = g - t, tells of an error anywhere in the array.

**The directions are normal, not ±1.** Two errors that cancel, e = (c, -c), are missed by a vector of random signs with
probability ½, and by m of them with 2^-m. Of a vector r of independent normal numbers, e·r is normal with standard
deviation ‖e‖ *whatever e is*: one entry, two that cancel, or all of them. So m directions all have \\|e·r\\| <= x ‖e‖
with the probability P(\\|N(0, 1)\\| <= x)^m exactly.

**Power.** The central differences have error bars b, so \\|e·r\\| <= \\|g·r - D\\| + b. Let c be the largest right side
that was measured. However steps and bars came about, c <= x ‖e‖ has no more than the probability above. How many
directions are taken is decided on the way, in one of four manners; x is such that each has the probability 0.00025
(0.079 for m = 3), so that an error of ‖e‖ >= c/x would have been seen with probability >= 0.999. Divided by ‖g‖ this is
the `power` of an array: every array has its own, so that a large one cannot hide a small one. The entries of an array
that has no more than three are moved one by one instead: ‖e‖ is then known, to its bar.

**Steps and bars.** The cost is evaluated at θ + hr, θ - hr and θ + 2hr. With E(θ), known once for all, these give D and
a third difference, E(2h) - 3E(h) + 3E(0) - E(-h): rounding makes it √20 times that of one evaluation, truncation 6h
times that of D, and a kink between -h and 2h about 2h times the error that it makes in D. The bar is a multiple of what
is typical of the array's lines, over 2h. A step that moves many rectifiers crosses kinks; so h is the smallest that
keeps rounding down to 2√ε ‖g‖, and smaller yet where a pilot shows that this is too large. It begins with a small part
of the array's parameters; but these may be tiny beside all that matters, and where only rounding is seen it grows.

**No alarm without more evidence.** Where a residual is beyond its bar, eight fresh directions are taken. The array is
wrong only if the root mean square of all residuals is beyond the widest bar, which can hardly be small by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from math import hypot, inf, isfinite, sqrt
from typing import TYPE_CHECKING, NamedTuple

from gradcheck_fast.comparison.compare import ANALYTIC_ROUNDINGS
from gradcheck_fast.comparison.probe import DIRECTIONS, LARGEST, SMALLEST, WHOLE, Line, norm

if TYPE_CHECKING:
    from gradcheck_fast.comparison.probe import Part, Probe, Table
    from gradcheck_fast.inputs.arrays import Precision

#: The probability with which an error of the stated size is seen: one of a thousand is missed at most.
CONFIDENCE = 0.999
#: In how many manners an array may be compared: with or without its pilot, and with or without more directions.
_MANNERS = 4
#: How many more directions are taken where something looks wrong.
MORE = 8
#: A normal number of 4 is rare.
_RARE = 4.0
#: How many roundings a right gradient may have in the norm, where exact differences would show them.
_EXACT_ROUNDINGS = 48.0
#: How many roundings of a typical entry any entry may have, even if all that is added up in it cancels.
_FEWEST_ROUNDINGS = 2.0
#: A step may be this many times the largest that a pilot has tried.
_UNTRIED = 16.0


class Tested(NamedTuple):
    """What the directions say of an array.

    Attributes
    ----------
    wrong : bool
        Whether the array is wrong.
    lines : tuple of Line
        The lines along the axes, if these were taken; otherwise along all directions.
    bar : float
        The widest error bar.
    power : float
        The size, relative to ‖g‖, from which on an error would have been seen with probability `CONFIDENCE`.
    number : int
        The number of the direction with the largest residual; of those that move all entries, if there are any.
    residual : float
        This residual.
    """

    wrong: bool
    lines: tuple[Line, ...]
    bar: float
    power: float
    number: int
    residual: float

    @property
    def silent(self) -> bool:
        """Whether no slope is larger than the widest bar."""
        return isfinite(self.bar) and all(abs(line.slope) <= self.bar for line in self.lines)

    @property
    def size(self) -> float:
        """An estimate of ‖n‖, the norm of the true gradient."""
        return hypot(*(line.slope for line in self.lines)) / sqrt(len(self.lines))

    @property
    def norms(self) -> tuple[float, float]:
        """Estimates of ‖a - n‖ and ‖a + n‖: their squares are the expectations of the squares along a direction."""
        count = sqrt(len(self.lines))
        total = hypot(*(line.analytic + line.slope for line in self.lines))
        return hypot(*(line.residual for line in self.lines)) / count, total / count


class Tolerance(NamedTuple):
    """The norm of e that is right, ``atol √size + rtol ‖g‖``: as the user says, or by the gradient's dtype.

    If it `hides` errors, as rounding does beside exact differences, the power of an array counts it, too.
    """

    rtol: float
    atol: float
    hides: bool = False

    def of_part(self, table: Table, part: Part) -> float:
        """Returns the \\|e·r\\| up to which a part is right."""
        g = table.gradient[part]
        return _RARE * (self.rtol * norm(g) + self.atol * sqrt(g.size))

    def of_entry(self, size: float) -> float:
        """Returns the error up to which an entry of this size is right."""
        return _RARE * (self.rtol * size + self.atol)

    @classmethod
    def of_precision(cls, precision: Precision, exact: bool = False, typical: float = 0.0) -> Tolerance:
        """Returns the tolerance of what rounding in this precision does to a right gradient.

        Exact differences of float64 gradients have no error bars that would hide the roundings of long sums; nor those
        of an array in which everything cancels, where `typical` is the size of an entry of the whole gradient.
        """
        roundings = _EXACT_ROUNDINGS if exact and not precision.is_coarse else ANALYTIC_ROUNDINGS
        least = _FEWEST_ROUNDINGS * precision.eps * typical if exact else 0.0
        return cls(roundings * precision.eps, max(roundings * precision.tiny, least), exact)


def quantile(directions: int) -> float:
    """Returns the x of P(\\|N(0, 1)\\| <= x)^directions = (1 - CONFIDENCE) / 4."""
    from statistics import NormalDist  # only who compares along directions waits for its import

    missed = (1.0 - CONFIDENCE) / _MANNERS
    return NormalDist().inv_cdf(0.5 * (1.0 + missed ** (1.0 / directions)))


def check_along(probe: Probe, table: Table, tolerance: Tolerance, step: float | None) -> Tested:
    """Compares an array along random directions.

    Parameters
    ----------
    probe : Probe
        Evaluates the cost.
    table : Table
        The array.
    tolerance : Tolerance
        What is right.
    step : float or None
        h; None if it is to be chosen.
    """
    size = norm(table.gradient)
    lines: dict[int, Line] = {}
    axes = table.axes

    def add(number: int, h: float) -> Line:
        lines[number] = probe.line(table, WHOLE, partial(table.direction, number), h)
        return lines[number]

    pilot, h = _pilot(probe, table, probe.accuracy * size, step, add)
    # A pilot with another step than the other lines is dropped, and so is one that earlier pilots have led to, which is
    # no independent evidence. Nothing takes its place: a third line after it would cost too much.
    if h != pilot.step or len(lines) > 1:
        lines.clear()
    for number in axes or [table.new_direction() for _ in range(DIRECTIONS - 1)]:
        if number not in lines:
            add(number, h)
    typical = _typical(lines.values())
    wider = 4.0 * h < pilot.step and pilot.step * typical > h * pilot.third
    if wider and probe.learns(max(pilot.third, typical)):
        # a smaller step has made the bars wider: they come from rounding, not from truncation or kinks
        return check_along(probe, table, tolerance, step)
    allowed = tolerance.of_part(table, WHOLE)
    bars = _bars(probe, lines)
    if any(abs(line.residual) > bars[number] + allowed for number, line in lines.items()):
        for _ in range(MORE):
            add(table.new_direction(), h)
        bars = _bars(probe, lines)
    wide = max(bars.values())
    together = hypot(*(line.residual for line in lines.values())) / sqrt(len(lines))
    number = max(lines, key=lambda number: (number > 0, abs(lines[number].residual)))
    own = [lines[axis] for axis in axes] or list(lines.values())
    if axes:
        unseen = hypot(*(abs(line.residual) + wide for line in own)) / sqrt(len(own))
    else:
        unseen = (abs(lines[number].residual) + wide + tolerance.hides * allowed) / quantile(len(lines))
    return Tested(
        wrong=len(lines) > DIRECTIONS and together > wide + allowed,
        lines=tuple(own),
        bar=wide,
        power=unseen / size if size and isfinite(wide) else inf,
        number=number,
        residual=lines[number].residual,
    )


def _pilot(
    probe: Probe, table: Table, accuracy: float, step: float | None, add: Callable[[int, float], Line]
) -> tuple[Line, float]:
    """Returns a first line, and the h that it should have had. If that is too far off, another first line is taken."""
    h = probe.step(accuracy, probe.unit(table)) if step is None else step
    while True:
        pilot = add(table.axes[0] if table.axes else table.new_direction(), h)
        if step is not None:
            return pilot, h
        h = probe.better_step(pilot, accuracy, table.largest)
        if not isfinite(pilot.third) and h > SMALLEST * table.scale:  # out of the domain
            continue
        if h <= _UNTRIED * pilot.step:
            table.scale = max(table.scale, h / LARGEST)
            return pilot, h


def _bars(probe: Probe, lines: dict[int, Line]) -> dict[int, float]:
    typical = max(probe.noise, _typical(lines.values()))
    return {number: line.bar(typical) for number, line in lines.items()}


def _typical(lines: Iterable[Line]) -> float:
    """Returns the root mean square of the third differences of some lines."""
    thirds = [line.third for line in lines]
    return hypot(*thirds) / sqrt(len(thirds))
