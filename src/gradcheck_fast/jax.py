"""``gf.jax``: checks of JAX functions; see `gradcheck_fast.adapters.jax`."""

from gradcheck_fast.adapters.jax import gradcheck

__all__ = ["gradcheck"]
