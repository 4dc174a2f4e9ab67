#!/bin/sh
# torch 2.13.0 (CPU), float64: the gradient of F.ctc_loss by its argument, logarithms of probabilities, is not the
# derivative of the loss by them: it has entries for labels that occur in no path, by which the loss does not change.
# Behind log_softmax, and wherever the probabilities sum to the same whatever the parameters are, the rest cancels and
# the gradient is right. So one checks the loss and log_softmax as one, and who divides the probabilities by those of
# the labels, takes a temperature behind log_softmax, or leaves it out, trains on another gradient.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from torch.nn import functional as F

print("torch", torch.__version__)
torch.manual_seed(0)
TIMES, LABELS, target = 6, 4, torch.tensor([[1, 2, 2]])


def loss(log_probabilities):
    return F.ctc_loss(log_probabilities, target, torch.tensor([TIMES]), torch.tensor([3]), reduction="sum")


def loss_of_logits(z):
    return loss(z.log_softmax(-1))


def loss_of_mixture(z):
    return loss(torch.log(0.9 * z.softmax(-1) + 0.1 / LABELS))


def loss_of_ratios(z):
    """As with a recogniser whose probabilities are divided by how frequent each label is."""
    return loss(z.log_softmax(-1) - torch.log(torch.tensor([0.7, 0.1, 0.1, 0.1], dtype=z.dtype)))


def loss_at_temperature(z):
    return loss(z.log_softmax(-1) / 2)


def central(function, x):
    units = torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape)
    return torch.stack([(function(x + 1e-6 * e) - function(x - 1e-6 * e)) / 2e-6 for e in units]).reshape(x.shape)


def gradient(function, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x), x)[0]


logits = torch.randn(TIMES, 1, LABELS, dtype=torch.float64)
found = {}
for name, function, x in (
    ("log probabilities", loss, logits.log_softmax(-1)),
    ("logits", loss_of_logits, logits),
    ("mixture", loss_of_mixture, logits),
    ("ratios", loss_of_ratios, logits),
    ("temperature", loss_at_temperature, logits),
):
    own, right = gradient(function, x), central(function, x)
    found[name] = (own - right).abs().max().item()
    print(f"{name:17} off by {found[name]:.1e}; at the first time", own[0, 0].tolist(), "against", right[0, 0].tolist())
never = central(loss, logits.log_softmax(-1))[..., 3], gradient(loss, logits.log_softmax(-1))[..., 3]
print("by the label 3, which is in no path:", *(numbers.abs().max().item() for numbers in never))
as_stated = (
    all(found[name] < 1e-7 for name in ("logits", "mixture"))
    and all(found[name] > 0.1 for name in ("log probabilities", "ratios", "temperature"))
    and never[0].abs().max() < 1e-7
    and never[1].abs().min() > 0.01
)
sys.exit(0 if as_stated else 1)
PYTHON
