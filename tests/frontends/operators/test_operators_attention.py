import itertools

import numpy as np
import pytest
from operator_peer import agree, distance, numbers

from gradcheck_fast.frontends.operators import attention

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional

HEADS = {"q": numbers(2, 4, 5, 6), "k": numbers(2, 4, 7, 6, seed=1), "v": numbers(2, 4, 7, 3, seed=2)}
MASK = np.random.default_rng(0).random((2, 1, 5, 7)) < 0.6
MASK[..., 3] = True


@pytest.mark.parametrize(
    ("mask", "causal", "scale"),
    [(None, False, None), (None, True, 0.3), (MASK, False, None), (numbers(5, 7, seed=5), False, 0.5)],
    ids=["plain", "causal", "mask", "added"],
)
def test_scaled_products_are_those_of_pytorch(mask, causal, scale):
    theirs = None if mask is None else torch.tensor(mask)
    agree(
        lambda of: attention.scaled_dot_product_attention(
            of["q"], of["k"], of["v"], mask, causal=causal, scale=scale
        ),
        lambda of: F.scaled_dot_product_attention(
            of["q"], of["k"], of["v"], theirs, is_causal=causal, scale=scale
        ),
        HEADS,
    )  # fmt: skip


@pytest.mark.parametrize("mask", [MASK.copy(), np.where(MASK, 0.25, -np.inf)], ids=["mask", "added"])
def test_a_query_that_sees_no_key_gives_zeros(mask):
    mask[0, 0, 2] = False if mask.dtype == np.bool_ else -np.inf
    agree(
        lambda of: attention.scaled_dot_product_attention(of["q"], of["k"], of["v"], mask),
        lambda of: F.scaled_dot_product_attention(of["q"], of["k"], of["v"], torch.tensor(mask)),
        HEADS,
    )
    assert not attention.scaled_dot_product_attention(*HEADS.values(), mask)[0, :, 2].any()


def test_a_mask_may_be_causal_too():
    both = attention.scaled_dot_product_attention(*HEADS.values(), MASK, causal=True)
    np.testing.assert_array_equal(
        both, attention.scaled_dot_product_attention(*HEADS.values(), MASK & np.tri(5, 7, dtype=bool))
    )


@pytest.mark.parametrize("heads", [1, 2])
def test_several_heads_of_queries_share_one_of_keys(heads):
    agree(
        lambda of: attention.scaled_dot_product_attention(of["q"], of["k"], of["v"]),
        lambda of: F.scaled_dot_product_attention(of["q"], of["k"], of["v"], enable_gqa=True),
        HEADS | {"k": HEADS["k"][:, :heads], "v": HEADS["v"][:, :heads]},
    )
    with pytest.raises(ValueError, match="4 heads of queries cannot share 3 heads of keys"):
        attention.scaled_dot_product_attention(HEADS["q"], HEADS["k"][:, :3], HEADS["v"][:, :3])


def test_scores_may_be_capped():
    def theirs(of):
        scores = of["q"] @ of["k"].mT / 6**0.5
        return torch.softmax(2.0 * torch.tanh(scores / 2.0), -1) @ of["v"]

    agree(lambda of: attention.scaled_dot_product_attention(of["q"], of["k"], of["v"], softcap=2.0), theirs, HEADS)


@pytest.mark.parametrize(
    ("more", "zero_key", "padded", "causal"), list(itertools.product((False, True), repeat=4)), ids=str
)
def test_a_layer_of_heads_is_that_of_pytorch(more, zero_key, padded, causal):
    layer = torch.nn.MultiheadAttention(
        6, 2, add_bias_kv=more, add_zero_attn=zero_key, batch_first=True, dtype=torch.float64
    )
    named = {name.replace(".", "_"): name for name, _ in layer.named_parameters()}
    parameters = {name: numbers(*layer.get_parameter(own).shape, seed=len(name)) for name, own in named.items()}
    padding = np.arange(5) >= np.array([5, 3, 4])[:, np.newaxis]
    options = {"key_padding_mask": torch.tensor(padding)} if padded else {}
    if causal:
        options["attn_mask"] = torch.tensor(~np.tri(5, dtype=bool))

    def ours(of):
        weights = attention.HeadWeights(
            of["in_proj_weight"],
            of["out_proj_weight"],
            of["in_proj_bias"],
            of["out_proj_bias"],
            of.get("bias_k"),
            of.get("bias_v"),
        )
        return attention.multi_head_attention(
            of["x"],
            of["x"],
            of["x"],
            2,
            weights,
            padding=padding if padded else None,
            causal=causal,
            zero_key=zero_key,
        )[0]

    def theirs(of):
        own = {named[name]: of[name] for name in named}
        return torch.func.functional_call(layer, own, (of["x"],) * 3, options)[0]

    agree(ours, theirs, {"x": numbers(3, 5, 6), **parameters})  # fmt: skip


def test_queries_keys_and_values_may_have_weights_of_their_own():
    layer = torch.nn.MultiheadAttention(6, 2, kdim=5, vdim=4, bias=False, batch_first=True, dtype=torch.float64)
    mask = numbers(3, 7, seed=4)
    arrays = {name: numbers(*p.shape, seed=1) for name, p in layer.named_parameters() if name != "out_proj.weight"}
    arrays |= {"out": numbers(6, 6), "q": numbers(2, 3, 6), "k": numbers(2, 7, 5), "v": numbers(2, 7, 4)}

    def ours(of):
        into = tuple(of[f"{letter}_proj_weight"] for letter in "qkv")
        weights = attention.HeadWeights(into, of["out"])
        return attention.multi_head_attention(of["q"], of["k"], of["v"], 2, weights, mask=mask)[0]

    def theirs(of):
        own = {name: of[name] for name in arrays if name.endswith("_weight")} | {"out_proj.weight": of["out"]}
        options = {"attn_mask": torch.tensor(mask)}
        return torch.func.functional_call(layer, own, (of["q"], of["k"], of["v"]), options)[0]

    agree(ours, theirs, arrays)


def test_a_layer_may_have_fewer_heads_of_keys_rotary_positions_and_dropout():
    cos, sin = attention.rotary_angles(5, 4)
    dropped = 2.0 * (np.random.default_rng(2).random((2, 4, 5, 5)) < 0.5)

    def ours(of):
        weights = attention.HeadWeights(of["w"], of["o"])
        return attention.multi_head_attention(
            of["x"], of["x"], of["x"], 4, weights, key_heads=2, causal=True, turn=(cos, sin), dropped=dropped
        )[0]

    def theirs(of):
        q, k, v = (part.unflatten(-1, (-1, 4)).transpose(1, 2) for part in (of["x"] @ of["w"].T).split((16, 8, 8), -1))
        q, k = ((a * torch.tensor(cos) - b * torch.tensor(sin), b * torch.tensor(cos) + a * torch.tensor(sin))
                for a, b in (x.chunk(2, -1) for x in (q, k)))  # fmt: skip
        q, k, v = torch.cat(q, -1), torch.cat(k, -1).repeat_interleave(2, 1), v.repeat_interleave(2, 1)
        scores = (q @ k.mT / 2.0).masked_fill(torch.tensor(~np.tri(5, dtype=bool)), -torch.inf)
        return (torch.softmax(scores, -1) * torch.tensor(dropped) @ v).transpose(1, 2).flatten(2) @ of["o"].T

    agree(ours, theirs, {"x": numbers(2, 5, 6), "w": numbers(32, 6), "o": numbers(6, 16)})


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("all_angles", [False, True])
def test_rotary_positions_turn_pairs_of_entries(interleaved, all_angles):
    """A pair a + ib is multiplied by e^(i angle)."""
    x, (cos, sin) = numbers(2, 5, 6), attention.rotary_angles(5, 6)
    pairs = x[..., 0::2] + 1j * x[..., 1::2] if interleaved else x[..., :3] + 1j * x[..., 3:]
    turned = pairs * np.exp(1j * np.arange(5)[:, np.newaxis] / 10000.0 ** (np.arange(3) / 3.0))
    expected = np.stack([turned.real, turned.imag], axis=-1)
    expected = expected.reshape(2, 5, 6) if interleaved else np.moveaxis(expected, -1, -2).reshape(2, 5, 6)
    if all_angles:
        cos, sin = (np.repeat(a, 2, -1) if interleaved else np.concatenate([a, a], -1) for a in (cos, sin))
    assert distance(attention.rotary(x, cos, sin, interleaved), expected) <= 1e-15
