"""Fused operators of PyTorch: normalisations, attention, losses, gates."""

import math

import torch
from torch.nn import functional as F

import gradcheck_fast as gf

from .registry import operator


def randn(*shape, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(**options).requires_grad_()


@operator("torch", "the mean is forgotten", "the bias is averaged")
def fused_layer_norm(mistake):
    class LayerNorm(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight, bias):
            mean, spread = x.mean(-1, keepdim=True), (x.var(-1, unbiased=False, keepdim=True) + 1e-5).rsqrt()
            y = (x - mean) * spread
            ctx.save_for_backward(y, spread, weight)
            return y * weight + bias

        @staticmethod
        def backward(ctx, v):
            y, spread, weight = ctx.saved_tensors
            d = v * weight
            mean = 0.0 if mistake == "the mean is forgotten" else d.mean(-1, keepdim=True)
            dx = spread * (d - mean - y * (d * y).mean(-1, keepdim=True))
            rows = v.flatten(0, -2)
            db = rows.mean(0) if mistake == "the bias is averaged" else rows.sum(0)
            return dx, (v * y).flatten(0, -2).sum(0), db

    return gf.torch.check_function(LayerNorm, (randn(2, 3, 5), randn(5, seed=1), randn(5, seed=2)))


@operator("torch", "the projection is forgotten")
def rms_norm(mistake):
    class RMSNorm(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight):
            spread = (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
            ctx.save_for_backward(x, weight, spread)
            return x * spread * weight

        @staticmethod
        def backward(ctx, v):
            x, weight, spread = ctx.saved_tensors
            d = v * weight
            dx = d * spread
            if mistake is None:
                dx = dx - x * spread**3 * (d * x).mean(-1, keepdim=True)
            return dx, (v * x * spread).sum(0)

    return gf.torch.check_function(RMSNorm, (randn(4, 6), randn(6, seed=1)))


@operator("torch", "the scale is forgotten", "rowsum(dO O) is forgotten")
def flash_attention_in_blocks(mistake):
    """Softmax attention block by block, with the running maximum and sum; the backward recomputes the weights."""
    size = 2

    class FlashAttention(torch.autograd.Function):
        @staticmethod
        def forward(ctx, q, k, v):
            scale = q.shape[-1] ** -0.5
            high = torch.full((*q.shape[:-1], 1), -math.inf, dtype=q.dtype)
            total, out = torch.zeros_like(high), torch.zeros_like(q)
            for at in range(0, k.shape[-2], size):
                scores = scale * q @ k[:, at : at + size].mT
                new = torch.maximum(high, scores.amax(-1, keepdim=True))
                p, old = (scores - new).exp(), (high - new).exp()
                total, out = total * old + p.sum(-1, keepdim=True), out * old + p @ v[:, at : at + size]
                high = new
            out = out / total
            ctx.save_for_backward(q, k, v, out, high + total.log())
            return out

        @staticmethod
        def backward(ctx, g):
            q, k, v, out, logsum = ctx.saved_tensors
            scale = q.shape[-1] ** -0.5
            dq, dk, dv = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
            rows = (g * out).sum(-1, keepdim=True)
            if mistake == "rowsum(dO O) is forgotten":
                rows = torch.zeros_like(rows)
            for at in range(0, k.shape[-2], size):
                part = slice(at, at + size)
                p = (scale * q @ k[:, part].mT - logsum).exp()
                dv[:, part] += p.mT @ g
                ds = p * (g @ v[:, part].mT - rows)
                if mistake != "the scale is forgotten":
                    ds = scale * ds
                dq += ds @ k[:, part]
                dk[:, part] += ds.mT @ q
            return dq, dk, dv

    return gf.torch.check_function(FlashAttention, (randn(2, 4, 3), randn(2, 5, 3, seed=1), randn(2, 5, 3, seed=2)))


@operator("torch", "ignored targets are counted")
def fused_cross_entropy(mistake):
    """From logits, with an ignored target, label smoothing, and the gradient made in the forward."""
    ignored, smoothing = -100, 0.1

    class CrossEntropy(torch.autograd.Function):
        @staticmethod
        def forward(ctx, logits, targets):
            kept = targets != ignored
            count = len(targets) if mistake else kept.sum()
            log_p = logits.log_softmax(-1)
            classes = logits.shape[-1]
            wanted = torch.full_like(logits, smoothing / classes)
            wanted[torch.arange(len(targets)), targets.clamp(min=0)] += 1.0 - smoothing
            ctx.save_for_backward((log_p.exp() - wanted) * kept[:, None] / count)
            return -(wanted * log_p).sum(-1)[kept].sum() / kept.sum()

        @staticmethod
        def backward(ctx, v):
            return v * ctx.saved_tensors[0], None

    return gf.torch.check_function(CrossEntropy, (randn(5, 4), torch.tensor([0, 3, ignored, 2, ignored])))


@operator("torch", "the bias gets no gelu")
def fused_bias_gelu(mistake):
    class BiasGelu(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, bias):
            ctx.save_for_backward(x, bias)
            return F.gelu(x + bias)

        @staticmethod
        def backward(ctx, v):
            x, bias = ctx.saved_tensors
            z = x + bias
            slope = 0.5 * (1.0 + torch.erf(z / 2**0.5)) + z * (-0.5 * z * z).exp() / (2.0 * math.pi) ** 0.5
            return v * slope, (v if mistake else v * slope).sum(0)

    return gf.torch.check_function(BiasGelu, (randn(4, 3), randn(3, seed=1)))


@operator("torch", "up is taken for gate")
def fused_swiglu(mistake):
    class SwiGLU(torch.autograd.Function):
        @staticmethod
        def forward(ctx, gate, up):
            ctx.save_for_backward(gate, up)
            return F.silu(gate) * up

        @staticmethod
        def backward(ctx, v):
            gate, up = ctx.saved_tensors
            s = gate.sigmoid()
            slope = s * (1.0 + gate * (1.0 - s))
            return (v * slope * gate if mistake else v * slope * up), v * F.silu(gate)

    return gf.torch.check_function(SwiGLU, (randn(3, 4), randn(3, 4, seed=1)))


@operator("torch", "the states are not carried back")
def selective_scan(mistake):
    """h(t) = a(t) h(t-1) + b(t) x(t), y = c(t) h(t): the recurrence of a state space model."""

    class Scan(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b, c, x):
            states = [torch.zeros_like(x[0])]
            for t in range(len(x)):
                states.append(a[t] * states[-1] + b[t] * x[t])
            ctx.save_for_backward(a, b, c, x, torch.stack(states))
            return c * torch.stack(states[1:])

        @staticmethod
        def backward(ctx, v):
            a, b, c, x, h = ctx.saved_tensors
            da, db, dx = torch.zeros_like(a), torch.zeros_like(b), torch.zeros_like(x)
            dh = torch.zeros_like(x[0])
            for t in reversed(range(len(x))):
                dh = dh + v[t] * c[t]
                da[t], db[t], dx[t] = dh * h[t], dh * x[t], dh * b[t]
                dh = torch.zeros_like(dh) if mistake else dh * a[t]
            return da, db, v * h[1:], dx

    return gf.torch.check_function(Scan, tuple(randn(5, 3, seed=k) for k in range(4)))


@operator("torch", "the angle is not turned back")
def rotary_embedding(mistake):
    angles = torch.arange(4.0, dtype=torch.float64)[:, None] * torch.tensor([1.0, 0.1], dtype=torch.float64)

    def turned(x, by):
        first, second = x.chunk(2, -1)
        return torch.cat([first * by.cos() - second * by.sin(), second * by.cos() + first * by.sin()], -1)

    class Rotary(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return turned(x, angles.to(x))

        @staticmethod
        def backward(ctx, v):
            return turned(v, angles.to(v) if mistake else -angles.to(v))

    return gf.torch.check_function(Rotary, randn(3, 4, 4))


@operator("torch", "the weights are not renormalised")
def top_k_gating(mistake):
    """A router of a mixture of experts: softmax over the two largest logits."""

    class Gate(torch.autograd.Function):
        @staticmethod
        def forward(ctx, logits):
            top, places = logits.topk(2, -1)
            p = top.softmax(-1)
            ctx.save_for_backward(p, places)
            return torch.zeros_like(logits).scatter(-1, places, p)

        @staticmethod
        def backward(ctx, v):
            p, places = ctx.saved_tensors
            d = v.gather(-1, places)
            d = p * d if mistake else p * (d - (p * d).sum(-1, keepdim=True))
            return torch.zeros_like(v).scatter(-1, places, d)

    return gf.torch.check_function(Gate, randn(4, 5))


@operator("torch", "only the forward variables are used")
def ctc_loss(mistake):
    """Connectionist temporal classification of normalised log-probabilities, by forward and backward variables."""
    labels = [0, 1, 0, 2, 0]
    infinity = -math.inf

    def forward_variables(log_p):
        rows = torch.full((len(log_p), len(labels)), infinity, dtype=log_p.dtype)
        rows[0, 0], rows[0, 1] = log_p[0, labels[0]], log_p[0, labels[1]]
        for t in range(1, len(log_p)):
            for s, label in enumerate(labels):
                ways = [rows[t - 1, s], *([rows[t - 1, s - 1]] if s else [])]
                if s > 1 and label and label != labels[s - 2]:
                    ways.append(rows[t - 1, s - 2])
                rows[t, s] = torch.stack(ways).logsumexp(0) + log_p[t, label]
        return rows

    class CTC(torch.autograd.Function):
        @staticmethod
        def forward(ctx, log_p):
            alpha = forward_variables(log_p)
            total = alpha[-1, -2:].logsumexp(0)
            ctx.save_for_backward(log_p, alpha, total)
            return -total

        @staticmethod
        def backward(ctx, v):
            log_p, alpha, total = ctx.saved_tensors
            labels.reverse()
            beta = forward_variables(log_p.flip(0)).flip(0, 1)
            labels.reverse()
            found = torch.zeros_like(log_p)
            for s, label in enumerate(labels):
                both = alpha[:, s] if mistake else alpha[:, s] + beta[:, s] - log_p[:, label]
                found[:, label] -= (both - total).exp()
            return v * found

    with torch.no_grad():
        log_p = randn(6, 3).log_softmax(-1)
    return gf.torch.check_function(CTC, log_p.requires_grad_())
