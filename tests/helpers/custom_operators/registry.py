"""Where the operators are collected, with the mistakes that can be planted in each."""

from typing import Any, NamedTuple

#: The operators by name.
OPERATORS = {}


class Operator(NamedTuple):
    """An operator of somebody's, and how its author checks it.

    Attributes
    ----------
    check : callable
        ``check(mistake)`` returns the report on the operator with a mistake; on the right one if it is None.
    needs : str
        What must be installed; of several modules the first.
    mistakes : tuple of str
    """

    check: Any
    needs: str
    mistakes: tuple[str, ...]


def operator(needs, *mistakes):
    """Registers a function of a mistake, or None, that returns the report."""

    def register(check):
        OPERATORS[check.__name__] = Operator(check, needs, mistakes)
        return check

    return register
