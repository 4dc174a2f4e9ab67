"""What primitives do with complex numbers that depend on the parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from gradcheck_fast.frontends.jaxpr.registry import RULES, Equation, Rule
from gradcheck_fast.frontends.operators import complex_numbers as numbers
from gradcheck_fast.frontends.operators.complex_numbers import ComplexArray

_FFT, _IFFT, _RFFT, _IRFFT = range(4)


def evaluated(op: Equation, rule: Rule | None, x: Sequence[Any]) -> Any:
    """Evaluates an equation with complex numbers, some of which depend on the parameters.

    Raises
    ------
    Untraceable
        If the primitive is not known for complex numbers.
    """
    own = _OWN.get(op.name)
    if own is not None:
        return own(op, *x)
    if rule is None or rule.parts != "each":
        raise op.recording.untraceable(f"{op.name} of complex numbers")
    sides = []
    for side in ("real", "imag"):
        given = [
            getattr(ComplexArray.of(value), side) if dtype.kind == "c" else value
            for value, dtype in zip(x, op.dtypes, strict=True)
        ]
        found = rule.function(op, *given)
        sides.append(found if isinstance(found, list) else [found])
    return [ComplexArray(*pair) for pair in zip(*sides, strict=True)]


def _converted(op: Equation, x: Any) -> Any:
    if op.dtype.kind != "c":
        return x.real
    found = ComplexArray.of(x)
    return ComplexArray(op.recording.as_numbers(op.recording.traced(found.real)), found.imag)


def _dot_general(op: Equation, x: Any, y: Any) -> ComplexArray:
    return numbers.product(x, y, lambda a, b: RULES["dot_general"].function(op, a, b))


def _fft(op: Equation, x: Any) -> Any:
    """The discrete Fourier transforms over the last axes, with the meaning of NumPy's."""
    kind, lengths = int(op.params["fft_type"]), tuple(op.params["fft_lengths"])
    axes = range(len(x.shape) - len(lengths), len(x.shape))
    if kind == _FFT:
        return numbers.fourier(x, axes, -1.0)
    if kind == _RFFT:
        return numbers.fourier(numbers.fourier_of_real(x, axes[-1]), axes[:-1], -1.0)
    scale = 1.0 / prod(lengths)
    if kind == _IFFT:
        return numbers.fourier(x, axes, 1.0).each(lambda part: part * scale)
    return numbers.fourier_to_real(numbers.fourier(x, axes[:-1], 1.0), axes[-1], lengths[-1]) * scale


#: What primitives do whose real and imaginary parts mix, or that make complex numbers, or real ones of them.
_OWN: dict[str, Callable[..., Any]] = {
    "complex": lambda op, x, y: ComplexArray(x, y),
    "real": lambda op, x: x.real,
    "imag": lambda op, x: x.imag,
    "conj": lambda op, x: numbers.conjugate(x),
    "neg": lambda op, x: numbers.negative(x),
    "abs": lambda op, x: numbers.absolute(x),
    "add": lambda op, x, y: numbers.add(x, y),
    "add_any": lambda op, x, y: numbers.add(x, y),
    "sub": lambda op, x, y: numbers.subtract(x, y),
    "mul": lambda op, x, y: numbers.product(x, y),
    "div": lambda op, x, y: numbers.quotient(x, y),
    "square": lambda op, x: numbers.product(x, x),
    "integer_pow": lambda op, x: numbers.integer_power(x, int(op.params["y"])),
    "exp": lambda op, x: numbers.exp(x),
    "convert_element_type": _converted,
    "dot_general": _dot_general,
    "fft": _fft,
}
for _name in ("log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "expm1", "log1p"):
    _OWN[_name] = lambda op, x, _name=_name: getattr(numbers, _name)(x)
#: The primitives that are known for complex numbers besides those that do the same with both parts.
NAMES = frozenset(_OWN)
