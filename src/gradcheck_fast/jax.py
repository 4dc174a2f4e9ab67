"""``gf.jax``: checks of JAX functions; see `gradcheck_fast.adapters.jax`."""

from gradcheck_fast.adapters.jax import check_function, gradcheck

__all__ = ["check_function", "gradcheck"]
