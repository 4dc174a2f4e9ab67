"""``gf.torch``: checks of PyTorch modules and functions; see `gradcheck_fast.adapters.torch`."""

from gradcheck_fast.adapters.torch import ASPECTS, check_function, gradcheck

__all__ = ["ASPECTS", "check_function", "gradcheck"]
