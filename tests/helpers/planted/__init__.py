"""Hand-written back-propagation in NumPy with planted mistakes, and what a diagnosis must say of each.

Every network is a function that makes a loss, its gradient and parameters from a random generator. The sizes are
random and differ from each other, unless a mistake would raise an error then. `unrelated` makes wrong gradients that
are no mistake of back-propagation.
"""

from planted.corpus import MISTAKES, NETWORKS, case
from planted.records import Network, Planted
from planted.unrelated import Unrelated, unrelated

__all__ = ["MISTAKES", "NETWORKS", "Network", "Planted", "Unrelated", "case", "unrelated"]
