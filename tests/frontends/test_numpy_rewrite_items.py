"""Rewriting users' functions: assignments to items go through a hook, in Python's order and with its meaning."""

from __future__ import annotations

import numpy as np
import pytest
from rewriting import Hook, module_of


@pytest.fixture
def hook():
    return Hook()


class Log(dict):
    """A container, attribute and key in one that writes down what is done with it."""

    done: list = []  # noqa: RUF012

    def __setitem__(self, key, value):
        self.done.append(("set", key, value))
        super().__setitem__(key, value)

    def __getitem__(self, key):
        self.done.append(("get", key))
        return super().setdefault(key, 1)


ASSIGNMENTS = """
def note(value):
    done.append(value)
    return value

def plain(log):
    note(log)[note(1)] = note(2)

def augmented(log):
    note(log)[note(1)] += note(2)
    log[1] @= Product()

def chain(log):
    a = log[note(3)] = b = note([4])
    return a is b is log[3]

def nested(log):
    inner, (log[note(1)], *log[note(2)]), [i, log[i]] = 5, note([6, 7, 8]), (9, 10)
    return inner, i, sorted(locals())

def swap(log):
    i = 1
    log[i], i, log[i] = 2, 3, 4
    del log[3]
    for log[5] in range(2):
        pass
    log[6]: int = 7

def slices(log, values):
    values[1:3] = [note(0), 0]
    values[::2] += np.ones(3)
    values[note(-1):] *= 2
    return values.tolist()

def several(log, values):
    table = values.reshape(5, 1)
    table[1:, 0] = 7
    table[..., None, :1][0] = 8
    table[2][0] = 9
    return values.tolist()

class Product:
    def __rmatmul__(self, other):
        return note(other)

def in_class(log):
    class Inner:
        log[0] = note(1)
        a, log[1] = 2, 3
    return [name for name in vars(Inner) if "@" in name]
"""


@pytest.mark.parametrize("name", ["plain", "augmented", "chain", "nested", "swap", "slices", "several", "in_class"])
def test_assignments_to_items_keep_their_order_and_meaning(hook, tmp_path, name):
    module, outcomes = module_of("import numpy as np\ndone = []\n" + ASSIGNMENTS, tmp_path), []
    for function in (getattr(module, name), hook.rewriter.convert(getattr(module, name))):
        module.done = Log.done = []
        log = Log()
        returned = function(log, np.arange(5.0)) if name in ("slices", "several") else function(log)
        outcomes.append((returned, module.done, log))
    assert outcomes[0] == outcomes[1]
    assert hook.stores


class Holder:
    reads = 0

    def __init__(self, items):
        self.items = items

    @property
    def fixed(self):
        self.reads += 1
        return self.items


shared = [0]


def test_a_container_is_replaced_only_where_a_variable_of_the_function_has_it(hook):
    captured = [0]

    def function(parameter, holder):
        local = [0]
        originals = local
        local[0] = parameter[0] = 1
        holder.items[0] += 2
        captured[0] = 3
        shared[0] = 4
        holder.items.copy()[0] = 5
        return local is originals, parameter, (lambda: parameter)()

    class Everything(dict):
        def get(self, key, default):
            return list(default)

    converted = hook.rewriter.convert(function)
    parameter, holder = [0], Holder([0])
    assert converted(parameter, holder) == (True, [1], [1]) and parameter == [1] and holder.items == [2]

    hook.instead, before = Everything(), holder.items
    assert converted(parameter, holder) == (False, [1], [1])
    assert holder.items == [4] and before == [2], "an attribute has the other container"
    assert captured == [3] and shared == [4], "what is not the function's own is not replaced"


def test_nothing_is_assigned_when_the_container_stays(hook):
    def function(holder, values):
        def replace():
            nonlocal values
            values = "another"
            return 0

        holder.fixed[0] = 1  # which nothing can be assigned to
        values[replace()] = 3
        return values

    def too_early():
        values[0] = 1  # noqa: F821
        values = [0]  # noqa: F841

    holder = Holder([0])
    assert hook.rewriter.convert(function)(holder, [0]) == "another"
    assert holder.reads == 1 and holder.items == [1]
    with pytest.raises(UnboundLocalError, match="'values'"):
        hook.rewriter.convert(too_early)()
