"""Method ``units`` for networks of any layers: one unit of each sample moves at once; weights follow by transposes."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from networks import flat
from work import Inline, Stopped, stop_after

import gradcheck_fast as gf
from gradcheck_fast.engine.units import Units
from gradcheck_fast.engine.units_cut import BILINEAR, LINEAR
from gradcheck_fast.engine.units_plan import UnitsPlan
from gradcheck_fast.frontends.network.cost import Cost

random = np.random.default_rng(0)
normal = random.normal
IMAGES, SIGNALS, VOLUMES = normal(size=(4, 2, 5, 5)), normal(size=(4, 4, 6)), normal(size=(3, 2, 3, 3, 3))
WORDS = random.integers(1, 7, size=(3, 4))
WORDS[0, 3:] = WORDS[1, 2:] = 0
CLASSES = np.array([0, 1, 2, 1])
MEANS, VARIANCES = normal(size=4), random.uniform(0.5, 2.0, 4)


def tanh():
    return gf.Activation("tanh")


def relu():
    return gf.Activation("relu")


SHARED = gf.Conv1d(4, 4, 3, padding=1)
ATTENTION = gf.Sequential([gf.LayerNorm(4), gf.MultiHeadAttention(4, 2, causal=True)])
SENTENCES = [gf.Embedding(7, 4, padding_idx=0), gf.Residual(ATTENTION), gf.Dense(4, 7)]
TO_CLASSES = [gf.GlobalAvgPool(), gf.Dense(4, 3)]
SMALL = [gf.Conv1d(4, 4, 2), relu(), gf.MaxPool1d(2), *TO_CLASSES]
NETWORKS = {
    "Conv1d": ([gf.Conv1d(4, 4, 3, stride=2), tanh(), gf.MaxPool1d(2), *TO_CLASSES], SIGNALS),
    "Conv2d, groups": ([gf.Conv2d(2, 4, 3, groups=2, padding=1), relu(), gf.MaxPool2d(2), *TO_CLASSES], IMAGES),
    "Conv2d, dilated": ([gf.Conv2d(2, 4, 3, dilation=2), gf.AvgPool2d(1), tanh(), *TO_CLASSES], IMAGES),
    "Conv3d": ([gf.Conv3d(2, 4, 2), gf.PReLU(4), gf.AvgPool3d(2), *TO_CLASSES], VOLUMES),
    "ConvTranspose1d": ([gf.ConvTranspose1d(4, 4, 3, stride=2), tanh(), *TO_CLASSES], SIGNALS),
    "ConvTranspose2d": ([gf.ConvTranspose2d(2, 4, 2, stride=2), tanh(), gf.GlobalMaxPool(), gf.Dense(4, 3)], IMAGES),
    "BatchNorm in evaluation": (
        [gf.Conv1d(4, 4, 2), gf.BatchNorm(4, mean=MEANS, var=VARIANCES), relu(), *TO_CLASSES], SIGNALS,
    ),
    "LayerNorm": ([gf.Conv1d(4, 4, 2), gf.LayerNorm(5), tanh(), *TO_CLASSES], SIGNALS),
    "GroupNorm": ([gf.Conv1d(4, 4, 2), gf.GroupNorm(2, 4), tanh(), *TO_CLASSES], SIGNALS),
    "InstanceNorm": ([gf.Conv1d(4, 4, 2), gf.InstanceNorm(4, affine=True), tanh(), *TO_CLASSES], SIGNALS),
    "RMSNorm": ([gf.Conv1d(4, 4, 2), gf.RMSNorm(5), tanh(), *TO_CLASSES], SIGNALS),
    "shared": ([SHARED, relu(), SHARED, tanh(), SHARED, *TO_CLASSES], SIGNALS),
    "Residual": ([gf.Residual(gf.Sequential([gf.Conv1d(4, 4, 3, padding=1), tanh()])), *TO_CLASSES], SIGNALS),
    "GLU": ([gf.Conv1d(4, 8, 3), gf.GLU(1), *TO_CLASSES], SIGNALS),
    "one sample": ([gf.Conv1d(4, 4, 2), gf.BatchNorm(4), relu(), *TO_CLASSES], SIGNALS[:1]),
}  # fmt: skip


def found(loss, params, method="units", **options):
    return flat(gf.numerical_gradient(loss, params, method=method, **options))


def require_same(loss, params):
    units = found(loss, params)
    for method in ("chain", "incremental"):
        expected = found(loss, params, method)
        np.testing.assert_allclose(units, expected, rtol=0.0, atol=1e-13 * np.abs(expected).max())


def small(**options):
    net = gf.Network(SMALL, gf.CrossEntropy(), gf.L2(0.1))
    return net.loss(SIGNALS, CLASSES, **options), net.init(1)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_the_gradient(name):
    layers, X = NETWORKS[name]
    net = gf.Network(layers, gf.CrossEntropy(), gf.L2(0.1))
    loss = net.loss(X, CLASSES[: len(X)])
    require_same(loss, net.init(1))
    plan = UnitsPlan(loss.engine, len(X))
    assert not len(plan.alone)
    transposed = {loss.program.steps[number].name for branch in plan.branches for number, _ in branch.cut.before}
    assert transposed <= {*LINEAR, *BILINEAR}


@pytest.mark.parametrize("cost", [
    gf.CrossEntropy(reduction="sum"), gf.CrossEntropy(ignore_index=0),
    gf.CrossEntropy(label_smoothing=0.1, weight=(1.0, 2.0, 0.5, 1.0, 1.0, 3.0, 1.0)),
])  # fmt: skip
def test_attention_over_words_of_which_some_are_ignored(cost):
    """Words of one sentence are mixed, and sentences are not."""
    net = gf.Network(SENTENCES, cost)
    loss = net.loss(WORDS, WORDS)
    require_same(loss, net.init(0))
    (branch,) = UnitsPlan(loss.engine, len(WORDS)).branches
    assert branch.parts == len(WORDS)


def test_words_that_are_not_mixed_are_told_apart():
    net = gf.Network([gf.Embedding(7, 4), gf.LayerNorm(4), tanh(), gf.Dense(4, 7)], gf.CrossEntropy())
    loss = net.loss(WORDS, WORDS)
    require_same(loss, net.init(0))
    (branch,) = UnitsPlan(loss.engine, len(WORDS)).branches
    assert branch.parts == WORDS.size


@pytest.mark.parametrize("weights", [[1.0, 0.0, 2.0, 0.5], [0.0, 0.0, 1.0, 0.0]])
def test_samples_with_weights(weights):
    require_same(*small(sample_weight=weights))


@pytest.mark.parametrize(("cost", "width", "y", "options"), [
    (gf.SquaredError(), 3, normal(size=(4, 3)), {}),
    (gf.KLDivergence(), 3, np.full((4, 3), 1 / 3), {}),
    (gf.NegativeLogLikelihood(), 3, CLASSES, {}),
    (gf.MultiMargin(), 3, CLASSES, {}),
    (gf.Hinge(), 1, np.array([1, -1, -1, 1]), {}),
], ids=repr)  # fmt: skip
def test_costs(cost, width, y, options):
    net = gf.Network([gf.Conv1d(4, 4, 2), tanh(), gf.GlobalAvgPool(), gf.Dense(4, width)], cost)
    require_same(net.loss(SIGNALS, y, **options), net.init(0))


def test_alignments_of_ragged_samples():
    net = gf.Network([gf.LayerNorm(6), gf.Dense(6, 3)], gf.CTC(from_logits=True))
    require_same(net.loss(SIGNALS, [[1, 2], [1], [2, 2], [1]], lengths=[4, 3, 4, 2]), net.init(0))


def test_units_are_pre_activations():
    """Of each sample 4 x 3 outputs of the convolution that is averaged with its bias, and 3 of the dense layer."""
    net = gf.Network([gf.Conv1d(4, 4, 3, padding=1), gf.AvgPool1d(2), tanh(), *TO_CLASSES], gf.CrossEntropy())
    loss = net.loss(SIGNALS, CLASSES)
    (branch,) = UnitsPlan(loss.engine, 4).branches
    sizes = [len(units) for units in branch.cut.units.values()]
    assert sizes == [4 * 4 * 3, 4 * 3]
    batches = Units(branch, flat(net.init(0))).batches
    assert sum(len(batch.places) for batch in batches) == sum(sizes)


LAYERS = (
    lambda: gf.Conv1d(4, 4, 3, padding=1), lambda: gf.Conv1d(4, 4, 3, padding=2, dilation=2, groups=2), tanh, relu,
    lambda: gf.LayerNorm(6), lambda: gf.GroupNorm(2, 4), lambda: gf.RMSNorm(6), lambda: gf.InstanceNorm(4, affine=True),
    lambda: gf.Dense(6, 6, "gelu"), lambda: gf.PReLU(4), lambda: gf.MultiHeadAttention(6, 2),
    lambda: gf.BatchNorm(4, mean=MEANS, var=VARIANCES),
    lambda: gf.Residual(gf.Sequential([gf.LayerNorm(6), gf.MultiHeadAttention(6, 3, causal=True)])),
)  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("seed", range(60))
def test_any_layers_one_after_another(seed):
    drawn = np.random.default_rng(seed)
    layers = [gf.Conv1d(4, 4, 1), *(LAYERS[k]() for k in drawn.integers(len(LAYERS), size=4))]
    ends = ([*TO_CLASSES], [gf.MaxPool1d(2), gf.Flatten(), gf.Dense(12, 3)], [gf.Dense(6, 3)])
    end, samples = int(drawn.integers(3)), int(drawn.integers(1, 6))
    net = gf.Network([*layers, *ends[end]], gf.CrossEntropy(ignore_index=2), gf.L2(0.1) if seed % 2 else None)
    y = drawn.integers(3, size=(samples, 4) if end == 2 else samples)
    y.flat[0] = 1
    require_same(net.loss(drawn.normal(size=(samples, 4, 6)), y), net.init(seed))


# ---- how it is run


def test_a_planted_error_is_found_in_each_array():
    loss, params = small()
    right = gf.numerical_gradient(loss, params)
    assert gf.gradcheck(loss, right, params, method="units").method == "units"
    for name in right:
        wrong = {key: array.copy() for key, array in right.items()}
        wrong[name].flat[-1] += 1e-7
        assert not gf.gradcheck(loss, wrong, params, method="units")


def test_any_number_of_threads_and_any_worker_find_the_same_bits():
    loss, params = small()
    expected = found(loss, params, n_threads=1)
    assert (found(loss, params, n_threads=3) == expected).all()
    assert (found(loss, params, executor=Inline()) == expected).all()
    with ThreadPoolExecutor(2) as pool:
        assert all((each == expected).all() for each in pool.map(lambda _: found(loss, params), range(3)))
    assert (found(pickle.loads(pickle.dumps(loss)), params) == expected).all()


def test_an_interrupted_run_goes_on(tmp_path):
    loss, params = small()
    expected = found(loss, params)
    with pytest.raises(Stopped):
        found(loss, params, checkpoint=tmp_path / "kept", progress=stop_after(2))
    for _ in range(2):
        assert (found(loss, params, checkpoint=tmp_path / "kept") == expected).all()


def test_at_kinks_any_slope_between_passes():
    """The biases and a sample are zero, so that pre-activations and the largest of a window are on kinks."""
    net = gf.Network(SMALL, gf.CrossEntropy())
    X, params = SIGNALS.copy(), net.init(0)
    X[1], params["bias1"][...] = 0.0, 0.0
    loss = net.loss(X, CLASSES)
    for method in ("chain", "incremental"):
        right = gf.numerical_gradient(loss, params, method=method)
        assert gf.gradcheck(loss, right, params, method="units")
    right["W5"][0, 0] += 1e-6
    assert not gf.gradcheck(loss, right, params, method="units")


def test_differences_that_are_not_certified_are_replaced_by_the_chain(monkeypatch):
    loss, params = small()
    expected, right = found(loss, params, "chain"), Units.gradient
    monkeypatch.setattr(Units, "gradient", lambda *arguments: 1.01 * right(*arguments))
    with pytest.warns(UserWarning, match="differences of units are not used"):
        assert (found(loss, params) == expected).all()


def test_some_entries():
    loss, params = small()
    right = gf.numerical_gradient(loss, params)
    assert gf.gradcheck(loss, right, params, method="units", sample=5)
    assert found(loss, params, "auto").tolist() == found(loss, params, "chain").tolist()


# ---- parameters without units, and networks without


class Exponential(gf.TensorLayer):
    """Multiplies by e to the power of a number that is trained."""

    @property
    def shapes(self):
        return {"scale": ()}

    def forward(self, x, arrays, run):
        return x * np.exp(arrays["scale"])


class Root(Cost):
    """The root of the mean square."""

    def _losses(self, x, targets):
        raise NotImplementedError

    def on_arrays(self, x, targets):
        return np.sqrt(np.mean(np.square(np.reshape(x, (-1,)) - targets.values)))


class Inverse(gf.TensorLayer):
    """Solves equations, of which it is not known that they are those of each sample."""

    def forward(self, x, arrays, run):
        return np.linalg.solve(np.eye(4) + 0.01 * x[..., :4], x)


def test_a_parameter_that_a_step_is_not_linear_in_is_moved_by_itself():
    net = gf.Network([gf.Dense(6, 2), Exponential(name="own"), tanh()], gf.SquaredError())
    loss = net.loss(SIGNALS, normal(size=(4, 4, 2)))
    require_same(loss, net.init(0))
    plan = UnitsPlan(loss.engine, 4)
    assert len(plan.alone) == 1
    assert [loss.program.steps[number].name for number in plan.mixed] == ["exp"]


@pytest.mark.parametrize(("layers", "cost", "y", "message"), [
    ([gf.Conv1d(4, 4, 2), gf.BatchNorm(4), tanh(), *TO_CLASSES], gf.CrossEntropy(), CLASSES, "2, BatchNorm mixes"),
    ([gf.Dense(6, 4, "tanh"), gf.Residual(gf.BatchNorm(4)), tanh(), *TO_CLASSES], gf.CrossEntropy(), CLASSES,
     r"layer 2\.1, BatchNorm mixes samples; use 'incremental' or 'chain'"),
    ([gf.Conv1d(4, 4, 2), tanh(), *TO_CLASSES], Root(), np.zeros((4, 3)), "cost, Root is no sum of parts, one for"),
    ([gf.Conv1d(4, 4, 2), tanh(), *TO_CLASSES], gf.TripletMargin(), [[0, 1, 2], [1, 3, 2]], "TripletMargin is no sum"),
    ([gf.Dense(6, 6, "tanh"), Inverse(), *TO_CLASSES], gf.CrossEntropy(), CLASSES,
     "not known whether solve .layer 2, Inverse. mixes samples"),
], ids=["BatchNorm", "inner BatchNorm", "cost", "triplets", "solve"])  # fmt: skip
def test_a_network_whose_samples_do_not_stay_apart_is_refused(layers, cost, y, message):
    net = gf.Network(layers, cost)
    with pytest.raises(ValueError, match=f"method: 'units': .*{message}"):
        gf.numerical_gradient(net.loss(SIGNALS, y), net.init(0), method="units")


def test_a_step_of_the_user_is_refused():
    loss, params = small()
    with pytest.raises(ValueError, match="step: "):
        gf.numerical_gradient(loss, params, method="units", step=1e-3)
