"""Embeddings, and attention with several heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from gradcheck_fast.frontends.network.tensor_layer import Arrays, TensorLayer, kept, require_form, settle
from gradcheck_fast.frontends.operators.attention import HeadWeights, multi_head_attention, rotary_angles
from gradcheck_fast.inputs.arguments import integer, number, true_or_false
from gradcheck_fast.inputs.arrays import first_index, format_index, real_array, require_finite


@dataclass(frozen=True, eq=False, repr=False)
class Embedding(TensorLayer):
    """Takes for each integer the row of an array, ``weight``, of shape (num_embeddings, embedding_dim).

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    padding_idx : int, optional
        The integer whose row is always zeros and is not trained: its gradient is zero, as in PyTorch, where that row is
        zeros unless somebody writes to it.
    name : str, optional
        As for every layer.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Examples
    --------
    >>> import numpy as np, gradcheck_fast as gf
    >>> net = gf.Network([gf.Embedding(10, 4), gf.Dense(4, 10)], gf.CrossEntropy())
    >>> net.predict(net.init(0), np.array([[1, 2, 3]])).shape
    (1, 3, 10)
    """

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(f"{self.kind}: num_embeddings", self.num_embeddings, positive=True)
        integer(f"{self.kind}: embedding_dim", self.embedding_dim, positive=True)
        if self.padding_idx is not None:
            last = self.num_embeddings - 1
            if isinstance(self.padding_idx, bool) or not isinstance(self.padding_idx, (int, np.integer)):
                raise TypeError(f"{self.kind}: padding_idx: expected an integer or None, got {self.padding_idx!r}")
            if not -self.num_embeddings <= self.padding_idx <= last:
                raise ValueError(f"{self.kind}: padding_idx: expected 0 to {last}, got {self.padding_idx}")
            settle(self, padding_idx=int(self.padding_idx) % self.num_embeddings)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"weight": (self.num_embeddings, self.embedding_dim)}

    def require(self, x: Any) -> None:
        if not isinstance(x, np.ndarray) or x.dtype.kind not in "iu":
            raise TypeError(f"expected integers, got {getattr(x, 'dtype', type(x).__name__)}; use X.astype(int)")
        good = (x >= 0) & (x < self.num_embeddings)
        if not good.all():
            index = first_index(~good)
            raise ValueError(
                f"expected integers from 0 to {self.num_embeddings - 1}, got {x[index]} at {format_index(index)}"
            )

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        found = arrays["weight"][x]
        return found if self.padding_idx is None else found * (x != self.padding_idx)[..., np.newaxis]

    def initial(self, own: str, shape: tuple[int, ...], generator: np.random.Generator) -> Any:
        weight = generator.normal(0.0, 1.0, shape)
        if self.padding_idx is not None:
            weight[self.padding_idx] = 0.0
        return weight


@dataclass(frozen=True, eq=False, repr=False)
class MultiHeadAttention(TensorLayer):
    """Self-attention with several heads (Vaswani et al. 2017) of an array of shape (samples, times, embed_dim).

    Each head computes softmax(q k^T * scale + mask) v. The arrays are PyTorch's: ``in_proj_weight``, whose rows make
    all q, then all k, then all v, of shape ((num_heads + 2 num_kv_heads) * head_dim, embed_dim), ``in_proj_bias``,
    ``out_proj.weight``, of shape (embed_dim, num_heads * head_dim), and ``out_proj.bias``; with `add_bias_kv`, also
    ``bias_k`` and ``bias_v``, of shape (1, 1, num_kv_heads * head_dim).

    Parameters
    ----------
    embed_dim, num_heads : int
    num_kv_heads : int, optional
        The number of heads of k and v, a divisor of `num_heads`: each is for a group of heads of q (Ainslie et al.
        2023). By default `num_heads`.
    head_dim : int, optional
        The width of a head; by default embed_dim / num_heads.
    bias : bool
        Whether there are ``in_proj_bias`` and ``out_proj.bias``.
    add_bias_kv : bool
        Whether one more pair of k and v, the same for all samples, comes after the others.
    causal : bool
        Whether no time sees later ones.
    key_padding_mask : array_like of bool, shape (samples, times), optional
        True where a key is padding, which nothing sees (PyTorch's meaning). It is copied.
    attn_mask : array_like of bool or float, shape (times, times), optional
        True where a query, of the first axis, does not see a key (PyTorch's meaning), or numbers that are added to the
        scores; with -inf a key is not seen. It is copied.
    rotary : bool
        Whether q and k are rotated by angles that grow with time (Su et al. 2021): pair i of the entries of a head by
        time / rotary_base^(2i / head_dim). The pairs are entry i of the first half and of the second half, as in
        LLaMA's code for PyTorch.
    rotary_base : float
    rotary_interleaved : bool
        Whether the pairs are neighbours instead, as in the paper.
    scale : float, optional
        By default 1 / sqrt(head_dim).
    name : str, optional
        As for every layer.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Examples
    --------
    >>> import gradcheck_fast as gf
    >>> gf.MultiHeadAttention(8, num_heads=4, num_kv_heads=2, bias=False).shapes
    {'in_proj_weight': (16, 8), 'out_proj.weight': (8, 8)}
    """

    embed_dim: int
    num_heads: int
    _: KW_ONLY
    num_kv_heads: int | None = None
    head_dim: int | None = None
    bias: bool = True
    add_bias_kv: bool = False
    causal: bool = False
    key_padding_mask: Any = None
    attn_mask: Any = None
    rotary: bool = False
    rotary_base: float = 10000.0
    rotary_interleaved: bool = False
    scale: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(f"{self.kind}: embed_dim", self.embed_dim, positive=True)
        integer(f"{self.kind}: num_heads", self.num_heads, positive=True)
        if self.num_kv_heads is not None:
            integer(f"{self.kind}: num_kv_heads", self.num_kv_heads, positive=True)
        if self.num_heads % self._kv_heads:
            raise ValueError(
                f"{self.kind}: num_kv_heads: expected a divisor of {self.num_heads} heads, got {self.num_kv_heads}"
            )
        if self.head_dim is not None:
            integer(f"{self.kind}: head_dim", self.head_dim, positive=True)
        elif self.embed_dim % self.num_heads:
            raise ValueError(
                f"{self.kind}: num_heads: expected a divisor of embed_dim {self.embed_dim}, got {self.num_heads}; or "
                "give head_dim"
            )
        for own in ("bias", "add_bias_kv", "causal", "rotary", "rotary_interleaved"):
            true_or_false(f"{self.kind}: {own}", getattr(self, own))
        if self.rotary and self._width % 2:
            raise ValueError(f"{self.kind}: rotary: expected heads of even width, got {self._width}")
        if self.rotary and self.add_bias_kv:
            raise ValueError(f"{self.kind}: rotary: the keys of add_bias_kv have no time; use one of the two")
        number(f"{self.kind}: rotary_base", self.rotary_base, positive=True)
        if self.scale is not None:
            number(f"{self.kind}: scale", self.scale, positive=True)
        for own in ("key_padding_mask", "attn_mask"):
            if getattr(self, own) is not None:
                mask = real_array(f"{self.kind}: {own}", getattr(self, own), allow_bool=True)
                if mask.ndim != 2:
                    raise ValueError(f"{self.kind}: {own}: expected two axes, got the shape {mask.shape}")
                if own == "key_padding_mask" and mask.dtype != np.bool_:
                    raise TypeError(f"{self.kind}: {own}: expected bool, True for padding, got dtype {mask.dtype}")
                if mask.dtype.kind not in "bf":
                    raise TypeError(f"{self.kind}: {own}: expected bool, or float to add, got dtype {mask.dtype}")
                if mask.dtype != np.bool_:
                    require_finite(f"{self.kind}: {own}", np.where(mask == -np.inf, 0.0, mask))
                settle(self, **{own: kept(mask)})

    @property
    def _kv_heads(self) -> int:
        return self.num_heads if self.num_kv_heads is None else self.num_kv_heads

    @property
    def _width(self) -> int:
        return self.embed_dim // self.num_heads if self.head_dim is None else self.head_dim

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        q, kv = self.num_heads * self._width, self._kv_heads * self._width
        shapes: dict[str, tuple[int, ...]] = {"in_proj_weight": (q + 2 * kv, self.embed_dim)}
        if self.bias:
            shapes["in_proj_bias"] = (q + 2 * kv,)
        if self.add_bias_kv:
            shapes.update(bias_k=(1, 1, kv), bias_v=(1, 1, kv))
        shapes["out_proj.weight"] = (self.embed_dim, q)
        return {**shapes, "out_proj.bias": (self.embed_dim,)} if self.bias else shapes

    def require(self, x: Any) -> None:
        require_form(x, ("samples", "times", self.embed_dim))
        samples, times = np.shape(x)[:2]
        if self.key_padding_mask is not None and self.key_padding_mask.shape != (samples, times):
            raise ValueError(
                f"key_padding_mask: expected the shape ({samples}, {times}), as X has it, got "
                f"{self.key_padding_mask.shape}"
            )
        if self.attn_mask is not None and self.attn_mask.shape != (times, times):
            raise ValueError(f"attn_mask: expected the shape ({times}, {times}), got {self.attn_mask.shape}")
        without = ~self._seen(samples, times).any(axis=-1)
        if without.any() and not self.add_bias_kv:
            sample, _, query = first_index(without)
            raise ValueError(f"the masks leave no key for time {query} of sample {sample}")

    def _seen(self, samples: int, times: int) -> Any:
        """Returns which query sees which key, of shape (samples, 1, times, times)."""
        seen = np.ones((samples, 1, times, times), np.bool_)
        if self.causal:
            seen &= np.tri(times, dtype=np.bool_)
        if self.key_padding_mask is not None:
            seen &= ~self.key_padding_mask[:, np.newaxis, np.newaxis]
        if self.attn_mask is not None:
            seen &= ~self.attn_mask if self.attn_mask.dtype == np.bool_ else self.attn_mask > -np.inf
        return seen

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        own = ("in_proj_weight", "out_proj.weight", "in_proj_bias", "out_proj.bias", "bias_k", "bias_v")
        mask = self.attn_mask
        found, _ = multi_head_attention(
            x, x, x, self.num_heads, HeadWeights(*map(arrays.get, own)), key_heads=self._kv_heads,
            mask=~mask if mask is not None and mask.dtype == np.bool_ else mask, padding=self.key_padding_mask,
            causal=self.causal, scale=self.scale,
            turn=self._turn(x.shape[1]) if self.rotary else None,
        )  # fmt: skip
        return found

    def _turn(self, times: int) -> tuple[Any, ...]:
        return *rotary_angles(times, self._width, self.rotary_base), self.rotary_interleaved
