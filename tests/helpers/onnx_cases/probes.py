"""Single calls at which implementations differ, or are easily misunderstood."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx

from .registry import Call


def one(name: str, opset: int, *arrays: Any, outputs: int = 1, **attributes: Any) -> Call:
    """Returns a call of an operator with these inputs."""
    names = [f"x{k}" if array is not None else "" for k, array in enumerate(arrays)]
    node = onnx.helper.make_node(name, names, [f"y{k}" for k in range(outputs)], **attributes)
    inputs = {key: np.asarray(array) for key, array in zip(names, arrays, strict=True) if key}
    return Call(name, opset, node, inputs, [onnx.helper.make_opsetid("", opset)])


def probes() -> Iterator[tuple[str, Call]]:
    """Yields a description of each call, and the call."""
    ramp = np.arange(4.0).reshape(1, 2, 2)
    yield "Softmax of [[[0, 1], [2, 3]]], axis 1, opset 11: all axes from 1 on", one("Softmax", 11, ramp, axis=1)
    yield "the same, opset 13: axis 1 alone", one("Softmax", 13, ramp, axis=1)
    yield "LogSoftmax of [1000, 0]", one("LogSoftmax", 13, np.array([1000.0, 0.0]))
    yield "LpNormalization of [1, −3], p 1", one("LpNormalization", 22, np.array([1.0, -3.0]), p=1)
    line = np.arange(1.0, 5.0).reshape(1, 1, 4)
    yield (
        "MaxPool of [4, 3, 2, 1], kernel 2, SAME_LOWER",
        one("MaxPool", 12, line[..., ::-1], kernel_shape=[2], auto_pad="SAME_LOWER"),
    )
    yield (
        "MaxPool of 1 to 5, kernel 2, dilation 2, stride 2, SAME_UPPER",
        one("MaxPool", 12, np.arange(1.0, 6.0).reshape(1, 1, 5), kernel_shape=[2], dilations=[2], strides=[2],
            auto_pad="SAME_UPPER"),
    )  # fmt: skip
    yield (
        "MaxPool of [1, NaN, 3, 4], kernel 2",
        one("MaxPool", 12, np.array([[[1.0, np.nan, 3.0, 4.0]]]), kernel_shape=[2]),
    )
    yield "LRN of 2 channels, size 2", one("LRN", 13, np.array([[[[1.0]], [[2.0]]]]), size=2, alpha=1.0)
    yield "ReduceMean of no entries", one("ReduceMean", 18, np.zeros((0,)))
    yield "Mod of −1.5 and 1, fmod 1", one("Mod", 13, np.array([-1.5]), np.array([1.0]), fmod=1)
    yield "Div of −7 and 2, integers", one("Div", 14, np.array([-7]), np.array([2]))
    yield (
        "HardSigmoid of 1: its slope is 0.2, in PyTorch and Keras 3 it is 1/6",
        one("HardSigmoid", 22, np.array([1.0])),
    )
    ones = np.ones((1, 3, 1))
    gates = np.array([[[0.5], [0.25], [1.0]]])
    bias = np.array([[0.0, 0.0, 0.0, 0.0, 0.0, 1.0]])
    gru = (np.ones((1, 1, 1)), ones, gates, bias, None, np.full((1, 1, 1), 0.5))
    yield "GRU, linear_before_reset 0, the default", one("GRU", 14, *gru, outputs=2, hidden_size=1)
    yield "the same, 1, as PyTorch has it", one("GRU", 14, *gru, outputs=2, hidden_size=1, linear_before_reset=1)
    lstm = [np.full((1, 1, 1), 2.0), np.ones((1, 4, 1)), np.zeros((1, 4, 1)), None, None, None, np.ones((1, 1, 1))]
    more: dict[str, Any] = {"outputs": 3, "hidden_size": 1}
    yield "LSTM, clip 0.5, for what goes into the output's tanh, too", one("LSTM", 14, *lstm, clip=0.5, **more)
    yield (
        "the same, with softsign there",
        one("LSTM", 14, *lstm, clip=0.5, activations=["Sigmoid", "Tanh", "Softsign"], **more),
    )
    yield "LSTM, input_forget 1", one("LSTM", 14, *lstm, input_forget=1, **more)
    yield "RNN of 2 times, sequence_lens [1]", one(
        "RNN", 14, np.ones((2, 1, 1)), np.ones((1, 1, 1)), np.ones((1, 1, 1)), None, np.array([1], np.int32), outputs=2,
        hidden_size=1,
    )  # fmt: skip
    batch = np.array([[0.0], [1.0], [2.0]])
    yield (
        "BatchNormalization in training: the running variance is that over n",
        one("BatchNormalization", 15, batch, *(np.ones(1) for _ in range(4)), outputs=3, training_mode=1, momentum=0.0),
    )
    yield "Resize of 1 to 4 to the same size, tf_crop_and_resize, roi 0.5 to 1", one(
        "Resize", 19, np.arange(1.0, 5.0), np.array([0.5, 1.0]), None, np.array([4]), mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
    )  # fmt: skip
