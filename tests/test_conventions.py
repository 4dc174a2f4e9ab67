"""The conventions of courses, books and libraries: each is checked in at most two lines of the user's code."""

from __future__ import annotations

import re

import idioms
import numpy as np
import pytest
from idioms import LABELS, ONE_HOT, X

import gradcheck_fast as gf

# ---- what is checked: right gradients pass, and one with a mistake fails


def loss_and_gradients_of_a_model_with_a_dict(mistake):
    net = idioms.TwoLayerNet(mistake)

    def loss(params):
        net.params = params
        return net.loss(X, LABELS)

    return gf.gradcheck(loss, True, net.params)


def loss_and_gradient_of_one_matrix(mistake):
    W = np.random.default_rng(0).normal(size=(4, 3))
    return gf.gradcheck(lambda W: idioms.svm_loss(W, X, LABELS, mistake), True, W)


def a_dict_of_dW_and_dA_and_columns(mistake):
    parameters = idioms.initialize([4, 5, 3])
    AL, caches = idioms.l_model_forward(X.T, parameters)
    grads = idioms.l_model_backward(AL, ONE_HOT.T, caches, parameters, mistake)
    return gf.gradcheck(lambda p: idioms.compute_cost(idioms.l_model_forward(X.T, p)[0], ONE_HOT.T), grads, parameters)


def the_same_against_a_network_of_columns(mistake):
    parameters = idioms.initialize([4, 5, 3])
    AL, caches = idioms.l_model_forward(X.T, parameters)
    grads = idioms.l_model_backward(AL, ONE_HOT.T, caches, parameters, mistake)
    cost = gf.BinaryCrossEntropy(from_logits=False, reduction="batchmean")
    net = gf.Network([gf.Dense(4, 5, "tanh"), gf.Dense(5, 3, "sigmoid")], cost, columns=True)
    return gf.gradcheck(net.loss(X.T, ONE_HOT.T), grads, parameters)


def a_gradient_rolled_into_a_column(mistake):
    parameters = idioms.initialize([4, 5, 3])
    AL, caches = idioms.l_model_forward(X.T, parameters)
    grads = idioms.l_model_backward(AL, ONE_HOT.T, caches, parameters, mistake)
    column = np.concatenate([grads[f"d{name}"].reshape(-1, 1) for name in parameters])
    return gf.gradcheck(lambda p: idioms.compute_cost(idioms.l_model_forward(X.T, p)[0], ONE_HOT.T), column, parameters)


def cost_and_gradient_of_any_array(mistake):
    quadratic = lambda x: (np.sum(x**2), x if mistake else x * 2)
    return gf.gradcheck(quadratic, True, np.random.default_rng(0).normal(size=(4, 5)))


def cost_and_gradient_of_a_number(mistake):
    quadratic = lambda x: (np.sum(x**2), x if mistake else x * 2)
    return gf.gradcheck(quadratic, True, np.array(123.456))


def an_optimisers_function_with_jac_true(mistake):
    return gf.gradcheck(lambda x: idioms.rosenbrock(x, mistake), True, np.array([1.3, 0.7, 0.8, 1.9, 1.2]))


def weights_rolled_into_one_vector(mistake):
    theta = np.random.default_rng(0).normal(size=35)
    return gf.gradcheck(lambda t: idioms.unrolled_cost(t, X, ONE_HOT, mistake), True, theta)


def a_column_of_weights_and_a_flat_gradient(mistake):
    y = (LABELS > 0).astype(float).reshape(-1, 1)
    return gf.gradcheck(lambda t: idioms.logistic_regression(t, X, y, mistake), True, np.full((4, 1), 0.3))


def a_model_with_loss_and_gradient(mistake):
    network = idioms.TwoLayerNetwork(mistake)

    def loss(params):
        network.params = params
        return network.loss(X, ONE_HOT)

    return gf.gradcheck(loss, network.gradient(X, ONE_HOT), network.params)


def lists_of_biases_and_weights(mistake):
    net = idioms.ListNetwork(mistake)

    def loss(params):
        net.biases, net.weights = params
        return net.total_cost(idioms.DATA_IN_COLUMNS)

    return gf.gradcheck(loss, net.total_gradient(idioms.DATA_IN_COLUMNS), (net.biases, net.weights))


def lists_named_nabla_in_another_order(mistake):
    net = idioms.ListNetwork(mistake)
    nabla_b, nabla_w = net.total_gradient(idioms.DATA_IN_COLUMNS)

    def loss(params):
        net.biases, net.weights = params["b"], params["w"]
        return net.total_cost(idioms.DATA_IN_COLUMNS)

    return gf.gradcheck(loss, {"nabla_w": nabla_w, "nabla_b": nabla_b}, {"b": net.biases, "w": net.weights})


def parameters_with_a_grad_beside(mistake):
    model = idioms.ModelOfParameters(mistake)
    model.forward(X, ONE_HOT)
    model.backward()

    def loss(params):
        for name, array in params.items():
            model.parameters[name].data = array
        return model.forward(X, ONE_HOT)

    grads = {name: {"grad": p.grad, "data": p.data} for name, p in model.parameters.items()}
    return gf.gradcheck(loss, grads, {name: p.data for name, p in model.parameters.items()})


def a_loss_and_gradients_one_after_another(mistake):
    h = np.zeros((5, 1))
    return gf.gradcheck(lambda p: idioms.char_rnn(*p, [0, 2, 1, 3], [2, 1, 3, 3], h, mistake), True, idioms.CHAR_PARAMS)


def the_same_with_names(mistake):
    params = dict(zip(("Wxh", "Whh", "Why", "bh", "by"), idioms.CHAR_PARAMS, strict=True))
    h = np.zeros((5, 1))
    return gf.gradcheck(
        lambda p: idioms.char_rnn(**p, inputs=[0, 2], targets=[2, 1], hprev=h, mistake=mistake), True, params
    )


def a_loss_and_an_accuracy(mistake):
    model = idioms.spelled(lambda name: name)
    return gf.gradcheck(lambda p: (model(p, mistake)[0], 0.75), lambda p: model(p, mistake)[2], idioms.SPELLED_PARAMS)


def a_loss_and_a_cache(mistake):
    model = idioms.spelled(lambda name: name)
    return gf.gradcheck(lambda p: model(p, mistake)[:2], lambda p: model(p, mistake)[2], idioms.SPELLED_PARAMS)


def a_gradient_function_that_gives_the_value_too(mistake):
    model = idioms.spelled(lambda name: name)
    return gf.gradcheck(lambda p: model(p, mistake)[0], lambda p: model(p, mistake)[::2], idioms.SPELLED_PARAMS)


def a_gradient_function_that_gives_more(mistake):
    model = idioms.spelled(lambda name: name)
    return gf.gradcheck(lambda p: model(p, mistake)[0], lambda p: model(p, mistake)[:0:-1], idioms.SPELLED_PARAMS)


def layers_as_dicts(mistake):
    model = idioms.spelled(lambda name: name)
    params = [{"W": idioms.SPELLED_PARAMS["W"], "b": idioms.SPELLED_PARAMS["b"]}, {"W": idioms.SPELLED_PARAMS["v"]}]

    def run(p):
        return model({**p[0], "v": p[1]["W"]}, mistake)

    _, (h, dz), g = run(params)
    grads = [{"db": g["b"], "dW": g["W"], "dZ": dz}, {"dW": g["v"], "dA": h}]
    return gf.gradcheck(lambda p: run(p)[0], grads, params)


IDIOMS = [
    loss_and_gradients_of_a_model_with_a_dict, loss_and_gradient_of_one_matrix, a_dict_of_dW_and_dA_and_columns,
    the_same_against_a_network_of_columns, a_gradient_rolled_into_a_column, cost_and_gradient_of_any_array,
    cost_and_gradient_of_a_number, an_optimisers_function_with_jac_true, weights_rolled_into_one_vector,
    a_column_of_weights_and_a_flat_gradient, a_model_with_loss_and_gradient, lists_of_biases_and_weights,
    lists_named_nabla_in_another_order, parameters_with_a_grad_beside, a_loss_and_gradients_one_after_another,
    the_same_with_names, a_loss_and_an_accuracy, a_loss_and_a_cache, a_gradient_function_that_gives_the_value_too,
    a_gradient_function_that_gives_more, layers_as_dicts,
]  # fmt: skip


@pytest.mark.parametrize("check", IDIOMS, ids=lambda check: check.__name__)
def test_an_idiom(check):
    right, wrong = check(mistake=False), check(mistake=True)
    assert right.verdict == "PASS", right
    assert wrong.verdict == "FAIL", wrong
    assert any(array.wrong for array in wrong.arrays)
    assert not any("could not be traced" in note for note in right.notes)


# ---- spellings

SPELLINGS = {
    "dW": "d{}", "DW": "D{}", "d_W": "d_{}", "grad_W": "grad_{}", "gradW": "grad{}", "gradient_W": "gradient_{}",
    "g_W": "g_{}", "gW": "g{}", "delta_W": "delta_{}", "nabla_W": "nabla_{}", "W_grad": "{}_grad", "W.grad": "{}.grad",
    "W_gradient": "{}_gradient", "dL_dW": "dL_d{}", "dJdW": "dJd{}", "∂W": "∂{}", "W_bar": "{}_bar",
}  # fmt: skip


@pytest.mark.parametrize("form", SPELLINGS.values(), ids=SPELLINGS)
def test_a_spelling(form):
    model = idioms.spelled(form.format)
    check = lambda mistake: gf.gradcheck(
        lambda p: model(p, mistake)[0], lambda p: {**model(p, mistake)[2], "dA1": None, "loss": 0.5},
        idioms.SPELLED_PARAMS,
    )  # fmt: skip
    report = check(False)
    assert report.ok
    names = ", ".join(form.format(name) for name in "Wbv")
    assert report.notes[0] == f"gradients {names} are taken for W, b, v; dA1, loss were passed over"
    assert check(True).verdict == "FAIL"


# ---- what cannot be recognised: the error names the call to make

PARAMS = idioms.SPELLED_PARAMS
MODEL = idioms.spelled(lambda name: name)
LAYER = (X, np.ones((4, 2)), np.zeros(2))


def the_gradients_first():
    return gf.gradcheck(lambda p: MODEL(p, False)[::-1], MODEL(PARAMS, False)[2], PARAMS)


def a_dict_with_the_loss():
    return gf.gradcheck(lambda p: {"grads": MODEL(p, False)[2], "loss": MODEL(p, False)[0]}, True, PARAMS)


def a_dict_with_the_loss_and_a_gradient():
    return gf.gradcheck(
        lambda p: {"cache": MODEL(p, False)[1], "cost": MODEL(p, False)[0]}, MODEL(PARAMS, False)[2], PARAMS
    )


def no_gradient_beside_the_loss():
    return gf.gradcheck(lambda p: MODEL(p, False)[0], True, PARAMS)


def true_for_a_network():
    net = gf.Network([gf.Dense(4, 3)], gf.CrossEntropy())
    return gf.gradcheck(net.loss(X, LABELS), True, net.init(0))


def a_gradient_that_is_missing():
    return gf.gradcheck(
        lambda p: MODEL(p, False)[0], {"dW": PARAMS["W"], "d_b": PARAMS["b"], "dv": PARAMS["v"]}, PARAMS
    )


def a_layer_with_a_cache():
    return gf.check_vjp(idioms.affine_forward, idioms.affine_backward, LAYER)


def a_layer_with_a_cache_of_settings():
    return gf.check_vjp(lambda x: idioms.dropout_forward(x, {"mode": "train"}), idioms.affine_backward, X)


def a_dict_for_a_list():
    return gf.gradcheck(lambda p: float(np.sum(p[0])), {"dW": np.ones(3)}, [np.ones(3)])


def samples_in_columns():
    return gf.Network([gf.Dense(4, 3)], gf.CrossEntropy()).loss(X.T, LABELS)


def samples_in_rows_for_columns():
    return gf.Network([gf.Dense(4, 3)], gf.CrossEntropy(), columns=True).loss(X, LABELS)


ERRORS = {
    the_gradients_first: "if element 2 is the loss, pass lambda params: loss(params)[2]",
    a_dict_with_the_loss: "expected the loss to return (value, gradient), got a dict of grads, loss; pass the gradient",
    a_dict_with_the_loss_and_a_gradient: "if cost is the loss, pass lambda params: loss(params)['cost']",
    no_gradient_beside_the_loss: "expected the loss to return (value, gradient), got a number; pass the gradient",
    true_for_a_network: "that is for a Python function of one set of parameters, which returns (value, gradient)",
    a_gradient_that_is_missing: "dW, dv would be taken for W, v, but there is none for b, did you mean 'd_b'?",
    a_layer_with_a_cache: "returns (out, cache): use gf.check_layer(affine_forward, affine_backward, inputs)",
    a_layer_with_a_cache_of_settings: "returns (out, cache): use gf.check_layer(f, affine_backward, inputs)",
    a_dict_for_a_list: "the parameters are a list, so give a list in the same order, or both as dicts",
    samples_in_columns: "X: expected the shape (samples, 4), got (4, 6); if samples are columns, use gf.Network(..., "
    "columns=True)",
    samples_in_rows_for_columns: "X looks transposed: columns=True is for samples that are columns",
}


@pytest.mark.parametrize("call", ERRORS, ids=lambda call: call.__name__)
def test_an_error_names_the_call_to_make(call):
    with pytest.raises((TypeError, ValueError), match=re.escape(ERRORS[call])):
        call()
