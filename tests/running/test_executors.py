"""The work shared out to other threads, processes and clusters: the same result."""

from __future__ import annotations

import builtins
import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from networks import flat
from work import EXPECTED, METHODS, PARAMS, Inline, Mine, function, gradient, make_network, raises

import gradcheck_fast as gf
from gradcheck_fast.engine import engine as methods
from gradcheck_fast.engine import routes
from gradcheck_fast.inputs.trees import pack
from gradcheck_fast.running import executors, threads

# ---- the same result


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_network_s_gradient_and_error_bars_are_bitwise_equal(kind, method, processes):
    loss, params = make_network()
    expected = gf.numerical_gradient(loss, params, method=method, error_bars=True)
    with ThreadPoolExecutor(3) as threads:
        executor = threads if kind == "threads" else processes
        found = gf.numerical_gradient(loss, params, method=method, error_bars=True, executor=executor)
    np.testing.assert_equal([flat(tree) for tree in found], [flat(tree) for tree in expected])


def test_a_function_s_gradient_is_bitwise_equal(processes):
    with ThreadPoolExecutor(3) as threads:
        for executor in (threads, processes):
            np.testing.assert_array_equal(gradient(function, PARAMS, executor=executor), EXPECTED)


@pytest.mark.parametrize("seconds", [1e-9, 1e-3, 10.0])
@pytest.mark.parametrize("method", METHODS)
def test_the_result_does_not_depend_on_how_the_work_is_split(method, seconds, monkeypatch):
    monkeypatch.setattr(routes, "BLOCKS_PER_TASK", 1)
    monkeypatch.setattr(methods, "FEWEST_SAMPLES", 8)
    monkeypatch.setattr(methods, "CHUNK_DOUBLES", 1)  # chunks of eight samples
    monkeypatch.setattr(executors, "SHARE_SECONDS", seconds)
    monkeypatch.setattr(executors, "SHORTEST_SHARE_SECONDS", 0.5 * seconds)
    monkeypatch.setattr(executors, "first_size", lambda job: 1)
    loss, params = make_network(samples=37)
    inline = Inline()
    found = gradient(loss, params, method=method, executor=inline)
    np.testing.assert_array_equal(found, gradient(loss, params, method=method))
    sizes = {end - begin for begin, end in inline.ranges}
    assert sizes == {1} if seconds == 1e-9 else len(inline.sent) > 5


def not_analytic_in_entry_30(params):
    if np.imag(params["w"].flat[30]):
        raise TypeError("only real numbers there")
    return np.sum(np.tanh(params["w"]) ** 3) * params["b"]


def test_a_function_that_takes_complex_numbers_in_some_entries_only(monkeypatch):
    expected = gradient(not_analytic_in_entry_30, PARAMS)
    monkeypatch.setattr(executors, "SHARE_SECONDS", 0.0)  # one by one
    np.testing.assert_array_equal(gradient(not_analytic_in_entry_30, PARAMS, executor=Inline()), expected)


def test_gradcheck_takes_an_executor():
    loss, params = make_network()
    right = gf.numerical_gradient(loss, params)
    inline = Inline()
    assert gf.gradcheck(loss, right, params, executor=inline)
    assert inline.sent


def test_progress_rises_to_one():
    seen = []
    gradient(function, PARAMS, executor=Inline(), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_workers_use_one_thread_each_unless_told_otherwise(monkeypatch):
    loss, params = make_network()
    seen = []
    perturb = methods.Sweep.perturb
    monkeypatch.setattr(
        methods.Sweep, "perturb", lambda run, *task: (seen.append(run.n_threads), perturb(run, *task))[1]
    )
    monkeypatch.setattr(methods, "SERIAL_WORK", 0.0)
    gradient(loss, params, executor=Inline())
    assert set(seen) == {1}
    gradient(loss, params, executor=Inline(), n_threads=2)
    assert set(seen) == {1, threads.resolve(2)}


def slow(x):
    time.sleep(5e-4)
    return float(x.sum())


def test_towards_the_end_the_shares_are_small_for_everyone_to_have_some(monkeypatch):
    monkeypatch.setattr(executors, "SHORTEST_SHARE_SECONDS", 0.0)
    inline = Inline()
    gf.numerical_gradient(slow, np.ones(300), method="direct", executor=inline)
    sizes = [end - begin for begin, end in inline.ranges]
    assert max(sizes) > 10
    assert max(sizes[-5:]) <= 5


# ---- threads of other libraries


def times_threads_of_blas(x):
    """Its slope says how many threads NumPy's BLAS may use where it is called."""
    info = pytest.importorskip("threadpoolctl").threadpool_info()
    return float(x.sum()) * max(
        (library["num_threads"] for library in info if library["user_api"] == "blas"), default=1
    )


@pytest.mark.skipif(times_threads_of_blas(np.ones(1)) < 2, reason="BLAS has one thread here anyway")
def test_blas_uses_one_thread_in_workers_and_what_it_did_elsewhere(processes):
    slope = lambda **options: gf.numerical_gradient(times_threads_of_blas, np.ones(3), method="direct", **options)
    own = slope()
    np.testing.assert_allclose(slope(executor=processes), 1.0)
    np.testing.assert_allclose(slope(executor=processes, n_threads=2), 2.0)
    for here in (Inline(), ThreadPoolExecutor(1)):
        with here:
            np.testing.assert_allclose(slope(executor=here), own)
    at_rest = processes.submit(times_threads_of_blas, np.ones(1)).result()
    assert at_rest == times_threads_of_blas(np.ones(1))


# ---- what is sent


def test_the_work_is_described_to_a_worker_once_where_that_is_much(monkeypatch):
    monkeypatch.setattr(executors, "LIGHT", 1000)
    monkeypatch.setattr(executors, "first_size", lambda job: 1)
    monkeypatch.setattr(executors, "SHARE_SECONDS", 0.0)
    executors._place.cache_clear()
    inline, large = Inline(), {"w": np.ones(50), "b": 1.0}
    found = gradient(function, large, method="direct", executor=inline)
    np.testing.assert_array_equal(found, gradient(function, large, method="direct"))
    heavy = [packed for _, packed, _, _ in inline.sent if packed is not None]
    assert len(inline.sent) > 10
    assert 0 < len(heavy) <= executors.FIRST_SHARES


def test_a_tree_s_arrays_do_not_travel_with_its_form():
    tree = {"a": [np.ones((1000, 10)), 3.0], "b": (np.float64(2.0), np.zeros(()))}
    packed = pack(tree)
    sent = pickle.dumps(packed.unpack)
    assert len(sent) < 1000
    np.testing.assert_equal(pickle.loads(sent)(packed.flat), packed.unpack(packed.flat))
    assert isinstance(pickle.loads(sent)(packed.flat)["b"][1], np.ndarray)


def test_a_share_of_a_network_takes_its_own_samples_along():
    loss, params = make_network(samples=20_000)
    inline = Inline()
    gradient(loss, params, method="units", executor=inline)
    chunks = {packed for _, packed, _, _ in inline.sent if packed}
    assert len(chunks) > 10
    assert max(map(len, chunks)) < 0.2 * len(pickle.dumps(loss))


def test_a_compiled_loss_can_be_pickled():
    loss, params = make_network()
    other = pickle.loads(pickle.dumps(loss))
    assert other(params) == loss(params)
    np.testing.assert_array_equal(gradient(other, params), gradient(loss, params))


def test_functions_defined_in_functions_are_sent_by_cloudpickle(processes):
    pytest.importorskip("cloudpickle")
    factor = 3.0
    found = gf.numerical_gradient(lambda x: factor * (x**2).sum(), np.ones(3), executor=processes, trace=False)
    np.testing.assert_allclose(found, 6.0)


def test_a_function_that_cannot_be_sent_is_named(monkeypatch):
    original = builtins.__import__

    def without_cloudpickle(name, *arguments):
        if name == "cloudpickle":
            raise ImportError(name)
        return original(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without_cloudpickle)
    local = lambda x: (x**2).sum()
    with pytest.raises(TypeError, match=r"^loss: it cannot be sent .*<lambda>.* at the top level of a module, or"):
        gf.numerical_gradient(local, np.ones(3), executor=Inline(), trace=False)
    with ThreadPoolExecutor(2) as threads:
        np.testing.assert_allclose(gf.numerical_gradient(local, np.ones(3), executor=threads, trace=False), 2.0)


# ---- bad input


@pytest.mark.parametrize("bad", [4, "processes", [ThreadPoolExecutor]], ids=repr)
def test_an_executor_has_the_interface_of_concurrent_futures(bad):
    with pytest.raises(TypeError, match=r"^executor: expected one with the interface of concurrent.futures"):
        gf.numerical_gradient(function, PARAMS, executor=bad, trace=False)


def test_submit_must_give_futures():
    class Client:
        def submit(self, *arguments):
            return "<Future: pending>"

    with pytest.raises(TypeError, match=r"^executor: its submit\(\) gave .* of a Dask client give client.get_executor"):
        gf.numerical_gradient(function, PARAMS, executor=Client(), trace=False)


def test_an_exception_of_the_loss_comes_through_and_nothing_more_is_done(processes):
    before = PARAMS["w"].copy()
    for executor in (Inline(), processes):
        with pytest.raises(Mine, match=r"^entry 7\b"):
            gf.numerical_gradient(raises, PARAMS, executor=executor, trace=False)
    np.testing.assert_array_equal(PARAMS["w"], before)
    np.testing.assert_array_equal(gradient(function, PARAMS, executor=processes), EXPECTED)


class Odd(Exception):
    """Can be pickled, but not read again."""

    def __init__(self, what, why):
        super().__init__(what)


def raises_odd(params):
    if params["w"].flat[7].imag:
        raise Odd("entry 7", "because")
    return function({name: array.real for name, array in params.items()})


def test_an_exception_that_cannot_be_unpickled_is_not_taken_for_a_death(processes):
    with pytest.raises(RuntimeError, match=r"^loss: it raised Odd: entry 7; .*while w\[2, 1\] was complex"):
        gf.numerical_gradient(raises_odd, PARAMS, method="complex", executor=processes)


def test_a_function_that_makes_no_executor():
    with pytest.raises(TypeError, match=r"^executor: the function that was given made None, which is no executor"):
        gf.numerical_gradient(function, PARAMS, executor=lambda: None, trace=False)


def test_what_waits_is_cancelled_when_the_progress_function_raises():
    def slow(params):
        time.sleep(0.02)
        return function(params)

    def stop(fraction):
        raise KeyboardInterrupt

    class Remembering(ThreadPoolExecutor):
        futures = ()

        def submit(self, *arguments):
            self.futures = (*self.futures, super().submit(*arguments))
            return self.futures[-1]

    with Remembering(1) as executor:
        with pytest.raises(KeyboardInterrupt):
            gf.numerical_gradient(slow, PARAMS, method="direct", executor=executor, progress=stop)
        assert executor.futures[-1].cancelled()
    assert len(executor.futures) == executors.FIRST_SHARES
