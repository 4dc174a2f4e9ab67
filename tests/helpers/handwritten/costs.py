"""Cost functions of their own: margins, pairs, adversaries, weighted classes, physics."""
# ruff: noqa: B905, RET504

import numpy as np
from numpy import exp, log

from handwritten.entry import Handwritten, by_torch, constant, drawn

ENTRIES = []


def entry(name, loss, params, reference):
    ENTRIES.append(Handwritten(name, loss, params, by_torch(reference)))


draw = drawn(2)

# ---- a support vector machine, by loops and without

X = draw(6, 4)
y = np.array([2, 0, 1, 1, 2, 0])


def svm_loss_naive(W):
    num_classes = W.shape[1]
    num_train = X.shape[0]
    loss = 0.0
    for i in range(num_train):
        scores = X[i].dot(W)
        correct_class_score = scores[y[i]]
        for j in range(num_classes):
            if j == y[i]:
                continue
            margin = scores[j] - correct_class_score + 1
            if margin > 0:
                loss += margin
    loss /= num_train
    loss += 0.1 * np.sum(W * W)
    return loss


def svm_loss_vectorized(W):
    scores = X.dot(W)
    margins = np.maximum(0, scores - scores[np.arange(6), y][:, np.newaxis] + 1)
    margins[np.arange(6), y] = 0
    return np.sum(margins) / 6 + 0.1 * np.sum(W**2)


def svm_torch(torch, W):
    x, labels = constant(torch, X, y)
    return 3 * torch.nn.functional.multi_margin_loss(x @ W, labels) + 0.1 * (W**2).sum()


entry("svm_by_loops", svm_loss_naive, draw(4, 3), svm_torch)
entry("svm_vectorised", svm_loss_vectorized, draw(4, 3), svm_torch)


# ---- siamese networks: pairs, with a label that says whether they are alike

left, right = draw(7, 5), draw(7, 5)
same = np.array([1, 0, 0, 1, 0, 1, 0])


def contrastive(params, margin=2.0):
    def embed(v):
        h = np.tanh(v @ params["W1"] + params["b1"])
        return h @ params["W2"]

    a, b = embed(left), embed(right)
    d = np.sqrt(np.sum(np.square(a - b), axis=1) + 1e-9)
    hinge = np.clip(margin - d, 0, None)
    return np.mean(same * d**2 + (1 - same) * hinge**2) / 2


def contrastive_torch(torch, p):
    l, r, s = constant(torch, left, right, same)
    embed = lambda v: torch.tanh(v @ p["W1"] + p["b1"]) @ p["W2"]
    d = (((embed(l) - embed(r)) ** 2).sum(1) + 1e-9).sqrt()
    return (s * d**2 + (1 - s) * torch.relu(2 - d) ** 2).mean() / 2


entry("siamese_contrastive", contrastive, {"W1": draw(5, 4), "b1": draw(4), "W2": draw(4, 2, scale=0.5)},
      contrastive_torch)  # fmt: skip


# ---- triplets on the unit sphere

anchors, positives, negatives = draw(5, 4), draw(5, 4), draw(5, 4)


def normalise(v):
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def triplet(W, alpha=0.4):
    total = 0
    for a, p, n in zip(normalise(anchors @ W), normalise(positives @ W), normalise(negatives @ W)):
        d_ap = np.linalg.norm(a - p) ** 2
        d_an = np.linalg.norm(a - n) ** 2
        total += max(d_ap - d_an + alpha, 0)
    return total / len(anchors)


def triplet_torch(torch, W):
    a, p, n = (torch.nn.functional.normalize(v @ W) for v in constant(torch, anchors, positives, negatives))
    return torch.relu(((a - p) ** 2).sum(1) - ((a - n) ** 2).sum(1) + 0.4).mean()


entry("triplet", triplet, draw(4, 3), triplet_torch)


# ---- focal loss

x_f = draw(8, 3)
t_f = np.array([0, 1, 0, 0, 1, 0, 0, 1])


def focal_loss(params, gamma=2.0, alpha=0.25):
    w, b = params
    p = 1 / (1 + exp(-(x_f.dot(w) + b)))
    p = np.clip(p, 1e-7, 1 - 1e-7)
    pt = np.where(t_f == 1, p, 1 - p)
    a_t = np.where(t_f == 1, alpha, 1 - alpha)
    return -(a_t * (1 - pt) ** gamma * log(pt)).mean()


def focal_torch(torch, params):
    x, t = constant(torch, x_f, t_f)
    z = (x @ params[0] + params[1]) * (2 * t - 1)
    pt = torch.sigmoid(z)
    return -((0.75 - 0.5 * t) * (1 - pt) ** 2 * torch.nn.functional.logsigmoid(z)).mean()


entry("focal", focal_loss, [draw(3), np.array(0.3)], focal_torch)


# ---- a generator and a discriminator, both costs added with a weight

z_noise = draw(6, 2)
real = draw(6, 3) + 1.0


def lrelu(x, slope=0.2):
    return np.maximum(x, slope * x)


def gan_losses(params):
    G, D = params["G"], params["D"]
    fake = np.tanh(lrelu(z_noise @ G["W0"] + G["b0"]) @ G["W1"] + G["b1"])

    def discriminate(img):
        h = lrelu(np.dot(img, D["W0"]) + D["b0"])
        logit = np.dot(h, D["W1"]) + D["b1"]
        return logit

    logit_real, logit_fake = discriminate(real), discriminate(fake)
    d_loss = np.mean(np.log1p(np.exp(-logit_real))) + np.mean(np.log1p(np.exp(logit_fake)))
    g_loss = np.mean(np.logaddexp(0, -logit_fake))
    return float(d_loss + 0.5 * g_loss)


def gan_torch(torch, p):
    z, x = constant(torch, z_noise, real)
    act, softplus = (lambda v: torch.nn.functional.leaky_relu(v, 0.2)), torch.nn.functional.softplus
    G, D = p["G"], p["D"]
    fake = torch.tanh(act(z @ G["W0"] + G["b0"]) @ G["W1"] + G["b1"])
    judge = lambda v: act(v @ D["W0"] + D["b0"]) @ D["W1"] + D["b1"]
    return softplus(-judge(x)).mean() + softplus(judge(fake)).mean() + 0.5 * softplus(-judge(fake)).mean()


entry("gan", gan_losses,
      {"G": {"W0": draw(2, 4), "b0": draw(4), "W1": draw(4, 3), "b1": draw(3)},
       "D": {"W0": draw(3, 5), "b0": draw(5), "W1": draw(5, 1), "b1": draw(1)}}, gan_torch)  # fmt: skip


# ---- a Wasserstein critic with a penalty on its slope, which is written out by hand

xw_real, xw_fake = draw(5, 3), draw(5, 3) + 0.5
u_mix = np.linspace(0.1, 0.9, 5).reshape(-1, 1)


def wgan_gp(params, lam=10):
    W, v = params["W"], params["v"]
    critic = lambda s: np.tanh(s @ W) @ v
    mix = u_mix * xw_real + (1 - u_mix) * xw_fake
    slope = ((1 - np.tanh(mix @ W) ** 2) * v) @ W.T
    penalty = (np.sqrt((slope**2).sum(1)) - 1) ** 2
    return critic(xw_fake).mean() - critic(xw_real).mean() + lam * penalty.mean()


def wgan_gp_torch(torch, p):
    r, f, u = constant(torch, xw_real, xw_fake, u_mix)
    critic = lambda s: torch.tanh(s @ p["W"]) @ p["v"]
    mix = (u * r + (1 - u) * f).requires_grad_()
    (slope,) = torch.autograd.grad(critic(mix).sum(), mix, create_graph=True)
    return critic(f).mean() - critic(r).mean() + 10 * ((slope.norm(dim=1) - 1) ** 2).mean()


entry("wasserstein_gradient_penalty", wgan_gp, {"W": draw(3, 4), "v": draw(4)}, wgan_gp_torch)


# ---- a network that solves u'' = -sin(x), with u(0) = u(pi) = 0; derivatives of tanh by hand

collocation = np.linspace(0.1, 3.0, 9)[:, None]
boundary = np.array([[0.0], [np.pi]])


def pinn(params):
    w, b, a = params["w"], params["b"], params["a"]

    def u(x):
        return np.tanh(x * w + b).dot(a)

    def u_xx(x):
        s = np.tanh(x * w + b)
        return (-2 * s * (1 - s**2) * w**2).dot(a)

    residual = u_xx(collocation) + np.sin(collocation.ravel())
    mse_f = np.mean(residual**2)
    mse_b = np.mean(u(boundary) ** 2)
    return mse_f + 5.0 * mse_b


def pinn_torch(torch, p):
    x, ends = constant(torch, collocation, boundary)
    x.requires_grad_()
    u = lambda s: torch.tanh(s * p["w"] + p["b"]) @ p["a"]
    (first,) = torch.autograd.grad(u(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
    return ((second + torch.sin(x))[:, 0] ** 2).mean() + 5 * (u(ends) ** 2).mean()


entry("physics_informed", pinn, {"w": draw(6), "b": draw(6), "a": draw(6)}, pinn_torch)


# ---- the heat equation on a ring: the source is fitted

observed = np.sin(np.linspace(0, 2 * np.pi, 10, endpoint=False))


def heat_misfit(params, dt=0.1, steps=6):
    u = np.zeros(10)
    kappa = np.exp(params["log_kappa"])
    for _ in range(steps):
        lap = np.roll(u, 1) - 2 * u + np.roll(u, -1)
        u = u + dt * (kappa * lap + params["source"])
    tv = np.sum(np.sqrt(np.diff(params["source"]) ** 2 + 1e-3))
    return ((u - observed) ** 2).sum() + 0.01 * tv


def heat_torch(torch, p):
    u, goal = torch.zeros(10, dtype=torch.float64), constant(torch, observed)
    for _ in range(6):
        u = u + 0.1 * (p["log_kappa"].exp() * (u.roll(1) - 2 * u + u.roll(-1)) + p["source"])
    return ((u - goal) ** 2).sum() + 0.01 * (torch.diff(p["source"]) ** 2 + 1e-3).sqrt().sum()


entry("heat_equation", heat_misfit, {"source": draw(10), "log_kappa": np.array(-0.3)}, heat_torch)


# ---- quantile regression with several levels at once

x_q, y_q = draw(10, 2), draw(10)
taus = np.array([0.1, 0.5, 0.9])


def pinball(theta):
    q = np.c_[x_q, np.ones(10)] @ theta
    diff = y_q.reshape(-1, 1) - q
    return np.maximum(taus * diff, (taus - 1) * diff).sum() / y_q.size + 0.05 * np.linalg.norm(theta)


def pinball_torch(torch, theta):
    x, target, tau = constant(torch, np.c_[x_q, np.ones(10)], y_q, taus)
    d = target[:, None] - x @ theta
    return torch.where(d > 0, tau * d, (tau - 1) * d).sum() / 10 + 0.05 * theta.norm()


entry("pinball", pinball, draw(3, 3), pinball_torch)
