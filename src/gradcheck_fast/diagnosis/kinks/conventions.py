"""Which slopes frameworks take at kinks and ties: measured, see `tools/measure_kinks.py`.

At a kink a function has no derivative, and every slope between those of its two sides is right. A choice of a slope is
written as follows.

- "flat", "steep": that of the side with the smaller or the larger slope in size; "right": of two sides of the same
  size, that for larger arguments; "middle": halfway between both.
- "first", "last": the whole slope goes to that one of the entries, or arguments, that tie; "equal": each gets the same
  share; "each": each gets all of it.
"""

from __future__ import annotations

from collections.abc import Mapping

#: What was measured.
VERSIONS: Mapping[str, str] = {
    "PyTorch": "torch 2.13.0", "JAX": "jax 0.10.2", "TensorFlow": "tensorflow 2.21.0", "autograd": "autograd 1.9.1",
}  # fmt: skip

#: The choice of each framework, for the functions that are of one kind; all of these are the same function.
CONVENTIONS: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "relu": {
        "relu": {"PyTorch": "flat", "JAX": "flat", "TensorFlow": "flat"},
        "maximum(x, 0)": {"PyTorch": "middle", "JAX": "middle", "TensorFlow": "steep", "autograd": "middle"},
    },
    "clip": {"clip": {"PyTorch": "steep", "JAX": "middle", "TensorFlow": "steep", "autograd": "flat"}},
    "maximum": {"maximum": {"PyTorch": "equal", "JAX": "equal", "TensorFlow": "first", "autograd": "equal"}},
    "minimum": {"minimum": {"PyTorch": "equal", "JAX": "equal", "TensorFlow": "first", "autograd": "equal"}},
    "abs": {"abs": {"PyTorch": "middle", "JAX": "right", "TensorFlow": "middle", "autograd": "middle"}},
    "max": {
        "max of an array": {"PyTorch": "equal", "JAX": "equal", "TensorFlow": "equal", "autograd": "equal"},
        "max along an axis": {"PyTorch": "first", "JAX": "equal", "TensorFlow": "equal", "autograd": "equal"},
        "max pooling": {"PyTorch": "first", "JAX": "first", "TensorFlow": "first"},
    },
    "min": {
        "min of an array": {"PyTorch": "equal", "JAX": "equal", "TensorFlow": "equal", "autograd": "equal"},
        "min along an axis": {"PyTorch": "first", "JAX": "equal", "TensorFlow": "equal", "autograd": "equal"},
    },
    "leaky_relu": {"leaky_relu": {"PyTorch": "flat", "JAX": "steep", "TensorFlow": "flat"}},
    "selu": {"selu": {"PyTorch": "steep", "JAX": "steep", "TensorFlow": "flat"}},
    "relu6": {"relu6": {"PyTorch": "flat", "JAX": "flat", "TensorFlow": "flat"}},
    "hardtanh": {"hardtanh": {"PyTorch": "flat", "JAX": "steep", "TensorFlow": "steep"}},
}

#: The choices that are tried for the kinds with one argument, and for those in which several entries tie.
OF_ONE, OF_SEVERAL = ("flat", "middle", "steep"), ("first", "equal", "last", "each")
CHOICES: Mapping[str, tuple[str, ...]] = {
    kind: OF_SEVERAL if kind in ("max", "min", "maximum", "minimum") else OF_ONE for kind in CONVENTIONS
} | {"abs": ("left", "middle", "right")}


#: What several entries that tie get, in words.
SHARES: Mapping[str, str] = {
    "first": "all to the first", "last": "all to the last", "equal": "equal shares", "each": "all to each",
}  # fmt: skip


def in_words(kind: str, choice: str, words: Mapping[str, str]) -> str:
    """Says what a choice is, which frameworks make it, and what the others do.

    Parameters
    ----------
    kind, choice : str
    words : mapping
        What each choice is called: a slope, or one of `SHARES`.
    """
    rows = CONVENTIONS[kind]
    same = [_of(function, [name for name, own in row.items() if own == choice]) for function, row in rows.items()]
    others: dict[str, list[str]] = {}
    for own in dict.fromkeys(own for row in rows.values() for own in row.values() if own != choice):
        for function, row in rows.items():
            named = _of(function, [name for name, theirs in row.items() if theirs == own])
            others.setdefault(words[own], []).extend([named] * bool(named))
    said = " and ".join(filter(None, same))
    differing = "; ".join(f"{word}: {' and '.join(named)}" for word, named in others.items())
    return (
        f"{words[choice]}, as {f'in {said}' if said else 'in none of the frameworks that were measured'}"
        f"{f' ({differing})' * bool(differing)}"
    )


def _of(function: str, frameworks: list[str]) -> str:
    """Returns ``relu of PyTorch, JAX and TensorFlow``; "" without frameworks."""
    if not frameworks:
        return ""
    *before, last = frameworks
    return f"{function} of {', '.join(before)}{' and ' * bool(before)}{last}"
