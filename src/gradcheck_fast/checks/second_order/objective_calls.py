"""How a boosting objective and its loss are called: as LightGBM and XGBoost call them, told by their arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.checks.forward_passes import name_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How arguments are named that are predictions, targets, and data sets with targets in them.
PREDICTIONS = (
    "pred", "preds", "predt", "prediction", "predictions", "y_pred", "ypred", "yhat", "y_hat", "raw", "raw_scores",
    "score", "scores", "margin", "margins", "logits", "f", "z",
)  # fmt: skip
TARGETS = ("y", "y_true", "ytrue", "true", "t", "target", "targets", "label", "labels", "actual", "y_train", "truth")
DATA = ("dtrain", "d_train", "train_data", "train_set", "dmatrix", "dataset", "data", "d", "dm", "ds")
#: How the numbers of rows in each group of a ranking are named.
GROUPS = ("group", "groups", "query", "queries")


class DataSet:
    """What stands for the ``Dataset`` of LightGBM and the ``DMatrix`` of XGBoost in a call of an objective.

    Parameters
    ----------
    targets, weights, group : ndarray, or None
        Without weights, every row has the weight 1.
    """

    def __init__(self, targets: Any, weights: Any, group: Any) -> None:
        self.label = targets
        self.weight = np.ones(np.shape(targets)[:1]) if weights is None else weights
        self.group = group

    def get_label(self) -> Any:
        """Returns the targets."""
        return np.array(self.label)

    def get_weight(self) -> Any:
        """Returns the weights of the rows."""
        return np.array(self.weight)

    def get_group(self) -> Any:
        """Returns how many rows each group has, if there are groups."""
        return None if self.group is None else np.array(self.group)

    def get_field(self, name: str) -> Any:
        """Returns one of these by its name."""
        return {"label": self.get_label, "weight": self.get_weight, "group": self.get_group}[name]()

    def get_float_info(self, name: str) -> Any:
        """Returns targets or weights by their name, as XGBoost has them."""
        return self.get_field(name).astype(np.float32)

    def num_row(self) -> int:
        """Returns the number of rows."""
        return len(self.label)

    def num_data(self) -> int:
        """Returns the number of rows."""
        return len(self.label)


class Given(NamedTuple):
    """What an objective is checked with.

    Attributes
    ----------
    targets, weights, group : array or None
        As the user has given them; `targets` may be a data set.
    """

    targets: Any
    weights: Any
    group: Any

    @property
    def labels(self) -> Any:
        """The targets themselves."""
        return self.targets.get_label() if hasattr(self.targets, "get_label") else self.targets

    @property
    def data(self) -> Any:
        """The targets in a data set."""
        return self.targets if hasattr(self.targets, "get_label") else DataSet(*self)


class Call(NamedTuple):
    """How a function is called.

    Attributes
    ----------
    function : callable
    arguments : tuple of str
        What each argument is: ``predictions``, ``targets``, ``data``, ``weights`` or ``group``.
    given : Given
    called : str
        What a function without a name is called.
    """

    function: Callable[..., Any]
    arguments: tuple[str, ...]
    given: Given
    called: str = "objective"

    def __call__(self, predictions: Any, function: Callable[..., Any] | None = None) -> Any:
        """Calls the function, or another version of it, with copies of all that is fixed."""
        fixed = {
            "predictions": lambda: predictions,
            "targets": lambda: _copied(self.given.labels),
            "data": lambda: self.given.data,
            "weights": lambda: _copied(self.given.weights),
            "group": lambda: _copied(self.given.group),
        }
        return (function or self.function)(*(fixed[name]() for name in self.arguments))

    @property
    def takes_weights(self) -> bool:
        """Whether the function weighs rows itself."""
        return "weights" in self.arguments or "data" in self.arguments

    def __str__(self) -> str:
        """The call as it is written."""
        return f"{name_of(self.function, self.called)}({', '.join(self.arguments)})"


def call_of(what: str, function: Callable[..., Any], given: Given) -> Call:
    """Finds out by the names of its arguments how an objective or a loss is called.

    Parameters
    ----------
    what : str
        What errors call it.
    function : callable
    given : Given

    Raises
    ------
    ValueError
        If the names do not tell.
    """
    names = _arguments(function)
    if names is None:
        return Call(
            function, ("predictions", "data") if what == "objective" else ("predictions", "targets"), given, what
        )
    if len(names) == 1:
        return Call(function, ("predictions",), given, what)
    if given.targets is None:
        raise ValueError(f"{what}: it takes {', '.join(names)}; give what stands beside the predictions as targets=")
    first, second = (name.lower().strip("_") for name in names[:2])
    if second in DATA:
        kinds: tuple[str, ...] = ("predictions", "data")
    elif (first in TARGETS and second not in TARGETS) or (second in PREDICTIONS and first not in PREDICTIONS):
        kinds = ("targets", "predictions")
    elif first in PREDICTIONS or second in TARGETS:
        kinds = ("predictions", "targets")
    else:
        raise ValueError(
            f"{what}: its arguments {first} and {second} do not tell which of them is what; call them y_true and "
            "y_pred, or preds and dtrain"
        )
    rest = tuple("group" if name.lower() in GROUPS else "weights" for name in names[2:])
    return Call(function, kinds + rest, given, what)


def read_pair(found: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns the two arrays that an objective gives.

    Raises
    ------
    TypeError
        If it gives anything else.
    """
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        raise TypeError(f"objective: expected (grad, hess), got {type(found).__name__}")
    return np.asarray(found[0]), np.asarray(found[1])


def _arguments(function: Callable[..., Any]) -> Sequence[str] | None:
    """Returns the names of the arguments that a function must be given, and of weights and groups that it may."""
    try:
        own = signature(function).parameters.values()
    except (TypeError, ValueError):  # a compiled function may not say
        return None
    places = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    if any(one.kind is Parameter.VAR_POSITIONAL for one in own):
        return None
    known = [one for one in own if one.kind in places]
    needed = [one.name for one in known if one.default is Parameter.empty]
    more = [one.name for one in known[len(needed) :]]
    for name in more:  # those that follow, as long as it is known what they are
        if len(needed) < 2 or not (name.lower() in GROUPS or "weight" in name.lower()):
            break
        needed.append(name)
    return needed


def _copied(value: Any) -> Any:
    return np.array(value) if isinstance(value, np.ndarray) else value
