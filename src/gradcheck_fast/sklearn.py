"""``gf.sklearn``: checks of scikit-learn's multilayer perceptrons; see `gradcheck_fast.adapters.sklearn`."""

from gradcheck_fast.adapters.sklearn import gradcheck

__all__ = ["gradcheck"]
