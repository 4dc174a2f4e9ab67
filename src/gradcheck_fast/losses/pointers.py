"""Reads the addresses of compiled functions and of data, as ctypes, cffi, numba, Cython, SciPy and NumPy have them."""

from __future__ import annotations

import ctypes
import re
import sys
from _ctypes import CFuncPtr
from collections.abc import Callable
from ctypes import sizeof
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, TypeAlias

import numpy as np

from gradcheck_fast.losses import _callback

#: The type of a compiled loss, in C.
SIGNATURE = "double (double *, intptr_t, void *)"
#: The names of C's signed integers. A type as large as a pointer is taken for intptr_t.
INTEGERS = {
    ("intptr_t", "Py_ssize_t", "ptrdiff_t", "ssize_t", "npy_intp"): ctypes.c_void_p,
    ("int", "int32_t"): ctypes.c_int,
    ("long", "long int"): ctypes.c_long,
    ("long long", "long long int", "longlong", "int64_t"): ctypes.c_longlong,
}
INTPTR = {name for names, kind in INTEGERS.items() for name in names if sizeof(kind) == sizeof(ctypes.c_void_p)}
QUALIFIERS = re.compile(r"\b(const|volatile|(__)?restrict(__)?)\b")
#: For the result and for each argument: the words for it in an error, and a function that tells whether a type fits.
PARTS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("it returns", lambda name: name == "double"),
    ("its first argument is", lambda name: name == "double *"),
    ("its second argument is", lambda name: name in INTPTR),
    ("its third argument is", lambda name: name.endswith("*")),
)
#: Objects of ctypes that hold an address.
CTYPES_POINTERS = (
    ctypes._Pointer, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_wchar_p, type(ctypes.byref(ctypes.c_int())),
)  # fmt: skip
#: Objects of ctypes that are data themselves.
CTYPES_DATA = (ctypes.Structure, ctypes.Union, ctypes.Array, ctypes._SimpleCData)

#: The type that a function returns, and those of its arguments, as C spells them. It is empty if they are not known.
Types: TypeAlias = tuple[str, ...]
#: The address of a function, its types, and the address of the data that come with it.
Found: TypeAlias = tuple[int, Types, int]


@dataclass(frozen=True)
class CompiledFunction:
    """A function of the signature SIGNATURE, and its third argument.

    Attributes
    ----------
    address, user_data : int
    alive : tuple
        The objects that must live as long as the function may be called.
    """

    address: int
    user_data: int
    alive: tuple[object, ...]

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a compiled function is an address in this process and cannot be sent to another: use threads (n_threads, "
            "with gf.callback(..., threadsafe=True)), or a Python function that loads the library where it is called"
        )


def is_compiled(function: object) -> bool:
    """Tells whether this is a compiled function of a kind that `compiled_function` knows, with any signature."""
    return _reader(function) is not None


def compiled_function(function: Any, user_data: Any = None, what: str = "function") -> CompiledFunction:
    """Reads the addresses of a function and of its data.

    Parameters
    ----------
    function : ctypes or cffi function pointer, numba CFunc, PyCapsule or scipy.LowLevelCallable
    user_data : None, int, ndarray, PyCapsule, or ctypes or cffi pointer or data
        If it is None, the data are those of a capsule or a LowLevelCallable, and otherwise NULL.
    what : str
        The name of the function in errors.

    Raises
    ------
    TypeError
        If the function or the data are of no kind that is known, or the function has another signature.
    ValueError
        If the function is a null pointer, or the data are not contiguous.
    """
    read = _reader(function)
    if read is None:
        raise TypeError(
            f"{what}: expected a function pointer of ctypes or cffi, a numba cfunc, a capsule or a "
            f"scipy.LowLevelCallable, got {function!r}{_hint(function)}"
        )
    address, types, own_data = read(function)
    _require_signature(what, function, types)
    if not address:
        raise ValueError(f"{what}: {function!r} is a null pointer")
    data = own_data if user_data is None else _data_address(user_data)
    return CompiledFunction(address, data, (function, user_data))


# ---- functions


def _reader(function: Any) -> Callable[[Any], Found] | None:
    """Gives the function that reads compiled functions of this kind; None for an unknown kind."""
    if isinstance(function, CFuncPtr):
        return _read_ctypes
    if _is_cffi(function):
        return _read_cffi
    if _callback.is_capsule(function):
        return _read_capsule
    if type(function).__module__.startswith("numba.") and hasattr(function, "address"):
        return lambda cfunc: _read_ctypes(cfunc.ctypes)
    if _is_scipy(function):
        inner = _reader(function.function)
        return inner and partial(_read_scipy, inner)
    return None


def _hint(function: object) -> str:
    if isinstance(function, int):
        return "; make an address a function by CFUNCTYPE(c_double, POINTER(c_double), c_ssize_t, c_void_p) of ctypes"
    if type(function).__name__ == "builtin_function_or_method":
        return "; of a module compiled by cffi take ffi.addressof(lib, name)"
    return "; a Python function is a loss as it is" if callable(function) else ""


def _read_ctypes(function: Any) -> Found:
    types: Types = ()
    if function.argtypes is not None:
        types = tuple(map(_name_of_ctype, (function.restype, *(function.argtypes or [None]))))
    return _ctypes_address(function), types, 0


def _name_of_ctype(kind: Any) -> str:
    if kind is None:
        return "void"
    if hasattr(kind, "_dtype_"):  # numpy.ctypeslib.ndpointer
        return "double *" if kind._dtype_ in (None, np.dtype(np.float64)) else f"{kind._dtype_} *"
    if not isinstance(kind, type):  # a function that converts
        return str(kind)
    if issubclass(kind, ctypes._Pointer):
        return f"{_name_of_ctype(kind._type_)} *"
    if issubclass(kind, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_wchar_p)):
        return "void *"
    return kind.__name__.removeprefix("c_")


def _ctypes_address(pointer: Any) -> int:
    return ctypes.cast(pointer, ctypes.c_void_p).value or 0


def _cffi() -> Any:
    return sys.modules.get("_cffi_backend")  # whoever has an object of cffi has imported this


def _is_cffi(x: object) -> bool:
    return _cffi() is not None and isinstance(x, _cffi()._CDataBase)


def _read_cffi(function: Any) -> Found:
    kind = _cffi().typeof(function)
    return _cffi_address(function) if kind.kind == "function" else 0, _types_of_text(kind.cname), 0


def _cffi_address(pointer: Any) -> int:
    return int(_cffi().cast(_cffi().new_primitive_type("intptr_t"), pointer))


def _read_capsule(capsule: Any) -> Found:
    name, address, context = _callback.read_capsule(capsule)
    return address, _types_of_text(name or "a capsule without a name"), context


def _is_scipy(x: object) -> bool:
    return isinstance(x, tuple) and all(hasattr(x, name) for name in ("function", "user_data", "signature"))


def _read_scipy(read: Callable[[Any], Found], function: Any) -> Found:
    address, _, own_data = read(function.function)
    data = own_data if function.user_data is None else _data_address(function.user_data)
    return address, _types_of_text(function.signature), data


def _types_of_text(signature: str) -> Types:
    """Splits a signature such as ``double (double *, intptr_t)`` into its types. Other text is kept as one type."""
    match = re.fullmatch(r"([^()]+)\(([^()]*)\)", signature.replace("(*)", ""))
    return (match[1], *match[2].split(",")) if match else (signature,)


def _require_signature(what: str, function: object, types: Types) -> None:
    if not types:
        raise TypeError(
            f"{what}: {function!r} does not say what it takes; set its restype = c_double and its "
            "argtypes = [POINTER(c_double), c_ssize_t, c_void_p], all of ctypes"
        )
    names = [" ".join(QUALIFIERS.sub("", name).replace("*", " * ").split()) for name in types]
    wrong = [f"{part} {name}" for (part, fits), name in zip(PARTS, names, strict=False) if not fits(name)]
    if wrong or len(names) != len(PARTS):
        got = f"{names[0]} ({', '.join(names[1:])})" if len(names) > 1 else names[0]
        culprits = f": {', '.join(wrong)}" if len(names) == len(PARTS) else ""
        raise TypeError(f"{what}: expected the signature {SIGNATURE}, got {got}{culprits}")


# ---- data


def _data_address(data: Any) -> int:
    if isinstance(data, np.ndarray):
        if not data.flags.forc:
            raise ValueError("user_data: the array is not contiguous; give np.ascontiguousarray(array)")
        return data.ctypes.data
    if isinstance(data, CTYPES_POINTERS):
        return _ctypes_address(data)
    if isinstance(data, CTYPES_DATA):
        return ctypes.addressof(data)
    if _is_cffi(data) and _cffi().typeof(data).kind in ("pointer", "array"):
        return _cffi_address(data)
    if _callback.is_capsule(data):
        return _callback.read_capsule(data)[1]
    if isinstance(data, int) and not isinstance(data, bool):
        if not 0 <= data <= sys.maxsize * 2 + 1:
            raise ValueError(f"user_data: {data} is no address")
        return data
    raise TypeError(
        "user_data: expected None, an address, an array, a capsule, or data or a pointer of ctypes or cffi, "
        f"got {data!r}"
    )
