"""Losses that use SciPy's special functions."""

import numpy as np
from scipy import special
from scipy.special import expit, gammaln, logsumexp, softmax, xlogy

from handwritten.entry import Handwritten, by_torch, constant, drawn

ENTRIES = []


def entry(name, loss, params, reference):
    ENTRIES.append(Handwritten(name, loss, params, by_torch(reference), "scipy"))


draw = drawn(11)

# ---- cross entropies

x_s, t_s = draw(7, 3), np.array([0, 1, 1, 0, 0.5, 1, 0.2])
classes = np.array([0, 2, 1, 1, 3, 0, 2])


def bce(params):
    p = expit(np.dot(x_s, params["w"]) + params["b"])
    return -np.mean(xlogy(t_s, p) + xlogy(1 - t_s, 1 - p))


def bce_torch(torch, p):
    x, t = constant(torch, x_s, t_s)
    return torch.nn.functional.binary_cross_entropy_with_logits(x @ p["w"] + p["b"], t)


entry("expit_xlogy", bce, {"w": draw(3), "b": draw()}, bce_torch)


def softmax_logsumexp(params):
    scores = np.tanh(x_s @ params["W1"]) @ params["W2"]
    nll = logsumexp(scores, axis=1) - scores[np.arange(len(classes)), classes]
    p = softmax(scores, axis=1)
    entropy = -np.sum(p * np.log(p), axis=1)
    return np.mean(nll - 0.1 * entropy)


def softmax_logsumexp_torch(torch, p):
    x, y = constant(torch, x_s, classes)
    logp = torch.log_softmax(torch.tanh(x @ p["W1"]) @ p["W2"], 1)
    return (-logp[torch.arange(7), y] + 0.1 * (logp.exp() * logp).sum(1)).mean()


entry("softmax_logsumexp", softmax_logsumexp, {"W1": draw(3, 4), "W2": draw(4, 4)}, softmax_logsumexp_torch)


# ---- a probit model with exact gelu units

sign_s = np.where(t_s > 0.4, 1, -1)


def probit(params):
    z = x_s @ params[0]
    h = z * 0.5 * (1 + special.erf(z / np.sqrt(2)))
    u = sign_s * (h @ params[1])
    return -np.log(0.5 * special.erfc(-u / np.sqrt(2))).sum()


def probit_torch(torch, params):
    x, s = constant(torch, x_s, sign_s)
    return -torch.special.log_ndtr(s * (torch.nn.functional.gelu(x @ params[0]) @ params[1])).sum()


entry("probit_gelu", probit, (draw(3, 4), draw(4)), probit_torch)


# ---- counts with overdispersion

counts = np.array([0, 3, 1, 7, 2, 0, 4])


def negative_binomial(params):
    mu = np.exp(x_s @ params["w"])
    r = np.exp(params["log_r"])
    ll = gammaln(counts + r) - gammaln(r) - gammaln(counts + 1)
    ll = ll + r * np.log(r / (r + mu)) + counts * np.log(mu / (r + mu))
    return -ll.mean()


def negative_binomial_torch(torch, p):
    x, y = constant(torch, x_s, counts)
    r, eta = p["log_r"].exp(), x @ p["w"]
    return -torch.distributions.NegativeBinomial(r, logits=eta - p["log_r"]).log_prob(y).mean()


entry("negative_binomial", negative_binomial, {"w": draw(3), "log_r": 0.4}, negative_binomial_torch)


# ---- a Dirichlet mixture of topics

shares = softmax(draw(5, 3), axis=1)


def dirichlet(params):
    alpha = np.log1p(np.exp(params)) + 0.1
    log_norm = np.sum(gammaln(alpha), axis=1) - gammaln(np.sum(alpha, axis=1))
    log_prob = np.log(shares) @ (alpha - 1).T - log_norm
    return -np.sum(logsumexp(log_prob, axis=1, b=0.5))


def dirichlet_torch(torch, params):
    s = constant(torch, shares)
    d = torch.distributions.Dirichlet(torch.nn.functional.softplus(params) + 0.1)
    return -torch.logsumexp(d.log_prob(s[:, None]) - np.log(2), 1).sum()


entry("dirichlet_mixture", dirichlet, draw(2, 3), dirichlet_torch)
