"""Recurrent layers: against PyTorch, and every variant against 60-digit central differences of a plain cell."""

import subprocess
import sys

import numpy as np
import pytest
from networks import distance, small_lstm
from reference import affine, central_differences, exact, mp, mpf, sigmoid

import gradcheck_fast as gf

METHODS = ("units", "incremental", "chain")


# ---- PyTorch

LAYERS = {"RNN": gf.RNN, "GRU": gf.GRU, "LSTM": gf.LSTM}
LENGTHS = (6, 1, 3, 6, 2)


def torch_case(
    torch, kind, layers, bidirectional, sequences, sizes=(5, 6, 3, 4), lengths=None, seed=None, **options
):  # fmt: skip
    """Makes one network in both libraries; returns our loss and parameters, and torch's cost and gradient.

    The sizes are those of samples, times, inputs and units; without lengths all samples have all times.
    """
    N, T, D, H = sizes
    torch.manual_seed(layers if seed is None else seed)
    random = np.random.default_rng(layers if seed is None else seed)
    double = {"dtype": torch.float64}
    outputs = H * (2 if bidirectional else 1)
    theirs = getattr(torch.nn, kind)(D, H, layers, bidirectional=bidirectional, batch_first=True, **double,
                                     **({"nonlinearity": options["activation"]} if options else {}))  # fmt: skip
    last = torch.nn.Linear(outputs, 2, **double)
    tensors = {}
    for k in range(layers):
        for ending in ("", "_reverse") if bidirectional else ("",):
            names = (("weight_ih", "Wx"), ("weight_hh", "Wh"), ("bias_ih", "bx"), ("bias_hh", "bh"))
            tensors.update({f"{own}{ending}{k + 1}": getattr(theirs, f"{name}_l{k}{ending}") for name, own in names})
    tensors.update({f"W{layers + 1}": last.weight, f"b{layers + 1}": last.bias})
    X, y = random.normal(size=(N, T, D)), random.normal(size=(N, T, 2) if sequences else (N, 2))
    times = np.full(N, T) if lengths is None else np.array(lengths)
    run = torch.nn.utils.rnn
    packed = run.pack_padded_sequence(torch.tensor(X), torch.tensor(times), batch_first=True, enforce_sorted=False)
    hidden, state = theirs(packed)
    state = state[0] if kind == "LSTM" else state
    if sequences:
        hidden, _ = run.pad_packed_sequence(hidden, batch_first=True, total_length=T)
        valid = torch.tensor(np.arange(T) < times[:, None])
        cost = ((last(hidden) - torch.tensor(y)) ** 2)[valid].mean()
    else:
        final = torch.cat(list(state[-2:]), 1) if bidirectional else state[-1]
        cost = ((last(final) - torch.tensor(y)) ** 2).mean()
    cost.backward()
    net = gf.Network(
        [
            LAYERS[kind](D if k == 0 else outputs, H, bias="double", bidirectional=bidirectional,
                         return_sequences=sequences or k < layers - 1, **options)
            for k in range(layers)
        ]
        + [gf.Dense(outputs, 2)],
        cost=gf.SquaredError(),
    )  # fmt: skip
    params = {name: tensors[name].detach().numpy().T.copy() for name in net.shapes}
    gradient = {name: tensors[name].grad.numpy().T for name in net.shapes}
    return net.loss(X, y, lengths=lengths), params, cost.item(), gradient


def assert_agrees_with_torch(loss, params, cost, gradient):
    assert loss(params) == pytest.approx(cost, rel=1e-14)
    for method in METHODS:
        assert gf.relative_error(gradient, gf.numerical_gradient(loss, params, method=method)) <= 1e-12 / 100
    assert gf.relative_error(gradient, gf.numerical_gradient(loss, params, method="direct")) <= 1e-8


@pytest.mark.parametrize("sequences", [False, True], ids=["last-state", "sequences"])
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both-ways"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", LAYERS)
def test_agrees_with_torch(kind, layers, bidirectional, ragged, sequences):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    lengths = LENGTHS if ragged else None
    assert_agrees_with_torch(*torch_case(torch, kind, layers, bidirectional, sequences, lengths=lengths))


def test_relu_rnn_agrees_with_torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    assert_agrees_with_torch(*torch_case(torch, "RNN", 2, True, True, lengths=LENGTHS, activation="relu"))


@pytest.mark.long
def test_chain_of_80_random_networks_agrees_with_torch():
    """1 to 3 layers, one way or both, over 1 to 30 times; of half of them the samples end at different times."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    found = []
    for seed in range(80):
        random, kind = np.random.default_rng([200, seed]), list(LAYERS)[seed % 3]
        layers, both_ways, sequences, ragged = random.integers((1, 0, 0, 0), (4, 2, 2, 2)).tolist()
        N, T, D, H = random.integers(1, (20, 31, 11, 17)).tolist()
        lengths = random.integers(1, T + 1, N) if ragged else None
        case = torch_case(torch, kind, layers, bool(both_ways), bool(sequences), (N, T, D, H), lengths, seed)
        loss, params, _, gradient = case
        chained = gf.numerical_gradient(loss, params, method="chain")
        found.append((distance(chained, gradient), seed, repr(loss)))
    assert max(found)[0] <= 1e-14, f"the worst: {max(found)}"


# ---- every variant against a plain cell at 60 digits


def vector(function, *vectors):
    return [function(*values) for values in zip(*vectors, strict=True)]


def plus(*vectors):
    return vector(lambda *values: mp.fsum(values), *vectors)


def times(a, b):
    return vector(lambda x, y: x * y, a, b)


def mix(z, old, new):
    return vector(lambda z, old, new: z * old + (1 - z) * new, z, old, new)


def pre_activations(layer, p, x, h):
    """(x Wx, h Wh) with their biases, by gate; from one matrix or two."""
    if layer.joint:
        split = layer.inputs if layer.joint == "xh" else layer.hidden
        top, bottom = p["W"][:split], p["W"][split:]
        Wx, Wh = (top, bottom) if layer.joint == "xh" else (bottom, top)
    else:
        Wx, Wh = p["Wx"], p["Wh"]
    from_x, from_h = affine(x, Wx), affine(h, Wh)
    if layer.bias == "double":
        from_x, from_h = plus(from_x, p["bx"]), plus(from_h, p["bh"])
    elif layer.bias:
        from_x = plus(from_x, p["b"])
    size = layer.hidden
    cut = lambda values: [values[k : k + size] for k in range(0, len(values), size)]
    return cut(from_x), cut(from_h)


def rnn_cell(layer, p, x, state):
    (from_x,), (from_h,) = pre_activations(layer, p, x, state[0])
    return (vector(mp.tanh, plus(from_x, from_h)),)


def gru_cell(layer, p, x, state):
    (h,) = state
    at = {gate: k for k, gate in enumerate(layer.gates)}
    from_x, from_h = pre_activations(layer, p, x, h)
    r, z = (vector(sigmoid, plus(from_x[at[gate]], from_h[at[gate]])) for gate in "rz")
    if layer.reset_after:
        n = plus(from_x[at["n"]], times(r, from_h[at["n"]]))
    else:
        again_x, again_h = pre_activations(layer, p, x, times(r, h))
        n = plus(again_x[at["n"]], again_h[at["n"]])
    n = vector(mp.tanh, n)
    return (mix(z, h, n) if layer.keep == "z" else mix(z, n, h),)


def lstm_cell(layer, p, x, state):
    h, c = state
    order = layer.gates or ("fgo" if layer.coupled else "ifgo")
    from_x, from_h = pre_activations(layer, p, x, h)
    z = {gate: plus(from_x[k], from_h[k]) for k, gate in enumerate(order)}
    seeing = {gate: k for k, gate in enumerate("fo" if layer.coupled else "ifo")} if layer.peepholes else {}
    look = lambda gate, c: plus(z[gate], times(p["P"][seeing[gate]], c)) if gate in seeing else z[gate]
    f = vector(lambda v: sigmoid(v + mpf(layer.forget_bias)), look("f", c))
    g = vector(mp.tanh, z["g"])
    new = mix(f, c, g) if layer.coupled else plus(times(f, c), times(vector(sigmoid, look("i", c)), g))
    o = vector(sigmoid, look("o", new))
    return times(o, vector(mp.tanh, new)), new


CELLS = {gf.RNN: rnn_cell, gf.GRU: gru_cell, gf.LSTM: lstm_cell}


def run(layer, p, X, length):
    """Outputs at the first `length` times of one sample, both directions side by side; and the last states."""
    outputs, lasts = [[] for _ in range(length)], []
    for ending in ("", "_reverse") if layer.bidirectional else ("",):
        own = {name.removesuffix(ending) if ending else name: a for name, a in p.items() if name.endswith(ending)}
        zeros = [mpf(0)] * layer.hidden
        state = tuple(own.get(name, zeros) for name in layer._states)
        for t in reversed(range(length)) if ending else range(length):
            state = CELLS[type(layer)](layer, own, X[t], state)
            outputs[t] = outputs[t] + state[0]
        lasts += state[0]
    return outputs if layer.return_sequences else [lasts]


def reference_cost(net, flat_params, X, y, lengths):
    """Σ of half squared errors of a recurrent layer and a Dense."""
    layer, _ = net.layers
    own = {name: flat_params[f"{name}1"] for name in layer.shapes}
    own = {name: rows[0] if len(layer.shapes[name]) == 1 else rows for name, rows in own.items()}
    W, b = flat_params["W2"], flat_params["b2"][0]
    total = mpf(0)
    for x, target, length in zip(X, y, lengths, strict=True):
        for t, out in enumerate(run(layer, own, x, length)):
            errors = vector(
                lambda v, w: (v - w) ** 2, affine(out, W, b), target[t] if layer.return_sequences else target
            )
            total += mp.fsum(errors) / 2
    return total


VARIANTS = {
    "rnn": gf.RNN(2, 3),
    "rnn-joint-hx-initial": gf.RNN(2, 3, joint="hx", initial_state="parameters", return_sequences=True),
    "gru": gf.GRU(2, 3),
    "gru-double-keras": gf.GRU(2, 2, bias="double", gates="zrn", return_sequences=True),
    "gru-before-1-z": gf.GRU(2, 3, reset_after=False, keep="1-z", initial_state="parameters"),
    "gru-before-joint": gf.GRU(2, 2, reset_after=False, joint="xh", bidirectional=True, return_sequences=True),
    "gru-no-bias-1-z": gf.GRU(2, 3, bias=False, keep="1-z"),
    "lstm": gf.LSTM(2, 3),
    "lstm-gates-forget-bias": gf.LSTM(2, 2, gates="ogfi", forget_bias=1.0, joint="hx", return_sequences=True),
    "lstm-peepholes": gf.LSTM(2, 3, peepholes=True, initial_state="parameters"),
    "lstm-peepholes-both-ways": gf.LSTM(2, 2, peepholes=True, bidirectional=True, bias="double", return_sequences=True),
    "lstm-coupled": gf.LSTM(2, 3, coupled=True, bias=False),
    "lstm-coupled-peepholes": gf.LSTM(2, 2, coupled=True, peepholes=True, gates="gof", initial_state="parameters"),
}


@pytest.mark.parametrize(
    ("lengths", "h"),
    [pytest.param((3, 3), 1e-6, id="full", marks=pytest.mark.long), pytest.param((1, 3), 0.1, id="ragged")],
)
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_the_central_difference(name, lengths, h):
    layer = VARIANTS[name]
    net = gf.Network([layer, gf.Dense(layer.outputs, 1)], cost=gf.SquaredError(factor=0.5, reduction="sum"))
    random = np.random.default_rng(7)
    X = random.normal(size=(2, 3, 2))
    y = random.normal(size=(2, 3, 1) if layer.return_sequences else (2, 1))
    params = {key: random.normal(size=shape) for key, shape in net.shapes.items()}
    loss = net.loss(X, y, lengths=lengths)
    data = (X.tolist(), y.tolist())
    data = [[[[mpf(v) for v in row] for row in sample] for sample in data[0]], exact_nested(data[1])]
    cost = lambda p: reference_cost(net, p, *data, lengths)
    rows = {key: array.reshape(-1, array.shape[-1]) for key, array in params.items()}
    assert loss(params) == pytest.approx(float(cost({key: exact(a) for key, a in rows.items()})), rel=1e-14)
    true = central_differences(cost, {key: exact(a) for key, a in rows.items()}, h)
    found = gf.numerical_gradient(loss, params, method="incremental", step=h)
    for key, array in found.items():
        largest = max(abs(v) for v in true[key])
        worst = max(abs(mpf(v) - w) for v, w in zip(array.ravel().tolist(), true[key], strict=True))
        assert worst <= 1e-12 * largest, key
    units = gf.numerical_gradient(loss, params, method="units")
    assert gf.relative_error(units, gf.numerical_gradient(loss, params, method="incremental")) < 1e-14


def exact_nested(value):
    return [exact_nested(v) for v in value] if isinstance(value, list) else mpf(value)


# ---- what a user relies on


@pytest.mark.parametrize("garbage", [1e300, np.nan, np.inf])
def test_padding_has_exactly_no_influence(garbage):
    net, X, y, params = small_lstm(bidirectional=False)
    lengths = [5, 1, 3, 4]
    clean = net.loss(X, y, lengths=lengths)
    padded_X, padded_y = X.copy(), y.copy()
    for n, length in enumerate(lengths):
        padded_X[n, length:] = garbage
        padded_y[n, length:] = -7
    padded = net.loss(padded_X, padded_y, lengths=lengths)
    assert padded(params) == clean(params)
    for method in ("units", "incremental", "chain", "direct"):
        one, other = (gf.numerical_gradient(loss, params, method=method) for loss in (clean, padded))
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_ragged_samples_add_up_from_samples_cut_to_their_lengths():
    net, X, y, params = small_lstm()
    net = gf.Network(net.layers, cost=gf.CrossEntropy(reduction="sum"))
    lengths = [5, 1, 3, 4]
    together = gf.numerical_gradient(net.loss(X, y, lengths=lengths), params)
    alone = [gf.numerical_gradient(net.loss(X[n : n + 1, :k], y[n : n + 1, :k]), params) for n, k in enumerate(lengths)]
    for name, array in together.items():
        np.testing.assert_allclose(array, sum(part[name] for part in alone), rtol=1e-12, atol=1e-15)


def test_predict_gives_sequences_or_last_states():
    net, X, _, params = small_lstm()
    every = net.predict(params, X)
    assert every.shape == (4, 5, 2)
    last, X, _, _ = small_lstm(sequences=False)
    np.testing.assert_array_equal(last.predict(params, X), every[:, -1])
    np.testing.assert_array_equal(last.predict(params, X, lengths=[1, 2, 3, 4]), every[range(4), range(4)])


@pytest.mark.parametrize("reduction", ["sum", "batchmean", "mean"])
def test_reductions_count_the_times_that_are_there(reduction):
    net, X, y, params = small_lstm()
    lengths = np.array([5, 1, 3, 4])
    logits = net.predict(params, X)
    each = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, y[..., None], 2)[..., 0]
    total = each[np.arange(5) < lengths[:, None]].sum()
    expected = total / {"sum": 1, "batchmean": 4, "mean": lengths.sum()}[reduction]
    net = gf.Network(net.layers, cost=gf.CrossEntropy(reduction=reduction))
    assert net.loss(X, y, lengths=lengths)(params) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("array", range(5))
def test_a_mistake_in_one_entry_is_found(array):
    net, X, y, params = small_lstm()
    loss = net.loss(X, y)
    gradient = gf.numerical_gradient(loss, params)
    name = list(gradient)[array]
    index = tuple(np.argwhere(gradient[name])[-1].tolist())
    gradient[name][index] *= 1 + 1e-6
    report = gf.gradcheck(loss, gradient, params)
    assert not report.ok
    assert (report.worst(1)[0].array, report.worst(1)[0].index) == (name, index)


def test_bidirectional_outputs_may_meet_a_separable_cost_directly():
    random = np.random.default_rng(2)
    net = gf.Network(gf.RNN(2, 3, bidirectional=True), cost=gf.SquaredError())
    X, y, params = random.normal(size=(3, 4, 2)), random.normal(size=(3, 6)), net.init(0)
    assert net.loss(X, y)(params) == pytest.approx(np.mean((net.predict(params, X) - y) ** 2), rel=1e-14)
    net = gf.Network(gf.RNN(2, 3, bidirectional=True), cost=gf.CrossEntropy())
    with pytest.raises(ValueError, match="put a Dense after"):
        net.loss(X, np.zeros(3, int))


@pytest.mark.parametrize("layer", [gf.RNN, gf.GRU, gf.LSTM])
@pytest.mark.parametrize("lengths", [None, [5, 1, 3, 4]], ids=["full", "ragged"])
def test_initial_states_given_as_data_are_those_of_an_earlier_run(layer, lengths):
    """A sequence in two halves, the second begun with the state after the first; the same as parameters."""
    random = np.random.default_rng(1)
    options = {"bidirectional": False, "return_sequences": True}
    zero = gf.Network(layer(2, 3, **options), cost=gf.SquaredError())
    data = gf.Network(layer(2, 3, initial_state="data", **options), cost=gf.SquaredError())
    trained = gf.Network(layer(2, 3, initial_state="parameters", **options), cost=gf.SquaredError())
    X, params = random.normal(size=(4, 5, 2)), zero.init(0)
    start = {name: random.normal(size=3) for name in trained.shapes if name not in zero.shapes}
    y = random.normal(size=(4, 5, 3))
    loss = data.loss(X, y, lengths=lengths, states=start)
    assert loss(params) == trained.loss(X, y, lengths=lengths)({**params, **start})
    assert loss(params) != zero.loss(X, y, lengths=lengths)(params)
    found = gf.numerical_gradient(loss, params)
    both = gf.numerical_gradient(trained.loss(X, y, lengths=lengths), {**params, **start})
    assert all(np.array_equal(found[name], both[name]) for name in found)
    if layer is not gf.LSTM:  # whose cell state is not an output
        half = zero.predict(params, X)[:, 2]
        np.testing.assert_array_equal(
            data.predict(params, X[:, 3:], states={"h01": half}), zero.predict(params, X)[:, 3:]
        )


def test_bad_states_are_named():
    net = gf.Network(gf.LSTM(2, 3, initial_state="data", bidirectional=True), cost=gf.SquaredError())
    X, y = np.ones((4, 5, 2)), np.ones((4, 6))
    good = {name: np.zeros((4, 3)) for name in ("h01", "c01", "h0_reverse1", "c0_reverse1")}
    net.loss(X, y, states=good)
    with pytest.raises(ValueError, match="expected a dict of h01, c01, h0_reverse1, c0_reverse1"):
        net.loss(X, y)
    with pytest.raises(ValueError, match=r"c01: expected the shape \(4, 3\) or \(3,\), got \(4, 2\)"):
        net.loss(X, y, states={**good, "c01": np.zeros((4, 2))})
    with pytest.raises(ValueError, match=r"states: h01: nan at index \[2\]"):
        net.loss(X, y, states={**good, "h01": np.array([0, 0, np.nan])})
    with pytest.raises(ValueError, match="states: expected none"):
        gf.Network(gf.RNN(2, 3), cost=gf.SquaredError()).loss(X, np.ones((4, 3)), states=good)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory in KiB is Linux's")
@pytest.mark.parametrize("method", ["units", "incremental", "chain"])
def test_memory_is_that_of_the_tape_and_little_more(method):
    script = f"""
import resource, numpy as np, gradcheck_fast as gf
net = gf.Network([gf.LSTM(3, 8, return_sequences=True), gf.LSTM(8, 4), gf.Dense(4, 1)], cost=gf.SquaredError())
loss = net.loss(np.ones((6, 150, 3)), np.ones((6, 1)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
gf.numerical_gradient(loss, net.init(0), method={method!r}, n_threads=1)
tape = loss._engine.tables.tape_stride * 8 * 6 / 2**20
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10 - tape)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 64
