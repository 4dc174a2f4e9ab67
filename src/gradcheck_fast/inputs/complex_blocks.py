"""Reads Jacobians of functions with complex arguments or outputs, as blocks of real numbers.

Where z = x + iy is an argument, and J the derivative of an output w by it, dw = J dz if w is complex, and dw = Re(J dz)
if it is real: J is the complex derivative of a holomorphic function, and dw/dx - i dw/dy for a real w. Reverse mode of
PyTorch has the conjugate of both. Where only w is complex, J = dw/dx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.inputs.complex_pairs import IMAG, REAL, imaginary_part, mapped, real_part
from gradcheck_fast.inputs.jacobian_blocks import Blocks, Stored, is_sparse, name_of
from gradcheck_fast.inputs.trees import pack, walk

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from gradcheck_fast.inputs.complex_pairs import Convention
    from gradcheck_fast.inputs.trees import Packed, Shape


#: The equations of Cauchy and Riemann hold if derivatives differ by no more than this part of the largest.
HOLDS = 1e-5
#: What is said of a Jacobian that is compared as PyTorch has it.
CONJUGATE = "J is compared as the conjugate of the complex derivative, as PyTorch's reverse mode has it"


class ComplexBlocks:
    """The form of a Jacobian of complex arrays, and that of the Jacobian of pairs of real ones in their place.

    Parameters
    ----------
    pairs : Blocks
        The form of the latter.
    outputs, inputs : collection of str
        The names of the complex arrays.

    Attributes
    ----------
    pairs : Blocks
    """

    def __init__(self, pairs: Blocks, outputs: Collection[str], inputs: Collection[str]) -> None:
        self.pairs = pairs
        self._outputs = _whole(pairs.outputs, pairs.output_paths, outputs)
        self._inputs = _whole(pairs.inputs, pairs.input_paths, inputs)
        self._complex_outputs, self._complex_inputs = frozenset(outputs), frozenset(inputs)
        (of_outputs, output_paths), (of_inputs, input_paths) = (
            ({name: shape for name, (shape, _) in side.items()}, [path for _, path in side.values()])
            for side in (self._outputs, self._inputs)
        )
        self._own = Blocks(of_outputs, of_inputs, output_paths, input_paths)

    def read(self, given: Any, what: str, convention: Convention) -> Packed:
        """Reads a Jacobian, and writes it as that of the pairs.

        Parameters
        ----------
        given : array, or tree of arrays
            As `Blocks.read` takes it.
        what : str
            What errors call it.
        convention : Convention
            `JAX` for what is written above, `PYTORCH` for the conjugate.

        Raises
        ------
        TypeError, ValueError
            As `Blocks.read` does. Or if it is sparse, or if a derivative of real numbers by real numbers is complex.
        """
        if any(is_sparse(leaf) for _, leaf in walk(given)):
            raise TypeError(
                f"{what}: expected arrays, got a sparse matrix; where inputs or outputs are complex, give "
                f"{what}.toarray(), or real and imaginary parts as inputs and outputs of their own"
            )
        given = mapped(_as_array, given)
        by_real, by_imag = (self._read_part(mapped(part, given), what) for part in (real_part, imaginary_part))
        found: dict[str, NDArray[Any]] = {}
        for output in self._outputs:
            for argument in self._inputs:
                name = name_of(output, argument)
                found |= self._block(output, argument, by_real[name], by_imag[name], what, convention)
        return pack({name: found[name] for name in self.pairs.shapes}, finite=False)

    @property
    def has_conjugate(self) -> bool:
        """Whether reverse mode of PyTorch has the conjugate of all: it has no complex derivative by a real number."""
        return bool(self._complex_inputs) and (
            not self._complex_outputs or len(self._complex_inputs) == len(self._inputs)
        )

    def _read_part(self, given: Any, what: str) -> dict[str, NDArray[Any]]:
        found = self._own.read(given, what)
        assert not isinstance(found, Stored)
        return {name: part.astype(found.dtypes[name]) for name, part in found.arrays(found.flat)}

    def said_of(self, numerical: Mapping[str, NDArray[np.float64]]) -> Iterator[str]:
        """Says which complex outputs have no complex derivative, given the numerical Jacobian of the pairs, by name."""
        for output in filter(self._complex_outputs.__contains__, self._outputs):
            wrong = [name for name in self._complex_inputs if not _is_holomorphic(numerical, output, name)]
            if wrong:
                yield (
                    f"{output} is no holomorphic function of {', '.join(sorted(wrong))}, and has no complex "
                    "derivative, by the equations of Cauchy and Riemann; give real and imaginary parts as two inputs"
                )

    def _block(
        self, output: str, argument: str, real: NDArray[Any], imag: NDArray[Any], what: str, convention: Convention
    ) -> dict[str, NDArray[Any]]:
        """Gives the blocks of pairs that a block of complex numbers stands for, by name."""
        rows = _parts(output, output in self._complex_outputs)
        columns = _parts(argument, argument in self._complex_inputs)
        if len(rows) == len(columns) == 1 and imag.any():
            raise TypeError(
                f"{what}: {name_of(output, argument)}: expected real numbers, for both are real; got complex ones: is "
                "the real part meant?"
            )
        if len(columns) == 1:
            parts = [[real], [imag]]
        else:  # dw = (a + ib) (dx + i dy)
            a, b = real, -convention.sign * imag
            parts = [[a, -b], [b, a]]
        return {
            name_of(row, column): part
            for row, of_row in zip(rows, parts, strict=False)
            for column, part in zip(columns, of_row, strict=True)
        }


def _as_array(leaf: Any) -> Any:
    """Takes the arrays of other libraries for those of NumPy."""
    return np.asarray(leaf) if hasattr(leaf, "__array__") else leaf


def _parts(name: str, is_complex: bool) -> list[str]:
    return [f"{name}.{REAL}", f"{name}.{IMAG}"] if is_complex else [name]


def _whole(
    shapes: Mapping[str, Shape], paths: Sequence[str], names: Collection[str]
) -> dict[str, tuple[Shape, str]]:  # fmt: skip
    """Gives the shape and the path of each array, with one complex array in the place of each pair."""
    found: dict[str, tuple[Shape, str]] = {}
    for (name, shape), path in zip(shapes.items(), paths, strict=True):
        whole, _, part = name.rpartition(".")
        if whole in names and part in (REAL, IMAG):
            found[whole] = shape, path.removesuffix(part).removesuffix(".")
        else:
            found[name] = shape, path
    return found


def _is_holomorphic(numerical: Mapping[str, NDArray[np.float64]], output: str, argument: str) -> bool:
    """Whether the parts of an output and those of an argument satisfy the equations of Cauchy and Riemann."""
    rows, columns = _parts(output, True), _parts(argument, True)
    (a, minus_b), (b, other_a) = ([numerical[name_of(row, column)] for column in columns] for row in rows)
    parts = np.stack([a, b, minus_b, other_a])
    size = np.abs(parts[np.isfinite(parts)]).max(initial=0.0)
    off = np.stack([a - other_a, b + minus_b])
    return not (np.abs(off) > HOLDS * size).any()
