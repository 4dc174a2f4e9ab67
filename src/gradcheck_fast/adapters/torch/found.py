"""What a run of a module in its own dtype has found."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gradcheck_fast.adapters.torch.runs import notes_on

if TYPE_CHECKING:
    import torch

    from gradcheck_fast.adapters.torch.copies import Copies
    from gradcheck_fast.inputs.trees import Packed


class Found(NamedTuple):
    """What a run in the module's own dtype has found.

    Attributes
    ----------
    gradient : Packed
    value : float
        The value of the loss.
    draws : list of tensor
        The random numbers that were drawn.
    copies : Copies
        What was run.
    around : str
        The operation that drew them around numbers that require a gradient, if there was one.
    numbers : int
        How many numbers all of its operations have given.
    """

    gradient: Packed
    value: float
    draws: list[torch.Tensor]
    copies: Copies
    around: str
    numbers: int

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the report: on random numbers and on coarse numbers."""
        return notes_on(self.draws, self.around, self.gradient.computed_in)
