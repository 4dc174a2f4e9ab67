"""``gf.onnx``: checks of gradients against an ONNX model; see `gradcheck_fast.adapters.onnx`."""

from gradcheck_fast.adapters.onnx import gradcheck

__all__ = ["gradcheck"]
