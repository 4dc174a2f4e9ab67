"""Networks of sequences: recurrent ones, attention, convolutions in time."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .registry import example


class CausalSelfAttention(nn.Module):
    def __init__(self, width, heads, length):
        super().__init__()
        self.heads = heads
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.register_buffer("bias", torch.tril(torch.ones(length, length)).view(1, 1, length, length))

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(C, dim=2)
        q, k, v = (a.view(B, T, self.heads, C // self.heads).transpose(1, 2) for a in (q, k, v))
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(self.bias[:, :, :T, :T] == 0, float("-inf"))
        y = F.softmax(att, dim=-1) @ v
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))


class Block(nn.Module):
    def __init__(self, width, heads, length):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width, bias=False)
        self.attn = CausalSelfAttention(width, heads, length)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 2 * width), "c_proj": nn.Linear(2 * width, width)})

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh"))


class GPT(nn.Module):
    """With the embedding's weights shared by the last layer."""

    def __init__(self, vocabulary=11, width=8, heads=2, length=6, layers=2):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.h = nn.ModuleList([Block(width, heads, length) for _ in range(layers)])
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, idx, targets):
        x = self.wte(idx) + self.wpe(torch.arange(idx.size(1), device=idx.device))
        for block in self.h:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)


@example
def gpt():
    idx = torch.randint(0, 11, (2, 6))
    targets = torch.roll(idx, -1, 1)
    targets[:, -1] = -1
    return GPT(), lambda loss: loss, (idx, targets), None


class RMSNorm(nn.Module):
    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.eps, self.weight = eps, nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class LlamaBlock(nn.Module):
    """Rotary positions by complex numbers' formula, grouped queries, SwiGLU."""

    def __init__(self, width=8, heads=4, kv_heads=2, hidden=12):
        super().__init__()
        self.heads, self.kv_heads, self.size = heads, kv_heads, width // heads
        self.wq = nn.Linear(width, width, bias=False)
        self.wk, self.wv = (nn.Linear(width, kv_heads * self.size, bias=False) for _ in range(2))
        self.wo = nn.Linear(width, width, bias=False)
        self.w1, self.w3 = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.w2 = nn.Linear(hidden, width, bias=False)
        self.norm1, self.norm2 = RMSNorm(width), RMSNorm(width)

    def rotate(self, x):
        T, size = x.shape[1], x.shape[-1]
        frequency = 1.0 / 100.0 ** (torch.arange(0, size, 2).double() / size)
        angle = torch.outer(torch.arange(T).double(), frequency)[None, :, None]
        even, odd = x[..., 0::2], x[..., 1::2]
        parts = [even * angle.cos() - odd * angle.sin(), even * angle.sin() + odd * angle.cos()]
        return torch.stack(parts, -1).flatten(-2)

    def forward(self, x):
        B, T, _ = x.shape
        y = self.norm1(x)
        q = self.rotate(self.wq(y).view(B, T, self.heads, self.size)).transpose(1, 2)
        k = self.rotate(self.wk(y).view(B, T, self.kv_heads, self.size)).transpose(1, 2)
        v = self.wv(y).view(B, T, self.kv_heads, self.size).transpose(1, 2)
        k, v = (a.repeat_interleave(self.heads // self.kv_heads, dim=1) for a in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, T, -1)
        x = x + self.wo(y)
        y = self.norm2(x)
        return x + self.w2(F.silu(self.w1(y)) * self.w3(y))


@example
def llama_block():
    return nn.Sequential(LlamaBlock(), LlamaBlock()), nn.MSELoss(), torch.randn(2, 5, 8), torch.randn(2, 5, 8)


class Seq2Seq(nn.Module):
    """A GRU encoder, and a decoder with Bahdanau's attention, fed with its targets."""

    def __init__(self, vocabulary=7, width=5):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width, padding_idx=0)
        self.encoder = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(2 * width, width)
        self.cell = nn.GRUCell(3 * width, width)
        self.Wa, self.Ua, self.va = nn.Linear(width, 4), nn.Linear(2 * width, 4), nn.Linear(4, 1)
        self.out = nn.Linear(width, vocabulary)

    def forward(self, source, target):
        states, last = self.encoder(self.embed(source))
        h = torch.tanh(self.bridge(torch.cat([last[0], last[1]], 1)))
        mask = source == 0
        steps = []
        for t in range(target.size(1)):
            scores = self.va(torch.tanh(self.Wa(h).unsqueeze(1) + self.Ua(states))).squeeze(-1)
            weights = torch.softmax(scores.masked_fill(mask, -1e9), dim=1)
            context = torch.bmm(weights.unsqueeze(1), states).squeeze(1)
            h = self.cell(torch.cat([self.embed(target[:, t]), context], 1), h)
            steps.append(self.out(h))
        return torch.stack(steps, 1)


@example
def seq2seq():
    source, target = torch.randint(1, 7, (3, 5)), torch.randint(1, 7, (3, 4))
    source[0, 3:] = 0
    loss = lambda logits: F.cross_entropy(logits.flatten(0, 1), torch.roll(target, -1, 1).flatten())
    return Seq2Seq(), loss, (source, target), None


class Tagger(nn.Module):
    """An LSTM with a conditional random field, whose partition function is a loop."""

    def __init__(self, words=9, tags=3, width=6):
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.lstm = nn.LSTM(width, width // 2, num_layers=2, bidirectional=True)
        self.hidden2tag = nn.Linear(width, tags)
        self.transitions = nn.Parameter(torch.randn(tags, tags))
        self.start = nn.Parameter(torch.randn(tags))

    def forward(self, sentence, tags):
        features = self.hidden2tag(self.lstm(self.embed(sentence).unsqueeze(1))[0]).squeeze(1)
        alpha, score = self.start + features[0], self.start[tags[0]] + features[0, tags[0]]
        for t in range(1, len(sentence)):
            alpha = torch.logsumexp(alpha.unsqueeze(1) + self.transitions, dim=0) + features[t]
            score = score + self.transitions[tags[t - 1], tags[t]] + features[t, tags[t]]
        return torch.logsumexp(alpha, 0) - score


@example
def lstm_crf():
    return Tagger(), lambda loss: loss, (torch.randint(0, 9, (5,)), torch.tensor([0, 1, 1, 2, 0])), None


@example
def stacked_lstm_with_dropout():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(3, 4, num_layers=2, dropout=0.5, batch_first=True)
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            output, (h, _) = self.lstm(x)
            return self.head(h[-1] + output[:, 0])

    return Last(), nn.MSELoss(reduction="sum"), torch.randn(2, 5, 3), torch.randn(2, 2)


@example
def packed_lstm():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.LSTM(3, 4), nn.Linear(4, 1)

        def forward(self, x, lengths):
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
            _, (h, _) = self.rnn(packed)
            return self.head(h[-1]).squeeze(1)

    return Packed(), nn.BCEWithLogitsLoss(), (torch.randn(5, 3, 3), torch.tensor([5, 2, 3])), torch.tensor([1.0, 0, 1])


class Causal(nn.Module):
    def __init__(self, channels, dilation):
        super().__init__()
        self.pad, self.gate = 2 * dilation, nn.Conv1d(channels, 2 * channels, 3, dilation=dilation)
        self.skip, self.res = nn.Conv1d(channels, channels, 1), nn.Conv1d(channels, channels, 1)

    def forward(self, x):
        a, b = self.gate(F.pad(x, (self.pad, 0))).chunk(2, dim=1)
        z = torch.tanh(a) * torch.sigmoid(b)
        return x + self.res(z), self.skip(z)


class WaveNet(nn.Module):
    def __init__(self, channels=3, classes=5):
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Conv1d(1, channels, 1))
        self.blocks = nn.ModuleList([Causal(channels, 2**k) for k in range(3)])
        self.out = nn.Conv1d(channels, classes, 1)

    def forward(self, x):
        x, total = self.first(x), 0
        for block in self.blocks:
            x, skip = block(x)
            total = total + skip
        return F.log_softmax(self.out(F.relu(total)), dim=1)


@example
def wavenet():
    return WaveNet(), nn.NLLLoss(), torch.randn(2, 1, 9), torch.randint(0, 5, (2, 9))


@example
def speech_with_ctc():
    class Speech(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.rnn, self.fc = nn.Conv1d(4, 5, 3, stride=2), nn.GRU(5, 4), nn.Linear(4, 6)

        def forward(self, x):
            y = F.hardtanh(self.conv(x), 0, 20).permute(2, 0, 1)
            return self.fc(self.rnn(y)[0]).log_softmax(2)

    def loss(log_probs, targets):
        lengths = torch.tensor([3, 2])
        return F.ctc_loss(log_probs, targets, torch.full((2,), len(log_probs)), lengths)

    return Speech(), loss, torch.randn(2, 4, 19), torch.randint(1, 6, (2, 3))


@example
def translation_transformer():
    class Translation(nn.Module):
        def __init__(self):
            super().__init__()
            self.source, self.target = nn.Embedding(9, 8), nn.Embedding(9, 8)
            self.transformer = nn.Transformer(8, 2, 1, 1, 12, dropout=0.0, batch_first=True)
            self.generator = nn.Linear(8, 9)

        def forward(self, source, target):
            mask = nn.Transformer.generate_square_subsequent_mask(target.size(1), dtype=torch.float64)
            padding = source == 0
            out = self.transformer(
                self.source(source), self.target(target), tgt_mask=mask, src_key_padding_mask=padding,
                memory_key_padding_mask=padding,
            )  # fmt: skip
            return self.generator(out).transpose(1, 2)

    source = torch.randint(1, 9, (2, 4))
    source[1, 3] = 0
    return Translation(), nn.CrossEntropyLoss(), (source, torch.randint(1, 9, (2, 3))), torch.randint(1, 9, (2, 3))


class StateSpace(nn.Module):
    """A selective state space (as Mamba has it), with its scan written as a loop into a buffer."""

    def __init__(self, width=4, state=3):
        super().__init__()
        self.A = nn.Parameter(torch.log(torch.arange(1, state + 1).double()).repeat(width, 1))
        self.x_proj, self.dt = nn.Linear(width, 2 * state), nn.Linear(width, width)
        self.D = nn.Parameter(torch.ones(width))

    def forward(self, x):
        B_, T, width = x.shape
        A = -torch.exp(self.A)
        b, c = self.x_proj(x).chunk(2, -1)
        dt = F.softplus(self.dt(x))
        h = x.new_zeros(B_, width, A.shape[1])
        y = torch.empty_like(x)
        for t in range(T):
            h = torch.exp(dt[:, t, :, None] * A) * h + (dt[:, t] * x[:, t])[..., None] * b[:, t, None]
            y[:, t] = (h * c[:, t, None]).sum(-1)
        return y + x * self.D


@example
def state_space():
    return StateSpace(), nn.HuberLoss(delta=0.7), torch.randn(2, 6, 4), torch.randn(2, 6, 4)


@example
def mixture_of_experts():
    class Experts(nn.Module):
        def __init__(self, width=5, experts=3):
            super().__init__()
            self.gate = nn.Linear(width, experts)
            self.experts = nn.ModuleList([nn.Sequential(nn.Linear(width, 4), nn.Mish(), nn.Linear(4, width))
                                          for _ in range(experts)])  # fmt: skip

        def forward(self, x):
            weights, chosen = torch.topk(self.gate(x).softmax(-1), 2)
            weights = weights / weights.sum(-1, keepdim=True)
            out = torch.zeros_like(x)
            for k, expert in enumerate(self.experts):
                rows, slots = torch.where(chosen == k)
                out[rows] += weights[rows, slots, None] * expert(x[rows])
            return out

    return Experts(), nn.MSELoss(), torch.randn(6, 5), torch.randn(6, 5)
