"""Rewriting users' functions: every call goes through a hook, and nothing else is different."""

from __future__ import annotations

import collections
import functools
import linecache
import math
import threading
import traceback
import types
import warnings
from time import perf_counter

import numpy as np
import pytest
from rewriting import Hook, module_of

from gradcheck_fast.frontends.numpy_trace.rewrite import Rewriter
from gradcheck_fast.inputs.users_files import is_users_file


@pytest.fixture
def hook():
    return Hook()


def layer(x, *, scale=2.0):
    """Some text."""
    return np.tanh(scale * x).sum()


def outer(values):
    def inner(value):
        return math.exp(value)

    return [inner(v) for v in values], sorted(values, key=lambda v: -abs(v))


def test_every_call_goes_through_the_hook(hook):
    converted = hook.rewriter.convert(outer)
    assert converted([0.0, 1.0]) == outer([0.0, 1.0])
    names = [function.__name__ for function in hook.calls]
    assert names == ["inner", "exp", "inner", "exp", "sorted", "abs", "abs"]
    hook.calls.clear()
    assert hook.rewriter.convert(layer)(np.ones(2), scale=3.0) == layer(np.ones(2), scale=3.0)
    assert [function.__name__ for function in hook.calls] == ["tanh", "sum"]


def test_what_a_function_has_besides_its_code_is_kept(hook):
    layer.note = "kept"
    converted = hook.rewriter.convert(layer)
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__kwdefaults__", "__annotations__", "note"):
        assert getattr(converted, name) == getattr(layer, name)
    assert converted.__globals__ is layer.__globals__ and converted.__code__ is not layer.__code__
    converted.note = "and shared"
    assert layer.note == "and shared"


def test_keywords_may_have_any_name(hook):
    def function(self, **kwargs):
        return self, kwargs

    def caller():
        return function(self=1, function=2, args=3)

    assert hook.rewriter.convert(caller)() == (1, {"function": 2, "args": 3})


def test_closures_are_shared(hook):
    count, early = 0, 1

    def add(by=1):
        nonlocal count
        count += abs(by)
        return count + early

    assert hook.rewriter.convert(add)(by=-5) == 6
    assert count == 5
    early, count = 10, 7
    assert hook.rewriter.convert(add)() == add() - 1


class Base:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def __call__(self, x):
        return abs(self.value) * x

    @property
    def twice(self):
        return abs(2 * self.value)

    @classmethod
    def of(cls, text):
        return cls(float(text))

    @staticmethod
    def size(x):
        return len(x)


class Derived(Base):
    def __init__(self, value):
        super().__init__(value)
        self.__private = int(value)

    def __secret(self, __x):
        return max(__x, self.__private)

    def __call__(self, x):
        return super().__call__(x) + self.__secret(4) + len(__class__.__name__)

    class Nested:
        def both(self):
            return type(self).__qualname__, [str(i) for i in range(2)]


def test_methods_classes_and_callable_objects(hook):
    convert, derived = hook.rewriter.convert, Derived(-2)
    assert convert(derived)(5) == derived(5) == 21
    assert convert(derived.__call__)(5) == 21
    made = convert(Derived)(-2)
    assert type(made) is Derived and made(5) == 21 and made.twice == 4
    assert convert(Derived.of)("-2")(5) == 21
    assert convert(Base.size)([1, 2]) == 2 and convert(vars(Base)["size"])([1, 2]) == 2
    assert convert(vars(Base)["of"]).__get__(None, Derived)("1").value == 1.0
    assert convert(Derived.Nested().both)() == ("Derived.Nested", ["0", "1"])
    assert len in hook.calls and max in hook.calls
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'value'"):
        convert(Derived)()


def test_wrapped_functions(hook):
    convert, seen = hook.rewriter.convert, []

    @functools.lru_cache
    def cached(x):
        return abs(x)

    def decorated(function):
        @functools.wraps(function)
        def wrapper(*args):
            seen.append(args)
            return function(*args)

        return wrapper

    @decorated
    def plain(x):
        return abs(x)

    assert convert(cached)(-1) == 1 and hook.calls == [abs]
    assert convert(functools.partial(pow_of, 2, exponent=-3))() == 8 and hook.calls[1] is abs
    assert convert(plain)(-4) == 4 and seen == [(-4,)] and hook.calls[-1] is abs


def pow_of(x, exponent):
    return x ** abs(exponent)


def test_numbas_dispatchers_are_their_python_functions(hook):
    numba = pytest.importorskip("numba", reason="Numba is not installed")
    assert hook.rewriter.convert(numba.njit(pow_of))(2, -3) == 8 and hook.calls == [abs]


def test_what_is_not_the_users_is_left_alone(hook):
    without_source = {}
    exec("def function(x):\n    return abs(x)", without_source)
    Pair = collections.namedtuple("Pair", "a b")
    ours = Rewriter.convert
    for function in [
        np.sum, np.tanh, np.linalg.norm, abs, [].append, list, int, Pair, ours, functools.partial(np.sum), 3, None,
        collections.Counter, math.exp, without_source["function"], type("Empty", (), {}), np.vectorize(abs),
    ]:  # fmt: skip
        assert hook.rewriter.convert(function) is None
    assert is_users_file(__file__) and is_users_file("relative.py")
    others = "<string>", "<frozen importlib._bootstrap>", np.__file__, collections.__file__, ours.__code__.co_filename
    assert not any(map(is_users_file, others))
    assert Rewriter(hook, is_users=lambda name: True).convert(np.linalg.norm)([3.0, 4.0]) == 5.0


def test_a_source_that_was_changed_after_the_import_is_not_used(hook, tmp_path):
    text = "def f(x):\n    return abs(x)\n\ndef g(x):\n    return abs(x)\n"
    module = module_of(text, tmp_path)
    with open(module.__file__, "w") as file:
        file.write(text.replace("abs", "len", 1))
    assert hook.rewriter.convert(module.f) is None
    assert hook.rewriter.convert(module.g)(-1) == 1
    with open(module.__file__, "w") as file:
        file.write("def f(x:\n")
    assert Hook().rewriter.convert(module.g) is None


def with_asserts(x):
    assert isinstance(x, int), "a number"
    return [abs(v) for v in (x, -x)]


def test_pytests_own_rewriting_does_not_hide_a_function(hook):
    assert any(name.startswith("@py") for name in with_asserts.__code__.co_names + with_asserts.__code__.co_varnames)
    assert hook.rewriter.convert(with_asserts)(-2) == [2, 2] and hook.calls == [isinstance, abs, abs]


TWO = "first, second = (lambda x: abs(x) + 1), (lambda x: abs(x) + 2)\n"
COUNTED = "def count():\n    global total\n    total = max(total + 1, 0)\n    return total\ntotal = 0\n"
EVALUATED = "seen = []\ndef f(x, to=seen.append('once') or []):\n    to.append(abs(x))\n    return to\n"


def test_modules_that_were_executed_from_a_text(hook, tmp_path):
    two, counted, evaluated = (module_of(text, tmp_path, f"m{i}") for i, text in enumerate((TWO, COUNTED, EVALUATED)))
    before = dict(vars(two)), dict(vars(counted)), dict(vars(evaluated))
    assert [hook.rewriter.convert(f)(-1) for f in (two.first, two.second)] == [2, 3]
    hook.rewriter.convert(evaluated.f)(-1)
    assert evaluated.f(-2) == [1, 2] and evaluated.seen == ["once"]
    assert (vars(two), vars(counted), vars(evaluated)) == before
    assert hook.rewriter.convert(counted.count)() == counted.total == 1

    names = {"__name__": "by hand"}
    exec(compile(COUNTED, counted.__file__, "exec"), names)
    assert hook.rewriter.convert(names["count"])() == 1 and counted.total == 1

    linecache.cache["<a notebook's cell>"] = (len(TWO), None, TWO.splitlines(True), "<a notebook's cell>")
    exec(compile(TWO, "<a notebook's cell>", "exec"), names)
    assert hook.rewriter.convert(names["second"])(-1) == 3
    del linecache.cache["<a notebook's cell>"]


def test_generators_and_recursion(hook):
    def numbers(n):
        if n > 0:
            sent = yield abs(-n)
            yield from numbers(n - max(1, sent or 0))

    async def waits(n):
        return abs(n)

    generator = hook.rewriter.convert(numbers)(4)
    assert [next(generator), generator.send(2), next(generator)] == [4, 2, 1]
    assert isinstance(generator, types.GeneratorType) and abs in hook.calls and numbers in hook.calls
    with pytest.raises(StopIteration) as stop:
        hook.rewriter.convert(waits)(-3).send(None)
    assert stop.value.value == 3


def test_calls_that_look_at_their_frame(hook):
    def function(x):
        y = abs(x)
        return dict(locals()), vars(), eval("y + 1"), sorted(dir())

    assert hook.rewriter.convert(function)(-1) == function(-1)
    assert set(hook.calls) == {abs, dict, sorted}


FAILS = """
def fails(x):
    y = (abs(x)
         .__str__()
         .index(
             "no"))

def divides(x):
    values = [1, 0]
    values[
        0] = inner(
        x
    )
    values[1] += (
        1 / x)

def inner(x):
    return max(
        *[1, 2], key=lambda v:
            v / x)

def unpacks(x):
    values = [0]
    a, values[
        5] = x, 2

def stars(x):
    return max(
        *[x],
        **{"key": abs})

def method(x):
    return (
        x
        .nothing
        (1)
    )
"""


@pytest.mark.parametrize("name", ["fails", "divides", "unpacks", "stars", "method"])
def test_tracebacks_show_the_same_lines(hook, tmp_path, name):
    module = module_of(FAILS, tmp_path)
    shown = []
    for function in (getattr(module, name), hook.rewriter.convert(getattr(module, name))):
        with pytest.raises(Exception) as caught:
            function(0)
        frames = traceback.extract_tb(caught.value.__traceback__)
        lines = [(frame.name, frame.lineno) for frame in frames if frame.filename == module.__file__]
        shown.append((type(caught.value), str(caught.value), lines))
    assert shown[0] == shown[1]


def test_functions_made_by_rewritten_code_are_rewritten_once_for_each_hook(hook):
    def makes(x):
        return lambda: abs(x)

    made = hook.rewriter.convert(makes)(-1)
    assert hook.rewriter.convert(made) is made
    other = Hook()
    assert other.rewriter.convert(made)() == 1 and other.calls == [abs] and not hook.calls


def test_threads(hook, tmp_path):
    text = "".join(f"def f{i}(x):\n    x[0] = abs(x[0]) + {i}\n    return x\n" for i in range(20))
    module, results = module_of(text, tmp_path), []

    def work():
        results.append([hook.rewriter.convert(getattr(module, f"f{i}"))([-1]) for i in range(20)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[[1 + i] for i in range(20)]] * 4


def test_warnings_of_the_compiler_are_not_repeated(hook, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = module_of("def f(x):\n    return abs(x) is 1, '\\d', f'{abs(x)!r:>{len(str(x))}}'\n", tmp_path)
    assert hook.rewriter.convert(module.f)(-1)[1:] == ("\\d", " 1")


def test_converting_again_and_calling_are_fast():
    class Bare:
        def call(self, function, /, *args, **kwargs):
            return function(*args, **kwargs)

    def calls(n):
        for _ in range(n):
            abs(-1)

    def seconds(function, *args):
        begin = perf_counter()
        function(*args)
        return perf_counter() - begin

    convert = Rewriter(Bare()).convert
    converted = convert(calls)
    again = min(seconds(lambda: [convert(calls) for _ in range(100)]) for _ in range(20)) / 100
    extra = min(seconds(converted, 1000) for _ in range(20)) - min(seconds(calls, 1000) for _ in range(20))
    assert again < 5e-6 and extra / 1000 < 0.3e-6
