#!/bin/sh
# torch 2.13.0 (CPU): the results of torch.normal(mean, std), bernoulli(p) and poisson(rate) require a gradient, have a
# grad_fn and give zeros: what is drawn by torch.normal is mean + std * noise, which moves by 1 with the mean, but no
# gradient goes through. torch.distributions.Normal has sample, whose result requires none, and rsample, which gives 1
# and the noise. So a model that draws by torch.normal trains without a warning and without learning what it draws
# from; with the seed held, differences show it.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch

print("torch", torch.__version__)


def drawn(draw, *arguments):
    torch.manual_seed(0)
    return draw(*arguments)


def by_distribution(mean, std):
    return torch.distributions.Normal(mean, std).rsample()


mean = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
std = torch.tensor([0.5, 3.0], dtype=torch.float64, requires_grad=True)
found = {}
for name, draw in (("torch.normal", torch.normal), ("rsample", by_distribution)):
    result = drawn(draw, mean, std)
    gradients = [g.tolist() for g in torch.autograd.grad(result.sum(), (mean, std))]
    with torch.no_grad():
        noise = (result - mean) / std
        differences = [
            (drawn(draw, mean + 1e-6, std) - drawn(draw, mean - 1e-6, std)) / 2e-6,
            (drawn(draw, mean, std + 1e-6) - drawn(draw, mean, std - 1e-6)) / 2e-6,
        ]
    print(f"{name:12} {type(result.grad_fn).__name__}, gradients {gradients}")
    print("             differences", [d.tolist() for d in differences])
    moves = torch.allclose(differences[0], torch.ones(2).double()) and torch.allclose(differences[1], noise)
    found[name] = moves, gradients == [[0.0, 0.0], [0.0, 0.0]]
for name, draw in (("bernoulli", torch.bernoulli), ("poisson", torch.poisson)):
    p = torch.tensor([0.3, 0.6], requires_grad=True)
    result = drawn(draw, p)
    (gradient,) = torch.autograd.grad(result.sum(), p)
    print(f"{name:12} {type(result.grad_fn).__name__}, gradient {gradient.tolist()}")
    found[name] = result.requires_grad, gradient.tolist()
sample = torch.distributions.Normal(mean, std).sample()
as_stated = (
    found["torch.normal"] == (True, True)
    and found["rsample"] == (True, False)
    and found["bernoulli"] == found["poisson"] == (True, [0.0, 0.0])
    and not sample.requires_grad
)
sys.exit(0 if as_stated else 1)
PYTHON
