"""Losses that use less common functions of NumPy, methods of ufuncs, and views that are written to."""

import numpy as np

from handwritten.entry import Handwritten, by_torch, constant, drawn

ENTRIES = []


def entry(name, loss, params, reference):
    ENTRIES.append(Handwritten(name, loss, params, by_torch(reference)))


draw = drawn(12)

# ---- views of views, all of which write into the same memory


def views_of_views(p):
    grid = np.zeros((4, 6))
    grid.reshape(-1)[:12] = p["a"]
    grid.T[4] += p["b"]
    grid.ravel()[20] = p["b"][1] * p["a"][2]
    rows = grid[1:3]
    rows[:, ::2] *= 2
    corner = rows[1][3:]
    corner -= p["b"][:3] ** 2
    grid.flat[5] = p["a"][0] + p["a"][11]
    np.fill_diagonal(grid, p["b"] * 3)
    back = grid[::-1, ::-1]
    back[0, 0] = np.exp(p["b"][0])
    grid.swapaxes(0, 1)[2, 3] = p["a"][7]
    return np.sum(np.sin(grid) * np.arange(24).reshape(4, 6)) / 10


def views_of_views_torch(torch, p):
    a, b = p["a"], p["b"]
    zero = torch.zeros((), dtype=torch.float64)
    g = {(i, j): a[6 * i + j] if i < 2 else zero for i in range(4) for j in range(6)}
    for i in range(4):
        g[i, 4] = g[i, 4] + b[i]
    g[3, 2] = b[1] * a[2]
    for i in (1, 2):
        for j in (0, 2, 4):
            g[i, j] = g[i, j] * 2
    for j in range(3):
        g[2, 3 + j] = g[2, 3 + j] - b[j] ** 2
    g[0, 5] = a[0] + a[11]
    for i in range(4):
        g[i, i] = b[i] * 3
    g[3, 5] = b[0].exp()
    g[3, 2] = a[7]
    return sum(torch.sin(v) * (6 * i + j) for (i, j), v in g.items()) / 10


entry("views_of_views", views_of_views, {"a": draw(12), "b": draw(4)}, views_of_views_torch)


# ---- methods of ufuncs

x_u = draw(5, 3)


def ufunc_methods(p):
    z = np.add.reduce(np.multiply.outer(x_u, p["v"]), axis=1)
    total = np.add.accumulate(z, axis=0)
    top = np.maximum.reduce(total, axis=1)
    pairwise = np.subtract.outer(p["v"], p["c"])
    lse = np.logaddexp.reduce(pairwise, axis=1)
    bumped = p["c"].copy()
    np.add.at(bumped, [0, 0, 2], p["v"][:3])
    np.multiply.at(bumped, [1, 1], p["v"][0])
    np.subtract.at(bumped, (np.array([2]),), 0.5)
    return np.multiply.reduce(1 + 0.1 * top) + lse.sum() + np.linalg.norm(bumped)


def ufunc_methods_torch(torch, p):
    v, c = p["v"], p["c"]
    total = (constant(torch, x_u).sum(1)[:, None] * v).cumsum(0)
    bumped = torch.stack([c[0] + v[0] + v[1], c[1] * v[0] ** 2, c[2] + v[2] - 0.5])
    lse = torch.logsumexp(v[:, None] - c, 1)
    return (1 + 0.1 * total.amax(1)).prod() + lse.sum() + bumped.norm()


entry("ufunc_methods", ufunc_methods, {"v": draw(4), "c": draw(3)}, ufunc_methods_torch)


# ---- copies into arrays: copyto, putmask, put, place, choose, select, piecewise

x_c = draw(3, 4)
which = np.array([0, 2, 1, 1])


def copies_into(p):
    z = x_c @ p["W"]
    buf = np.full_like(z, 0.25)
    np.copyto(buf, z, where=z > -0.5)
    np.putmask(buf, buf > 2, 2.0)
    np.put(buf, [1, 5], p["s"][:2])
    hard = np.select([buf < -0.3, buf < 0.3], [0.1 * buf, buf**2], default=np.log1p(np.abs(buf)))
    picked = np.choose(which, [hard[0], hard[1], hard[2]])
    pieces = np.piecewise(p["s"], [p["s"] < 0], [np.negative, np.square])
    return hard.sum() + picked @ p["s"] + pieces.sum()


def copies_into_torch(torch, p):
    z = constant(torch, x_c) @ p["W"]
    buf = torch.where(z > -0.5, z, 0.25).clamp(max=2).reshape(-1)
    buf = torch.cat([buf[:1], p["s"][:1], buf[2:5], p["s"][1:2], buf[6:]]).reshape(3, 4)
    hard = torch.where(buf < -0.3, 0.1 * buf, torch.where(buf < 0.3, buf**2, torch.log1p(buf.abs())))
    picked = hard[constant(torch, which), torch.arange(4)]
    return hard.sum() + picked @ p["s"] + torch.where(p["s"] < 0, -p["s"], p["s"] ** 2).sum()


entry("copies_into_arrays", copies_into, {"W": draw(4, 4, scale=0.4), "s": draw(4)}, copies_into_torch)


# ---- arrays made of parts: block, insert, append, delete, column_stack, kron, tril, broadcast_to, flip


def made_of_parts(p):
    A, b = p["A"], p["b"]
    big = np.block([[A, np.zeros((2, 3))], [np.ones((3, 2)) * b[0], np.diag(b)]])
    longer = np.append(np.insert(b, 1, A[0]), A[1, 1])
    shorter = np.delete(longer, [0, 3])
    columns = np.column_stack((b, b**2, np.ones_like(b)))
    lower = np.tril(columns) - np.triu(columns, 1)
    kron = np.kron(A, lower)
    flipped = np.flip(big, axis=(0, 1)) + np.flipud(np.rot90(big))
    wide = np.broadcast_to(b[:, None], (3, 4)) * np.arange(4)
    first, *rest = np.array_split(shorter, 2)
    return (
        np.trace(flipped @ big) / 10 + np.sum(kron**2) / 20 + np.outer(first, first).sum()
        + np.inner(rest[0], rest[0]) + np.vdot(wide, wide) / 50 + np.diagonal(flipped).prod() / 10
    )  # fmt: skip


def made_of_parts_torch(torch, p):
    A, b = p["A"], p["b"]
    like = torch.zeros(2, 3, dtype=torch.float64)
    big = torch.cat([torch.cat([A, like], 1), torch.cat([b[0] * torch.ones_like(like.T), torch.diag(b)], 1)])
    c = torch.stack([b, b**2, torch.ones_like(b)], 1)
    lower = torch.tril(c) - torch.triu(c, 1)
    flipped = big.flip(0, 1) + torch.rot90(big).flip(0)
    s = torch.stack([A[0, 0], A[0, 1], b[2], A[1, 1]])
    wide = b[:, None] * torch.arange(4)
    return (
        torch.trace(flipped @ big) / 10 + (torch.kron(A, lower) ** 2).sum() / 20 + s[:2].sum() ** 2
        + (s[2:] ** 2).sum() + (wide**2).sum() / 50 + torch.diagonal(flipped).prod() / 10
    )  # fmt: skip


entry("made_of_parts", made_of_parts, {"A": draw(2, 2), "b": draw(3)}, made_of_parts_torch)


# ---- angles, roots and powers of a robot's arm


def forward_kinematics(p):
    theta, lengths = p["theta"], np.abs(p["lengths"])
    angle = np.cumsum(theta)
    x, y = np.dot(lengths, np.cos(angle)), lengths.dot(np.sin(angle))
    reach = np.hypot(x - 1.0, y + 0.5)
    heading = np.arctan2(y, x)
    bend = np.cbrt(np.square(theta) + 0.1).sum() + np.reciprocal(1 + np.power(lengths, 1.5)).mean()
    swing = np.exp2(np.sinh(theta) / 4).sum() + np.log2(np.cosh(theta)).sum() + np.expm1(-lengths).sum()
    turn = np.arctan(theta[0]) + np.arcsinh(theta[1]) + np.tan(theta[2] / 3) + np.degrees(heading) / 90
    direction = np.sign(theta) @ theta
    return reach + 0.3 * heading**2 + bend + swing + turn + 0.1 * direction


def forward_kinematics_torch(torch, p):
    t, l = p["theta"], p["lengths"].abs()
    angle = t.cumsum(0)
    x, y = l @ angle.cos(), l @ angle.sin()
    h = torch.atan2(y, x)
    bend = ((t**2 + 0.1) ** (1 / 3)).sum() + (1 / (1 + l**1.5)).mean()
    swing = torch.exp2(t.sinh() / 4).sum() + t.cosh().log2().sum() + torch.expm1(-l).sum()
    turn = t[0].atan() + t[1].asinh() + (t[2] / 3).tan() + torch.rad2deg(h) / 90
    return torch.hypot(x - 1, y + 0.5) + 0.3 * h**2 + bend + swing + turn + 0.1 * t.abs().sum()


entry("forward_kinematics", forward_kinematics, {"theta": draw(3), "lengths": draw(3)}, forward_kinematics_torch)


# ---- statistics of the activations

x_st = draw(9, 4)


def statistics(p):
    h = np.tanh(x_st @ p["W"])
    centred = h - np.average(h, axis=0, weights=np.arange(1, 10))
    cov = np.cov(h, rowvar=False)
    whitened = centred / h.std(axis=0, ddof=1)
    skew = np.mean(whitened**3, axis=0)
    kurtosis = np.mean(np.power(whitened, 4), 0) - 3
    spread = np.percentile(h, 75, axis=0) - np.quantile(h, 0.25, axis=0)
    coral = np.linalg.norm(cov - np.eye(3), "fro") ** 2 / 36
    slope = np.gradient(h[:, 0])
    return coral + np.abs(skew).sum() + 0.1 * kurtosis.sum() + spread.sum() + np.sum(slope**2) + np.nanmax(h)


def statistics_torch(torch, p):
    h = torch.tanh(constant(torch, x_st) @ p["W"])
    w = torch.arange(1, 10, dtype=torch.float64)
    z = (h - (w[:, None] * h).sum(0) / 45) / h.std(0)
    spread = (torch.quantile(h, 0.75, dim=0) - torch.quantile(h, 0.25, dim=0)).sum()
    coral = ((torch.cov(h.T) - torch.eye(3, dtype=torch.float64)) ** 2).sum() / 36
    (slope,) = torch.gradient(h[:, 0])
    shape = (z**3).mean(0).abs().sum() + 0.1 * ((z**4).mean(0) - 3).sum()
    return coral + shape + spread + (slope**2).sum() + h.max()


entry("statistics", statistics, {"W": draw(4, 3)}, statistics_torch)


# ---- loops over every index, and functions along an axis

x_n = draw(3, 4)


def loops_over_indices(W):
    out = np.empty(W.shape)
    for i, j in np.ndindex(W.shape):
        out[i, j] = W[i, j] * x_n[i, j] + (W[i - 1, j] if i else 0)
    for place, value in np.ndenumerate(x_n):
        if value > 0.5:
            out[place] -= value
    rows = np.apply_along_axis(lambda r: r / np.sqrt(np.sum(r**2) + 1), 1, out)
    gate = np.vectorize(lambda v: v / (1 + abs(v)))(rows)
    weights = np.fromiter((k**2 for k in range(4)), dtype=float)
    powers = np.linalg.matrix_power(gate @ gate.T, 2)
    chained = np.linalg.multi_dot([gate.T, powers, gate])
    return weights @ gate.sum(0) + np.trace(chained) + np.cross(W[0, :3], W[1, :3]) @ W[2, :3]


def loops_over_indices_torch(torch, W):
    x = constant(torch, x_n)
    out = W * x + torch.cat([torch.zeros_like(W[:1]), W[:-1]]) - x * (x > 0.5)
    g = torch.nn.functional.softsign(out / ((out**2).sum(1, keepdim=True) + 1).sqrt())
    K = g @ g.T
    weights = torch.arange(4, dtype=torch.float64) ** 2
    return weights @ g.sum(0) + torch.trace(K @ K @ K) + torch.linalg.det(W[:, :3])


entry("loops_over_indices", loops_over_indices, draw(3, 4), loops_over_indices_torch)
