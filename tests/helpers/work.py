"""Losses to be shared out to workers, and executors that do so."""

from __future__ import annotations

import pickle
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import count
from multiprocessing import get_context

import numpy as np
from networks import flat

import gradcheck_fast as gf

PARAMS = {"w": np.linspace(-1.0, 1.0, 60).reshape(20, 3), "b": 1.5}
METHODS = ("direct", "incremental", "units", "chain")


def function(params):
    return float(np.sum(np.tanh(params["w"]) ** 3) * params["b"])


def make_network(samples=40, factor=1.0):
    random = np.random.default_rng(5)
    net = gf.Network([gf.Dense(6, 30, "relu"), gf.Dense(30, 4)], cost=gf.CrossEntropy(), penalty=gf.L2(0.1))
    X = random.normal(size=(samples, 6))
    X[:3] = 0.0
    params = net.init(5)
    params["b1"][:4] = 0.0  # with these samples, on kinks
    return net.loss(factor * X, random.integers(4, size=samples)), params


def gradient(loss, params, **options):
    """The numerical gradient as a vector; functions are differenced as they are, so that there is work to share out."""
    return flat(gf.numerical_gradient(loss, params, **{"trace": False, **options}))


EXPECTED = gradient(function, PARAMS)


def pool(workers=2):
    return ProcessPoolExecutor(workers, get_context("spawn"))


class Stopped(Exception):
    pass


def stop_after(reports):
    """A progress function that ends the run."""
    numbers = count(1)

    def progress(fraction):
        if next(numbers) == reports:
            raise Stopped

    return progress


class Inline(Executor):
    """Does everything at once, and remembers what it was sent. Its first `deaths` shares, or those that `kills` says,
    break it."""

    def __init__(self, deaths=0, kills=lambda begin, end: False):
        self.deaths, self.kills, self.sent, self.is_shut_down = deaths, kills, [], False

    def submit(self, do, *arguments):
        future = Future()
        self.sent.append(arguments)
        if self.deaths > 0 or self.kills(*arguments[-2:]):
            self.deaths -= 1
            future.set_exception(BrokenProcessPool("a worker died"))
            return future
        try:
            future.set_result(pickle.loads(pickle.dumps(do(*arguments))))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait=True):
        self.is_shut_down = True

    @property
    def ranges(self):
        return [arguments[-2:] for arguments in self.sent]


class Mine(Exception):
    pass


def raises(params):
    if params["w"].flat[7] != PARAMS["w"].flat[7]:
        raise Mine("entry 7")
    return function(params)
