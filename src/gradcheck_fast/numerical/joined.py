"""Joins numerical derivatives that were found one after another, as the columns of a matrix, into one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.numerical.errorbars import error_bars
from gradcheck_fast.numerical.gradient import Closer, Kinks, Numerical, Refined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]


class Piece(NamedTuple):
    """Some of the derivatives of a numerical gradient, and where they belong in the whole.

    Attributes
    ----------
    numerical : Numerical
    own : ndarray of int, shape (count,)
        The numbers of its entries that are taken.
    at : ndarray of int, shape (count,)
        The places that these have in the whole; no place is that of two.
    factor : float or ndarray of float64, shape (count,)
        By what they are multiplied.
    """

    numerical: Numerical
    own: NDArray[np.intp]
    at: NDArray[np.intp]
    factor: float | Reals = 1.0


def joined(pieces: Sequence[Piece], size: int, doubted: Callable[[Reals], Numerical | None] | None = None) -> Numerical:
    """Joins pieces, which must fill all places, into one numerical gradient.

    Parameters
    ----------
    pieces : sequence of Piece
    size : int
        How many places there are.
    doubted : callable, optional
        As that of `Numerical`.
    """
    first = pieces[0].numerical
    # exact and plain derivatives have error bars of different kinds: then all are found piece by piece
    exact = all(piece.numerical.exact for piece in pieces)
    refines = not exact and any(piece.numerical.refine is not None for piece in pieces)

    def filled(find: Callable[[Numerical], float | Reals]) -> Reals:
        whole = np.zeros(size)
        for piece in pieces:
            found = np.broadcast_to(find(piece.numerical), piece.numerical.gradient.shape)
            whole[piece.at] = found[piece.own] * piece.factor + 0.0  # no -0
        return whole

    def sizes(find: Callable[[Numerical], float | Reals]) -> Reals:
        return np.abs(filled(find))

    def again(times: float) -> Reals:
        def once(numerical: Numerical) -> Reals:
            assert numerical.again is not None
            return numerical.again(times)

        return filled(once)

    def refine(some: NDArray[np.intp], enough: Reals) -> Refined:
        derivatives, bars = np.empty(size), np.full(size, np.inf)
        wanted, within = np.zeros(size, np.bool_), np.zeros(size)
        wanted[some], within[some] = True, enough
        for piece in pieces:
            chosen = wanted[piece.at]
            if not chosen.any():
                continue
            numerical, factor = piece.numerical, np.broadcast_to(piece.factor, piece.own.shape)[chosen]
            own, at = piece.own[chosen], piece.at[chosen]
            if numerical.refine is None:
                found = error_bars(numerical, {"": numerical.gradient.shape})
                derivatives[at], bars[at] = found.gradient[own] * factor, found.bars[own] * np.abs(factor)
            else:
                better = numerical.refine(own, within[at] / np.abs(factor))
                derivatives[at], bars[at] = better.derivatives * factor, better.bars * np.abs(factor)
        return Refined(derivatives[some], bars[some])

    def closer(some: NDArray[np.intp], given: Reals) -> Closer:
        found, wanted = np.zeros((4, size)), np.zeros(size, np.bool_)
        analytic = np.zeros(size)
        wanted[some], analytic[some] = True, given
        for piece in pieces:
            chosen = wanted[piece.at]
            factor, at, own = (
                np.broadcast_to(piece.factor, piece.own.shape)[chosen],
                piece.at[chosen],
                piece.own[chosen],
            )
            if piece.numerical.closer is None or not chosen.any():
                found[0, at] = np.nan  # nothing more is known
                continue
            derivatives, bars, low, high = piece.numerical.closer(own, analytic[at] / factor)
            sides = low * factor, high * factor
            found[:, at] = derivatives * factor, bars * np.abs(factor), np.minimum(*sides), np.maximum(*sides)
        return Closer(*found[:, some])

    def finish() -> tuple[str, ...]:
        return tuple(dict.fromkeys(note for piece in pieces for note in piece.numerical.finish()))

    looks = any(piece.numerical.closer is not None for piece in pieces)
    return Numerical(
        filled(lambda numerical: numerical.gradient), first.method, exact, first.step, again,
        noise=lambda: sizes(lambda numerical: numerical.noise()),
        roundings=lambda: sizes(lambda numerical: numerical.roundings()),
        kinks=_kinks(pieces, size), refine=refine if refines else None, closer=closer if looks else None,
        finish=finish, doubted=doubted,
    )  # fmt: skip


def _kinks(pieces: Sequence[Piece], size: int) -> Kinks | None:
    crossed, low, high = 0, np.zeros(size), np.zeros(size)
    for numerical, own, at, factor in pieces:
        if numerical.kinks is not None:
            sides = numerical.kinks.low[own] * factor, numerical.kinks.high[own] * factor
            low[at], high[at] = np.minimum(*sides), np.maximum(*sides)
            crossed += numerical.kinks.crossed
    return Kinks(crossed, low, high) if low.any() or high.any() else None
