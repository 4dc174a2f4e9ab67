"""Evaluates Python functions of trees of arrays at flat vectors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from math import nan
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import numpy as np

from gradcheck_fast.inputs.arrays import same_bits
from gradcheck_fast.inputs.complex_pairs import is_complex, is_nearly_real
from gradcheck_fast.inputs.returned import describe, hint_at_value, note_on_rest, value_and_rest
from gradcheck_fast.inputs.state import State
from gradcheck_fast.inputs.trees import entry_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gradcheck_fast.inputs.trees import Packed

#: How many numbers a vectorised function is given at once, at most: 32 MiB of float64, which fit into any memory.
BATCH_NUMBERS = 4 * 1024 * 1024
#: The dtypes of a cost, by their names, in which hardly any digits are left in differences.
_COARSE = ("float16", "float32", "bfloat16", "complex64")
#: The dtypes of a cost that is a complex number.
_COMPLEX = ("complex64", "complex128")
#: How the note on a loss of less than float64 begins.
GIVES_LESS = "the loss gives "
#: Of a larger array that a loss has returned an error shows no numbers, only the shape.
_MOST_SHOWN = 4
#: So it is with anything that takes more characters than this.
_LONGEST_SHOWN = 100
#: The warning that NumPy gives where a complex number is made real. Its place has moved in NumPy 1.25.
_COMPLEX_WARNING = getattr(np, "exceptions", np).ComplexWarning


def writes(what: str) -> str:
    """Returns a note on a function that changes what it is given."""
    return (
        f"{what} writes into its argument. It was given copies, so nothing is lost here; but called with your own "
        "arrays it changes them"
    )


class Evaluation(Protocol):
    """How a loss is evaluated at a flat vector of parameters, and what was noticed while that was done."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed of the function so far and should be known, in sentences."""

    def cost(self, theta: NDArray[np.float64]) -> float:
        """Returns the cost at a flat vector of shape (size,)."""


class OwnCost(NamedTuple):
    """The cost function of a loss that this library computes itself: there is never anything to note about it."""

    cost: Callable[[NDArray[np.float64]], float]
    notes: tuple[str, ...] = ()


class Costs(Evaluation, Protocol):
    """A function that can be evaluated with one entry moved. It can be pickled, if the function can."""

    @property
    def takes_complex(self) -> bool:
        """Whether the function could take complex numbers, if it was written so; then these are `ComplexCosts`."""

    @property
    def uses_threads(self) -> bool:
        """Whether `costs` makes use of more than one thread."""

    def name(self, entry: int) -> str:
        """Returns the name of an entry of the flat vector, such as ``W1[3, 4]``."""

    def costs(
        self, theta: NDArray[np.float64], entries: NDArray[np.intp], values: NDArray[np.float64], n_threads: int
    ) -> NDArray[np.float64]:
        """Finds the costs at parameters that differ from `theta` in one entry: ``theta[entries[k]] = values[k]``.

        Parameters
        ----------
        theta : ndarray of float64, shape (size,)
        entries : ndarray of int, shape (count,)
        values : ndarray of float64, shape (count,)
        n_threads : int
            How many threads may be used.

        Returns
        -------
        ndarray of float64, shape (count,)
            NaN where a Python function raises: it is not defined there.
        """


class ComplexCosts(Costs, Protocol):
    """`Costs` that also take complex steps: `takes_complex` is True."""

    def complex_steps(
        self, theta: NDArray[np.float64], entries: NDArray[np.intp], h: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Im f(p + ih) / h for some entries."""


class _TreeCosts:
    """Notices of a Python function of trees whether it writes into its argument, and what it returns."""

    uses_threads = False

    def __init__(self, function: Callable[[Any], Any], params: Packed) -> None:
        self._function = function
        self._unpack = params.unpack
        self._shapes, self._paths = params.shapes, params.paths
        self._writes = False
        self._returns = ""
        self._dtype = ""
        self._value = 0j

    @property
    def notes(self) -> tuple[str, ...]:
        coarse = f"{GIVES_LESS}{self._dtype}, though it was given float64: hardly any digits are left in differences"
        size = f"{abs(self._value.imag):.1e}, which is rounding beside {self._value.real:.3g}"
        part = f"whose imaginary part is {size if self._value.imag else 'zero'}"
        real = f"the loss returns a complex number, {part}: its real part is taken"
        noticed = (
            *(writes("the loss"),) * self._writes,
            *(coarse,) * (self._dtype in _COARSE),
            *(real,) * (self._dtype in _COMPLEX),
        )
        return (self._returns, *noticed) if self._returns else noticed

    def name(self, entry: int) -> str:
        return entry_name(self._shapes, entry)

    def _look(self, given: NDArray[np.float64], theta: NDArray[np.float64], found: Any) -> None:
        """Looks at what the function was `given`, a copy of `theta`, after the call, and at what it has `found`."""
        self._writes |= not same_bits(given, theta)
        pair = value_and_rest(found)
        if pair is not None:
            found, rest = pair
            self._returns = self._returns or note_on_rest(rest, self._shapes, self._paths)
        dtype = getattr(found, "dtype", np.complex128.__name__ if isinstance(found, complex) else "")
        self._dtype = str(dtype).removeprefix("torch.")
        if self._dtype in _COMPLEX:
            self._value = max(self._value, complex_number(found), key=lambda value: abs(value.imag))


class PythonCosts(_TreeCosts):
    """A Python function of a tree of arrays.

    Each call gets fresh arrays, so that a function that writes into its arguments disturbs nothing.
    """

    takes_complex = True

    def cost(self, theta: NDArray[np.float64]) -> float:
        given = theta.copy()
        found = self._function(self._unpack(given))
        value = real_number(found)
        self._look(given, theta, found)
        return value

    def costs(
        self, theta: NDArray[np.float64], entries: NDArray[np.intp], values: NDArray[np.float64], n_threads: int
    ) -> NDArray[np.float64]:
        function, unpack, found, written = self._function, self._unpack, [], False
        for entry, value in zip(entries.tolist(), values.tolist(), strict=True):
            moved = theta.copy()
            moved[entry] = value
            try:
                cost = function(unpack(moved))
            except MemoryError:
                raise
            except Exception:  # it is not defined here
                found.append(nan)
                continue
            # it may change here what it did not change at `theta`; a value of NaN differs from itself
            written |= moved.item(entry) != value == value
            found.append(cost if isinstance(cost, float) else self._number(cost, entry, value, theta))
        self._writes |= written
        return np.array(found, np.float64)

    def _number(self, cost: Any, entry: int, value: float, theta: NDArray[np.float64]) -> float:
        try:
            return real_number(cost)
        except TypeError as error:
            say_where(error, f"{self.name(entry)} was {value!r} instead of {float(theta[entry])!r}")
            raise

    def complex_steps(
        self, theta: NDArray[np.float64], entries: NDArray[np.intp], h: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Finds the derivatives of some entries by complex steps, Im f(p + ih) / h.

        Where f is analytic they have no error but rounding: Squire and Trapp, Using complex variables to estimate
        derivatives of real functions, SIAM Review 40, 1998.

        Parameters
        ----------
        theta : ndarray of float64, shape (size,)
        entries : ndarray of int, shape (count,)
        h : ndarray of float64, shape (count,)
            The imaginary step of each.

        Returns
        -------
        ndarray of float64, shape (count,)

        Raises
        ------
        Exception
            What the function raises, or a warning of NumPy's that a complex number was made real, with a note that says
            where.
        """
        found, entry, state = np.empty(len(entries)), -1, State(self._function)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", _COMPLEX_WARNING)
                for k, entry in enumerate(entries.tolist()):
                    moved: NDArray[Any] = theta.astype(np.complex128)
                    moved[entry] += 1j * h[k]
                    found[k] = complex_number(self._function(self._unpack(moved))).imag / h[k]
        except Exception as error:
            say_where(error, f"{self.name(entry)} was complex")
            raise
        finally:
            state.restore()  # what it keeps would be complex from now on
        return found


class BatchCosts(_TreeCosts):
    """A Python function of many trees at once: its arrays have one more axis, the first, which counts the trees."""

    takes_complex = False

    def cost(self, theta: NDArray[np.float64]) -> float:
        given = theta[np.newaxis].copy()
        found = self._function(self._unpack(given))
        value = float(_real_numbers(found, 1)[0])
        self._look(given, theta, found)
        return value

    def costs(
        self, theta: NDArray[np.float64], entries: NDArray[np.intp], values: NDArray[np.float64], n_threads: int
    ) -> NDArray[np.float64]:
        rows = max(1, BATCH_NUMBERS // max(1, len(theta)))
        parts: list[NDArray[np.float64]] = [np.empty(0)]
        for begin in range(0, len(entries), rows):
            some = entries[begin : begin + rows]
            batch = np.tile(theta, (len(some), 1))
            moved = np.arange(len(some)), some
            batch[moved] = values[begin : begin + rows]
            try:
                given = self._function(self._unpack(batch))
            except MemoryError:
                raise
            except Exception:  # it is not defined at one of these, or more
                parts.append(self._one_by_one(theta, some, values[begin : begin + rows], n_threads))
                continue
            parts.append(_real_numbers(given, len(some)))
            self._writes |= not np.array_equal(batch[moved], values[begin : begin + rows], equal_nan=True)
        return np.concatenate(parts)

    def _one_by_one(
        self, theta: NDArray[np.float64], entries: NDArray[np.intp], values: NDArray[np.float64], n_threads: int
    ) -> NDArray[np.float64]:
        """Finds the costs of a batch at which the function raised one by one; NaN where it raises again."""
        if len(entries) == 1:
            return np.array([nan])
        each = [self.costs(theta, entries[k : k + 1], values[k : k + 1], n_threads) for k in range(len(entries))]
        return np.concatenate(each)


class PartCosts:
    """A function of some of its parameters, in the order of `entries`; the others stay as they are in `theta`."""

    def __init__(self, costs: Costs, theta: NDArray[np.float64], entries: NDArray[np.intp]) -> None:
        self._costs = costs
        self._theta = theta
        self._entries = entries
        self.takes_complex, self.uses_threads = costs.takes_complex, costs.uses_threads

    @property
    def notes(self) -> tuple[str, ...]:
        return self._costs.notes

    def name(self, entry: int) -> str:
        return self._costs.name(int(self._entries[entry]))

    def cost(self, theta: NDArray[np.float64]) -> float:
        return self._costs.cost(self._whole(theta))

    def costs(
        self, theta: NDArray[np.float64], entries: NDArray[np.intp], values: NDArray[np.float64], n_threads: int
    ) -> NDArray[np.float64]:
        return self._costs.costs(self._whole(theta), self._entries[entries], values, n_threads)

    def complex_steps(
        self, theta: NDArray[np.float64], entries: NDArray[np.intp], h: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        costs = cast("ComplexCosts", self._costs)
        return costs.complex_steps(self._whole(theta), self._entries[entries], h)

    def _whole(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = self._theta.copy()
        whole[self._entries] = theta
        return whole


def cost_beside(cost: Callable[[NDArray[np.float64]], float], theta: NDArray[np.float64]) -> float:
    """Returns the cost at perturbed parameters; NaN if the function raises, as it is not defined there."""
    try:
        return cost(theta)
    except MemoryError:
        raise
    except Exception:
        return nan


def say_where(error: Exception, where: str) -> None:
    """Adds a note to an error that the loss has raised: what was done to the parameters (from Python 3.11 on)."""
    if hasattr(error, "add_note"):  # Python 3.11
        error.add_note(f"gradcheck_fast: raised by the loss while {where}")


def real_number(value: Any) -> float:
    """Reads what a loss has returned as a float; an array of one element is one number.

    Of a number and something beside it, such as ``(value, gradient)``, the number is taken.

    Raises
    ------
    TypeError
        If it is not one real number.
    """
    try:
        array = np.asarray(_first(value))
        if array.size == 1 and is_nearly_real(array):
            array = array.real
        if array.size != 1 or array.dtype.kind not in "iuf":
            raise TypeError
        return float(array.reshape(()))
    except Exception:
        is_large = isinstance(value, np.ndarray) and value.size > _MOST_SHOWN
        got = describe(value) if is_large or len(repr(value)) > _LONGEST_SHOWN else repr(value)
        hint = "; did it forget to return it?" if value is None else hint_at_value(value)
        if is_complex(_first(value)) and np.size(_first(value)) == 1:
            size = abs(complex_number(value).imag)
            hint = f"; is the real part meant? The imaginary part, {size:.1e}, is more than rounding: return loss.real"
        raise TypeError(f"loss: expected it to return one real number, got {got}{hint}") from None


def _first(value: Any) -> Any:
    """Returns the value of a loss that returns something beside it; anything else as it is."""
    pair = value_and_rest(value) if isinstance(value, (tuple, list)) else None
    return value if pair is None else pair[0]


def _real_numbers(value: Any, count: int) -> NDArray[np.float64]:
    """Reads what a vectorised loss has returned for `count` trees; raises a TypeError if it is anything else."""
    try:
        array = np.asarray(value)
        if is_nearly_real(array):
            array = array.real
        if array.size != count or array.ndim < 1 or array.dtype.kind not in "iuf":
            raise TypeError
        return array.reshape(count).astype(np.float64)
    except Exception:
        shape: Sequence[int] | str = getattr(value, "shape", type(value).__name__)
        if is_complex(value) and shape == (count,):
            shape = f"complex ones, with an imaginary part of {np.abs(value.imag).max():.1e}; return loss.real"
        raise TypeError(
            f"loss: with vectorized=True, expected it to return {count} real numbers, one for each set of parameters "
            f"in the batch, shape ({count},); got {shape}"
        ) from None


def complex_number(value: Any) -> complex:
    """Reads what a function of complex arrays has returned as a complex number.

    Raises
    ------
    TypeError
        If it is not one number.
    """
    array = np.asarray(_first(value))
    if array.size != 1 or array.dtype.kind not in "iufc":
        raise TypeError(f"loss: expected it to return one number, got {value!r}")
    return complex(array.reshape(()))
