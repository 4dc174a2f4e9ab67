"""Idea B: what one perturbed weight of the first layer changes in a network of three layers."""

import itertools

from boxes import GREY, LIGHT, ORANGE, empty

axes = empty(7.2, 2.6)
layers = [("data", 5, 0, False), ("layer 1", 6, 1, False), ("layer 2", 4, 4, True), ("cost", 1, 1, True)]
places = []
for k, (name, units, changed, _) in enumerate(layers):
    x = 0.8 + 1.9 * k
    rows = [1.35 + 0.32 * (row - (units - 1) / 2) for row in range(units)]
    places.append((x, rows, changed))
    axes.text(x, 0.12, name, ha="center", fontsize=9)
for (x, rows, before), (next_x, next_rows, after) in itertools.pairwise(places):
    for i, y in enumerate(rows):
        for j, next_y in enumerate(next_rows):
            moved = (before and i < before) or (not before and i == 0 and j == 0)
            color = ORANGE if moved and j < after else "#d9d9d9"
            axes.plot([x, next_x], [y, next_y], color=color, lw=1.1 if color == ORANGE else 0.6, zorder=1)
for x, rows, changed in places:
    for row, y in enumerate(rows):
        axes.scatter(x, y, s=90, color=ORANGE if row < changed else LIGHT, edgecolor=GREY, lw=0.7, zorder=2)
