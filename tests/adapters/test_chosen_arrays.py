"""only=, fixed=, bounds= and constraints= of gf.torch and gf.jax: names are those of the library."""

import numpy as np
import pytest

import gradcheck_fast as gf


def test_pytorch():
    torch = pytest.importorskip("torch")

    class Guarded(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Parameter(torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64))
            self.b = torch.nn.Linear(3, 2, dtype=torch.float64)

        def forward(self, x):
            if (self.a < 0.0).any():
                raise ValueError("negative")
            return self.b(x * self.a.exp()) + (self.a**2).sum()

    torch.manual_seed(0)
    module, x = Guarded(), torch.randn(4, 3, dtype=torch.float64)
    cost = lambda y: (y**2).mean()
    for options in ({}, {"trace": False}):
        report = gf.torch.gradcheck(module, cost, x, bounds={"a": (0, None)}, **options)
        assert report.ok, report
        report = gf.torch.gradcheck(module, cost, x, only="b.*", **options)
        assert report.ok
        assert {array.name: array.status for array in report.arrays} == {
            "a": "not checked", "b.weight": "right", "b.bias": "right"
        }  # fmt: skip
    with pytest.raises(ValueError, match=r"only: no array is called 'b.weights', did you mean 'b.weight'"):
        gf.torch.gradcheck(module, cost, x, only="b.weights")


def test_jax():
    jnp = pytest.importorskip("jax.numpy")
    params = {"w": np.eye(3) + 0.5, "b": [np.ones(2), np.zeros(3)]}

    def loss(p):
        return jnp.sum(jnp.sin(p["w"]) * jnp.arange(9.0).reshape(3, 3)) + p["b"][0].sum() + (p["b"][1] ** 2).sum()

    slopes = np.cos(params["w"]) * np.arange(9.0).reshape(3, 3)
    given = {"w": 0.5 * (slopes + slopes.T), "b": [np.full(2, np.nan), np.zeros(3)]}
    options = {"fixed": "['b'][0]", "constraints": {"['w']": "symmetric"}}
    for trace in (True, False):
        report = gf.jax.gradcheck(loss, params, given, trace=trace, **options)
        assert report.ok, report
        assert "['b'][0] is fixed, not checked" in report.notes
        assert not gf.jax.gradcheck(loss, params, given, trace=trace, fixed="['b'][0]").ok
