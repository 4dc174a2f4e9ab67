"""Costs on arrays, each with its options: cost and gradient are those of PyTorch's loss, through a small network."""

from __future__ import annotations

import numpy as np
import pytest
from torch_networks import require_same, tensor, torch, twins

import gradcheck_fast as gf

F = torch.nn.functional
pytestmark = pytest.mark.usefixtures("one_thread_of_torch")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3))
#: Rows of 5 outputs; rows of 5 outputs at 4 times; and images of 5 channels.
ROWS, TIMES, IMAGES = (6, 5), (6, 4, 5), (6, 5, 2, 2)
LABELS = RNG.integers(0, 5, 6)
WEIGHTS = np.array([0.5, 1.0, 2.0, 0.25, 1.5])
SIGNS = RNG.choice([-1, 1], ROWS)
SHARES = RNG.dirichlet(np.ones(5), 6)


def outputs(leaves, shape):
    out = torch.tanh(tensor(X) @ leaves["W1"] + leaves["b1"])
    return (out @ leaves["W2"] + leaves["b2"]).reshape(shape)


class Reshape(gf.TensorLayer):
    """A layer of a user's own: what comes after the samples gets another shape."""

    def __init__(self, *shape):
        super().__init__()
        object.__setattr__(self, "shape", shape)

    def forward(self, x, arrays, run):
        return x.reshape(len(x), *self.shape)


def case(cost, y, theirs, shape=ROWS, last=None, **data):
    """A small network with this cost, beside ``theirs(outputs)``."""
    layers = [gf.Dense(3, 4, "tanh"), gf.Dense(4, int(np.prod(shape[1:]))), Reshape(*shape[1:])]
    net = gf.Network([*layers, *([] if last is None else [gf.Activation(last)])], cost)
    through = {None: lambda x: x, "log_softmax": lambda x: F.log_softmax(x, -1), "softmax": lambda x: F.softmax(x, -1),
               "sigmoid": torch.sigmoid}[last]  # fmt: skip
    return twins(net, X, y, lambda leaves: theirs(through(outputs(leaves, shape))), **data)


REDUCTIONS = ("mean", "sum")


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (gf.SquaredError, F.mse_loss), (gf.AbsoluteError, F.l1_loss), (gf.Huber, F.huber_loss),
    ],
    ids=["squared", "absolute", "huber"],
)  # fmt: skip
def test_error_of_arrays(ours, theirs, reduction):
    y = RNG.normal(size=IMAGES)
    require_same(case(ours(reduction=reduction), y, lambda x: theirs(x, tensor(y), reduction=reduction), IMAGES))


def test_error_of_batchmean_is_the_sum_over_the_samples():
    y = RNG.normal(size=IMAGES)
    cost = gf.SquaredError(factor=0.5, reduction="batchmean")
    require_same(case(cost, y, lambda x: 0.5 * F.mse_loss(x, tensor(y), reduction="sum") / 6, IMAGES))


# ---- cross-entropy

CLASS_SETTINGS = {
    "plain": ({}, {}),
    "weights": ({"weight": WEIGHTS}, {"weight": tensor(WEIGHTS)}),
    "smoothing": ({"label_smoothing": 0.2}, {"label_smoothing": 0.2}),
    "both": ({"weight": WEIGHTS, "label_smoothing": 0.2}, {"weight": tensor(WEIGHTS), "label_smoothing": 0.2}),
    "ignored": ({"ignore_index": -100}, {"ignore_index": -100}),
    "all": (
        {"weight": WEIGHTS, "label_smoothing": 0.2, "ignore_index": 2},
        {"weight": tensor(WEIGHTS), "label_smoothing": 0.2, "ignore_index": 2},
    ),
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("setting", CLASS_SETTINGS)
def test_cross_entropy_of_classes(setting, reduction):
    ours, theirs = CLASS_SETTINGS[setting]
    y = np.where([True, False, True, True, True, True], LABELS, ours.get("ignore_index", LABELS))
    cost = gf.CrossEntropy(reduction=reduction, **ours)
    require_same(case(cost, y, lambda x: F.cross_entropy(x, tensor(y), reduction=reduction, **theirs)))


@pytest.mark.parametrize("setting", ["plain", "weights", "smoothing", "both"])
def test_cross_entropy_of_probabilities(setting):
    ours, theirs = CLASS_SETTINGS[setting]
    require_same(case(gf.CrossEntropy(**ours), SHARES, lambda x: F.cross_entropy(x, tensor(SHARES), **theirs)))


def test_cross_entropy_of_pixels_has_the_classes_first():
    y = RNG.integers(0, 5, (6, 2, 2))
    cost = gf.CrossEntropy(axis=1, weight=WEIGHTS)
    require_same(case(cost, y, lambda x: F.cross_entropy(x, tensor(y), weight=tensor(WEIGHTS)), IMAGES))


def test_cross_entropy_of_times_has_the_classes_last():
    y = RNG.integers(0, 5, (6, 4))
    y[2, 1:] = -1
    theirs = lambda x: F.cross_entropy(x.transpose(1, 2), tensor(y), ignore_index=-1)
    require_same(case(gf.CrossEntropy(ignore_index=-1), y, theirs, TIMES))


@pytest.mark.parametrize("y", [LABELS, SHARES], ids=["classes", "probabilities"])
def test_cross_entropy_of_what_is_a_softmax_already(y):
    cost = gf.CrossEntropy(from_logits=False, weight=WEIGHTS)
    theirs = lambda x: F.cross_entropy(torch.log(x), tensor(y), weight=tensor(WEIGHTS))
    require_same(case(cost, y, theirs, last="softmax"))


def test_options_without_effect_give_the_cost_of_the_program_of_rows():
    net = [gf.Dense(3, 4, "tanh"), gf.Dense(4, 5)]
    rows, arrays = gf.Network(net, gf.CrossEntropy()), gf.Network(net, gf.CrossEntropy(weight=np.ones(5)))
    params = rows.init(0)
    losses = [network.loss(X, LABELS) for network in (rows, arrays)]
    assert losses[0](params) == pytest.approx(losses[1](params), rel=1e-15)
    found = [gf.numerical_gradient(loss, params, method="chain") for loss in losses]
    assert gf.relative_error(*found) < 1e-15


@pytest.mark.parametrize("y", [[0], [[1.0, 0.0, 0.0]]], ids=["class", "probabilities"])
def test_confident_logits_lose_no_digits(y):
    """The gradient is p - y, and p lies within 2e-17 of y."""
    net = gf.Network(gf.Dense(1, 3), gf.CrossEntropy(weight=[1.0, 1.0, 1.0]))
    found = gf.numerical_gradient(net.loss([[1.0]], y), {"W1": np.array([[40.0, 0.0, 1.0]]), "b1": np.zeros(3)})
    tiny = np.exp([-40.0, -39.0])
    np.testing.assert_allclose(found["b1"], [-tiny.sum(), *tiny], rtol=1e-14)


def test_one_class_costs_nothing():
    net = gf.Network(gf.Dense(1, 1), gf.CrossEntropy(weight=[2.0]))
    assert net.loss([[1.0]], [0])(net.init(0)) == 0.0


# ---- binary cross-entropy

ONES = RNG.integers(0, 2, ROWS).astype(float)


@pytest.mark.parametrize("weight", [3.0, WEIGHTS], ids=["one", "each"])
def test_binary_cross_entropy_with_a_weight_of_the_ones(weight):
    theirs = lambda x: F.binary_cross_entropy_with_logits(x, tensor(ONES), pos_weight=torch.as_tensor(weight))
    require_same(case(gf.BinaryCrossEntropy(pos_weight=weight), ONES, theirs))


@pytest.mark.parametrize("from_logits", [True, False])
def test_binary_cross_entropy_with_smoothed_labels(from_logits):
    smooth = tensor(ONES * 0.9 + 0.05)
    function = F.binary_cross_entropy_with_logits if from_logits else F.binary_cross_entropy
    cost = gf.BinaryCrossEntropy(from_logits=from_logits, label_smoothing=0.1)
    require_same(case(cost, ONES, lambda x: function(x, smooth), last=None if from_logits else "sigmoid"))


# ---- logarithms of probabilities


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
@pytest.mark.parametrize("reduction", ["mean", "sum", "batchmean"])
@pytest.mark.parametrize("log_target", [False, True])
def test_kl_divergence(log_target, reduction):
    y = np.log(SHARES) if log_target else np.where(SHARES < 0.1, 0.0, SHARES)
    theirs = lambda x: F.kl_div(x, tensor(y), log_target=log_target, reduction=reduction)
    require_same(case(gf.KLDivergence(log_target=log_target, reduction=reduction), y, theirs, last="log_softmax"))


def test_kl_divergence_of_probabilities():
    theirs = lambda x: F.kl_div(torch.log(x), tensor(SHARES), reduction="batchmean")
    require_same(case(gf.KLDivergence(from_log=False, reduction="batchmean"), SHARES, theirs, last="softmax"))


@pytest.mark.parametrize("setting", ["plain", "weights", "ignored"])
def test_negative_log_likelihood(setting):
    ours, theirs = CLASS_SETTINGS[setting]
    y = np.where([True, False, True, True, True, True], LABELS, ours.get("ignore_index", LABELS))
    cost = gf.NegativeLogLikelihood(**ours)
    require_same(case(cost, y, lambda x: F.nll_loss(x, tensor(y), **theirs), last="log_softmax"))


def test_negative_log_likelihood_of_pixels():
    y = RNG.integers(0, 5, (6, 2, 2))
    require_same(case(gf.NegativeLogLikelihood(axis=1), y, lambda x: F.nll_loss(x, tensor(y)), IMAGES))


# ---- margins, pairs and triplets


@pytest.mark.parametrize("squared", [False, True])
def test_hinge(squared):
    theirs = lambda x: (torch.relu(0.5 - tensor(SIGNS) * x) ** (1 + squared)).mean()
    require_same(case(gf.Hinge(margin=0.5, squared=squared), SIGNS, theirs))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weights"])
@pytest.mark.parametrize("p", [1, 2])
def test_multi_margin(p, weights, reduction):
    cost = gf.MultiMargin(p=p, margin=0.7, weight=weights, reduction=reduction)
    given = None if weights is None else tensor(weights)
    theirs = lambda x: F.multi_margin_loss(x, tensor(LABELS), p=p, margin=0.7, weight=given, reduction=reduction)
    require_same(case(cost, LABELS, theirs))


def test_cosine_embedding():
    pairs = np.array([[0, 1, 1], [2, 3, -1], [4, 5, -1], [1, 1, 1], [5, 0, 1]])

    def theirs(x):
        first, second, sign = tensor(pairs).T
        return F.cosine_embedding_loss(x[first], x[second], sign, margin=0.1)

    require_same(case(gf.CosineEmbedding(margin=0.1), pairs, theirs))


@pytest.mark.parametrize("settings", [{}, {"p": 1.0}, {"p": 3.0, "margin": 0.4}, {"swap": True}], ids=str)
def test_triplet_margin(settings):
    triplets = np.array([[0, 1, 2], [3, 4, 5], [1, 0, 5], [2, 4, 0]])

    def theirs(x):
        a, p, n = tensor(triplets).T
        return F.triplet_margin_loss(x[a], x[p], x[n], **settings)

    require_same(case(gf.TripletMargin(**settings), triplets, theirs))


# ---- alignments

SPOKEN = [[1, 2], [3], [4, 4], [], [2, 1], [1]]


def ctc_of_torch(x, lengths=None, reduction="mean", blank=0, spoken=SPOKEN, **more):
    flat = torch.tensor([label for labels in spoken for label in labels])
    sizes = torch.tensor([len(labels) for labels in spoken])
    lengths = torch.full((6,), x.shape[1]) if lengths is None else torch.as_tensor(lengths)
    return F.ctc_loss(x.transpose(0, 1), flat, lengths, sizes, blank=blank, reduction=reduction, **more)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_ctc(reduction):
    theirs = lambda x: ctc_of_torch(x, reduction=reduction)
    require_same(case(gf.CTC(reduction=reduction), SPOKEN, theirs, TIMES, last="log_softmax"), 1e-12)


def test_ctc_of_logits_with_another_blank_and_lengths():
    spoken, lengths = [[1, 2], [3], [0, 0], [], [2, 1], [1]], [4, 3, 3, 2, 4, 1]
    cost = gf.CTC(blank=4, from_logits=True)
    theirs = lambda x: ctc_of_torch(F.log_softmax(x, -1), lengths, blank=4, spoken=spoken)
    require_same(case(cost, spoken, theirs, TIMES, lengths=lengths), 1e-12)


def test_ctc_leaves_out_what_does_not_fit():
    lengths = [4, 3, 2, 2, 4, 1]
    cost = gf.CTC(zero_infinity=True)
    theirs = lambda x: ctc_of_torch(x, lengths, zero_infinity=True)
    require_same(case(cost, SPOKEN, theirs, TIMES, last="log_softmax", lengths=lengths), 1e-12)
    with pytest.raises(ValueError, match="the labels of sample 2 need 3 times, and it has 2"):
        case(gf.CTC(), SPOKEN, theirs, TIMES, last="log_softmax", lengths=lengths)


def test_ctc_takes_labels_that_are_filled_up():
    net = gf.Network([gf.Dense(3, 20), Reshape(4, 5), gf.Activation("log_softmax")], gf.CTC())
    filled = np.zeros((6, 2), int)
    for row, labels in zip(filled, SPOKEN, strict=True):
        row[: len(labels)] = labels
    params = net.init(0)
    assert net.loss(X, filled)(params) == net.loss(X, np.where(filled == 0, -1, filled))(params)
    assert net.loss(X, filled)(params) == net.loss(X, SPOKEN)(params)


# ---- weights of samples


def test_weights_of_samples():
    weights = np.array([1.0, 2.0, 0.0, 0.5, 1.0, 3.0])

    def theirs(x):
        return (F.cross_entropy(x, tensor(LABELS), reduction="none") * tensor(weights)).mean()

    require_same(case(gf.CrossEntropy(), LABELS, theirs, sample_weight=weights))


@pytest.mark.parametrize("form", ["samples", "targets"])
def test_weights_of_targets(form):
    y, weights = RNG.normal(size=ROWS), RNG.random(ROWS if form == "targets" else 6)
    wide = weights if form == "targets" else weights[:, np.newaxis]
    theirs = lambda x: (F.mse_loss(x, tensor(y), reduction="none") * tensor(wide)).mean()
    require_same(case(gf.SquaredError(), y, theirs, sample_weight=weights))


def test_a_weight_of_zero_leaves_out_what_is_not_defined():
    net = gf.Network([gf.Dense(1, 2, bias=False)], gf.KLDivergence(from_log=False, reduction="sum"))
    loss = net.loss([[1.0]], [[0.5, 0.5]], sample_weight=[[1.0, 0.0]])
    params = {"W1": np.array([[0.25, -1.0]])}
    assert loss(params) == pytest.approx(0.5 * np.log(2.0), rel=1e-15)
    np.testing.assert_allclose(gf.numerical_gradient(loss, params)["W1"], [[-2.0, 0.0]], rtol=1e-14)


# ---- what is refused

BAD = {
    "shape": (gf.SquaredError(), np.ones((6, 4)), {}, r"of the shape \(6, 5\) expects \(6, 5\), got \(6, 4\)"),
    "class": (gf.CrossEntropy(ignore_index=-1), [0, 1, 2, 3, 4, 5], {}, "5 at index .5.; class indices run from 0 to"),
    "weights": (gf.CrossEntropy(weight=np.ones(4)), LABELS, {}, "CrossEntropy: weight: expected 5 numbers"),
    "axis": (gf.CrossEntropy(axis=2), LABELS, {}, r"classes along axis 2, got outputs of the shape \(6, 5\)"),
    "ignored": (gf.CrossEntropy(ignore_index=1), np.ones(6, int), {}, "y: no target counts"),
    "hinge": (gf.Hinge(), ONES, {}, r"2 \* y - 1"),
    "triplets": (gf.TripletMargin(), np.array([[0, 1, 6]]), {}, "samples run from 0 to 5"),
    "triplet-rows": (gf.TripletMargin(), np.ones((2, 2), int), {}, r"expects the shape \(triplets, 3\), got \(2, 2\)"),
    "pairs": (gf.CosineEmbedding(), np.array([[0, 1, 0]]), {}, "1 or -1 in the last column"),
    "ctc": (gf.CTC(), [[1]] * 6, {}, r"CTC expects outputs of the shape \(samples, times, classes\)"),
    "negative": (gf.KLDivergence(), -SHARES, {}, "KLDivergence expects probabilities"),
    "sample-weight": (
        gf.SquaredError(), np.ones(ROWS), {"sample_weight": np.ones(5)}, r"sample_weight: expected the shape \(6,\)",
    ),
    "lengths": (gf.Hinge(), SIGNS, {"lengths": np.ones(6, int)}, "lengths: only for a network of dense and recurrent"),
    "states": (gf.Hinge(), SIGNS, {"states": {}}, "states: only for a network of dense and recurrent layers"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", BAD)
def test_targets_that_do_not_fit(mistake):
    cost, y, data, said = BAD[mistake]
    net = gf.Network([gf.Dense(3, 5), gf.Activation("relu")], cost)
    with pytest.raises(ValueError, match=said):
        net.loss(X, y, **data)


BAD_ARGUMENTS = {
    "smoothing": (lambda: gf.CrossEntropy(label_smoothing=1.0), ValueError, "label_smoothing: .* less than 1"),
    "weights": (lambda: gf.CrossEntropy(weight=[[1.0]]), ValueError, "one number for each class"),
    "negative-weights": (lambda: gf.NegativeLogLikelihood(weight=[-1.0]), ValueError, "at least 0"),
    "ignored": (lambda: gf.CrossEntropy(ignore_index=0.5), TypeError, "ignore_index"),
    "axis": (lambda: gf.CrossEntropy(axis=0), ValueError, "axis: expected a positive integer"),
    "p": (lambda: gf.MultiMargin(p=3), ValueError, "p: expected 1 or 2"),
    "cosine": (lambda: gf.CosineEmbedding(margin=2.0), ValueError, "-1 to 1"),
    "norm": (lambda: gf.TripletMargin(p=0.5), ValueError, "at least 1"),
}


@pytest.mark.parametrize("mistake", BAD_ARGUMENTS)
def test_arguments_that_are_refused(mistake):
    make, kind, said = BAD_ARGUMENTS[mistake]
    with pytest.raises(kind, match=said):
        make()


def test_a_cost_says_what_it_is():
    assert "weight=(1.0, 2.0)" in repr(gf.CrossEntropy(weight=np.array([1, 2])))
    assert gf.CrossEntropy(weight=[1, 2]) == gf.CrossEntropy(weight=(1.0, 2.0))
