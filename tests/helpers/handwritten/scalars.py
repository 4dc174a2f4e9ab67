"""Losses that compute with single numbers: Python's arithmetic, math, conversions, branches and prints."""

import contextlib
import io
import math
from math import exp, log

import numpy

from handwritten.entry import Handwritten, by_torch, constant, drawn

ENTRIES = []


def entry(name, loss, params, reference):
    ENTRIES.append(Handwritten(name, loss, params, by_torch(reference)))


draw = drawn(10)

# ---- a network of neurons without NumPy: dictionaries, lists of weights with the bias at the end

dataset = [[2.78, 2.55, 0], [1.46, 2.36, 0], [3.39, 4.40, 1], [7.62, 2.75, 1]]


def activate(weights, inputs):
    activation = weights[-1]
    for i in range(len(weights) - 1):
        activation += weights[i] * inputs[i]
    return activation


def transfer(activation):
    return 1.0 / (1.0 + exp(-activation))


def forward_propagate(network, row):
    inputs = row
    for layer in network:
        new_inputs = []
        for neuron in layer:
            neuron["output"] = transfer(activate(neuron["weights"], inputs))
            new_inputs.append(neuron["output"])
        inputs = new_inputs
    return inputs


def plain_python_network(params):
    network = [[{"weights": list(row)} for row in layer] for layer in params]
    sum_error = 0
    for row in dataset:
        outputs = forward_propagate(network, row)
        expected = [0 for _ in range(2)]
        expected[row[-1]] = 1
        sum_error += sum([(expected[i] - outputs[i]) ** 2 for i in range(len(expected))])
    return sum_error


def plain_python_torch(torch, params):
    x = constant(torch, dataset)[:, :2]
    y = torch.eye(2, dtype=torch.float64)[[0, 0, 1, 1]]
    for W in params:
        x = torch.sigmoid(x @ W[:, :-1].T + W[:, -1])
    return ((x - y) ** 2).sum()


entry("plain_python_neurons", plain_python_network, [draw(3, 3, scale=0.4), draw(2, 4)], plain_python_torch)


# ---- logistic regression, number by number

xs = draw(6, 2)
ys = [1, 0, 0, 1, 1, 0]


def logistic_scalars(params):
    w, b = params["w"], params["b"]
    J = 0.0
    for i, x in enumerate(xs):
        z = float(b)
        for xj, wj in zip(x, w, strict=True):
            z += float(xj) * wj
        # the stable branch
        if z >= 0:
            J += math.log1p(math.exp(-z)) + (1 - ys[i]) * z
        else:
            J += math.log(1 + math.exp(z)) - ys[i] * z
    return J / len(ys) + 0.1 * math.sqrt(sum(wj * wj for wj in w))


def logistic_torch(torch, p):
    x, y = constant(torch, xs, numpy.array(ys, float))
    data = torch.nn.functional.binary_cross_entropy_with_logits(x @ p["w"] + p["b"], y)
    return data + 0.1 * p["w"].norm()


entry("logistic_by_scalars", logistic_scalars, {"w": draw(2), "b": 0.25}, logistic_torch)


# ---- prints and branches in between, item(), float64(), int() of shapes

x_v, y_v = draw(8, 3), draw(8)


def verbose(params):
    hidden = numpy.tanh(numpy.matmul(x_v, params[0]))
    half = int(hidden.shape[1] / 2)
    out = hidden[:, :half].sum(1) - hidden[:, half:].sum(1) * params[1].item()
    rmse = numpy.sqrt(((out - y_v) ** 2).mean())
    mae = numpy.float64(abs(out - y_v).mean())
    with contextlib.redirect_stdout(io.StringIO()):
        print(f"rmse {rmse:.3f} mae {mae:8.4e}", "out", out, hidden[0, 0], sep=" | ")
        print("shape: %s, loss = %.5f" % (hidden.shape, rmse))  # noqa: UP031
    if rmse > 100:
        return 10 * rmse
    best = min(rmse.item(), 2 * mae.item(), 1e6)
    worst = max([rmse, mae, 0.0])
    return best + 0.5 * worst + round(float(len(y_v)), 2) / 100


def verbose_torch(torch, params):
    x, y = constant(torch, x_v, y_v)
    h = torch.tanh(x @ params[0])
    r = h[:, :2].sum(1) - h[:, 2:].sum(1) * params[1] - y
    rmse, mae = (r**2).mean().sqrt(), r.abs().mean()
    return torch.minimum(rmse, 2 * mae) + 0.5 * torch.maximum(rmse, mae)


entry("prints_and_branches", verbose, [draw(3, 4), numpy.array(0.6)], verbose_torch)


# ---- strengths of players from their games

games = [("ann", "bob"), ("bob", "cem"), ("ann", "cem"), ("cem", "bob"), ("dee", "ann"), ("bob", "dee")]


def bradley_terry(strength):
    def win(a, b):
        return 1 / (1 + 10 ** ((b - a) / 4))

    total = 0
    for winner, loser in games:
        total -= log(win(strength[winner], strength[loser]))
    mean = sum(strength.values()) / len(strength)
    spread = math.hypot(*[s - mean for s in strength.values()])
    return total + 0.1 * mean**2 + 0.05 * spread + 0.01 * math.pow(max(strength.values()), 2)


def bradley_terry_torch(torch, s):
    total = sum(torch.nn.functional.softplus((s[b] - s[a]) * math.log(10) / 4) for a, b in games)
    v = torch.stack(list(s.values()))
    return total + 0.1 * v.mean() ** 2 + 0.05 * (v - v.mean()).norm() + 0.01 * v.max() ** 2


entry("bradley_terry", bradley_terry, {"ann": 1.2, "bob": 0.3, "cem": -0.5, "dee": 0.7}, bradley_terry_torch)


# ---- a polynomial by recursion, and its arc length

nodes = numpy.linspace(-1, 1, 7)


def horner(coefficients, x):
    if len(coefficients) == 1:
        return coefficients[0]
    return coefficients[0] + x * horner(coefficients[1:], x)


def arc_length(c):
    heights = [horner(c, x) for x in nodes]
    length = 0
    for (x0, y0), (x1, y1) in zip(zip(nodes, heights), zip(nodes[1:], heights[1:])):  # noqa: B905
        length += math.sqrt((x1 - x0) ** 2 + (y1 - y0) ** 2)
    return length + abs(heights[3]) * 0.5 + (heights[0] if heights[0] > heights[-1] else heights[-1])


def arc_length_torch(torch, c):
    x = constant(torch, nodes)
    y = sum(c[k] * x**k for k in range(len(c)))
    return torch.hypot(x.diff(), y.diff()).sum() + 0.5 * y[3].abs() + torch.maximum(y[0], y[-1])


entry("arc_length_recursive", arc_length, draw(4), arc_length_torch)


# ---- a dynamic programme: soft alignment of two series

series_a, series_b = draw(4), draw(5)


def soft_dtw(params, gamma=0.5):
    a = [math.tanh(params["gain"] * float(v) + params["shift"]) for v in series_a]
    n, m = len(a), len(series_b)
    D = numpy.full((n + 1, m + 1), numpy.inf)
    D[0, 0] = 0.0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            before = [D[i - 1, j], D[i, j - 1], D[i - 1, j - 1]]
            low = min(before)
            soft = low - gamma * numpy.log(sum(numpy.exp(-(v - low) / gamma) for v in before))
            D[i, j] = (a[i - 1] - series_b[j - 1] * params["scale"]) ** 2 + soft
    return D[n, m]


def soft_dtw_torch(torch, p):
    x, y = constant(torch, series_a, series_b)
    a, b = torch.tanh(p["gain"] * x + p["shift"]), y * p["scale"]
    D = {(i, j): torch.tensor(torch.inf, dtype=torch.float64) for i in range(5) for j in range(6)}
    D[0, 0] = torch.zeros((), dtype=torch.float64)
    for i in range(1, 5):
        for j in range(1, 6):
            before = [v for v in (D[i - 1, j], D[i, j - 1], D[i - 1, j - 1]) if torch.isfinite(v)]
            D[i, j] = (a[i - 1] - b[j - 1]) ** 2 - 0.5 * torch.logsumexp(-2 * torch.stack(before), 0)
    return D[4, 5]


entry("soft_dtw", soft_dtw, {"gain": 1.3, "shift": -0.2, "scale": 0.8}, soft_dtw_torch)
