"""Why a gradient is wrong: the most likely mistakes, each with its evidence."""

from __future__ import annotations

from typing import NamedTuple


class Diagnosis(NamedTuple):
    """A mistake that would explain the wrong entries.

    Attributes
    ----------
    cause : str
        The mistake, in one line: "the gradient of W2 is transposed".
    evidence : str
        What was compared, and how well it fits: "W2.T agrees to 1e-16".
    arrays : tuple of str
        The arrays that it explains.
    """

    cause: str
    evidence: str
    arrays: tuple[str, ...]
