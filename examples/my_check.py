"""A file for `gradcheck-fast check examples/my_check.py`: it defines loss, gradient and params."""

import tutorial_sleep_and_study as mine

import gradcheck_fast as gf

net = gf.Network(
    [gf.Dense(2, 3, "sigmoid", bias=False), gf.Dense(3, 1, "sigmoid", bias=False)],
    cost=gf.SquaredError(factor=0.5, reduction="sum"),
)
loss = net.loss(mine.X, mine.y)
params = mine.NeuralNetwork().getParams()
gradient = mine.NeuralNetwork().computeGradients(mine.X, mine.y)
