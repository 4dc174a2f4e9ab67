"""Functions of one tensor that take a gradient inside, with the shape of the tensor; see `torch_calls`."""

from __future__ import annotations

import torch
from torch.nn import functional

DOUBLE = torch.float64
ROWS, IMAGES = (3, 6), (2, 2, 6, 6)


def inside(function):
    """Returns what a function is whose gradient is taken inside of it."""

    def call(y):
        x = torch.linspace(0.2, 1.0, 12, dtype=DOUBLE).reshape(2, 6).requires_grad_()
        (gradient,) = torch.autograd.grad(function(x @ y.T @ y).sum(), x, create_graph=True)
        return gradient

    return call


def of_images(function):
    """The same for a function of images."""

    def call(y):
        x = torch.linspace(-1.0, 1.0, 72, dtype=DOUBLE).reshape(1, 2, 6, 6).sin().requires_grad_()
        (gradient,) = torch.autograd.grad(function(x, y).sum(), x, create_graph=True)
        return gradient

    return call


GRADIENTS = {
    **{
        f"gradient of {name}": (inside(function), ROWS)
        for name, function in {
            "tanh": torch.tanh,
            "sigmoid": torch.sigmoid,
            "relu": lambda z: functional.relu(z) ** 2,
            "silu": functional.silu,
            "gelu": functional.gelu,
            "gelu by tanh": lambda z: functional.gelu(z, approximate="tanh"),
            "softplus": functional.softplus,
            "elu": functional.elu,
            "leaky_relu": lambda z: functional.leaky_relu(z) ** 2,
            "hardtanh": lambda z: functional.hardtanh(z) ** 2,
            "logsigmoid": functional.logsigmoid,
            "softmax": lambda z: z.softmax(1) ** 2,
            "log_softmax": lambda z: z.log_softmax(1) ** 2,
            "cross_entropy": lambda z: functional.cross_entropy(z, torch.tensor([1, 3])),
            "mse_loss": lambda z: functional.mse_loss(z, torch.ones_like(z)),
            "layer_norm": lambda z: functional.layer_norm(z, (6,)) ** 3,
            "max": lambda z: z.max(1)[0] ** 2,
            "sort": lambda z: z.sort(1)[0] ** 3,
            "select": lambda z: z[:, 1] ** 2,
            "slice": lambda z: z[:, 1:3] ** 2,
            "diagonal": lambda z: z.diagonal() ** 2,
            "unfold": lambda z: z.unfold(1, 3, 2) ** 2,
            "index": lambda z: z[:, [0, 0, 2]] ** 2,
        }.items()
    },
    "gradient of convolution": (of_images(lambda x, y: functional.conv2d(x, y[..., :3, :3], padding=1) ** 2), IMAGES),
    "gradient of max_pool": (of_images(lambda x, y: functional.max_pool2d(x * y, 2) ** 2), IMAGES),
    "gradient of embedding": (
        lambda y: torch.autograd.grad(
            (functional.embedding(torch.tensor([0, 2, 2]), y) ** 3).sum(), y, create_graph=True
        )[0],
        ROWS,
    ),
    "gradient of dropout": (inside(lambda z: torch.native_dropout(z, 0.3, True)[0] ** 2), ROWS),
    "gradient of embedding_bag": (lambda y: functional.embedding_bag(torch.tensor([[0, 1], [2, 2]]), y), ROWS),
}
