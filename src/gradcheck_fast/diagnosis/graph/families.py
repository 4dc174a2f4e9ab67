"""Lists all families of mutants in the order in which they are tried.

A search ends with the family in which a mutant explains everything that is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_fast.diagnosis.graph import (
    branches,
    classes,
    clipped_deltas,
    common_factors,
    costs,
    entrywise,
    exchanged_products,
    factors,
    going_down,
    movement,
    normalisations,
    one_sided,
    other_norms,
    paths,
    products,
    recomputed,
    recurrences,
    reductions,
    slopes_in_part,
    softmaxes,
    strides,
    targets,
    uses,
)

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.mutants import Family

#: Those that name a mistake.
NAMED: tuple[Family, ...] = (
    *softmaxes.FAMILIES,
    *normalisations.FAMILIES,
    *classes.FAMILIES,
    *costs.FAMILIES,
    *reductions.FAMILIES,
    *paths.EARLY,
    *branches.FAMILIES,
    *entrywise.FAMILIES,
    *slopes_in_part.FAMILIES,
    *reductions.OTHERS,
    *normalisations.OTHERS,
    *other_norms.FAMILIES,
    *movement.FAMILIES,
    *strides.FAMILIES,
    *targets.FAMILIES,
    *factors.FAMILIES,
    *one_sided.FAMILIES,
    *common_factors.FAMILIES,
    *recurrences.FAMILIES,
    *going_down.FAMILIES,
    *products.FAMILIES,
    *exchanged_products.FAMILIES,
)
#: Those that only say where something goes back with another factor, with another value, or not at all.
GENERAL: tuple[Family, ...] = (
    *paths.FAMILIES,
    *slopes_in_part.OTHERS,
    *products.OTHERS,
    *factors.OTHERS,
    *exchanged_products.OTHERS,
    *recurrences.OTHERS,
    *clipped_deltas.FAMILIES,
    *uses.FAMILIES,
    *softmaxes.OTHERS,
    *costs.OTHERS,
    *recomputed.FAMILIES,
    *common_factors.OTHERS,
)
