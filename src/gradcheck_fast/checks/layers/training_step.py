"""check_training_step(): the gradient in a step that updates the parameters of a model in place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.checks.as_problem import traced_by
from gradcheck_fast.checks.gradcheck import check_gradient
from gradcheck_fast.checks.layers.kept_arrays import MOST_WRITTEN, kept_arrays, moved
from gradcheck_fast.checks.layers.layer_gradients import with_names
from gradcheck_fast.checks.layers.layer_state import LayerState
from gradcheck_fast.checks.layers.updates import are_equal
from gradcheck_fast.checks.layers.updates import learning_rate as chosen_rate
from gradcheck_fast.checks.options import AllKeywords, Options
from gradcheck_fast.inputs.arguments import number
from gradcheck_fast.inputs.mismatches import listed
from gradcheck_fast.inputs.places import Path, get, put
from gradcheck_fast.inputs.random_numbers import generator
from gradcheck_fast.losses.function_loss import python_loss
from gradcheck_fast.losses.rounded_update import RoundedUpdate
from gradcheck_fast.losses.tree_function import require_callable
from gradcheck_fast.numerical.evaluate import real_number
from gradcheck_fast.numerical.gradient import EPSILON

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from gradcheck_fast.report.report import Report


def check_training_step(
    step: Callable[..., Any], loss: Callable[[], Any], model: Any, /, *, learning_rate: float | None = None,
    **options: Unpack[AllKeywords],
) -> Report:  # fmt: skip
    """Checks the gradient in a training step that updates the parameters in place.

    A step of plain gradient descent moves a parameter W to ``W - learning_rate * dW``. So before - after, over the
    learning rate, is the gradient, which is compared with that of the loss. The parameters are the arrays of the model
    that the loss depends on, and that the step changes.

    Parameters
    ----------
    step : callable
        ``step(learning_rate)`` makes one update with the data that `loss` has, as
        ``lambda lr: model.train(X, y, lr)``. Or ``step()`` does, with a fixed learning rate.
    loss : callable
        ``loss()`` gives the loss of the model as it is, as ``lambda: model.loss(X, y)``.
    model : object, dict or list
        What holds the parameters, in attributes, dicts, lists or objects within it. `step` and `loss` must use the same
        object. It is as it was before after the check.
    learning_rate : float, optional
        The learning rate of ``step()``. A ``step(learning_rate)`` is given one at which the update is large beside the
        parameters, so that hardly any rounding is in it. At a fixed one the roundings of before and after are in the
        gradient, and so large a difference is no error; in float32 it may be too large to tell anything.
    **options
        As for `gradcheck`: method, step (the h of differences), rtol, atol, n_threads, progress, error_bars, executor,
        checkpoint, sample, seed, trace.

    Returns
    -------
    Report
        As that of `gradcheck`. A note says if a second step with the same data makes another update, as with momentum:
        then only the first step after the velocities were zero has the gradient.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; if the step changes no array that the loss depends on; if it draws random numbers
        that the loss does not draw, as for a part of the data; or if its update is not proportional to the learning
        rate, or has entries of one size only, as that of Adam: then there is no gradient in it. Nothing has been
        changed then.
    Exception
        What `step` and `loss` themselves raise.
    """
    settings = Options.from_keywords("check_training_step", options, AllKeywords)
    require_callable("step", step)
    require_callable("loss", loss)
    rate = None if learning_rate is None else number("learning_rate", learning_rate, positive=True)
    takes_rate = _takes_arguments(step)
    if not takes_rate and rate is None:
        raise ValueError("learning_rate: step() takes none, so say which it has, learning_rate=0.1")
    if _takes_arguments(loss, needed=True):
        raise TypeError("loss: expected a function without arguments, such as lambda: model.loss(X, y)")
    given: Any = (step, loss, model)
    training = _Training(step, loss, model, takes_rate, LayerState(given, model, MOST_WRITTEN))
    try:
        training, unchanged = training.with_parameters(rate or 1.0)
        rate = rate or chosen_rate("step", training.update, training.values)
        found = {name: update / rate for name, update in training.update(rate).items()}
        training.require_same_draws(rate)
        notes = (*training.notes(rate, unchanged), *training.second_step(rate))
        problem = traced_by(settings, python_loss(training), training.values)
        rounding = np.concatenate([np.ravel(_rounding(value, rate)) for value in training.values.values()])
        report = check_gradient(RoundedUpdate(problem, found, rounding), found, training.values, settings)
    finally:
        training.state.restore()
    return replace(report, notes=(*notes, *report.notes))


def _rounding(value: NDArray[Any], rate: float) -> NDArray[np.float64]:
    """Returns how far one rounding of the parameter moves its update, over the rate and EPSILON."""
    return np.asarray(np.abs(value), np.float64) / rate * (float(np.finfo(value.dtype).eps) / EPSILON)


def _takes_arguments(function: Callable[..., Any], needed: bool = False) -> bool:
    """Whether a function takes an argument by its place; or, if `needed`, whether it must be given one."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return not needed
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.kind in kinds and (p.default is p.empty or not needed) for p in found)


@dataclass(frozen=True)
class _Training:
    """A step and a loss of a model, as functions of its parameters. Every call leaves the model as it was.

    Called with a dict of the parameters, it gives the loss.

    Parameters
    ----------
    step, loss : callable
    model : object
    takes_rate : bool
        Whether the step takes the learning rate.
    state : LayerState
        All that the three keep.
    values : dict of ndarray
        The parameters.
    places : dict of tuple of Path
        Where they lie in the model.
    """

    step: Callable[..., Any]
    loss: Callable[..., Any]
    model: Any
    takes_rate: bool
    state: LayerState
    values: dict[str, NDArray[Any]] = field(default_factory=dict)
    places: dict[str, tuple[Path, ...]] = field(default_factory=dict)

    @property
    def users_function(self) -> Callable[..., Any]:
        """The user's loss."""
        return self.loss

    def with_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Gives the same with another version of the loss."""
        return replace(self, loss=function)

    def __call__(self, params: dict[str, Any]) -> Any:
        """Gives the loss of the model with these parameters."""
        self.state.restore()
        try:
            self._put(params)
            return self.loss()
        finally:
            self.state.restore()

    def with_parameters(self, rate: float) -> tuple[_Training, list[str]]:
        """Finds the parameters by a step at this rate; and returns the names of arrays that it does not change, too."""
        self.state.restore()
        kept = kept_arrays(self.model, self.loss)
        self.state.restore()
        names = with_names([paths[0] for _, paths in kept], ())
        arrays = {name: np.array(value) for name, (value, _) in zip(names, kept, strict=True)}
        places = {name: paths for name, (_, paths) in zip(names, kept, strict=True)}
        everything = replace(self, values=arrays, places=places)
        base, rng = real_number(everything(arrays)), generator(0)
        used = [
            name for name in names
            if arrays[name].size and real_number(everything({**arrays, name: moved(arrays[name], rng)})) != base
        ]  # fmt: skip
        updates = everything.of(used).update(rate)
        own = [name for name in used if np.any(updates[name])]
        if not own:
            depends = f"depends on {listed(dict.fromkeys(used))}" if used else "depends on no array that it holds"
            raise ValueError(
                f"model: the step changes no array of it that the loss depends on; the loss {depends}. Give the object "
                "whose arrays step() changes and loss() reads, such as the network itself"
            )
        return everything.of(own), [name for name in used if name not in own and arrays[name].ndim]

    def of(self, names: Sequence[str]) -> _Training:
        """Returns the same with some of the parameters."""
        places = {name: self.places[name] for name in names}
        return replace(self, values={name: self.values[name] for name in names}, places=places)

    def update(self, rate: float) -> dict[str, NDArray[Any]]:
        """Makes one step from the parameters, and returns by how much each has become smaller."""
        self.state.restore()
        try:
            return self._updated(rate)
        finally:
            self.state.restore()

    def _updated(self, rate: float) -> dict[str, NDArray[Any]]:
        for name, value in self.values.items():
            for path in self.places[name]:
                own = get(self.model, path)
                if isinstance(own, np.ndarray) and own.flags.writeable and own.size <= MOST_WRITTEN:
                    own[...] = value  # others may be views of it; the state puts the entries back
                else:
                    self._put({name: value.copy()})
        self.step(*(rate,) * self.takes_rate)
        after = {name: np.asarray(get(self.model, paths[0])) for name, paths in self.places.items()}
        for name, value in after.items():
            if value.shape != self.values[name].shape:
                shapes = f"{self.values[name].shape} to {value.shape}"
                raise ValueError(f"step: it changes the shape of {name} from {shapes}")
        return {name: self.values[name] - value for name, value in after.items()}

    def _put(self, params: dict[str, Any]) -> None:
        for name, value in params.items():
            for path in self.places[name]:
                is_number = type(get(self.model, path)) is float and type(value) is np.ndarray
                put(self.model, path, value.item() if is_number else value)

    def notes(self, rate: float, unchanged: Sequence[str]) -> tuple[str, ...]:
        """Returns what a report should say of the step."""
        own = listed(dict.fromkeys(self.values))
        said = f"the gradient of {own} is (before - after) / {rate:g}, of one step"
        if not unchanged:
            return (said,)
        return said, f"the step does not change {listed(dict.fromkeys(unchanged))}, which is not checked"

    def require_same_draws(self, rate: float) -> None:
        """Raises a ValueError if random numbers decide which update the step makes, but not which loss there is."""

        def differ(call: Callable[[], dict[str, Any]], same_draws: bool) -> bool:
            self.state.restore()
            one = call()
            if same_draws:
                self.state.restore_random_numbers()
            two = call()
            return not all(are_equal(np.asarray(one[name]), np.asarray(two[name])) for name in one)

        update = lambda: self._updated(rate)
        loss = lambda: {"loss": real_number(self.loss())}
        try:
            if not differ(update, False) or differ(update, True) or differ(loss, False):
                return
        finally:
            self.state.restore()
        raise ValueError(
            "step: it draws random numbers, and others make another update, but the loss draws none. If it takes a "
            "random part of the data, let it take all that the loss takes, as lambda lr: model.train(X, y, lr)"
        )

    def second_step(self, rate: float) -> tuple[str, ...]:
        """Returns a note on a step that makes another update of the same parameters after a first one."""
        self.state.restore()
        try:
            first = self._updated(rate)
            self.state.restore_random_numbers()
            second = self._updated(rate)
        finally:
            self.state.restore()
        other = [name for name, one in first.items() if not are_equal(one, second[name])]
        if not other:
            return ()
        return (
            f"a second step with the same data and parameters makes another update of {listed(dict.fromkeys(other))}: "
            "it depends on what is kept from step to step, as momentum or the moments of Adam. The first was taken; it "
            "is a gradient only if nothing was kept before",
        )
