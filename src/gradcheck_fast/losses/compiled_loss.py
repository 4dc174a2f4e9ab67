"""Compiled functions as losses. Between two evaluations no Python code runs."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from gradcheck_fast.inputs.arguments import true_or_false
from gradcheck_fast.inputs.arrays import first_index, format_index, same_bits
from gradcheck_fast.inputs.trees import entry_name, split
from gradcheck_fast.losses import _callback
from gradcheck_fast.losses.function_loss import FunctionLoss
from gradcheck_fast.losses.pointers import CompiledFunction, compiled_function

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from gradcheck_fast.inputs.trees import Shape, Tree


#: If evaluations take less than this together, one thread does them: on a busy machine others would be waited for.
SERIAL_SECONDS = 1e-3


class CallbackCosts:
    """A compiled function of a flat vector. Each thread calls it with a private copy of the vector.

    A function that is not thread-safe is called with the interpreter lock held: so no two threads call it at once, and
    it may be a Cython function that needs the lock.
    """

    takes_complex, uses_threads = False, True

    def __init__(self, function: CompiledFunction, threadsafe: bool, shapes: Mapping[str, Shape]) -> None:
        self._function = function
        self._threadsafe = threadsafe
        self._shapes = shapes
        self._seconds = 0.0  # what an evaluation took when it was measured last
        self.notes: tuple[str, ...] = ()

    def name(self, entry: int) -> str:
        return entry_name(self._shapes, entry)

    def cost(self, theta: NDArray[np.float64]) -> float:
        own = theta.copy()
        value = _callback.cost(self._function.address, self._function.user_data, own, self._threadsafe)
        if not same_bits(own, theta):
            raise self._writes(own.view(np.int64) != theta.view(np.int64))
        return value

    def costs(
        self, theta: NDArray[np.float64], entries: NDArray[np.intp], values: NDArray[np.float64], n_threads: int
    ) -> NDArray[np.float64]:
        function, found = self._function, np.empty(len(entries))
        if self._seconds * len(entries) < SERIAL_SECONDS:
            n_threads = 1
        started = perf_counter()
        written = _callback.costs(
            function.address, function.user_data, theta, entries, values, found, n_threads, self._threadsafe
        )
        if n_threads == 1:
            self._seconds = (perf_counter() - started) / max(len(entries), 1)
        if written >= 0:
            raise self._writes(np.arange(len(theta)) == written)
        return found

    def _writes(self, written: NDArray[np.bool_]) -> ValueError:
        """Makes the error that names the first entry that the function has written into."""
        name, index = next((name, first_index(part)) for name, part in split(written, self._shapes) if part.any())
        return ValueError(
            f"loss: the function writes into its parameters, {name}{format_index(index)} for one; "
            "it must only read theta, and change a copy of its own"
        )


class CallbackLoss(FunctionLoss):
    """A compiled function of a tree of parameters; see `callback`."""

    def __init__(self, function: CompiledFunction, threadsafe: bool) -> None:
        super().__init__(lambda params: CallbackCosts(function, threadsafe, params.shapes))
        self._compiled = function
        self._threadsafe = threadsafe

    def __call__(self, params: Tree) -> float:
        """Gives the cost at these parameters, any tree of arrays."""
        packed = self.pack(params)
        return self.cost(packed, packed.flat)

    def faster(self, method: str, seconds: float, entries: NDArray[np.intp] | None = None) -> str:
        """Says what would take less than these seconds."""
        all_cores = "" if self._threadsafe else ", and threadsafe=True, if that is so, lets it use all cores"
        return f"gf.gradcheck(..., method='directional') takes far less{all_cores}"

    def __reduce__(self) -> NoReturn:
        self._compiled.__reduce__()


def callback(function: Any, *, user_data: Any = None, threadsafe: bool = False) -> CallbackLoss:
    """Makes a loss of a compiled function.

    The function is ``double loss(double *theta, intptr_t n, void *user_data)``, as ``gradcheck_fast.h`` declares it
    (see `get_include`). It gets all parameters in one float64 vector: array after array in the order of the tree, each
    in C order. Each thread has a private copy of this vector. The function must only read it.

    Parameters
    ----------
    function : function pointer
        One of ctypes (with ``restype`` and ``argtypes`` set) or cffi; a numba ``cfunc``; a Cython function's capsule
        (from ``__pyx_capi__``); or a `scipy.LowLevelCallable`. The type of the second argument may be any integer type
        as wide as a pointer, and that of the third any pointer type.
    user_data : None, array, pointer or int
        What the function gets as its third argument. Of a contiguous array or an object of ctypes, it gets the address;
        of a pointer of ctypes or cffi or a capsule, what that holds; and an int is the address itself. For None it gets
        what the capsule or the LowLevelCallable has, or else NULL. `user_data` is kept alive, and not copied.
    threadsafe : bool
        Whether the function may be called from several threads at once, without the interpreter lock. If not, one
        thread at a time calls it, and holds the lock.

    Returns
    -------
    CallbackLoss
        It is a loss for `gradcheck` and `numerical_gradient`. Called with a tree of parameters, it gives the cost. It
        cannot be sent to another process.

    Raises
    ------
    TypeError
        If `function` or `user_data` is of no kind that is known, or the function has another signature.
    ValueError
        If the function is a null pointer, or an array is not contiguous. Later, if the function writes into `theta`.

    Notes
    -----
    `gradcheck` and `numerical_gradient` also take such a function as it is. They then treat it as not thread-safe.

    A Cython function may raise, unless it is declared thread-safe. If ctypes or cffi has made a callback of a Python
    function, and that raises, they print the exception, and the value is 0.
    """
    threadsafe = true_or_false("threadsafe", threadsafe)
    return CallbackLoss(compiled_function(function, user_data), threadsafe)


def get_include() -> str:
    """Gives the directory of ``gradcheck_fast.h``, for a C compiler's ``-I``."""
    return str(Path(__file__).parents[1] / "include")
