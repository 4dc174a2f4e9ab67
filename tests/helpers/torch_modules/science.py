"""Graphs, physics, flows, generative models, metric learning and whatever else people train."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .registry import example


class GraphConvolution(nn.Module):
    """Adds messages up along the edges by index_add, with symmetric normalisation."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.lin = nn.Linear(inputs, outputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x, edges):
        source, target = edges
        degree = torch.zeros(len(x)).index_add_(0, target, torch.ones(len(target)))
        norm = degree.rsqrt()[source] * degree.rsqrt()[target]
        x = self.lin(x)
        return torch.zeros_like(x).index_add(0, target, norm[:, None] * x[source]) + self.bias


class GCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = GraphConvolution(3, 4), GraphConvolution(4, 2)

    def forward(self, x, edges):
        return F.log_softmax(self.conv2(F.elu(self.conv1(x, edges)), edges), dim=1)


def ring(nodes):
    k = torch.arange(nodes)
    pairs = torch.stack([k, (k + 1) % nodes])
    return torch.cat([pairs, pairs.flip(0), torch.stack([k, k])], 1)


@example
def graph_convolution():
    return GCN(), lambda out: F.nll_loss(out[:4], torch.tensor([0, 1, 1, 0])), (torch.randn(6, 3), ring(6)), None


@example
def graph_attention():
    class GAT(nn.Module):
        def __init__(self):
            super().__init__()
            self.W, self.a = nn.Linear(3, 4, bias=False), nn.Parameter(torch.randn(8))

        def forward(self, x, edges):
            source, target = edges
            h = self.W(x)
            e = F.leaky_relu(torch.cat([h[source], h[target]], 1) @ self.a, 0.2)
            top = x.new_full((len(x),), -1e30).scatter_reduce(0, target, e.detach(), "amax")
            w = torch.exp(e - top[target])
            total = x.new_zeros(len(x)).scatter_add(0, target, w)
            out = torch.zeros_like(h).index_add(0, target, (w / total[target])[:, None] * h[source])
            return out.mean(0)

    return GAT(), nn.MSELoss(), (torch.randn(5, 3), ring(5)), torch.randn(4)


@example
def physics_informed():
    """u'' = -u by autograd.grad inside of forward."""

    class PINN(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))

        def forward(self, t):
            t = t.clone().requires_grad_(True)
            u = self.net(t)
            du = torch.autograd.grad(u.sum(), t, create_graph=True)[0]
            ddu = torch.autograd.grad(du.sum(), t, create_graph=True)[0]
            return ddu + u, u[:1] - 1.0, du[:1]

    return PINN(), lambda parts: sum(part.square().mean() for part in parts), torch.linspace(0, 3, 7)[:, None], None


@example
def energy_and_forces():
    class Potential(nn.Module):
        def __init__(self):
            super().__init__()
            self.mlp = nn.Sequential(nn.Linear(1, 6), nn.Softplus(), nn.Linear(6, 1))

        def forward(self, positions):
            positions = positions.detach().requires_grad_(True)
            i, j = torch.triu_indices(len(positions), len(positions), 1)
            distance = (positions[i] - positions[j]).norm(dim=1, keepdim=True)
            energy = self.mlp(distance).sum()
            (gradient,) = torch.autograd.grad(energy, positions, create_graph=True)
            return energy, -gradient

    def loss(found, wanted):
        return (found[0] - wanted[0]) ** 2 + 10.0 * F.mse_loss(found[1], wanted[1])

    return Potential(), loss, torch.randn(4, 3), (torch.tensor(0.5), torch.randn(4, 3))


@example
def gradient_penalty():
    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 6), nn.LeakyReLU(0.2), nn.Linear(6, 1))

        def forward(self, real, fake):
            mixed = (0.3 * real + 0.7 * fake).requires_grad_(True)
            slope = torch.autograd.grad(self.net(mixed).sum(), mixed, create_graph=True)[0]
            penalty = ((slope.norm(2, dim=1) - 1) ** 2).mean()
            return self.net(fake).mean() - self.net(real).mean() + 10 * penalty

    return Critic(), lambda loss: loss, (torch.randn(5, 4), torch.randn(5, 4)), None


@example
def neural_ode():
    class ODE(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2))

        def step(self, y, t, h):
            f = lambda y, t: self.f(torch.cat([y, torch.full_like(y[:, :1], t)], 1))
            k1 = f(y, t)
            k2 = f(y + h / 2 * k1, t + h / 2)
            k3 = f(y + h / 2 * k2, t + h / 2)
            k4 = f(y + h * k3, t + h)
            return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

        def forward(self, y):
            for n in range(4):
                y = self.step(y, n / 4, 1 / 4)
            return y

    return ODE(), nn.MSELoss(), torch.randn(3, 2), torch.randn(3, 2)


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc, self.mu, self.logvar = nn.Linear(6, 8), nn.Linear(8, 2), nn.Linear(8, 2)
        self.dec = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 6), nn.Sigmoid())

    def forward(self, x):
        h = F.relu(self.enc(x))
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return self.dec(z), mu, logvar


def elbo(found, x):
    y, mu, logvar = found
    return F.binary_cross_entropy(y, x, reduction="sum") - 0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum()


@example
def vae():
    x = torch.rand(4, 6)
    return VAE(), elbo, x, x


@example
def vector_quantised():
    """The straight-through estimator, whose gradient is no derivative: only the codebook and decoder are trained."""

    class Codebook(nn.Module):
        def __init__(self):
            super().__init__()
            self.codes, self.dec = nn.Embedding(5, 3), nn.Linear(3, 4)

        def forward(self, z):
            distance = torch.cdist(z, self.codes.weight)
            q = self.codes(distance.argmin(1))
            return self.dec(q), F.mse_loss(q, z)

    loss = lambda found, x: F.mse_loss(found[0], x) + found[1]
    return Codebook(), loss, torch.randn(6, 3), torch.randn(6, 4)


class Coupling(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)
        self.s = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 4), nn.Tanh())
        self.t = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 4))

    def forward(self, x):
        kept = x * self.mask
        s, t = self.s(kept) * (1 - self.mask), self.t(kept) * (1 - self.mask)
        return kept + (1 - self.mask) * (x * torch.exp(s) + t), s.sum(1)


class Flow(nn.Module):
    def __init__(self):
        super().__init__()
        mask = torch.tensor([1.0, 0, 1, 0])
        self.couplings = nn.ModuleList([Coupling(mask), Coupling(1 - mask)])
        self.mix = nn.Parameter(torch.eye(4) + 0.1 * torch.randn(4, 4))

    def forward(self, x):
        logdet = torch.zeros(len(x))
        for coupling in self.couplings:
            x, own = coupling(x @ self.mix)
            logdet = logdet + own + torch.linalg.slogdet(self.mix)[1]
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(1)
        return -(prior + logdet).mean()


@example
def normalising_flow():
    return Flow(), lambda loss: loss, torch.randn(5, 4), None


@example
def diffusion():
    class Denoiser(nn.Module):
        def __init__(self):
            super().__init__()
            self.time = nn.Sequential(nn.Linear(4, 6), nn.SiLU())
            self.net = nn.Sequential(nn.Linear(10, 12), nn.SiLU(), nn.Linear(12, 4))

        def forward(self, x):
            t = torch.rand(len(x))
            frequency = torch.exp(-math.log(100.0) * torch.arange(2).double() / 2)
            angle = t[:, None] * frequency
            noise = torch.randn_like(x)
            noisy = torch.cos(t)[:, None] * x + torch.sin(t)[:, None] * noise
            embedded = self.time(torch.cat([angle.sin(), angle.cos()], 1))
            return F.mse_loss(self.net(torch.cat([noisy, embedded], 1)), noise)

    return Denoiser(), lambda loss: loss, torch.randn(5, 4), None


@example
def siamese_triplets():
    net = nn.Sequential(nn.Linear(5, 6), nn.Softsign(), nn.Linear(6, 3))

    class Siamese(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.again = net, net

        def forward(self, a, b, c):
            return tuple(F.normalize(part(x), dim=1) for part, x in ((self.net, a), (self.again, b), (self.net, c)))

    triplet = nn.TripletMarginLoss(margin=1.0)
    return Siamese(), lambda found: triplet(*found), tuple(torch.randn(4, 5) for _ in range(3)), None


@example
def contrastive():
    class SimCLR(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
            self.temperature = nn.Parameter(torch.tensor(0.5))

        def forward(self, a, b):
            z = F.normalize(self.net(torch.cat([a, b])), dim=1)
            scores = z @ z.t() / self.temperature
            scores = scores.masked_fill(torch.eye(len(z), dtype=torch.bool), -1e9)
            n = len(a)
            return F.cross_entropy(scores, torch.cat([torch.arange(n, 2 * n), torch.arange(n)]))

    return SimCLR(), lambda loss: loss, (torch.randn(4, 4), torch.randn(4, 4)), None


@example
def actor_critic():
    class Policy(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.actor, self.critic = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(6, 1)

        def forward(self, state):
            h = torch.tanh(self.body(state))
            return torch.distributions.Categorical(logits=self.actor(h)), self.critic(h).squeeze(1)

    def loss(found, data):
        policy, value = found
        action, old, advantage, reward = data
        ratio = torch.exp(policy.log_prob(action) - old)
        clipped = torch.clamp(ratio, 0.8, 1.2)
        surrogate = torch.min(ratio * advantage, clipped * advantage).mean()
        return -surrogate + 0.5 * F.mse_loss(value, reward) - 0.01 * policy.entropy().mean()

    data = torch.randint(0, 3, (6,)), -torch.rand(6) - 0.5, torch.randn(6), torch.randn(6)
    return Policy(), loss, torch.randn(6, 4), data


@example
def recommender():
    class Factors(nn.Module):
        def __init__(self):
            super().__init__()
            self.user, self.item = nn.Embedding(6, 3), nn.EmbeddingBag(8, 3, mode="mean")
            self.bias, self.mu = nn.Embedding(6, 1), nn.Parameter(torch.zeros(1))

        def forward(self, users, items, offsets):
            return (self.user(users) * self.item(items, offsets)).sum(1) + self.bias(users)[:, 0] + self.mu

    inputs = torch.tensor([0, 2, 2, 5]), torch.tensor([1, 1, 3, 0, 7, 2]), torch.tensor([0, 2, 3, 5])
    return Factors(), nn.MSELoss(), inputs, torch.randn(4)


@example
def gaussian_process():
    class GP(nn.Module):
        def __init__(self):
            super().__init__()
            self.log_length, self.log_noise = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.tensor(-1.0))

        def forward(self, x, y):
            scaled = x / self.log_length.exp()
            K = torch.exp(-0.5 * (scaled[:, None] - scaled[None]).square().sum(-1))
            L = torch.linalg.cholesky(K + self.log_noise.exp() * torch.eye(len(x), dtype=x.dtype))
            alpha = torch.cholesky_solve(y[:, None], L)
            return 0.5 * y @ alpha[:, 0] + L.diagonal().log().sum()

    return GP(), lambda loss: loss, (torch.randn(6, 2), torch.randn(6)), None


@example
def hyper_network():
    class Hyper(nn.Module):
        def __init__(self):
            super().__init__()
            self.make = nn.Linear(2, 3 * 4 + 3)

        def forward(self, x, code):
            made = self.make(code)
            weight, bias = made[:12].view(3, 4), made[12:]
            return F.linear(x, weight, bias)

    return Hyper(), nn.L1Loss(), (torch.randn(5, 4), torch.randn(2)), torch.randn(5, 3)


@example
def einsum_bilinear():
    class Bilinear(nn.Module):
        def __init__(self):
            super().__init__()
            self.core, self.scale = nn.Parameter(torch.randn(3, 4, 2)), nn.Parameter(torch.rand(2) + 0.5)

        def forward(self, a, b):
            return torch.einsum("ni,ijk,nj->nk", a, self.core, b) * self.scale.reciprocal()

    cosine, other, side = nn.CosineEmbeddingLoss(margin=0.2), torch.randn(4, 2), torch.tensor([1.0, -1, 1, -1])
    return Bilinear(), lambda out: cosine(out, other, side), (torch.randn(4, 3), torch.randn(4, 4)), None
