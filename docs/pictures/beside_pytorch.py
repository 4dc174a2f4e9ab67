"""The chain and its certificate, as multiples of PyTorch's two passes: the first table of `performance.md`."""

from boxes import BLUE, GREY, ORANGE
from matplotlib import pyplot
from page_tables import numbers

NETWORKS = ["784-512-512-10, N = 64", "784-1024³-10, N = 32", "LSTM, T = 50, N = 16", "LSTM, T = 1,000, N = 4"]
rows = numbers("performance.md", "| | operations | 784-512-512-10")
ways = {"chain": BLUE, "certificate": GREY, "gradient with certificate, through `gf.numerical_gradient`": ORANGE}
for k, (name, color) in enumerate(ways.items()):
    places = [row + 0.27 * (1 - k) for row in range(len(NETWORKS))][::-1]
    bars = pyplot.barh(places, rows[name][-4:], 0.25, color=color, label=name.split(",")[0])
    pyplot.bar_label(bars, padding=3, fontsize=9)
pyplot.axvline(1.0, color="black", lw=0.7, ls=":")
pyplot.yticks(range(len(NETWORKS)), NETWORKS[::-1])
pyplot.xlabel("times PyTorch's forward and backward pass (dotted)")
pyplot.legend(frameon=False, loc="lower right")
