"""Lists all families of mutants in the order in which they are tried.

A search ends with the family in which a mutant explains everything that is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_fast.diagnosis.graph import (
    costs,
    entrywise,
    factors,
    movement,
    normalisations,
    paths,
    products,
    recurrences,
    reductions,
    slopes_in_part,
    softmaxes,
    uses,
)

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.mutants import Family

#: Those that name a mistake.
NAMED: tuple[Family, ...] = (
    *softmaxes.FAMILIES,
    *normalisations.FAMILIES,
    *costs.FAMILIES,
    *reductions.FAMILIES,
    *paths.EARLY,
    *entrywise.FAMILIES,
    *slopes_in_part.FAMILIES,
    *normalisations.OTHERS,
    *movement.FAMILIES,
    *factors.FAMILIES,
    *recurrences.FAMILIES,
    *products.FAMILIES,
)
#: Those that only say where something goes back with another factor, with another value, or not at all.
GENERAL: tuple[Family, ...] = (
    *paths.FAMILIES,
    *products.OTHERS,
    *factors.OTHERS,
    *recurrences.OTHERS,
    *uses.FAMILIES,
)
