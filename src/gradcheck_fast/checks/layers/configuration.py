"""At which trivial configuration a layer was checked, and which mistakes do not show there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np


class Trivial(NamedTuple):
    """A setting of a layer, and its value at which some mistakes do not show.

    Attributes
    ----------
    name : Pattern
        What the setting is called, without underscores, in small letters.
    is_trivial : callable
        Tells whether a value is one at which mistakes do not show.
    said : str
        What the report says then.
    """

    name: re.Pattern[str]
    is_trivial: Callable[[Any], bool]
    said: str


def _all(number: float) -> Callable[[Any], bool]:
    """Whether a number is this one; of a tuple or list, whether all are."""

    def is_it(value: Any) -> bool:
        members = value if isinstance(value, (tuple, list)) and value else [value]
        return all(_is_number(member) and member == number for member in members)

    return is_it


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


#: The settings, in the order in which they are said.
TABLE = (
    Trivial(re.compile(r"strides?[hwxy]?|subsamplings?"), _all(1),
            "checked at stride 1: mistakes in strides do not show here"),
    Trivial(re.compile(r"pads?|paddings?|pad(size|width|[hwxy])|zeropad(ding)?"),
            lambda value: value in ("valid", "VALID") if isinstance(value, str) else _all(0)(value),
            "checked without padding: mistakes at padded borders do not show here"),
    Trivial(re.compile(r"dilations?|dilationrate"), _all(1),
            "checked at dilation 1: mistakes in dilations do not show here"),
    Trivial(re.compile(r"groups?|numgroups"), _all(1),
            "checked with one group: mistakes between groups do not show here"),
    Trivial(re.compile(r"drop(out)?(p|prob|probability|rate|ratio)?|pdrop(out)?"), _all(0),
            "checked at dropout probability 0: mistakes in the mask do not show here"),
    Trivial(re.compile(r"keep(p|prob|probability)|pkeep"), _all(1),
            "checked with nothing dropped: mistakes in the mask do not show here"),
    Trivial(re.compile(r"mode"), lambda value: value in ("test", "eval", "inference"),
            "checked in test mode: mistakes of the training mode do not show here"),
    Trivial(re.compile(r"(is)?train(ing|flg|flag|mode)?"), lambda value: value is False,
            "checked in test mode: mistakes of the training mode do not show here"),
)  # fmt: skip

_STRIDE = TABLE[0].name
#: What the size of a window is called where windows are pooled.
_WINDOW = re.compile(r"(pool|kernel|filter|window)(size|height|width|shape|[hw])?|hh|ww|size|f|k|ph|pw")
_IS_POOL = re.compile(r"pool", re.IGNORECASE)


def trivial_settings(
    called: str, settings: Mapping[str, Any], inputs: Mapping[str, Any], params: Mapping[str, Any]
) -> tuple[str, ...]:
    """Returns what is to be said of the configuration at which a layer was checked.

    Parameters
    ----------
    called : str
        The name of the layer's class, or of its forward pass.
    settings : dict
        The settings of the layer by their names, as ``stride``: its options, the entries of dicts of options, and its
        attributes.
    inputs : dict
        The arguments of the forward pass that are differentiated, by name.
    params : dict
        The other arrays that are: weights and biases.
    """
    plain = {_plain(name): value for name, value in settings.items()}
    said = [
        entry.said
        for entry in TABLE
        if any(entry.name.fullmatch(name) and entry.is_trivial(value) for name, value in plain.items())
    ]
    if _IS_POOL.search(called) or any(_IS_POOL.search(name) for name in plain):
        said += _without_overlap(plain)
    said += _of_kernels({**inputs, **params}, plain)
    return tuple(dict.fromkeys((*said, *_of_lengths(inputs))))


def _without_overlap(settings: Mapping[str, Any]) -> Iterator[str]:
    sizes = [v for name, v in settings.items() if _WINDOW.fullmatch(name) for v in _numbers(v)]
    strides = [v for name, v in settings.items() if _STRIDE.fullmatch(name) for v in _numbers(v)]
    if sizes and strides and max(sizes) <= min(strides):
        yield "checked with windows that do not overlap: = for += does not show here"


def _of_kernels(arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[str]:
    """Of the arrays with four axes, which are images, or kernels of as many channels."""
    strides = [v for name, v in settings.items() if _STRIDE.fullmatch(name) for v in _numbers(v)]
    images = {name: np.shape(value) for name, value in arrays.items() if np.ndim(value) == 4}
    for name, shape in list(images.items())[1:]:
        if shape[-2:] == (1, 1) or (shape[:2] == (1, 1) and strides):
            yield f"checked with a kernel of 1 x 1, {name}: mistakes in the places of a window do not show here"
        elif strides and max(shape[-2:]) <= min(strides):
            yield "checked with windows that do not overlap: = for += does not show here"


def _of_lengths(inputs: Mapping[str, Any]) -> Iterator[str]:
    name, value = next(iter(inputs.items()), ("", ()))
    shape = np.shape(value)
    for axis in [k for k, length in enumerate(shape) if length == 1 and len(shape) > 1]:
        yield f"checked with axis {axis} of {name} of length 1: mistakes in sums along it do not show here"


def _numbers(value: Any) -> list[float]:
    members = value if isinstance(value, (tuple, list)) else [value]
    return [float(member) for member in members if _is_number(member)]


def _plain(name: str) -> str:
    return name.lower().replace("_", "")
