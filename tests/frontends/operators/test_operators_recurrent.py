import numpy as np
import pytest
from operator_peer import agree, distance, numbers

from gradcheck_fast.frontends.operators import recurrent
from gradcheck_fast.frontends.operators.recurrent import CellWeights, Options

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

#: How many gates each layer has.
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
X = numbers(5, 2, 4)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def weights_of(cell, seed=0):
    gates = GATES[cell]
    return CellWeights(
        numbers(3 * gates, 4, seed=seed), numbers(3 * gates, 3, seed=seed), numbers(3 * gates, seed=seed),
        numbers(3 * gates, seed=seed + 1),
    )  # fmt: skip


def states_of(cell):
    return [numbers(2, 3, seed=5), numbers(2, 3, seed=6)][: 1 + (cell == "lstm")]


@pytest.mark.parametrize(
    ("cell", "layers", "bidirectional", "options"),
    [
        ("LSTM", 1, False, {}), ("LSTM", 2, True, {}), ("LSTM", 2, True, {"proj_size": 2}),
        ("LSTM", 1, False, {"bias": False}),
        ("GRU", 1, False, {}), ("GRU", 2, True, {}), ("RNN", 2, True, {}), ("RNN", 1, False, {"nonlinearity": "relu"}),
    ],
)  # fmt: skip
def test_layers_are_those_of_pytorch(cell, layers, bidirectional, options):
    module = getattr(torch.nn, cell)(4, 3, layers, bidirectional=bidirectional, dtype=torch.float64, **options)
    own = {name: numbers(*p.shape, seed=len(name)) for name, p in module.named_parameters()}
    count, output = layers * (1 + bidirectional), options.get("proj_size", 3)
    states = {"h": numbers(count, 2, output)} | ({"c": numbers(count, 2, 3, seed=1)} if cell == "LSTM" else {})
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    ours_options = Options(content=options.get("nonlinearity", "tanh"))

    def ours(of):
        weights = [
            CellWeights(*(of.get(f"{kind}_l{k}{way}") for kind in kinds))
            for k in range(layers)
            for way in ("", "_reverse")[: 1 + bidirectional]
        ]
        outputs, last = recurrent.stacked(
            cell.lower(), of["x"], [of[name] for name in states], weights, ours_options, bidirectional=bidirectional
        )
        return np.concatenate([np.ravel(part) for part in (outputs, *last)])

    def theirs(of):
        begin = (of["h"], of["c"]) if cell == "LSTM" else of["h"]
        outputs, last = torch.func.functional_call(module, {name: of[name] for name in own}, (of["x"], begin))
        return torch.cat([part.ravel() for part in (outputs, *(last if cell == "LSTM" else [last]))])

    agree(ours, theirs, {"x": X, **states, **own})


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("reverse", [False, True])
def test_samples_may_be_shorter(cell, reverse):
    """Each sample by itself, cut to its length, gives the same, and zeros follow."""
    weights, states, lengths = weights_of(cell), states_of(cell), np.array([3, 5])
    outputs, *last = recurrent.CELLS[cell](X, *states, weights, Options(reverse=reverse, lengths=lengths))
    for n, length in enumerate(lengths):
        alone = [state[n : n + 1] for state in states]
        own, *ends = recurrent.CELLS[cell](X[:length, n : n + 1], *alone, weights, Options(reverse=reverse))
        assert distance(outputs[:length, n : n + 1], own) <= 1e-15
        assert not np.asarray(outputs[length:, n]).any()
        for end, found in zip(ends, last, strict=True):
            assert distance(found[n : n + 1], end) <= 1e-15


def test_the_order_of_the_gates_is_an_option():
    weights = weights_of("lstm")
    turned = CellWeights(*(np.concatenate([np.split(w, 4)[k] for k in (0, 3, 1, 2)]) for w in weights[:4]))
    expected = recurrent.lstm(X, *states_of("lstm"), weights)[0]
    found = recurrent.lstm(X, *states_of("lstm"), turned, Options(order="iofg"))[0]
    assert distance(found, expected) <= 1e-15
    with pytest.raises(ValueError, match="order: expected the letters 'ifgo' in any order, got 'ifg'"):
        recurrent.lstm(X, *states_of("lstm"), weights, Options(order="ifg"))


def test_a_gated_unit_may_be_reset_before_the_product():
    weights, (h,) = weights_of("gru"), states_of("gru")
    r, z, n = (X[0] @ w.T + b for w, b in zip(np.split(weights.into, 3), np.split(weights.into_bias, 3), strict=True))
    u = list(zip(np.split(weights.again, 3), np.split(weights.again_bias, 3), strict=True))
    r, z = (sigmoid(own + h @ w.T + b) for own, (w, b) in zip((r, z), u, strict=False))
    n = np.tanh(n + (r * h) @ u[2][0].T + u[2][1])
    found = recurrent.gru(X[:1], h, weights, Options(reset_after=False))[1]
    assert distance(found, (1.0 - z) * n + z * h) <= 1e-15


def test_an_lstm_has_the_options_of_onnx():
    """Peepholes, where the output gate sees the new cell; a coupled forget gate; a clip; and other activations."""
    peepholes = {letter: numbers(3, seed=seed) for letter, seed in zip("io", (1, 2), strict=True)}
    weights, (h, c) = weights_of("lstm")._replace(peepholes=peepholes), states_of("lstm")
    total = X[0] @ weights.into.T + weights.into_bias + h @ weights.again.T + weights.again_bias
    i, _, g, o = np.split(total, 4, axis=1)
    i = sigmoid(np.clip(i + peepholes["i"] * c, -0.8, 0.8))
    c = (1.0 - i) * c + i * np.clip(g, -0.8, 0.8)
    h = sigmoid(np.clip(o + peepholes["o"] * c, -0.8, 0.8)) * np.maximum(c, 0.0)
    options = Options(content=lambda x: x, output="relu", clip=0.8, coupled=True)
    _, *found = recurrent.lstm(X[:1], *states_of("lstm"), weights, options)
    assert distance(found[0], h) <= 1e-15
    assert distance(found[1], c) <= 1e-15


def test_what_goes_from_layer_to_layer_may_be_changed():
    weights = [weights_of("rnn"), CellWeights(numbers(3, 3), numbers(3, 3))]
    states, masks = [np.zeros((2, 2, 3))], {0: np.random.default_rng(0).random((5, 2, 3)) < 0.5}
    found = recurrent.stacked("rnn", X, states, weights, between=lambda layer, x: x * masks[layer])[0]
    below = recurrent.rnn(X, states[0][0], weights[0])[0]
    assert distance(found, recurrent.rnn(below * masks[0], states[0][1], weights[1])[0]) == 0.0
