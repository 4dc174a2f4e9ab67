"""Idea E: forward, the value of each step; backward, what each step's own difference makes of what comes back."""

from boxes import BLUE, ORANGE, arrow, box, empty

axes = empty(7.6, 2.1)
STEPS = [
    ("W", ""),
    ("z = X W", "Xᵀ, the transpose"),
    ("a = tanh z", "(f(z+h) − f(z−h)) / 2h"),
    ("cost", "its differences"),
]
for k, (name, rule) in enumerate(STEPS):
    x = 0.8 + 2.0 * k
    box(axes, x, 1.55, name, width=1.1, color=BLUE)
    if k:
        arrow(axes, (x - 1.4, 1.62), (x - 0.6, 1.62))
        arrow(axes, (x - 0.1, 1.25), (x - 1.9, 1.25), color=ORANGE)
        axes.text(x - 1.0, 1.0, "times", ha="center", fontsize=8, color=ORANGE)
        axes.text(x - 1.0, 0.78, rule, ha="center", fontsize=8.5, color=ORANGE)
axes.text(0.25, 1.95, "values, forward", fontsize=9, color=BLUE)
axes.text(
    0.25, 0.35, "what comes back: no formula of a derivative, one difference for each step", fontsize=9, color=ORANGE
)
