"""What a report says of how a layer was found to be written: which array is the gradient of which, and what is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck_fast.checks.layers.layer import Leaf
from gradcheck_fast.checks.layers.layer_gradients import is_named_as_parameter, looked_for
from gradcheck_fast.checks.layers.updates import are_equal
from gradcheck_fast.inputs.mismatches import listed
from gradcheck_fast.inputs.places import Path, spelled

#: A gradient that is returned is that which was added in the layer if they differ by less than this part of it.
_ROUNDED = 1e-6


def on_taken(leaves: Sequence[Leaf], untouched: set[Path]) -> Iterator[str]:
    """Says what was taken for the gradients of these arrays, and which of it the backward pass does not change."""
    by_kind: dict[str, list[Leaf]] = {}
    for leaf in leaves:
        if leaf.gradient is not None:
            by_kind.setdefault(leaf.gradient.kind, []).append(leaf)
    places = [(spelled(leaf.gradient.path), leaf.name) for leaf in by_kind.get("attribute", ()) if leaf.gradient]
    if places:
        (place, name), *others = places
        rest = "".join(f", {place} for that of {name}" for place, name in others)
        yield f"{place} is taken for the gradient of {name}{rest}"
    same = [spelled(leaf.gradient.path) for leaf in leaves if leaf.gradient and leaf.gradient.path in untouched]
    if same:
        yield f"backward does not change {listed(dict.fromkeys(same))}"
    updated = [leaf.name for leaf in by_kind.get("update", ())]
    if updated:
        yield (
            f"backward updates {listed(dict.fromkeys(updated))} in place: before - after, over the learning rate, "
            "is taken for the gradient"
        )
    returned = [leaf.name for leaf in by_kind.get("returned", ()) if not leaf.is_input]
    if returned:
        yield f"backward returns the gradient of {listed(dict.fromkeys(returned))}, too"


def on_returned(
    returned: Mapping[Path, Any],
    found: Mapping[str, Path],
    parameters: Sequence[Leaf],
    after: Mapping[Path, Any],
    earlier: Mapping[Path, Any],
) -> Iterator[str]:
    """Says which arrays that the backward pass returned are not checked.

    Parameters
    ----------
    returned : dict of Path to array
    found : dict of str to Path
        Of which arrays they are the gradients.
    parameters : sequence of Leaf
        The parameters of the layer, with the places of those gradients that are left in it.
    after, earlier : dict of Path to array
        What the layer has after the backward pass, and what it had before. A gradient may have been added to that.
    """
    for path, value in returned.items():
        if path not in found.values() and np.ndim(value):
            place = f"what backward returns{' as ' + spelled(path) if path else ''}"
            yield f"{place} is not checked: it is taken for the gradient of no array of floats"
    for leaf in parameters:
        if leaf.gradient is None or leaf.gradient.kind != "attribute" or leaf.name not in found:
            continue
        path, other = leaf.gradient.path, np.ravel(returned[found[leaf.name]])
        own, old = np.ravel(after[path]), np.ravel(earlier.get(path, 0.0))
        if not any(are_equal(one, other, _ROUNDED) for one in (own, own - old if own.size == old.size else own)):
            yield (
                f"backward returns another gradient of {leaf.name} than it leaves in {spelled(path)}: what it returns "
                "is not checked"
            )


def on_fixed(leaves: Sequence[Leaf], after: Mapping[Path, Any]) -> Iterator[str]:
    """Says which arrays have no gradient.

    Raises
    ------
    ValueError
        If one of them is an array of the layer, and is named as parameters are.
    """
    for leaf in leaves:
        if isinstance(leaf.value, np.ndarray) and not leaf.is_input and is_named_as_parameter(leaf.paths[0]):
            shown = [spelled(path) for path, value in after.items() if np.ndim(value)]
            raise ValueError(
                f"layer: no attribute looks like the gradient of {leaf.name}: looked for "
                f"{looked_for(leaf.paths[0])}; after backward the layer has {listed(dict.fromkeys(shown))}. Name "
                f"it by gradients={{{leaf.name!r}: ...}}, or say None there if {leaf.name} is fixed"
            )
        yield f"there is no gradient of {leaf.name}: it is taken as fixed"
