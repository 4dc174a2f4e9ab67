"""callback(): where compiled functions and their data may come from, and what is refused."""

from __future__ import annotations

import ctypes
import gc
import pickle
import re
import subprocess
import sys
import weakref
from typing import NamedTuple

import numpy as np
import pytest
from compiled import (
    CDEF,
    COMPILER,
    FLAT,
    PARAMS,
    PROTOTYPE,
    TEXT,
    WEIGHTS,
    address,
    capsule,
    declared,
    python,
    python_of_tree,
)

import gradcheck_fast as gf

# ---- where a function may come from


def numba_cfunc(library, path):
    numba = pytest.importorskip("numba")

    @numba.cfunc("float64(CPointer(float64), intp, voidptr)")
    def weighted(theta, n, user_data):
        total = 0.0
        for k in range(n):
            total += (k + 1.0) * theta[k] * theta[k]
        return total

    return weighted


def cffi_function(library, path):
    ffi = pytest.importorskip("cffi").FFI()
    ffi.cdef(CDEF)
    return ffi.dlopen(path).weighted


def cffi_callback(library, path):
    ffi = pytest.importorskip("cffi").FFI()
    return ffi.callback("double(double *, intptr_t, void *)", lambda theta, n, data: python(theta[0:n]))


def low_level_callable(library, path):
    return pytest.importorskip("scipy").LowLevelCallable(declared(library.weighted))


def low_level_callable_told_the_signature(library, path):
    undeclared = ctypes.CDLL(path).weighted
    return pytest.importorskip("scipy").LowLevelCallable(undeclared, signature=TEXT)


SOURCES = {
    "ctypes": lambda library, path: declared(library.weighted),
    "ctypes-of-an-address": lambda library, path: PROTOTYPE(address(library.weighted)),
    "ctypes-of-python": lambda library, path: PROTOTYPE(lambda theta, n, data: python(theta[:n])),
    "cffi": cffi_function,
    "cffi-of-python": cffi_callback,
    "numba": numba_cfunc,
    "capsule": lambda library, path: capsule(address(library.weighted), TEXT),
    "LowLevelCallable": low_level_callable,
    "LowLevelCallable-told-the-signature": low_level_callable_told_the_signature,
}


@pytest.fixture(params=SOURCES)
def function(request, library, path):
    return SOURCES[request.param](library, path)


def test_it_gives_what_the_function_gives(function):
    assert gf.callback(function)(PARAMS) == python(FLAT)


@pytest.mark.parametrize("threadsafe", [False, True])
def test_its_gradient_is_that_of_the_python_function_to_the_last_bit(function, threadsafe):
    expected = gf.numerical_gradient(python_of_tree, PARAMS, trace=False)
    gradient = gf.numerical_gradient(gf.callback(function, threadsafe=threadsafe), PARAMS, n_threads=2)
    assert np.array_equal(gradient["W"], expected["W"])
    assert np.array_equal(gradient["b"][0], expected["b"][0])
    assert gradient["b"][1] == expected["b"][1]


def test_gradcheck_takes_it_as_it_is(function):
    right = gf.numerical_gradient(python_of_tree, PARAMS)
    wrong = {**right, "W": 1.5 * right["W"]}
    assert gf.gradcheck(function, right, PARAMS, loss_value=python(FLAT)).ok
    report = gf.gradcheck(function, wrong, PARAMS, loss_value=2 * python(FLAT))
    assert [array.name for array in report.arrays if array.wrong] == ["W"]
    assert report.notes


CYTHON = """
# cython: language_level=3
cdef api double weighted(const double *theta, Py_ssize_t n, void *user_data) noexcept nogil:
    cdef Py_ssize_t k
    cdef double total = 0.0
    for k in range(n):
        total += (k + 1.0) * theta[k] * theta[k]
    return total

cdef api double raises(double *theta, long n, double *user_data) except? -1:
    raise ArithmeticError(f"n is {n}")

cdef api double raises_without_the_lock(double *theta, long n, double *user_data) except? -1 nogil:
    with gil:
        raise ArithmeticError("raised")
"""


@pytest.mark.long
def test_functions_of_a_cython_module(tmp_path, monkeypatch):
    pytest.importorskip("Cython")
    import sysconfig

    (tmp_path / "of_cython.pyx").write_text(CYTHON)
    subprocess.run([sys.executable, "-m", "cython", "-3", "of_cython.pyx"], cwd=tmp_path, check=True)
    include = f"-I{sysconfig.get_path('include')}"
    target = "of_cython" + sysconfig.get_config_var("EXT_SUFFIX")
    command = [COMPILER, "-shared", "-fPIC", "-ffp-contract=off", include, "of_cython.c", "-o", target]
    subprocess.run(command, cwd=tmp_path, check=True)
    monkeypatch.syspath_prepend(tmp_path)
    import of_cython

    exported = of_cython.__pyx_capi__
    gradient = gf.numerical_gradient(gf.callback(exported["weighted"], threadsafe=True), PARAMS)
    assert np.array_equal(gradient["W"], gf.numerical_gradient(python_of_tree, PARAMS, trace=False)["W"])
    with pytest.raises(ArithmeticError, match="n is 10"):
        gf.numerical_gradient(exported["raises"], PARAMS)
    for threadsafe in (False, True):
        with pytest.raises(ArithmeticError, match="raised"):
            gf.callback(exported["raises_without_the_lock"], threadsafe=threadsafe)(PARAMS)


# ---- data that go with it


class Weights(ctypes.Structure):
    _fields_ = (("all", ctypes.c_double * 10),)


def of_cffi(make):
    return make(pytest.importorskip("cffi").FFI())


OF_CTYPES = (ctypes.c_double * 10)(*WEIGHTS)
DATA = {
    "array": lambda: WEIGHTS,
    "read-only-array": lambda: np.frombuffer(WEIGHTS.tobytes()),
    "array-in-Fortran-order": lambda: np.asfortranarray(WEIGHTS.reshape(2, 5).T.copy("F")),
    "address": lambda: WEIGHTS.ctypes.data,
    "ctypes-array": lambda: OF_CTYPES,
    "ctypes-structure": lambda: Weights(OF_CTYPES),
    "ctypes-pointer": lambda: ctypes.pointer(OF_CTYPES),
    "ctypes-reference": lambda: ctypes.byref(OF_CTYPES),
    "c_void_p": lambda: ctypes.c_void_p(WEIGHTS.ctypes.data),
    "cffi-array": lambda: of_cffi(lambda ffi: ffi.new("double[]", WEIGHTS.tolist())),
    "cffi-pointer": lambda: of_cffi(lambda ffi: ffi.cast("void *", WEIGHTS.ctypes.data)),
    "capsule": lambda: capsule(WEIGHTS.ctypes.data, None),
}


@pytest.mark.parametrize("kind", DATA)
def test_user_data(library, kind):
    loss = gf.callback(declared(library.weighted), user_data=DATA[kind]())
    assert loss(FLAT) == python(FLAT, WEIGHTS)


def test_null_pointers_as_user_data(library):
    for null in (None, 0, ctypes.c_void_p(), ctypes.POINTER(ctypes.c_double)()):
        assert gf.callback(declared(library.weighted), user_data=null)(FLAT) == python(FLAT)


def test_user_data_that_comes_with_the_function(library):
    data = ctypes.c_void_p(WEIGHTS.ctypes.data)
    with_context = capsule(address(library.weighted), TEXT, data)
    assert gf.callback(with_context)(FLAT) == python(FLAT, WEIGHTS)
    assert gf.callback(with_context, user_data=np.ones(10))(FLAT) == python(FLAT, np.ones(10))
    scipy = pytest.importorskip("scipy")
    assert gf.callback(scipy.LowLevelCallable(declared(library.weighted), data))(FLAT) == python(FLAT, WEIGHTS)
    assert gf.callback(scipy.LowLevelCallable(with_context))(FLAT) == python(FLAT, WEIGHTS)


def test_function_and_data_are_kept_alive():
    class Array(np.ndarray):  # which can be referred to weakly
        pass

    data = np.ones(10).view(Array)
    function = PROTOTYPE(lambda theta, n, data: 7.0)
    alive = weakref.ref(data), weakref.ref(function)
    loss = gf.callback(function, user_data=data)
    del data, function
    gc.collect()
    assert all(reference() is not None for reference in alive)
    assert loss(FLAT) == 7.0
    del loss
    gc.collect()
    assert all(reference() is None for reference in alive)


# ---- what is refused


def with_types(result, *arguments):
    return ctypes.CFUNCTYPE(result, *arguments)(lambda *given: 0)


DOUBLES, N, DATA_POINTER = PROTOTYPE._argtypes_


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ((ctypes.c_float, DOUBLES, N, DATA_POINTER), r"got float \(double \*, \w+, void \*\): it returns float"),
        ((None, DOUBLES, N, DATA_POINTER), r"got void \(.*: it returns void"),
        ((ctypes.c_double, ctypes.c_void_p, N, DATA_POINTER), r"its first argument is void \*"),
        (
            (ctypes.c_double, ctypes.POINTER(ctypes.c_float), ctypes.c_short, DATA_POINTER),
            r"got double \(float \*, short, void \*\): its first argument is float \*, its second argument is short",
        ),
        ((ctypes.c_double, DOUBLES, ctypes.c_int, DATA_POINTER), "its second argument is int"),
        ((ctypes.c_double, DOUBLES, N, ctypes.c_double), "its third argument is double"),
        ((ctypes.c_double, DOUBLES, N), r"got double \(double \*, \w+\)$"),
        ((ctypes.c_double, ctypes.c_double), r"got double \(double\)$"),
        ((ctypes.c_double,), r"got double \(void\)$"),
    ],
)
def test_ctypes_functions_of_another_signature(types, message):
    function = with_types(*types)
    expected = r"expected the signature double \(double \*, intptr_t, void \*\), "
    with pytest.raises(TypeError, match=f"^function: {expected}.*{message}"):
        gf.callback(function)
    with pytest.raises(TypeError, match=f"^loss: {expected}.*{message}"):
        gf.numerical_gradient(function, PARAMS)


def test_integers_and_pointers_of_other_names_will_do(library):
    vector = np.ctypeslib.ndpointer(np.float64, flags="C")
    for arguments in [(DOUBLES, ctypes.c_int64, ctypes.POINTER(Weights)), (vector, ctypes.c_longlong, DATA_POINTER)]:
        function = ctypes.CFUNCTYPE(ctypes.c_double, *arguments)(address(library.weighted))
        assert gf.callback(function)(FLAT) == python(FLAT)
    for name in ("double(double const *, Py_ssize_t, void*)", "double (double*,long,struct weights *)"):
        assert gf.callback(capsule(address(library.weighted), name))(FLAT) == python(FLAT)


def test_a_ctypes_function_that_does_not_say_what_it_takes(path):
    undeclared = ctypes.CDLL(path).weighted
    with pytest.raises(TypeError, match=r"set its restype = c_double and its argtypes = \[POINTER"):
        gf.callback(undeclared)
    undeclared.restype = lambda result: 0.5 * result
    undeclared.argtypes = ()
    with pytest.raises(TypeError, match=r"got <function .*> \(void\)$"):
        gf.callback(undeclared)
    undeclared = ctypes.CDLL(path).weighted
    undeclared.argtypes = PROTOTYPE._argtypes_  # the result is then an int
    with pytest.raises(TypeError, match="it returns int"):
        gf.callback(undeclared)


def test_cffi_functions_of_another_signature(path):
    ffi = pytest.importorskip("cffi").FFI()
    ffi.cdef(CDEF)
    with pytest.raises(TypeError, match=r"got double \(double \*, int, void \*\): its second argument is int"):
        gf.callback(ffi.dlopen(path).single)
    with pytest.raises(TypeError, match=r"got double \*$"):
        gf.callback(ffi.new("double *"))
    with pytest.raises(TypeError, match=r"got double \(double \*, \.\.\.\)$"):
        gf.callback(ffi.cast("double(*)(double *, ...)", 1))


def test_numba_functions_of_another_signature():
    numba = pytest.importorskip("numba")
    with pytest.raises(TypeError, match=r"got double \(double\)$"):
        gf.callback(numba.cfunc("float64(float64)")(lambda x: x))


@pytest.mark.parametrize("name", ["double (double *, int, void *)", "datetime.datetime_CAPI", None])
def test_capsules_of_another_name(library, name):
    shown = re.escape(name or "a capsule without a name")
    with pytest.raises(TypeError, match=f"expected the signature .* got {shown}"):
        gf.callback(capsule(address(library.weighted), name))


class LikeLowLevelCallable(NamedTuple):
    function: object
    user_data: object
    signature: str


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (140737000000, r"got 140737000000; make an address a function by CFUNCTYPE\(c_double, POINTER\(c_double\)"),
        (python, "a Python function is a loss as it is"),
        (sum, r"ffi.addressof\(lib, name\)"),
        (None, "got None$"),
        (LikeLowLevelCallable(python, None, TEXT), "got LikeLowLevelCallable"),
        ("weighted", "got 'weighted'$"),
    ],
)
def test_what_is_no_compiled_function(function, message):
    with pytest.raises(TypeError, match=f"^function: expected a function pointer of ctypes or cffi, .*{message}"):
        gf.callback(function)


def test_null_pointers_are_no_functions():
    with pytest.raises(ValueError, match="is a null pointer"):
        gf.callback(PROTOTYPE())


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (np.ones((4, 4))[:, 0], ValueError, r"not contiguous; give np.ascontiguousarray\(array\)"),
        (-1, ValueError, "-1 is no address"),
        (2**64, ValueError, "is no address"),
        (True, TypeError, "got True"),
        (1.5, TypeError, "got 1.5"),
        (b"text", TypeError, "got b'text'"),
        ([1.0], TypeError, r"got \[1.0\]"),
    ],
)
def test_what_is_no_user_data(library, data, error, message):
    with pytest.raises(error, match=f"^user_data: .*{message}"):
        gf.callback(declared(library.weighted), user_data=data)


def test_threadsafe_is_true_or_false(library):
    with pytest.raises(TypeError, match="threadsafe: expected True or False, got 2"):
        gf.callback(declared(library.weighted), threadsafe=2)


@pytest.mark.parametrize("send", [pickle.dumps, lambda loss: pickle.dumps(loss._costs_of(loss.pack(PARAMS)))])
def test_it_cannot_be_sent_to_another_process(library, send):
    with pytest.raises(TypeError, match=r"is an address in this process .* use threads \(n_threads"):
        send(gf.callback(declared(library.weighted)))
