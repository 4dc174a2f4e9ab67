"""Wrong gradients that are no mistake of back-propagation: a diagnosis must not find a cause for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from planted.corpus import NETWORKS, case

Random = np.random.Generator
Arrays = dict[Any, np.ndarray]


class Unrelated(NamedTuple):
    """A wrong gradient. `true` are the patterns of what may be said of it, because it is literally so."""

    kind: str
    network: str
    loss: Callable[[Any], Any]
    gradient: Any
    params: Any
    true: tuple[str, ...]

    def is_true(self, cause: str) -> bool:
        """Whether a cause says what the error literally is, or where it is."""
        return any(re.search(pattern, cause) for pattern in self.true)


#: These tell where the error is, not why.
PLACES = (r"the error enters at", r"everything above (it )?is right", r"^only .* (is|are) wrong$")
#: So is every gradient that is a little off; this names no cause of it.
APPROXIMATE = (r"^your gradient is right to \S+, but no further",)
#: The same numbers in another order may by chance, in few entries, be in an order that has a name.
ORDERS = (r"back to front", r"shifted by one", r"transpos", r"exchanged", r"order")


def unrelated(number: int) -> Unrelated:
    """The wrong gradient of that number: kinds and networks take turns, and all else is random."""
    rng = np.random.default_rng([number, 15])
    kind = list(KINDS)[number % len(KINDS)]
    network = list(NETWORKS)[number // len(KINDS) % len(NETWORKS)]
    loss, gradient, params = case(network, number)
    loss(params)
    right = gradient(params)
    arrays, restore = _as_arrays(right)
    make, true = KINDS[kind]
    if make is _elsewhere:
        moved, back = _as_arrays(params)
        nearby = back({name: a * (1 + 0.1 * rng.normal(size=a.shape)) for name, a in moved.items()})
        loss(nearby)
        wrong, _ = _as_arrays(gradient(nearby))
    else:
        wrong = make(rng, arrays)
    return Unrelated(kind, network, loss, restore(wrong), params, (*PLACES, *true))


def _as_arrays(tree: Any) -> tuple[Arrays, Callable[[Arrays], Any]]:
    if isinstance(tree, dict):
        return {name: np.array(a, dtype=float) for name, a in tree.items()}, dict
    if isinstance(tree, list):
        return {k: np.array(a, dtype=float) for k, a in enumerate(tree)}, lambda arrays: list(arrays.values())
    return {0: np.array(tree, dtype=float)}, lambda arrays: arrays[0]


def _all(change: Callable[[Random, np.ndarray], np.ndarray]) -> Callable[[Random, Arrays], Arrays]:
    return lambda rng, g: {name: change(rng, a) for name, a in g.items()}


def _one(change: Callable[[Random, np.ndarray], np.ndarray]) -> Callable[[Random, Arrays], Arrays]:
    """Changes one array of more than three entries."""

    def changed(rng: Random, g: Arrays) -> Arrays:
        names = [name for name, a in g.items() if a.size > 3]
        chosen = names[int(rng.integers(len(names)))]
        return {name: change(rng, a) if name == chosen else a for name, a in g.items()}

    return changed


def _size(a: np.ndarray) -> float:
    return float(np.abs(a).max(initial=0.0)) or 1.0


def _noise(share: float) -> Callable[[Random, np.ndarray], np.ndarray]:
    return lambda rng, a: a + share * _size(a) * rng.normal(size=a.shape)


def _entries(rng: Random, a: np.ndarray) -> np.ndarray:
    """Some entries, not all: at least two."""
    mask = np.zeros(a.size, dtype=bool)
    mask[rng.permutation(a.size)[: int(rng.integers(2, a.size))]] = True
    return mask.reshape(a.shape)


def _low_rank(rng: Random, a: np.ndarray) -> np.ndarray:
    matrix = np.outer(rng.normal(size=len(a)), rng.normal(size=a[0].size))
    return a + 0.3 * _size(a) * matrix.reshape(a.shape)


def _one_entry(rng: Random, a: np.ndarray) -> np.ndarray:
    wrong = a.copy()
    wrong.flat[int(rng.integers(a.size))] += _size(a) * rng.uniform(0.1, 1.0)
    return wrong


def _rotated(rng: Random, a: np.ndarray) -> np.ndarray:
    matrix = a.reshape(len(a), -1) if len(a) > 1 else a.reshape(-1, 1)
    turn, _ = np.linalg.qr(rng.normal(size=(len(matrix), len(matrix))))
    return (turn @ matrix).reshape(a.shape)


def _elsewhere(rng: Random, g: Arrays) -> Arrays:
    """Stands for the gradient at other parameters."""
    raise NotImplementedError


def _shuffled(rng: Random, a: np.ndarray) -> np.ndarray:
    return rng.permutation(a.ravel()).reshape(a.shape)


#: By kind: what makes the wrong gradient of the right one, and what may be said of it.
KINDS: dict[str, tuple[Callable[[Random, Arrays], Arrays], tuple[str, ...]]] = {
    "noise in all": (_all(_noise(0.1)), ()),
    "small noise in all": (_all(lambda rng, a: a * (1 + 1e-5 * rng.normal(size=a.shape))), APPROXIMATE),
    "noise in one array": (_one(_noise(0.5)), ()),
    "noise in some entries": (_one(lambda rng, a: a + _entries(rng, a) * _size(a) * rng.normal(size=a.shape)), ()),
    "one entry": (_one(_one_entry), ()),
    "signs of some entries": (
        _one(lambda rng, a: np.where(_entries(rng, a), -a, a)),
        (r"of the wrong sign", r"lost its signs"),
    ),
    "factors of entries": (_all(lambda rng, a: a * rng.uniform(0.5, 2.0, a.shape)), ()),
    "low rank": (_one(_low_rank), ()),
    "low rank in all": (_all(_low_rank), ()),
    "shuffled": (_one(_shuffled), ORDERS),
    "all shuffled": (_all(_shuffled), ORDERS),
    "rotated": (_one(_rotated), ()),
    "an offset": (_all(lambda rng, a: a + 0.3 * _size(a) * rng.normal()), ()),
    "at another point": (_elsewhere, ()),
    "smooth": (_all(lambda rng, a: np.tanh(a / _size(a)) * _size(a)), ()),
    "smooth in one array": (_one(lambda rng, a: a + 0.2 * a**2 / _size(a)), ()),
    "another array": (_one(lambda rng, a: _size(a) * rng.normal(size=a.shape)), ()),
}
