"""Calls of PyTorch's functions that together need every operator of ATen which a trace knows.

Each is a function of one tensor, with the shape of that. `tools/torch_operators.py` makes its table of them.
"""

from __future__ import annotations

import torch
from torch.nn import functional
from torch_complex_calls import OF_COMPLEX
from torch_image_calls import OF_IMAGES
from torch_inner_gradients import DOUBLE, GRADIENTS, ROWS


def of_lengths(y):
    log_p = y.log_softmax(1)[:, None]
    targets = torch.tensor([[1, 2]])
    return functional.ctc_loss(log_p, targets, (3,), (2,)) + functional.ctc_loss(log_p, targets[0], (3,), (2,))


def writes(y):
    out = torch.zeros(4, 6, dtype=y.dtype)
    out[0] = y[0]
    out[1:3, ::2] = y[1:, ::2]
    out[y[:, 0].abs().argsort()] += y
    out[3].fill_(y[0, 0]).mul_(2.0).add_(y[1]).sub_(1.0).div_(2.0)
    out.index_put_((torch.tensor([0, 0]),), y[:2], accumulate=True)
    out.index_add_(0, torch.tensor([1, 1, 2]), y).index_copy_(0, torch.tensor([3]), y[:1] * 2.0)
    out.index_fill_(1, torch.tensor([2]), y[0, 1]).masked_fill_(out > 3.0, 3.0)
    out[:, 4].zero_()
    return out + out.clone().tanh_().sum() + out.clone().exp_().sum() + out.clone().clamp_(max=2.0)


CALLS = {
    **GRADIENTS,
    **OF_IMAGES,
    **OF_COMPLEX,
    "gelu_tanh": (lambda y: functional.gelu(y, approximate="tanh"), ROWS),
    "glu": (lambda y: functional.glu(y), ROWS),
    "elu2": (lambda y: functional.elu(y, 0.7), ROWS),
    "celu2": (lambda y: functional.celu(y, 0.7), ROWS),
    "softplus2": (lambda y: functional.softplus(y, 2.0, 1.0), ROWS),
    "threshold": (lambda y: functional.threshold(y, 0.1, 0.3), ROWS),
    "prelu": (lambda y: functional.prelu(y, y[0].abs()), ROWS),
    "softmax0": (lambda y: functional.softmax(y, 0), ROWS),
    "logsm": (lambda y: functional.log_softmax(y, 1), ROWS),
    "lse": (lambda y: torch.logsumexp(y, (0, 1)), ROWS),
    "softmin": (lambda y: functional.softmin(y, 1), ROWS),
    "gumbel": (lambda y: functional.gumbel_softmax(y, dim=1), ROWS),
    "sort": (lambda y: torch.sort(y, 1, descending=True)[0], ROWS),
    "topk": (lambda y: torch.topk(y, 2)[0], ROWS),
    "median": (lambda y: y.median(1)[0], ROWS),
    "kth": (lambda y: y.kthvalue(2, 1)[0], ROWS),
    "max": (lambda y: y.max(1)[0] + y.min(1)[0] + y.max() + y.amax((0, 1)), ROWS),
    "cummax": (lambda y: y.cummax(1)[0], ROWS),
    "cumsum": (lambda y: y.cumsum(1) + y.sigmoid().cumprod(1) + y.logcumsumexp(1), ROWS),
    "prod": (lambda y: y.prod(1), ROWS),
    "var": (lambda y: y.var(1) + y.std(0).sum() + torch.var_mean(y, 0, keepdim=True)[0].sum() + y.std(), ROWS),
    "norms": (
        lambda y: (
            y.norm() + torch.linalg.vector_norm(y, 1, 1) + torch.linalg.vector_norm(y, 3, 1) + y.norm(float("inf"), 1)
        ),
        ROWS,
    ),
    "normalize": (lambda y: functional.normalize(y, dim=1), ROWS),
    "pad": (
        lambda y: (
            functional.pad(y[None], (1, 2), mode="reflect")[0]
            + functional.pad(y[None], (1, 2), mode="replicate")[0]
            + functional.pad(y[None], (1, 2), mode="circular")[0]
            + functional.pad(y, (1, 2), value=0.5)
        ),
        ROWS,
    ),
    "roll": (lambda y: y.roll(1, 1) + y.flip(0) + torch.rot90(y @ y.T @ y)[:1].sum(), ROWS),
    "tril": (lambda y: y.tril() + y.triu(1), ROWS),
    "repeat": (lambda y: y.repeat(2, 1) + y.repeat_interleave(2, 0), ROWS),
    "einsum": (lambda y: torch.einsum("ij,kj->ik", y, y), ROWS),
    "outer": (lambda y: torch.outer(y[0], y[1]), ROWS),
    "gather": (lambda y: y.gather(1, torch.tensor([[0, 2], [1, 1], [5, 0]])), ROWS),
    "index": (lambda y: y[[0, 2, 2], :][:, torch.tensor([1, 3])], ROWS),
    "bool": (lambda y: y[y > 0], ROWS),
    "where": (lambda y: torch.where(y > 0, y, y.exp()), ROWS),
    "clamp": (lambda y: y.clamp(-0.3, 0.4) + y.clamp(max=0.2), ROWS),
    "masked": (lambda y: y.masked_fill(y < 0, 0.0), ROWS),
    "diag": (lambda y: torch.diag_embed(y).sum(0) + torch.diag(y[0]), ROWS),
    "inv": (lambda y: torch.linalg.inv(y @ y.T + torch.eye(3, dtype=DOUBLE)), ROWS),
    "solve": (lambda y: torch.linalg.solve(y @ y.T + torch.eye(3, dtype=DOUBLE), y), ROWS),
    "chol": (lambda y: torch.linalg.cholesky(y @ y.T + torch.eye(3, dtype=DOUBLE)), ROWS),
    "logdet": (lambda y: torch.logdet(y @ y.T + torch.eye(3, dtype=DOUBLE)) + torch.linalg.det(y @ y.T), ROWS),
    "slogdet": (lambda y: torch.linalg.slogdet(y @ y.T)[1], ROWS),
    "matexp": (lambda y: torch.linalg.matrix_exp(y @ y.T * 0.3), ROWS),
    "cdist": (lambda y: torch.cdist(y, y + 1), ROWS),
    "pdist": (lambda y: functional.pdist(y), ROWS),
    "cos": (lambda y: functional.cosine_similarity(y[:, None], y[None] + 0.1, -1), ROWS),
    "bilinear": (lambda y: functional.bilinear(y, y, torch.ones(2, 6, 6, dtype=DOUBLE) * 0.1), ROWS),
    "unfold": (lambda y: y.unfold(1, 3, 1).sum(-1), ROWS),
    "chlast": (
        lambda y: (
            functional.conv2d(
                y.reshape(1, 2, 3, 3).contiguous(memory_format=torch.channels_last),
                torch.ones(2, 2, 2, 2, dtype=DOUBLE) * 0.3,
            )
            * 2
        ),
        ROWS,
    ),
    "ops": (
        lambda y: (
            y.sin()
            + y.cos().tan() * y.exp().log1p()
            + y.abs().sqrt()
            + y.atan()
            + torch.atan2(y, y + 3)
            + y.erf()
            + y.sigmoid().logit()
            + y.abs().rsqrt()
            + torch.lerp(y, y * 2, 0.3)
            + torch.addcmul(y, y, y, value=0.5)
            + torch.hypot(y, y + 1)
            + y.pow(3)
            + y**2
            + 2**y
            + y.abs() ** y
            + 1 / y
            + y.square()
            + torch.xlogy(y.abs(), y.abs())
            + y.expm1()
            + torch.addcdiv(y, y, y + 5)
            + y.sinh()
            + y.cosh()
            + y.asinh()
            + torch.special.entr(y.abs())
            + y.lgamma()
            + (y.tanh() * 0.9).erfinv()
        ),
        ROWS,
    ),
    "sinc": (lambda y: torch.sinc(y), ROWS),
    "fmod": (lambda y: torch.fmod(y, 0.7) + torch.remainder(y, 0.6), ROWS),
    "floor": (lambda y: y * y.floor() + y.sign() * y + y.frac(), ROWS),
    "unbind": (lambda y: torch.stack([a * b for a, b in zip(y.unbind(0), y.chunk(3), strict=False)]), ROWS),
    "meshgrid": (lambda y: torch.meshgrid(y[0], y[1], indexing="ij")[0] * 2, ROWS),
    "tensordot": (lambda y: torch.tensordot(y, y, ([1], [1])), ROWS),
    "kron": (lambda y: torch.kron(y[:2, :2], y[:2, :2]), ROWS),
    "dropout": (lambda y: functional.dropout(y, 0.5), ROWS),
    "featdrop": (lambda y: functional.dropout2d(y.reshape(1, 3, 2, 3), 0.5), ROWS),
    "alphadrop": (lambda y: functional.alpha_dropout(y, 0.5, True), ROWS),
    "vmap": (lambda y: torch.vmap(lambda r: r.sin() * r.sum())(y), ROWS),
    "as_strided": (lambda y: y.as_strided((2, 4), (1, 2)), ROWS),
    "cross": (lambda y: torch.linalg.cross(y[:, :3], y[:, 3:]), ROWS),
    "scatter": (
        lambda y: (
            torch.zeros(3, 6, dtype=DOUBLE).scatter(1, torch.tensor([[0, 2], [1, 3], [5, 0]]), y[:, :2])
            + torch.zeros(3, 6, dtype=DOUBLE).scatter_add(1, torch.zeros(3, 6, dtype=torch.long), y)
        ),
        ROWS,
    ),
    "embbag": (
        lambda y: (
            functional.embedding_bag(torch.tensor([0, 1, 2, 2, 1]), y, torch.tensor([0, 2]), mode="mean")
            + functional.embedding_bag(torch.tensor([0, 1, 2, 2, 1]), y, torch.tensor([0, 2]), mode="sum")
            + functional.embedding_bag(torch.tensor([0, 1, 2, 2, 1]), y, torch.tensor([0, 2]), mode="max")
        ),
        ROWS,
    ),
    **{
        f"activation {name}": (getattr(functional, name), ROWS)
        for name in (
            "relu",
            "tanh",
            "sigmoid",
            "gelu",
            "silu",
            "mish",
            "elu",
            "selu",
            "celu",
            "softplus",
            "softsign",
            "hardtanh",
            "relu6",
            "hardswish",
            "hardsigmoid",
            "hardshrink",
            "softshrink",
            "tanhshrink",
            "logsigmoid",
            "leaky_relu",
        )
    },
    "writes": (writes, ROWS),
    "ctc": (of_lengths, ROWS),
    "losses": (
        lambda y: sum(
            loss(y, torch.linspace(0.1, 0.9, 18, dtype=DOUBLE).reshape(3, 6))
            for loss in (
                functional.mse_loss,
                functional.l1_loss,
                functional.smooth_l1_loss,
                functional.huber_loss,
                functional.soft_margin_loss,
                functional.binary_cross_entropy_with_logits,
                functional.cross_entropy,
                lambda z, t: functional.binary_cross_entropy(z.sigmoid(), t),
                lambda z, t: functional.kl_div(z.log_softmax(1), t, reduction="batchmean"),
                lambda z, t: functional.cross_entropy(z, torch.tensor([1, 0, 3])),
                lambda z, t: functional.cross_entropy(z.reshape(1, 3, 2, 3), torch.zeros(1, 2, 3, dtype=torch.long)),
                lambda z, t: functional.multi_margin_loss(z, torch.tensor([1, 0, 3])),
                lambda z, t: functional.multilabel_margin_loss(z, torch.tensor([[1, 0, -1, 2, 2, 2]] * 3)),
            )
        ),
        ROWS,
    ),
    "masks": (
        lambda y: (
            y * ((y > 0.0) & (y < 1.0) | ~(y >= -1.0) ^ (y == 0.5))
            + (y != 0.0).sum()
            + y * (y.isfinite() & ~y.isnan())
            + y * (y > 0).any()
            + y * (y > -9).all()
            + y * torch.logical_and(y, y > 0)
            + y.isinf()
            + y * (y <= 2)
        ),
        ROWS,
    ),
    "more of each entry": (
        lambda y: (
            (y.tanh() * 0.9).acos()
            + (y.tanh() * 0.9).asin()
            + (y.tanh() * 0.9).atanh()
            + (y.abs() + 1.5).acosh()
            + y.ceil() * y
            + y.trunc() * y
            + [y.round(), y][1]
            + y.sgn()
            + y.deg2rad()
            + y.rad2deg()
            + torch.special.erfc(y)
            + y.exp2()
            + y.abs().log()
            + y.abs().log10()
            + y.abs().log2()
            + torch.logaddexp(y, y * 2.0)
            + torch.logaddexp2(y, y * 2.0)
            + torch.fmax(y, -y)
            + torch.fmin(y, y * y)
            + torch.maximum(y, y * y)
            + torch.minimum(y, y * y)
            + torch.copysign(y, y - 0.3)
            + torch.heaviside(y.detach(), y.detach())
            + y.nan_to_num()
            + torch.floor_divide(y.detach(), 0.3) * y.detach() * 0.0
            + (1.0 - y)
            + torch.rsub(y, 2.0)
            + y.clamp_max(0.2)
            + y.clamp_min(-0.2)
        ),
        ROWS,
    ),
    "more masks": (
        lambda y: (
            y * (torch.logical_not(y > 0.0) | torch.logical_or(y > 1.0, y < -1.0) | torch.logical_xor(y > 0.0, y > 0.5))
            + y.count_nonzero()
            + y.masked_select(y > 0.0).sum()
            + y.masked_scatter(y > 0.0, y * 2.0)
            + y[torch.nonzero(y[:, 0] < 9.0)[:, 0]]
            + y.argmax() * y
            + y.argmin() * y
            + (y + 0.0).float().double() * 0.0
        ),
        ROWS,
    ),
    "more reductions": (
        lambda y: (
            y.amin(1).sum()
            + sum(part.sum() for part in torch.aminmax(y))
            + y.cummin(1)[0]
            + y.nansum()
            + y.nanmedian()
            + torch.std_mean(y)[0]
            + y[:, :3].trace()
            + torch.ops.aten._safe_softmax(y, 1)
        ),
        ROWS,
    ),
    "more products": (
        lambda y: (
            torch.addmm(y[:, :3], y, y.T)
            + torch.addmv(y[0, :3], y, y[1])
            + torch.addr(y[:, :3], y[0, :3], y[1, :3])
            + torch.addbmm(y[:, :3], y[None], y.T[None])
            + torch.baddbmm(y[None, :, :3], y[None], y.T[None])[0]
            + y[0].dot(y[1])
            + torch.vdot(y[0], y[1])
            + (y @ y[0]).sum()
            + torch.ops.aten._euclidean_dist(y, y + 1.0)
            + torch.linalg.solve_triangular(y[:, :3] + 3.0 * torch.eye(3).double(), y[:, 3:], upper=True)
            + torch.cholesky_solve(y[:, 3:], y[:, :3].tril() + 3.0 * torch.eye(3).double())
            + torch.sparse.mm(torch.eye(3, dtype=DOUBLE).to_sparse(), y)[:, :3]
            + torch._weight_norm(y[:, :3], y[:, :1].exp(), 0)
        ),
        ROWS,
    ),
    "more moves": (
        lambda y: (
            y.index_select(1, torch.tensor([0, 2, 2, 1, 0, 0]))
            + y.take(torch.tensor([0, 3])).sum()
            + y.repeat_interleave(torch.tensor([1, 0, 2]), 0)
            + torch.select_scatter(y, y[0], 0, 1)
            + torch.slice_scatter(y, y[:, :2] * 2.0, 1, 2, 4)
            + y.scatter_reduce(0, torch.tensor([[0] * 6, [0] * 6, [1] * 6]), y * 2.0, "mean")
            + y.scatter_reduce(0, torch.tensor([[0] * 6, [0] * 6, [2] * 6]), y * 2.0, "amax")
            + torch.ops.aten._unsafe_index(y, [torch.tensor([0, 1, 1])])
            + torch.ops.aten._unsafe_view(y, [3, 6])
            + torch.native_dropout(y, 0.3, True)[0]
            + torch.cat([y[:1], y[1:]])
        ),
        ROWS,
    ),
    "distances of pairs": (
        lambda y: (
            functional.triplet_margin_loss(y, y * 0.5 + 0.3, y.flip(0), margin=9.0, swap=True)
            + functional.pairwise_distance(y, y.flip(1), p=3.0).sum()
        ),
        ROWS,
    ),
    "rounded by fake_quantize": (
        lambda y: (
            torch.fake_quantize_per_tensor_affine(y, 0.1, 0, -8, 8)
            + torch.fake_quantize_per_tensor_affine(y, torch.tensor(0.2), torch.tensor(1, dtype=torch.int32), -4, 4)
            + torch.fake_quantize_per_channel_affine(
                y, torch.full(y.shape[:1], 0.3), torch.zeros(len(y), dtype=torch.int32), 0, -3, 3
            )
        ),
        ROWS,
    ),
}
