"""Likelihoods, bounds on them, and filters."""
# ruff: noqa: B905, RUF059

import numpy as np
from numpy.linalg import cholesky, det, inv, slogdet, solve

from handwritten.entry import Handwritten, by_torch, constant, drawn

ENTRIES = []


def entry(name, loss, params, reference):
    ENTRIES.append(Handwritten(name, loss, params, by_torch(reference)))


draw = drawn(7)

# ---- a variational autoencoder with the noise given

x_vae = (draw(6, 5) > 0).astype(float)
eps = draw(6, 2)


def vae_loss(params):
    h = np.tanh(np.dot(x_vae, params["enc_W"]) + params["enc_b"])
    mu = np.dot(h, params["mu_W"])
    logvar = np.dot(h, params["lv_W"])
    z = mu + np.exp(0.5 * logvar) * eps
    x_hat = 1 / (1 + np.exp(-(np.tanh(z @ params["dec_W"]) @ params["out_W"])))
    rec = -np.sum(x_vae * np.log(x_hat + 1e-10) + (1 - x_vae) * np.log(1 - x_hat + 1e-10), axis=1)
    kl = -0.5 * np.sum(1 + logvar - np.power(mu, 2) - np.exp(logvar), axis=1)
    return np.mean(rec + kl)


def vae_torch(torch, p):
    x, noise = constant(torch, x_vae, eps)
    h = torch.tanh(x @ p["enc_W"] + p["enc_b"])
    mu, lv = h @ p["mu_W"], h @ p["lv_W"]
    y = torch.sigmoid(torch.tanh((mu + torch.exp(lv / 2) * noise) @ p["dec_W"]) @ p["out_W"])
    rec = -(x * torch.log(y + 1e-10) + (1 - x) * torch.log(1 - y + 1e-10)).sum()
    return (rec - 0.5 * (1 + lv - mu**2 - lv.exp()).sum()) / 6


entry("vae", vae_loss,
      {"enc_W": draw(5, 4), "enc_b": draw(4), "mu_W": draw(4, 2), "lv_W": draw(4, 2, scale=0.5),
       "dec_W": draw(2, 4), "out_W": draw(4, 5)}, vae_torch)  # fmt: skip


# ---- a mixture of Gaussians with full covariances, given by their factors

points = draw(8, 2)


def gmm_nll(params):
    logits, means, factors = params["logits"], params["means"], params["factors"]
    weights = np.exp(logits) / np.sum(np.exp(logits))
    ll = 0.0
    for x in points:
        terms = []
        for k in range(len(means)):
            cov = factors[k] @ factors[k].T + 0.1 * np.eye(2)
            diff = x - means[k]
            sign, logdet = slogdet(cov)
            quad = diff @ solve(cov, diff)
            terms.append(np.log(weights[k]) - 0.5 * (logdet + quad + 2 * np.log(2 * np.pi)))
        terms = np.array(terms)
        m = terms.max()
        ll += m + np.log(np.exp(terms - m).sum())
    return -ll / len(points)


def gmm_torch(torch, p):
    x = constant(torch, points)
    cov = p["factors"] @ p["factors"].mT + 0.1 * torch.eye(2, dtype=torch.float64)
    normals = torch.distributions.MultivariateNormal(p["means"], cov)
    return -torch.logsumexp(normals.log_prob(x[:, None]) + torch.log_softmax(p["logits"], 0), 1).mean()


entry("gaussian_mixture", gmm_nll, {"logits": draw(3), "means": draw(3, 2), "factors": draw(3, 2, 2)}, gmm_torch)


# ---- a Kalman filter: prediction, innovation, update

measurements = draw(6, 1)


def kalman_nll(theta):
    F = np.array([[1.0, theta["dt"]], [0.0, theta["decay"]]])
    H = np.array([[1.0, 0.0]])
    Q = np.diag(np.exp(theta["log_q"]))
    R = np.exp(theta["log_r"]) * np.eye(1)
    x = np.zeros((2, 1))
    P = np.eye(2)
    nll = 0
    for z in measurements:
        x = F @ x
        P = F @ P @ F.T + Q
        y = z.reshape(-1, 1) - H @ x
        S = H @ P @ H.T + R
        K = P @ H.T @ inv(S)
        x = x + K @ y
        P = (np.eye(2) - K @ H) @ P
        nll += 0.5 * (np.log(det(2 * np.pi * S)) + (y.T @ inv(S) @ y).item())
    return nll


def kalman_torch(torch, p):
    one, zero = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    F = torch.stack([torch.stack([one, p["dt"]]), torch.stack([zero, p["decay"]])])
    x, P = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    total = 0
    for z in constant(torch, measurements)[:, 0]:
        x, P = F @ x, F @ P @ F.T + torch.diag(p["log_q"].exp())
        s = P[0, 0] + p["log_r"].exp()
        total = total - torch.distributions.Normal(x[0], s.sqrt()).log_prob(z)
        gain, old = P[:, 0] / s, P
        x = x + gain * (z - x[0])
        P = old - torch.outer(gain, old[0])
    return total


entry("kalman_filter", kalman_nll, {"dt": 0.7, "decay": 0.9, "log_q": draw(2) - 1, "log_r": -0.5}, kalman_torch)


# ---- a Gaussian process with a kernel of its own length scale in each direction

x_gp, y_gp = draw(7, 2), draw(7)


def gp_nlml(hyp):
    ell, sf2, sn2 = np.exp(hyp[:2]), np.exp(2 * hyp[2]), np.exp(2 * hyp[3])
    n = len(y_gp)
    K = np.zeros((n, n))
    for i in range(n):
        for j in range(i, n):
            K[i, j] = sf2 * np.exp(-0.5 * np.sum(((x_gp[i] - x_gp[j]) / ell) ** 2))
            K[j, i] = K[i, j]
    K[np.diag_indices(n)] += sn2
    L = cholesky(K)
    alpha = solve(L.T, solve(L, y_gp))
    return 0.5 * y_gp @ alpha + np.sum(np.log(np.diag(L))) + 0.5 * n * np.log(2 * np.pi)


def gp_torch(torch, hyp):
    x, y = constant(torch, x_gp / 1.0, y_gp)
    x = x / hyp[:2].exp()
    K = torch.exp(2 * hyp[2] - 0.5 * ((x[:, None] - x) ** 2).sum(2)) + torch.diag((2 * hyp[3]).exp().expand(7))
    zero = torch.zeros(7, dtype=torch.float64)
    return -torch.distributions.MultivariateNormal(zero, K).log_prob(y)


entry("gaussian_process", gp_nlml, np.array([0.2, -0.1, 0.1, -0.7]), gp_torch)


# ---- Cox: the partial likelihood of a network's risk

covariates = draw(8, 3)
times = np.array([5.0, 2.0, 9.0, 1.0, 7.0, 3.0, 8.0, 4.0])
event = np.array([1, 1, 0, 1, 1, 0, 1, 1])


def cox_partial_likelihood(params):
    order = np.argsort(-times)
    risk = np.tanh(covariates @ params["W"]) @ params["beta"]
    risk = risk[order]
    hazard = np.exp(risk)
    log_cum = np.log(np.cumsum(hazard))
    uncensored = (risk - log_cum) * event[order]
    return -np.sum(uncensored) / np.sum(event) + 0.01 * np.sum(np.abs(params["beta"]))


def cox_torch(torch, p):
    x, t, e = constant(torch, covariates, times, event)
    r = torch.tanh(x @ p["W"]) @ p["beta"]
    at_risk = torch.where(t[None] >= t[:, None], r[None], -torch.inf)
    return -(e * (r - torch.logsumexp(at_risk, 1))).sum() / e.sum() + 0.01 * p["beta"].abs().sum()


entry("cox_partial_likelihood", cox_partial_likelihood, {"W": draw(3, 4), "beta": draw(4)}, cox_torch)


# ---- a flow of couplings: half of the entries move the other half

x_flow = draw(6, 4)
mask = np.array([True, False, True, False])


def realnvp(params):
    z = x_flow
    log_det = np.zeros(len(z))
    for flip, (Ws, Wt) in enumerate(params):
        m = mask if flip % 2 == 0 else ~mask
        s = np.tanh(z[:, m] @ Ws)
        t = z[:, m] @ Wt
        new = np.zeros(z.shape)
        new[:, m] = z[:, m]
        new[:, ~m] = z[:, ~m] * np.exp(s) + t
        log_det += s.sum(axis=1)
        z = new
    prior = -0.5 * np.sum(z**2, 1) - 2 * np.log(2 * np.pi)
    return -np.mean(prior + log_det)


def realnvp_torch(torch, params):
    z = constant(torch, x_flow)
    a, b = z[:, ::2], z[:, 1::2]
    (S0, T0), (S1, T1) = params
    s0 = torch.tanh(a @ S0)
    b = b * s0.exp() + a @ T0
    s1 = torch.tanh(b @ S1)
    a = a * s1.exp() + b @ T1
    square = (a**2).sum(1) + (b**2).sum(1)
    return (0.5 * square + 2 * np.log(2 * np.pi) - s0.sum(1) - s1.sum(1)).mean()


entry("real_nvp", realnvp, [(draw(2, 2), draw(2, 2)), (draw(2, 2), draw(2, 2))], realnvp_torch)


# ---- a restricted Boltzmann machine: free energies of data and of what was dreamt

v_data = (draw(6, 5) > 0).astype(np.float64)
v_model = (draw(6, 5) > 0).astype(np.float64)


def free_energy(v, W, a, b):
    wx_b = v.dot(W) + b
    return -v.dot(a) - np.sum(np.log(1 + np.exp(wx_b)), axis=1)


def rbm(params):
    W, a, b = params["W"], params["vbias"], params["hbias"]
    return np.mean(free_energy(v_data, W, a, b)) - np.mean(free_energy(v_model, W, a, b))


def rbm_torch(torch, p):
    x, m = constant(torch, v_data, v_model)
    F = lambda v: -(v @ p["vbias"]) - torch.nn.functional.softplus(v @ p["W"] + p["hbias"]).sum(1)
    return F(x).mean() - F(m).mean()


entry("rbm_free_energy", rbm, {"W": draw(5, 3), "vbias": draw(5), "hbias": draw(3)}, rbm_torch)


# ---- a hidden Markov model; the forward probabilities are scaled

obs = [0, 2, 1, 1, 0, 2, 2]


def normalise_rows(logits):
    p = np.exp(logits)
    return p / p.sum(axis=-1)[..., None]


def hmm(params):
    A, Bm, pi = map(normalise_rows, (params["A"], params["B"], params["pi"]))
    alpha = np.zeros((len(obs), 3))
    scale = np.zeros(len(obs))
    alpha[0] = pi * Bm[:, obs[0]]
    scale[0] = alpha[0].sum()
    alpha[0] /= scale[0]
    for t in range(1, len(obs)):
        alpha[t] = (alpha[t - 1] @ A) * Bm[:, obs[t]]
        scale[t] = alpha[t].sum()
        alpha[t] /= scale[t]
    return -np.log(scale).sum()


def hmm_torch(torch, p):
    A, E, pi = (torch.log_softmax(p[n], -1) for n in ("A", "B", "pi"))
    a = pi + E[:, obs[0]]
    for o in obs[1:]:
        a = torch.logsumexp(a[:, None] + A, 0) + E[:, o]
    return -torch.logsumexp(a, 0)


entry("hidden_markov", hmm, {"A": draw(3, 3), "B": draw(3, 3), "pi": draw(3)}, hmm_torch)


# ---- weights with a mean and a spread: the evidence lower bound

x_b, y_b = draw(7, 2), draw(7)
noise_b = [draw(2, 3), draw(3)]


def bayes_by_backprop(params, prior_sigma=1.5):
    kl = 0.0
    sampled = []
    for (mu, rho), e in zip(params, noise_b):
        sigma = np.log1p(np.exp(rho))
        sampled.append(mu + sigma * e)
        kl += np.sum(np.log(prior_sigma / sigma) + (sigma**2 + mu**2) / (2 * prior_sigma**2) - 0.5)
    W, v = sampled
    pred = np.tanh(x_b @ W) @ v
    log_like = -0.5 * np.sum((y_b - pred) ** 2) / 0.5**2
    return (kl - log_like) / len(y_b)


def bayes_torch(torch, params):
    x, y = constant(torch, x_b, y_b)
    normal, kl, w = torch.distributions.Normal, 0, []
    for (mu, rho), e in zip(params, noise_b):
        s = torch.nn.functional.softplus(rho)
        w.append(mu + s * constant(torch, e))
        kl = kl + torch.distributions.kl_divergence(normal(mu, s), normal(0.0, 1.5)).sum()
    return (kl + 2 * ((y - torch.tanh(x @ w[0]) @ w[1]) ** 2).sum()) / 7


entry("bayes_by_backprop", bayes_by_backprop,
      [(draw(2, 3), draw(2, 3) - 1), (draw(3), draw(3) - 1)], bayes_torch)  # fmt: skip


# ---- a network that gives the parameters of a mixture

x_mdn, y_mdn = draw(7, 1), draw(7, 1)


def mdn(p, n_comp=3):
    h = np.tanh(x_mdn @ p["W1"] + p["b1"])
    out = h @ p["W2"] + p["b2"]
    a, mu, log_sigma = out[:, :n_comp], out[:, n_comp : 2 * n_comp], out[:, -n_comp:]
    alpha = np.exp(a) / np.sum(np.exp(a), axis=1, keepdims=True)
    sigma = np.exp(log_sigma)
    phi = np.exp(-((y_mdn - mu) ** 2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))
    return -np.mean(np.log(np.sum(alpha * phi, axis=1)))


def mdn_torch(torch, p):
    x, y = constant(torch, x_mdn, y_mdn)
    a, mu, ls = (torch.tanh(x @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]).chunk(3, 1)
    logp = torch.distributions.Normal(mu, ls.exp()).log_prob(y)
    return -torch.logsumexp(torch.log_softmax(a, 1) + logp, 1).mean()


entry("mixture_density", mdn, {"W1": draw(1, 4), "b1": draw(4), "W2": draw(4, 9, scale=0.5), "b2": draw(9, scale=0.5)},
      mdn_torch)  # fmt: skip
