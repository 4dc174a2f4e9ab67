"""What tests of rewritten functions need: a hook that writes down what it is handed, and modules made of a text."""

from __future__ import annotations

import importlib.util
import operator

from gradcheck_fast.frontends.numpy_trace.rewrite import Rewriter


class Hook:
    """Writes down what is called and stored, and does just that; `convert` is applied to what is called."""

    def __init__(self):
        self.calls, self.stores, self.instead = [], [], {}
        self.rewriter = Rewriter(self)

    def call(self, function, /, *args, **kwargs):
        self.calls.append(function)
        return (self.rewriter.convert(function) or function)(*args, **kwargs)

    def setitem(self, container, key, value, /):
        self.stores.append((container, key, value))
        container = self.instead.get(id(container), container)
        container[key] = value
        return container

    def augmented(self, operator_name, target, value, /):
        self.stores.append(operator_name)
        return getattr(operator, operator_name)(target, value)


def module_of(text, folder, name="module"):
    """A module that is imported from a file with this text."""
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
