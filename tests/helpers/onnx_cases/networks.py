"""Recurrences, losses, attention, quantisation, and ai.onnx.ml."""

from __future__ import annotations

from typing import Any

import numpy as np

from .registry import CALLS, LEARNING, Random, calls, draw, pick, positive

# ---- recurrences

CELLS = {"RNN": 1, "GRU": 3, "LSTM": 4}


def recurrent(name: str) -> None:
    gates = CELLS[name]
    count = {"RNN": 1, "GRU": 2, "LSTM": 3}[name]

    def generate(rng: Random, opset: int) -> Any:
        direction = pick(rng, None, "forward", "reverse", "bidirectional")
        both, hidden, times, samples = 2 if direction == "bidirectional" else 1, 3, 4, 2
        x: list[Any] = [draw(rng, times, samples, 2), draw(rng, both, gates * hidden, 2) / 2]
        x.append(draw(rng, both, gates * hidden, hidden) / 2)
        x.append(pick(rng, None, draw(rng, both, 2 * gates * hidden)))
        x.append(pick(rng, None, np.array([4, 2], np.int32)))
        x.append(pick(rng, None, draw(rng, both, samples, hidden)))
        if name == "LSTM":
            x.append(pick(rng, None, draw(rng, both, samples, hidden)))
            x.append(pick(rng, None, draw(rng, both, 3 * hidden)))
        while x[-1] is None:
            x.pop()
        options: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
        options["clip"] = pick(rng, None, None, 0.75)
        if pick(rng, True, False):
            names = [pick(rng, "Sigmoid", "Tanh", "Relu", "Softsign", "HardSigmoid") for _ in range(count * both)]
            options["activations"] = names
        if name == "GRU":
            options["linear_before_reset"] = pick(rng, 0, 1)
        if name == "LSTM":
            options["input_forget"] = pick(rng, 0, 0, 1)
        return x, options, 3 if name == "LSTM" else 2

    CALLS["", name] = generate


for _cell in CELLS:
    recurrent(_cell)


# ---- losses and attention


def targets(rng: Random, weights: bool, options: dict[str, Any], outputs: int) -> Any:
    more = pick(rng, (), (3,), (2, 2))
    scores, labels = draw(rng, 4, 5, *more), rng.integers(0, 5, (4, *more))
    options["reduction"] = pick(rng, None, "none", "sum", "mean")
    if pick(rng, True, False):
        options["ignore_index"] = 2
    return [scores, labels, *([positive(rng, 5)] if weights else [])], options, outputs


@calls("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(rng: Random, opset: int) -> Any:
    return targets(rng, pick(rng, True, False), {}, pick(rng, 1, 2))


@calls("NegativeLogLikelihoodLoss")
def negative_log_likelihood(rng: Random, opset: int) -> Any:
    return targets(rng, pick(rng, True, False), {}, 1)


@calls("Attention")
def attention(rng: Random, opset: int) -> Any:
    heads, groups = pick(rng, (2, 2), (4, 2))
    times, before = 3, pick(rng, 3, 5)
    options: dict[str, Any] = {"is_causal": pick(rng, 0, 1), "scale": pick(rng, None, 0.25)}
    options["softcap"] = pick(rng, None, None, 2.0)
    if pick(rng, True, False):
        x = [draw(rng, 2, heads, times, 4), draw(rng, 2, groups, before, 4), draw(rng, 2, groups, before, 4)]
    else:
        x = [draw(rng, 2, times, heads * 4), draw(rng, 2, before, groups * 4), draw(rng, 2, before, groups * 4)]
        options |= {"q_num_heads": heads, "kv_num_heads": groups}
    mask = pick(rng, None, draw(rng, times, before), rng.random((times, before)) < 0.7)
    if mask is not None and mask.dtype == bool:
        mask[:, 0] = True
    return [*x, *([] if mask is None else [mask])], options, 1


@calls("RotaryEmbedding")
def rotary(rng: Random, opset: int) -> Any:
    x = draw(rng, 2, 3, 4, 6)
    places = rng.integers(0, 8, (2, 4))
    return [x, draw(rng, 8, 3), draw(rng, 8, 3), places], {"interleaved": pick(rng, None, 0, 1)}, 1


# ---- quantisation, and machine learning


@calls("DequantizeLinear")
def dequantize(rng: Random, opset: int) -> Any:
    x = rng.integers(-100, 100, (3, 4)).astype(np.int8)
    if opset >= 13 and pick(rng, True, False):
        return [x, positive(rng, 4), rng.integers(-5, 5, 4).astype(np.int8)], {"axis": 1}, 1
    return [x, positive(rng), *pick(rng, [], [np.array(3, np.int8)])], {}, 1


@calls("LinearRegressor", domain=LEARNING)
def linear_regressor(rng: Random, opset: int) -> Any:
    options = {
        "coefficients": draw(rng, 8).tolist(),
        "intercepts": pick(rng, None, draw(rng, 2).tolist()),
        "targets": 2,
    }
    return [draw(rng, 3, 4)], options, 1


@calls("LinearClassifier", domain=LEARNING)
def linear_classifier(rng: Random, opset: int) -> Any:
    options = {"coefficients": draw(rng, 12).tolist(), "intercepts": draw(rng, 3).tolist()}
    how = pick(rng, None, "LOGISTIC", "SOFTMAX")
    return [draw(rng, 3, 4)], {**options, "classlabels_ints": [0, 1, 2], "post_transform": how, "multi_class": 1}, 2


@calls("Scaler", domain=LEARNING)
def scaler(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4)], {"offset": draw(rng, 4).tolist(), "scale": positive(rng, 4).tolist()}, 1


@calls("Normalizer", domain=LEARNING)
def normalizer(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4)], {"norm": pick(rng, "MAX", "L1", "L2")}, 1


@calls("Binarizer", domain=LEARNING)
def binarizer(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4)], {"threshold": 0.5}, 1


@calls("Imputer", domain=LEARNING)
def imputer(rng: Random, opset: int) -> Any:
    x = draw(rng, 3, 2)
    x[1, 1] = np.nan
    return [x], {"imputed_value_floats": [0.5, 0.25], "replaced_value_float": float("nan")}, 1


@calls("ArrayFeatureExtractor", domain=LEARNING)
def array_feature_extractor(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4), np.array([[2, 0]])], {}, 1


@calls("FeatureVectorizer", domain=LEARNING)
def feature_vectorizer(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4), draw(rng, 3, 2)], {"inputdimensions": [4, 2]}, 1
