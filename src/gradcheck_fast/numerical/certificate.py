"""What vouches for a gradient that was chained: differences of the whole cost along random directions."""

from __future__ import annotations

from typing import NamedTuple

#: The probability with which an error of the size `Certificate.power` would have been seen.
PROBABILITY = 0.99


class Certificate(NamedTuple):
    """How well a chained gradient g agrees with differences D of the whole cost along random directions r.

    Attributes
    ----------
    directions : int
        The number of directions. Each moves all parameters at once.
    agreement : float
        The largest \\|D - g·r\\|, over the root mean square of g·r over all directions.
    allowed : float
        The largest agreement that is taken for rounding.
    large : float
        By how much the exact difference of one large step is off the difference of two costs, over the larger of the
        costs. A wrong difference of a step would show there.
    large_allowed : float
        The largest such number that is taken for rounding; infinite if no large step stays in the domain.
    power : float
        An error of this part of any one array of the gradient would have been seen, with `PROBABILITY`. Arrays whose
        gradient is nothing but rounding, beside that of others, do not count.
    fault : str
        If the certificate does not hold: the step at which the gradient and the differences part, if one was found.
    beside_kinks : bool
        Whether values lie on kinks. Then a gradient that was chained at parameters close by was compared.
    """

    directions: int
    agreement: float
    allowed: float
    large: float
    large_allowed: float
    power: float
    fault: str = ""
    beside_kinks: bool = False

    @property
    def complaint(self) -> str:
        """What to tell the user if the certificate does not hold; "" if it does."""
        if self.holds:
            return ""
        return (
            f"the chained gradient is not used, for {self.disagreement}. This is a fault of gradcheck_fast: please "
            "report it, with the network; method='units' and method='incremental' do without the chain"
        )

    @property
    def disagreement(self) -> str:
        """By how much the gradient is off, and where, if the certificate does not hold."""
        off, where = max(self.agreement, self.large), self.fault or "no single step was found to differ from its rules"
        return f"differences of the whole cost do not confirm it (off by {off:.1e}): {where}"

    @property
    def holds(self) -> bool:
        """Whether the gradient agrees with the differences to roundings."""
        return self.agreement <= self.allowed and self.large <= self.large_allowed
