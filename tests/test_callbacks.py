"""callback(): compiled functions as losses, from wherever they come."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast import _engine, callbacks

HERE = Path(__file__).parent
COMPILER = os.environ.get("CC", "cc")
FLAGS = ("-std=c11", "-O2", "-ffp-contract=off", "-Wall", "-Werror", "-shared", "-fPIC", f"-I{gf.get_include()}")
PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.c_ssize_t, ctypes.c_void_p)
TEXT = "double (double *, intptr_t, void *)"
CDEF = "double weighted(double *, intptr_t, void *); double single(double *, int, void *);"
RANDOM = np.random.default_rng(0)
PARAMS = {"W": RANDOM.normal(size=(2, 3)), "b": [RANDOM.normal(size=3), 0.5]}
FLAT = np.concatenate([PARAMS["W"].ravel(), PARAMS["b"][0], [0.5]])
WEIGHTS = RANDOM.normal(size=10)

needs_openmp = pytest.mark.skipif(not _engine.has_openmp, reason="this build has no OpenMP")


def python(theta, weights=None):
    """The loss ``weighted``, to the last bit."""
    total = 0.0
    for k, x in enumerate(theta):
        total += (k + 1.0 if weights is None else float(weights[k])) * float(x) * float(x)
    return total


def python_of_tree(params):
    return python([*params["W"].ravel(), *params["b"][0], params["b"][1]])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    if shutil.which(COMPILER) is None:
        pytest.skip(f"there is no C compiler, {COMPILER}")
    library = tmp_path_factory.mktemp("callbacks") / "callbacks.so"
    subprocess.run([COMPILER, *FLAGS, HERE / "callbacks.c", "-o", library, "-lm"], check=True)
    return str(library)


@pytest.fixture(scope="module")
def library(path):
    return ctypes.CDLL(path)


def declared(function):
    """A ctypes function that says what it takes."""
    function.restype, function.argtypes = PROTOTYPE._restype_, PROTOTYPE._argtypes_
    return function


def address(function):
    return ctypes.cast(function, ctypes.c_void_p).value


@cache  # a capsule does not keep its name alive
def name_of_capsule(name):
    return name and ctypes.create_string_buffer(name.encode())


def capsule(pointer, name, context=None):
    """What a Cython module exports a function as."""
    api = ctypes.pythonapi
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(("PyCapsule_New", api))
    put = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_void_p)(("PyCapsule_SetContext", api))
    made = new(pointer, name_of_capsule(name), None)
    put(made, context)
    return made


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
    expected = gf.numerical_gradient(python_of_tree, PARAMS)
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
    assert np.array_equal(gradient["W"], gf.numerical_gradient(python_of_tree, PARAMS)["W"])
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


# ---- parameters


@pytest.mark.parametrize("dtype", ["f2", "f4", "i4", "u1"])
def test_it_is_given_float64(library, dtype):
    x = np.arange(1, 6).astype(dtype)
    assert gf.callback(declared(library.weighted))(x) == python(x)


def test_a_tree_is_one_vector_in_its_order():
    seen = []

    @PROTOTYPE
    def function(theta, n, data):
        seen.append(theta[:n])
        return 0.0

    gf.callback(function)({"b": np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]), "a": (5, np.arange(12.0)[6::2])})
    assert seen == [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]]


def test_no_parameters_at_all(library):
    loss = gf.callback(declared(library.weighted), threadsafe=True)
    assert loss({}) == 0.0
    assert gf.numerical_gradient(loss, {}) == {}


def test_nan_has_no_gradient(library):
    with pytest.raises(ValueError, match="loss: it is nan at these parameters"):
        gf.gradcheck(declared(library.not_a_number), FLAT, FLAT)


def test_very_many_parameters(library):
    """The costs of some entries of four million, at both ends, and between them."""
    theta = np.linspace(-1, 1, 4_000_000)
    loss = gf.callback(declared(library.weighted), threadsafe=True)
    costs = loss._costs_of(loss.pack(theta))
    entries = np.array([0, 2_000_001, 3_999_999])
    found = costs.costs(theta, entries, np.zeros(3), 2)
    change = -(entries + 1.0) * theta[entries] ** 2
    np.testing.assert_allclose(found - costs.cost(theta), change, rtol=1e-3, atol=1e-2)


# ---- writing into the parameters


@pytest.mark.parametrize("threadsafe", [False, True])
@pytest.mark.parametrize(("name", "entry"), [("clears", r"a\[1, 0\]"), ("flips", r"a\[1, 0\]"), ("clips", "b")])
def test_a_function_that_writes_into_its_parameters(library, name, entry, threadsafe):
    """``clips`` writes only into what lies above 1, which here only the perturbed entry does."""
    loss = gf.callback(declared(library[name]), threadsafe=threadsafe)
    params = {"a": np.full((2, 2), 0.5), "b": 1.0}
    before = {"a": params["a"].copy(), "b": 1.0}
    for call in (gf.numerical_gradient, lambda loss, params: gf.gradcheck(loss, params, params)):
        with pytest.raises(ValueError, match=rf"^loss: the function writes into its parameters, {entry}"):
            call(loss, params)
    assert np.array_equal(params["a"], before["a"])


@pytest.mark.parametrize("name", ["clears", "flips"])
def test_writing_is_noticed_when_the_loss_is_called(library, name):
    with pytest.raises(ValueError, match=r"writes into its parameters, params\[2\]"):
        gf.callback(declared(library[name]))(np.ones(4))


@pytest.mark.parametrize("threadsafe", [False, True])
def test_writing_is_noticed_when_other_entries_are_perturbed(library, threadsafe):
    loss, theta = gf.callback(declared(library.clears), threadsafe=threadsafe), np.ones(4)
    with pytest.raises(ValueError, match=r"writes into its parameters, params\[2\]"):
        loss._costs_of(loss.pack(theta)).costs(theta, np.array([0, 1]), np.zeros(2), 1)


# ---- threads


@pytest.fixture
def always_threads(monkeypatch):
    monkeypatch.setattr(callbacks, "SERIAL_SECONDS", 0.0)


def test_bitwise_equal_for_any_number_of_threads(library, always_threads):
    x = RANDOM.normal(size=1000)
    loss = gf.callback(declared(library.weighted), threadsafe=True)
    gradients = [gf.numerical_gradient(loss, x, n_threads=n) for n in (1, 2, 7, 7, 7)]
    assert all(np.array_equal(gradient, gradients[0]) for gradient in gradients)


@needs_openmp
@pytest.mark.parametrize(("threadsafe", "most"), [(False, 1), (True, 2)])
def test_only_what_is_threadsafe_is_called_by_two_threads_at_once(library, always_threads, threadsafe, most):
    calls = (ctypes.c_int * 2)()
    loss = gf.callback(declared(library.in_flight), user_data=calls, threadsafe=threadsafe)
    gf.numerical_gradient(loss, np.ones(3), n_threads=2)
    assert list(calls) == [0, most]


@pytest.mark.parametrize(("threadsafe", "most"), [(False, 1), (True, 2)])
def test_nor_for_two_threads_of_python(library, threadsafe, most):
    calls = (ctypes.c_int * 2)()
    loss = gf.callback(declared(library.in_flight), user_data=calls, threadsafe=threadsafe)
    differentiate = lambda: gf.numerical_gradient(loss, np.ones(3), n_threads=1)
    threads = [threading.Thread(target=differentiate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(calls) == [0, most]


def test_a_python_function_called_back_from_many_threads():
    """It takes the interpreter lock itself, in threads that Python did not start."""
    loss = gf.callback(PROTOTYPE(lambda theta, n, data: python(theta[:n])), threadsafe=True)
    costs = loss._costs_of(loss.pack(FLAT))
    entries = np.arange(len(FLAT)).repeat(20)
    costs._seconds = 1.0  # so that threads are worth it
    assert np.array_equal(costs.costs(FLAT, entries, FLAT[entries], 4), np.full(len(entries), python(FLAT)))


def test_nothing_of_python_runs_between_two_evaluations(library):
    events = []
    loss, x = gf.callback(declared(library.weighted)), np.ones(5000)
    sys.setprofile(lambda frame, event, argument: events.append(event))
    try:
        gf.numerical_gradient(loss, x)
    finally:
        sys.setprofile(None)
    assert 0 < len(events) < len(x)


@pytest.mark.parametrize(("seconds", "threads"), [(1e-7, 1), (1.0, 2)])
def test_few_short_evaluations_do_not_start_threads(monkeypatch, seconds, threads):
    loss = gf.callback(PROTOTYPE(lambda theta, n, data: 0.0), threadsafe=True)
    used = []
    monkeypatch.setattr(callbacks._callback, "costs", lambda *arguments: used.append(arguments[-2]) or -1)
    costs = loss._costs_of(loss.pack(FLAT))
    costs._seconds = seconds
    costs.costs(FLAT, np.arange(10), FLAT, 2)
    assert used == [threads]


# ---- processes


def run(code, path, *arguments):
    command = [sys.executable, "-c", PRELUDE + code, path, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


PRELUDE = """
import ctypes, os, signal, sys, time, warnings
import numpy as np
import gradcheck_fast as gf

PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.c_ssize_t, ctypes.c_void_p)
library = ctypes.CDLL(sys.argv[1])
"""


@pytest.mark.parametrize("threadsafe", [False, True])
def test_ctrl_c_ends_a_long_check_within_a_second(path, threadsafe):
    code = """
signal.signal(signal.SIGINT, signal.default_int_handler)
loss = gf.callback(PROTOTYPE(("slow", library)), threadsafe=sys.argv[2] == "True")
print("ready", flush=True)
try:
    gf.numerical_gradient(loss, np.ones(100_000))
    print("finished")
except KeyboardInterrupt:
    print(time.time())
"""
    process = run(code, path, threadsafe)
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        pressed = time.time()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert float(output) - pressed < 1.0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_of_a_parent_that_used_threads(path):
    code = """
warnings.simplefilter("ignore")  # Python 3.12 and later warn of every fork of a process with threads
loss = gf.callback(PROTOTYPE(("slow", library)), threadsafe=True)
gradient = lambda: gf.numerical_gradient(loss, np.ones(8), n_threads=2)
expected = gradient()
if not (child := os.fork()):
    signal.alarm(20)
    os._exit(0 if np.array_equal(gradient(), expected) else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    output, _ = run(code, path).communicate(timeout=60)
    assert output == "0\n"


# ---- the header


@pytest.mark.parametrize(("language", "standard"), [("c", "c99"), ("c", "c17"), ("c++", "c++11")])
def test_the_header_declares_the_signature(tmp_path, language, standard):
    compiler = COMPILER if language == "c" else os.environ.get("CXX", "c++")
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no compiler {compiler}")
    linkage = "" if language == "c" else 'extern "C" '
    body = "(double *theta, intptr_t n, void *user_data) { return n && !user_data ? theta[0] : 0.0; }"
    command = [compiler, "-x", language, f"-std={standard}", "-pedantic", "-Wall", "-Wextra", "-Werror"]
    for result, compiles in (("double", True), ("float", False)):
        source = tmp_path / "loss.txt"
        source.write_text(f"#include <gradcheck_fast.h>\n{linkage}gradcheck_fast_loss loss;\n{result} loss{body}\n")
        done = subprocess.run([*command, f"-I{gf.get_include()}", "-fsyntax-only", source], capture_output=True)
        assert (done.returncode == 0) == compiles, done.stderr
