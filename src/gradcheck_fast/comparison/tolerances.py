"""The tolerances that a user gives."""

from __future__ import annotations

from typing import NamedTuple


class Tolerances(NamedTuple):
    """How far an analytic entry a may be from a numerical one n: ``|a - n| <= atol + rtol * max(|a|, |n|)``.

    Attributes
    ----------
    rtol, atol : float or None
        None: the user has not given it. If both are None, error bars and the roundings of the analytic gradient's dtype
        say what is allowed; if one is given, the other counts as 0.
    """

    rtol: float | None = None
    atol: float | None = None

    @property
    def are_given(self) -> bool:
        """Whether the user has given one of the two."""
        return self.rtol is not None or self.atol is not None


#: The user has given no tolerances.
BY_DEFAULT = Tolerances()
