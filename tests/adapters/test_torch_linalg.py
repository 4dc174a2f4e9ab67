"""gf.torch.check_function on torch.linalg: what has rules is exact, what has none is differenced as it is."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import gradcheck_fast as gf  # noqa: E402

LINALG = torch.linalg
#: Functions of one matrix, and whether their operators are known to the trace.
FUNCTIONS = {
    "svdvals": (LINALG.svdvals, False),
    "svd": (lambda a: LINALG.svd(a)[0].abs(), False),
    "eigh": (lambda a: LINALG.eigh(a @ a.T)[0], False),
    "qr": (lambda a: LINALG.qr(a)[1].abs(), False),
    "pinv": (LINALG.pinv, False),
    "cholesky": (lambda a: LINALG.cholesky(a @ a.T + torch.eye(4, dtype=a.dtype)), True),
    "det": (LINALG.det, True),
    "solve": (lambda a: LINALG.solve(a, torch.ones(4, dtype=a.dtype)), True),
}


class Scaled(torch.autograd.Function):
    """The identity, with a mistake of a part of 10,000 in one entry of its gradient."""

    @staticmethod
    def forward(ctx, a):
        return a.clone()

    @staticmethod
    def backward(ctx, cotangent):
        return cotangent * torch.where(torch.arange(16).reshape(4, 4) == 6, 1.0001, 1.0)


def matrix():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 4, dtype=torch.float64, generator=generator).requires_grad_()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_factorisations_are_right_and_a_planted_mistake_is_found(name):
    f, is_known = FUNCTIONS[name]
    check = lambda f: gf.torch.check_function(f, matrix(), skip=gf.torch.ASPECTS)
    report = check(f)
    assert report.ok and (report.seen_from[("output", "inputs[0]")] < 1e-11) == is_known, str(report)
    assert is_known or any("differenced" in note for note in report.notes)
    wrong = check(lambda a: f(Scaled.apply(a)))
    assert (wrong.verdict, wrong.wrong, wrong.worst()[0].index) == ("FAIL", 1, (1, 2)), str(wrong)
