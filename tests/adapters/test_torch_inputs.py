"""gf.torch.check_function: what functions can be, what they can take, and what they can give."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from functools import partial

import pytest
from torch_data import Stateful, data

import gradcheck_fast as gf

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn, functional = torch.nn, torch.nn.functional
pytestmark = pytest.mark.usefixtures("one_thread_of_torch", "seed_of_torch")

Pair = namedtuple("Pair", "left right")


class Scaled(torch.autograd.Function):
    """The identity, with a backward that is wrong by a factor."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return ctx.factor * grad, None


def leaf(*shape, dtype=torch.float64):
    return data(*shape, dtype=dtype).requires_grad_()


# ---- modules and other callables


class Callable:
    """It holds a module, and what it is called with."""

    def __init__(self):
        self.module, self.calls = nn.Linear(3, 2), []

    def __call__(self, x):
        self.calls.append(x)
        return self.module(x) * len(self.calls)


FUNCTIONS = {
    "activation": nn.Tanh, "linear": lambda: nn.Linear(3, 2), "method": lambda: nn.Linear(3, 2).forward,
    "sequence": lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3)),
    "partial": lambda: partial(nn.Linear(3, 2)), "object": Callable,
    "drawing": lambda: partial(functional.dropout, p=0.3),
    "stateful": lambda: nn.Sequential(nn.Linear(3, 4), Stateful()),
    "reentrant": lambda: lambda x: torch.utils.checkpoint.checkpoint(torch.sin, x, use_reentrant=True),
    "inside": lambda: lambda x: torch.autograd.grad((x**3).sum(), x, create_graph=True)[0],
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype, error", [(torch.float64, 1e-7), (torch.float32, 1e-5)])
def test_whatever_can_be_called(name, dtype, error):
    function, x = FUNCTIONS[name](), leaf(5, 3, dtype=dtype)
    if isinstance(function, nn.Module):
        function = function.to(dtype)
    before = {} if not isinstance(function, nn.Module) else {k: v.clone() for k, v in function.state_dict().items()}
    state = torch.get_rng_state()
    report = gf.torch.check_function(function, x)
    assert report.ok, str(report)
    assert report.relative_error < error
    if before:
        torch.testing.assert_close(dict(function.state_dict()), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert x.grad is None
    if name == "object":
        assert not function.calls


def test_random_numbers_of_a_function_are_frozen():
    report = gf.torch.check_function(nn.Dropout(0.5), leaf(5, 20, dtype=torch.float32))
    assert report.ok, str(report)
    assert "random numbers were frozen" in report.notes[-1]
    wrong = lambda x: Scaled.apply(functional.dropout(x), 1.01)
    assert gf.torch.check_function(wrong, leaf(5, 20, dtype=torch.float32)).verdict == "FAIL"
    with pytest.raises(ValueError, match=r"function: it draws random numbers in aten\.rrelu_with_noise"):
        gf.torch.check_function(nn.RReLU(), leaf(5, 20))


@pytest.mark.parametrize("module", [nn.Tanh(), nn.Linear(3, 3)])
def test_a_module_around_a_wrong_backward(module):
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, x):
            return self.inner(Scaled.apply(x, 1.01))

    assert gf.torch.check_function(Outer(), leaf(5, 3, dtype=torch.float32)).verdict == "FAIL"


# ---- sparse tensors


DENSE = torch.tensor([[1.0, 2, 0, 0], [0, 0, 3, 0.5], [0, 0, 0, 0], [-1, 0, 0, 2]])
PLAIN = {"check_invariants": False}
LAYOUTS = {
    "COO": lambda: DENSE.to_sparse(),
    "COO, not coalesced": lambda: torch.sparse_coo_tensor([[0, 0, 1], [1, 1, 3]], [1.0, 2.0, 3.0], (4, 4), **PLAIN),
    "CSR": lambda: DENSE.to_sparse_csr(),
    "CSC": lambda: DENSE.to_sparse_csc(),
    "BSR": lambda: DENSE.to_sparse_bsr((2, 2)),
}
of_layout = pytest.mark.parametrize("layout", LAYOUTS)
beta = pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta:UserWarning")


def mistaken_if_sparse(x):
    """Only where it is given a sparse tensor."""
    is_sparse = x.layout is not torch.strided
    return Scaled.apply(x.to_dense() @ torch.arange(8.0, dtype=x.dtype).reshape(4, 2), 1.01 if is_sparse else 1.0)


def product(x):
    return x @ torch.arange(8.0, dtype=x.dtype).reshape(4, 2)


@beta
@of_layout
@pytest.mark.parametrize("dtype, error", [(torch.float64, 1e-7), (torch.float32, 1e-5)])
def test_sparse_inputs_keep_their_layout(layout, dtype, error):
    x = LAYOUTS[layout]().to(dtype).requires_grad_()
    seen = []

    def function(x):
        seen.append((x.layout, x.layout is torch.sparse_coo and x.is_coalesced()))
        return x.to_dense().sin() @ torch.arange(8.0, dtype=x.dtype).reshape(4, 2)

    report = gf.torch.check_function(function, x)
    assert report.ok, str(report)
    assert report.relative_error < error
    assert set(seen) == {(x.layout, x.layout is torch.sparse_coo and x.is_coalesced())}
    stored = x.detach()._values() if x.layout is torch.sparse_coo else x.detach().values()
    assert [a.shape for a in report.arrays] == [tuple(stored.shape)]


@beta
@of_layout
def test_a_mistake_in_a_branch_for_sparse_tensors_is_found(layout):
    x = LAYOUTS[layout]().double()
    assert gf.torch.check_function(mistaken_if_sparse, x.clone().requires_grad_()).verdict == "FAIL"
    assert gf.torch.check_function(mistaken_if_sparse, x.to_dense().requires_grad_()).ok


@beta
@pytest.mark.parametrize("layout", ["COO", "CSR", "CSC"])
def test_products_of_sparse_and_dense(layout):
    x, dense = LAYOUTS[layout]().double().requires_grad_(), leaf(4, 2)
    assert gf.torch.check_function(product, x).ok
    assert gf.torch.check_function(torch.mm, (x, dense.detach())).ok
    assert gf.torch.check_function(torch.mm, (LAYOUTS[layout]().double(), dense)).ok


@beta
@of_layout
def test_sparse_data_of_a_module(layout):
    """It is told from dense data, and the loss for dense data is another."""
    seen = set()

    class Reading(nn.Linear):
        def forward(self, x):
            seen.add(x.layout)
            return super().forward(x.to_dense()) * (2 if x.layout is torch.strided else 1)

    x = LAYOUTS[layout]()
    assert gf.torch.gradcheck(Reading(4, 3), lambda out: out.square().sum(), x)
    assert seen == {x.layout}


# ---- lists and trees


def of_one(tensors):
    return torch.cat([torch.as_tensor(t).flatten() for t in tensors]).sin()


def of_two(a, b):
    return a * b


def of_a_tree(params, x):
    return torch.tanh(x @ params["W"] + params["inner"]["b"]) * params["scales"][0]


def names(report):
    return [a.name for a in report.arrays]


def test_a_list_is_one_argument_if_the_function_takes_one():
    report = gf.torch.check_function(of_one, [leaf(3), leaf(2)])
    assert report.ok, str(report)
    assert names(report) == ["inputs[0][0]", "inputs[0][1]"]


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return grad * b, grad * a


class SeparateProduct(Product):
    @staticmethod
    def forward(a, b):
        return a * b

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)


@pytest.mark.parametrize("function", [of_two, Product, SeparateProduct, nn.CosineSimilarity(0)])
def test_a_list_is_several_arguments_if_the_function_takes_so_many(function):
    report = gf.torch.check_function(function, [leaf(3), leaf(3)])
    assert report.ok, str(report)
    assert names(report) == ["inputs[0]", "inputs[1]"]


@pytest.mark.parametrize(
    "function, count", [(torch.cat, 2), (torch.mul, 2), (lambda *tensors: sum(tensors), 2), (lambda x: x, 1)]
)
def test_a_list_that_may_be_both(function, count):
    with pytest.raises(TypeError, match=r"inputs: whether a list is one argument or several.*\(list,\).*tuple"):
        gf.torch.check_function(function, [leaf(3) for _ in range(count)])


def test_a_list_in_a_tuple_is_one_argument():
    assert gf.torch.check_function(torch.cat, ([leaf(3), leaf(2)],)).ok
    assert gf.torch.check_function(torch.stack, ((leaf(3), data(3)),)).ok


def test_arguments_that_are_trees():
    params = {"W": leaf(3, 2), "inner": {"b": leaf(2), "n": 3}, "scales": [leaf(1), "name"], "left": data(2)}
    report = gf.torch.check_function(of_a_tree, (params, leaf(4, 3)))
    assert report.ok, str(report)
    assert names(report) == ["inputs[0].W", "inputs[0].inner.b", "inputs[0].scales[0]", "inputs[1]"]
    wrong = lambda params, x: of_a_tree({**params, "W": Scaled.apply(params["W"], 1.01)}, x)
    report = gf.torch.check_function(wrong, (params, leaf(4, 3)))
    assert [a.name for a in report.arrays if a.wrong] == ["inputs[0].W"]


@pytest.mark.parametrize("make", [dict, OrderedDict, lambda pairs: Pair(*dict(pairs).values())])
def test_trees_keep_their_classes(make):
    tree, seen = make([("left", leaf(3)), ("right", data(3))]), set()

    def function(tree):
        seen.add(type(tree))
        left, right = tree if isinstance(tree, tuple) else tree.values()
        return left.sin() * right

    assert gf.torch.check_function(function, (tree,)).ok
    assert seen == {type(tree)}


@pytest.mark.parametrize(
    "give",
    [
        lambda x: {"sum": x.sum(), "squares": {"all": x**2, "count": 3}},
        lambda x: (x.sin(), [x.cos(), None], {"a": x.exp()}),
        lambda x: OrderedDict(a=x.sin(), b=(x.detach(), x.cos())),
        lambda x: Pair(x.sin(), Pair(x.cos(), x)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_results_that_are_trees(give, dtype):
    assert gf.torch.check_function(give, leaf(3, 2, dtype=dtype)).ok


@pytest.mark.parametrize("factor, verdict", [(1.0, "PASS"), (1.01, "FAIL")])
def test_every_result_counts(factor, verdict):
    give = lambda x: {"right": x.sin(), "inner": [x.cos(), Scaled.apply(x, factor)]}
    assert gf.torch.check_function(give, leaf(3)).verdict == verdict


def test_a_result_of_a_dict_that_is_float32():
    report = gf.torch.check_function(lambda x: {"a": x, "b": x.float()}, leaf(3))
    assert report.ok
    assert any("output.b is float32 where float64 is given" in note for note in report.notes)


# ---- tensors that a function holds in another dtype


def matmul(x):
    return x @ WEIGHT


def linear(x):
    return functional.linear(x, WEIGHT)


def convolution(x):
    return functional.conv1d(x[None], WEIGHT[None])


def made_inside(x):
    return x @ torch.eye(3)


WEIGHT = torch.randn(3, 3)


@pytest.mark.parametrize("function", [matmul, linear, convolution, made_inside])
def test_a_tensor_of_float32_that_a_function_of_float64_holds(function):
    with pytest.raises((TypeError, RuntimeError), match=r"[Dd]ouble"):
        gf.torch.check_function(function, leaf(3, 3, dtype=torch.float64))


@pytest.mark.parametrize("function", [matmul, made_inside])
def test_a_tensor_of_float32_that_a_function_of_float32_holds(function):
    report = gf.torch.check_function(function, leaf(3, 3, dtype=torch.float32))
    assert report.ok
    assert any("computes in float32 only (it refuses float64: RuntimeError" in note for note in report.notes)


def test_what_the_error_suggests():
    assert gf.torch.check_function(lambda x: x @ WEIGHT.to(x), leaf(3, 3, dtype=torch.float32)).ok
    assert gf.torch.check_function(nn.Linear(3, 2), leaf(4, 3, dtype=torch.float32)).ok
    assert gf.torch.check_function(torch.mm, (leaf(3, 3, dtype=torch.float32), WEIGHT)).ok


def test_other_errors_stay_as_they_are():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        gf.torch.check_function(lambda x: x @ torch.ones(2, 2, dtype=x.dtype), leaf(3, 3))
