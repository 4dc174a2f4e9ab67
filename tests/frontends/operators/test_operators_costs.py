import itertools

import numpy as np
import pytest
from operator_peer import agree, numbers

from gradcheck_fast.frontends.operators import costs

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F, tensor = torch.nn.functional, torch.tensor

REDUCTIONS = ["mean", "sum", "none"]
X, Z, Q = numbers(6, 5), numbers(6, 5, seed=11), numbers(6, 5, seed=12)
CLASSES = np.random.default_rng(1).integers(0, 5, 6)
IGNORED = np.where(np.arange(6) == 2, -100, CLASSES)
PROBABILITIES = np.random.default_rng(3).dirichlet(np.ones(5), 6)
ZERO_ONE, SIGNS = (Z > 0.0) * 1.0, np.sign(Q)
POSITIVE, COUNTS = np.abs(Z) + 0.1, np.round(3.0 * np.abs(Q))
WEIGHTS = np.abs(numbers(5)) + 0.1
LABELS = np.array(
    [[1, 3, -1, 2, 0], [0, -1, 1, 1, 1], [-1] * 5, [4, 3, 2, 1, 0], [2, -1, -1, -1, -1], [0, 1, -1, -1, -1]]
)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    ("x", "targets"),
    [(X, IGNORED), (numbers(4, 5, 3), CLASSES[:4, np.newaxis] * [1, 0, 1]), (X[0], np.array(3)), (X, PROBABILITIES)],
    ids=["classes", "places", "one", "probabilities"],
)
def test_cross_entropy_is_that_of_pytorch(x, targets, label_smoothing, weights, reduction):
    theirs = None if weights is None else tensor(weights)
    agree(
        lambda of: costs.cross_entropy(
            of["x"], targets, weights=weights, label_smoothing=label_smoothing, reduction=reduction
        ),
        lambda of: F.cross_entropy(
            of["x"], tensor(targets), theirs, label_smoothing=label_smoothing, reduction=reduction
        ),
        {"x": x},
    )


def test_the_classes_may_be_another_axis_and_another_class_be_ignored():
    targets = np.array([[0, 4, 1], [4, 2, 3]])
    agree(
        lambda of: costs.cross_entropy(of["x"], targets, ignore_index=4, axis=-1),
        lambda of: F.cross_entropy(of["x"].mT, tensor(targets), ignore_index=4),
        {"x": numbers(2, 3, 5)},
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
def test_negative_log_likelihood_is_that_of_pytorch(weights, reduction):
    theirs = None if weights is None else tensor(weights)
    agree(
        lambda of: costs.nll(of["x"], IGNORED, weights=weights, reduction=reduction),
        lambda of: F.nll_loss(of["x"], tensor(IGNORED), theirs, reduction=reduction),
        {"x": X},
    )


#: Ours, PyTorch's, the array that is differenced, the targets, and options.
CASES = {
    "binary": (costs.binary_cross_entropy, F.binary_cross_entropy, 1.0 / (1.0 + np.exp(-X)), ZERO_ONE, {}),
    "logits": (
        costs.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits, X, ZERO_ONE * 0.9 + 0.05, {},
    ),
    "mse": (costs.mse, F.mse_loss, X, Z, {}),
    "l1": (costs.l1, F.l1_loss, X, Z, {}),
    "huber": (costs.huber, F.huber_loss, X, Z, {"delta": 0.7}),
    "smooth_l1": (costs.smooth_l1, F.smooth_l1_loss, X, Z, {"beta": 0.7}),
    "smooth_l1 of 0": (costs.smooth_l1, F.smooth_l1_loss, X, Z, {"beta": 0.0}),
    "kl": (costs.kl_div, F.kl_div, X, PROBABILITIES * ZERO_ONE, {}),
    "kl of logarithms": (costs.kl_div, F.kl_div, X, Z, {"log_target": True}),
    "hinge": (costs.hinge_embedding, F.hinge_embedding_loss, X, SIGNS, {"margin": 0.8}),
    "soft margin": (costs.soft_margin, F.soft_margin_loss, X, SIGNS, {}),
    "multi margin": (costs.multi_margin, F.multi_margin_loss, X, CLASSES, {}),
    "squared margins": (costs.multi_margin, F.multi_margin_loss, X, CLASSES, {"p": 2, "margin": 0.7}),
    "one sample's margin": (costs.multi_margin, F.multi_margin_loss, X[0], np.array(2), {}),
    "labels": (costs.multilabel_margin, F.multilabel_margin_loss, X, LABELS, {}),
    "one sample's labels": (costs.multilabel_margin, F.multilabel_margin_loss, X[0], LABELS[0], {}),
    "soft labels": (costs.multilabel_soft_margin, F.multilabel_soft_margin_loss, X, ZERO_ONE, {}),
    "poisson": (costs.poisson_nll, F.poisson_nll_loss, X, COUNTS, {"full": True}),
    "poisson's rate": (costs.poisson_nll, F.poisson_nll_loss, POSITIVE, COUNTS, {"log_input": False}),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss by both:UserWarning")
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", CASES)
def test_a_cost_with_targets_is_that_of_pytorch(name, reduction):
    ours, theirs, x, targets, options = CASES[name]
    agree(
        lambda of: ours(of["x"], targets, reduction=reduction, **options),
        lambda of: theirs(of["x"], tensor(targets), reduction=reduction, **options),
        {"x": x},
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda of: costs.kl_div(of["x"], PROBABILITIES, reduction="batchmean"),
         lambda of: F.kl_div(of["x"], tensor(PROBABILITIES), reduction="batchmean")),
        (lambda of: costs.binary_cross_entropy_with_logits(of["x"], ZERO_ONE, weights=POSITIVE, pos_weight=WEIGHTS),
         lambda of: F.binary_cross_entropy_with_logits(
             of["x"], tensor(ZERO_ONE), tensor(POSITIVE), pos_weight=tensor(WEIGHTS))),
        (lambda of: costs.binary_cross_entropy(of["p"], ZERO_ONE, weights=WEIGHTS),
         lambda of: F.binary_cross_entropy(of["p"], tensor(ZERO_ONE), tensor(WEIGHTS))),
        (lambda of: costs.multi_margin(of["x"], CLASSES, weights=WEIGHTS),
         lambda of: F.multi_margin_loss(of["x"], tensor(CLASSES), weight=tensor(WEIGHTS))),
        (lambda of: costs.gaussian_nll(of["x"], Z, of["v"], full=True),
         lambda of: F.gaussian_nll_loss(of["x"], tensor(Z), of["v"], full=True)),
        (lambda of: costs.cosine_similarity(of["x"], of["y"]), lambda of: F.cosine_similarity(of["x"], of["y"])),
    ],
    ids=["batchmean", "pos_weight", "weights", "weighted margins", "variance", "cosine"],
)  # fmt: skip
def test_options_that_few_have(ours, theirs):
    arrays = {"x": X, "y": Z, "p": 1.0 / (1.0 + np.exp(-X)), "v": POSITIVE}
    used = {name: array for name, array in arrays.items() if f'"{name}"' in _names(ours)}
    agree(ours, theirs, used)


def _names(function):
    return "".join(f'"{name}"' for name in function.__code__.co_consts if isinstance(name, str))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_costs_of_two_arrays(reduction):
    sides = np.sign(numbers(6, seed=8))
    agree(
        lambda of: costs.margin_ranking(of["x"], of["y"], SIGNS, margin=0.3, reduction=reduction),
        lambda of: F.margin_ranking_loss(of["x"], of["y"], tensor(SIGNS), 0.3, reduction=reduction),
        {"x": X, "y": Z},
    )
    agree(
        lambda of: costs.cosine_embedding(of["x"], of["y"], sides, margin=0.1, reduction=reduction),
        lambda of: F.cosine_embedding_loss(of["x"], of["y"], tensor(sides), 0.1, reduction=reduction),
        {"x": X, "y": Z},
    )


@pytest.mark.parametrize(("p", "swap"), list(itertools.product((1.0, 2.0, 3.0), (False, True))))
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_triplets(p, swap, reduction):
    agree(
        lambda of: costs.triplet_margin(of["x"], of["y"], of["z"], p=p, swap=swap, reduction=reduction),
        lambda of: F.triplet_margin_loss(of["x"], of["y"], of["z"], p=p, swap=swap, reduction=reduction),
        {"x": X, "y": Z, "z": Q},
    )


@pytest.mark.parametrize("p", [1.0, 2.0, 2.5, np.inf])
def test_distances_of_rows(p):
    agree(
        lambda of: costs.pairwise_distance(of["x"], of["y"], p, keepdims=True),
        lambda of: F.pairwise_distance(of["x"], of["y"], p, keepdim=True),
        {"x": X, "y": Z},
    )


def test_probabilities_of_0_and_1_cost_at_most_100():
    found = costs.binary_cross_entropy(np.array([0.0, 1.0]), np.array([1.0, 0.0]), reduction="none")
    np.testing.assert_array_equal(found, [100.0, 100.0])
