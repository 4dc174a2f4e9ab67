"""The conventions of forward and backward passes: which of what they take and give is an output, gradient or cache."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any, NamedTuple

import numpy as np

from gradcheck_fast.checks.forward_passes import holds_any
from gradcheck_fast.inputs.places import is_floating
from gradcheck_fast.inputs.trees import Tree, walk

#: The names of forward passes, each with those of the backward passes that may belong to it.
METHODS = (
    ("forward", ("backward", "backprop", "back")),
    ("forward_pass", ("backward_pass", "backward")),
    ("fprop", ("bprop",)),
    ("forward_propagation", ("backward_propagation", "back_propagation", "backpropagation")),
    ("forward_propagate", ("backward_propagate", "back_propagate", "backpropagate")),
    ("forward_prop", ("backward_prop", "back_prop")),
    ("feedforward", ("backprop", "backward", "backpropagation", "feedbackward")),
    ("feed_forward", ("back_prop", "back_propagate", "back_propagation", "feed_backward", "backward")),
    ("call", ("backward",)),
    ("__call__", ("backward", "bprop", "backward_pass", "backprop")),
)
#: Words in the names of arguments that are gradients of outputs, and of what the forward pass has kept.
_GRADIENT = re.compile(r"grad|delta|nabla|upstream|err|sens|cotangent|∂|∇", re.IGNORECASE)
#: Names of arguments that are what the forward pass gave, if it gave one output and has no such argument itself.
_OUTPUT = re.compile(
    r"(out|outs|output|outputs|a|o|s|y|h|p|act|activation|activations|activated|sig|sigmoid|tanh|softmax|sm|probs?|y_?hat"
    r"|y_?pred(icted)?|pred|preds|predictions?|res|result|ret|forward_out(put)?|last_output|self_output|fx)_?\d*",
    re.IGNORECASE,
)
_CACHE = re.compile(r"cache|ctx|context|saved|tape|memory|stash", re.IGNORECASE)
#: Words that begin with d, and are no derivatives.
_NO_DERIVATIVE = re.compile(
    r"d(ata|im|rop|type|epth|ilat|ecay|evice|ebug|ict|ense|elay|omain|egree|ist|raw|irect|iv|iag|ef|oc)"
)
#: What learning rates are called, as attributes and as arguments of a backward pass.
RATE_ATTRIBUTES = ("lr", "learning_rate", "learn_rate", "learningrate", "eta", "step_size")
RATES = (*RATE_ATTRIBUTES, "rate", "alpha")

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Argument(NamedTuple):
    """One argument of a backward pass: its role, its name, and which input it is.

    Roles are ``gradient``, ``cache``, ``rate``, ``input``, and ``output``, of what the forward pass gave.
    """

    role: str
    name: str
    which: int = 0
    by_keyword: bool = False


@dataclass(frozen=True)
class Passes:
    """How a forward and a backward pass hang together.

    Attributes
    ----------
    outputs : tuple of int, or None
        Which members of what the forward pass gives are its outputs; None: all that it gives is one output.
    cache : int, or None
        Which member is the cache that the backward pass takes.
    arguments : tuple of Argument
        What the backward pass takes.
    at_once : bool
        Whether it takes the gradients of several outputs in one tuple.
    notes : tuple of str
        What a report should say of it.
    """

    outputs: tuple[int, ...] | None
    cache: int | None
    arguments: tuple[Argument, ...]
    at_once: bool = False
    notes: tuple[str, ...] = ()

    @property
    def gradient_names(self) -> tuple[str, ...]:
        """What the backward pass calls the gradients of the outputs."""
        return tuple(argument.name for argument in self.arguments if argument.role == "gradient")

    @property
    def takes_rate(self) -> bool:
        """Whether the backward pass takes a learning rate."""
        return any(argument.role == "rate" for argument in self.arguments)

    def output(self, found: Any) -> Tree:
        """Picks the outputs out of what the forward pass gave: one tree, or a tuple of several."""
        if self.outputs is None:
            return found
        return found[self.outputs[0]] if len(self.outputs) == 1 else tuple(found[k] for k in self.outputs)

    def backward(
        self, function: Callable[..., Any], gradient: Tree, found: Any, inputs: Sequence[Any], rate: float
    ) -> Any:
        """Calls the backward pass, after the forward pass has given `found` for these inputs."""
        is_split = self.outputs is not None and len(self.outputs) > 1 and not self.at_once
        gradients = iter(gradient if is_split else (gradient,))
        positional, named = [], {}
        for argument in self.arguments:
            if argument.role == "gradient":
                value = next(gradients)
            elif argument.role == "cache":
                value = found[self.cache]
            elif argument.role == "output":
                value = self.output(found)
            else:
                value = rate if argument.role == "rate" else inputs[argument.which]
            if argument.by_keyword:
                named[argument.name] = value
            else:
                positional.append(value)
        return function(*positional, **named)


def passes_of(forward: Any, backward: Any) -> tuple[Callable[..., Any], Callable[..., Any], Any]:
    """Returns the two passes, and the object of which they are methods, or None.

    Raises
    ------
    TypeError
        If they cannot be called, or if a layer has no such methods.
    """
    if backward is not None:
        for what, value in (("forward", forward), ("backward", backward)):
            if not callable(value):
                raise TypeError(f"{what}: expected a function, got {value!r}")
        owners = [f.__self__ for f in (forward, backward) if type(f) is MethodType]
        return forward, backward, owners[0] if len(owners) == 2 and owners[0] is owners[1] else None
    for name, others in METHODS:
        for other in others:
            if callable(getattr(forward, name, None)) and callable(getattr(forward, other, None)):
                return getattr(forward, name), getattr(forward, other), forward
    if type(forward) in (FunctionType, MethodType):
        raise TypeError("backward: it is missing; call check_layer(forward, backward, inputs)")
    has = next((name for name, _ in METHODS[:-1] if callable(getattr(forward, name, None))), None)
    kind = type(forward)
    if any(base.__module__.partition(".")[0] == "torch" for base in kind.__mro__):
        raise TypeError(f"layer: {kind.__name__} is a module of PyTorch, which gf.torch.gradcheck checks")
    lacks = f"no method backward that belongs to {has}" if has else "neither a method forward nor one backward"
    raise TypeError(
        f"layer: {kind.__name__} has {lacks}; give its two passes themselves, as check_layer(layer.{has or 'run'}, "
        "layer.run_back, inputs)"
    )


def input_names(forward: Callable[..., Any], inputs: Sequence[Any]) -> tuple[list[str], dict[str, Any]]:
    """Returns the names that the forward pass has for its inputs, and the defaults of arguments that it is not given.

    Raises
    ------
    TypeError
        If it does not take so many.
    """
    parameters = _parameters(forward)
    if parameters is None:
        return [f"inputs[{k}]" for k in range(len(inputs))], {}
    try:
        bound = inspect.signature(forward).bind(*inputs)
    except TypeError as error:
        takes = ", ".join(map(str, parameters))
        raise TypeError(f"inputs: forward({takes}) cannot be called with {len(inputs)} of them: {error}") from None
    names: list[str] = []
    for name, value in bound.arguments.items():
        several = inspect.signature(forward).parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
        names += [f"{name}[{k}]" for k in range(len(value))] if several else [name]
    defaults = {p.name: p.default for p in parameters if p.name not in bound.arguments and p.default is not p.empty}
    return names, defaults


def understand(
    backward: Callable[..., Any], names: Sequence[str], found: Any, in_layer: bool, inputs: Sequence[Any] = ()
) -> Passes:
    """Finds out what of `found`, which the forward pass gave, are outputs, and what the backward pass takes.

    Parameters
    ----------
    backward : callable
    names : sequence of str
        The names of the inputs of the forward pass.
    found : object
        What the forward pass gave for them.
    in_layer : bool
        Whether the two are methods of an object, which may keep what the backward pass needs.
    inputs : sequence
        The inputs of the forward pass. What holds one of them is a cache, also if the backward pass takes none.

    Raises
    ------
    TypeError, ValueError
        If the two do not fit each other; the message says what can be done.
    """
    several = isinstance(found, (tuple, list)) and len(found) > 1
    parameters = _parameters(backward)
    if parameters is None:
        roles = [Argument("gradient", "")]
        if several and (isinstance(found[-1], (tuple, list, dict)) or not all(map(_is_output, found))):
            roles.append(Argument("cache", ""))
        elif not in_layer:
            roles += [Argument("input", name, k) for k, name in enumerate(names)]
    else:
        roles = _roles(parameters, names, found, in_layer)
    wants_cache = any(argument.role == "cache" for argument in roles)
    gradients = [argument.name for argument in roles if argument.role == "gradient"]
    outputs, cache, notes = _outputs(found, wants_cache, roles)
    if outputs and cache is None and len(gradients) < len(outputs) and holds_any(found[-1], inputs):
        count = len(gradients) or 1
        outputs, notes = outputs[:count], (*notes, _only_first(count, found))
    if outputs and not gradients:  # of a loss, which it gives beside others
        number = next((k for k in outputs if _is_one_number(found[k])), outputs[0])
        outputs, notes = (number,), (*notes, f"of what forward gives, only {number} is the output, as a loss")
    count = 1 if outputs is None else len(outputs)
    if not gradients and not _is_one_number(found if outputs is None else found[outputs[0]]):
        raise TypeError("backward: it takes no argument that could be the gradient of the output")
    if len(gradients) > count:
        raise ValueError(
            f"backward: it takes the gradients {', '.join(gradients)}, but forward gives "
            f"{'one output' if count == 1 else f'{count} outputs'}"
        )
    at_once = outputs is not None and len(gradients) == 1 < count and not wants_cache
    if outputs is not None and gradients and len(gradients) < count and not at_once:
        notes += (f"backward takes the gradient of {len(gradients)} of {count} outputs: the others are left out",)
        outputs = outputs[: len(gradients)]
    notes += tuple(
        f"backward is given {'the output' if role == 'output' else f'the input {names[which]}'} as its {name}"
        for role, name, which, _ in roles
        if role == "output" or (role == "input" and name not in names)
    )
    return Passes(outputs, cache, tuple(roles), at_once, notes)


def _outputs(
    found: Any, wants_cache: bool, roles: Sequence[Argument]
) -> tuple[tuple[int, ...] | None, int | None, tuple[str, ...]]:
    """Tells outputs and cache apart in what a forward pass gave."""
    several = isinstance(found, (tuple, list)) and len(found) > 1
    if wants_cache and not several:
        name = next(argument.name for argument in roles if argument.role == "cache")
        raise ValueError(
            f"forward: backward takes {name!r}, but forward gives {_kind(found)} alone; let it give (out, cache), or "
            "give a backward(dout, *inputs)"
        )
    if wants_cache and len(found) == 2 and _is_output(found[1]):
        ordered = [argument.role for argument in roles if argument.role in ("gradient", "cache")]
        is_container = isinstance(found[0], (tuple, list, dict)) and not isinstance(found[1], (tuple, list, dict))
        if not _is_output(found[0]) or (is_container and ordered[0] == "cache"):
            return (1,), 0, ("forward gives (cache, out), in this order",)
    if wants_cache or (several and _is_output(found[0]) and not all(map(_is_output, found))):
        last = len(found) - 1
        count = last if wants_cache else next(k for k, member in enumerate(found) if not _is_output(member))
        wrong = next((k for k in range(count) if not _is_output(found[k])), None)
        if wrong is not None:
            raise TypeError(
                f"forward: expected arrays and then the cache, (out, cache), but member {wrong} of what it gives is "
                f"{_kind(found[wrong])}"
            )
        notes = () if wants_cache else (_only_first(count, found),)
        return tuple(range(count)), last, notes
    if not _is_output(found):
        raise TypeError(
            f"forward: expected an array, a tuple of arrays, or (out, cache), got {_kind(found)}"
            + (f" of {', '.join(map(_kind, found))}" if several else "")
        )
    return (tuple(range(len(found))) if several else None), None, ()


def _only_first(count: int, found: Sequence[Any]) -> str:
    """Says that of what a forward pass gave only the first members are outputs."""
    return f"of what forward gives, only the first {count} of {len(found)} are outputs"


def _roles(parameters: Sequence[inspect.Parameter], names: Sequence[str], found: Any, in_layer: bool) -> list[Argument]:
    """Finds the roles of the arguments of a backward pass by their names, and by their order where names do not tell.

    Parameters
    ----------
    found : object
        What the forward pass gave. If it is one number, as a loss is, its gradient may be missing.
    """
    several = isinstance(found, (tuple, list)) and len(found) > 1
    is_number = _is_one_number(found[0] if several else found)
    roles = [_role(parameter.name, names) for parameter in parameters]
    needed = [k for k, p in enumerate(parameters) if p.default is p.empty]
    for k in _of_outputs(parameters, roles, names, in_layer) if not several else ():
        roles[k] = "output"
    if "gradient" not in roles and roles:
        unknown = [k for k in needed if not roles[k]]
        unknown += [k for k, role in enumerate(roles) if role == "input" and not is_number]
        if unknown:
            roles[unknown[0]] = "gradient"
    unknown = [k for k in needed if not roles[k]]
    taken = {parameters[k].name for k, role in enumerate(roles) if role == "input"}
    whiches: dict[int, int] = {}
    if unknown and "cache" not in roles and several:
        roles[unknown.pop(0)] = "cache"
    elif unknown and not in_layer and "cache" not in roles and len(unknown) + len(taken) == len(names):
        free = [k for k, name in enumerate(names) if name not in taken]
        whiches = dict(zip(unknown, free, strict=True))
    if unknown and not whiches:
        name = parameters[unknown[0]].name
        raise TypeError(
            f"backward: its argument {name!r} is no gradient, no cache and no argument of forward; give a function "
            f"that passes it on, as lambda dout, {'cache' if several else 'x'}: backward(..., {name}=...)"
        )
    arguments: list[Argument | None] = []
    for k, (p, role) in enumerate(zip(parameters, roles, strict=True)):
        which = whiches[k] if k in whiches else list(names).index(p.name) if role == "input" else 0
        role = "input" if k in whiches else role
        arguments.append(Argument(role, p.name, which, p.kind not in _POSITIONAL) if role else None)
    return _called(arguments)


def _of_outputs(
    parameters: Sequence[inspect.Parameter], roles: Sequence[str], names: Sequence[str], in_layer: bool
) -> list[int]:
    """Finds the arguments of a backward pass that are what the forward pass gave, such as ``(dout, out)``.

    Several arguments that are as many as the inputs are these.
    """
    unknown = [k for k, p in enumerate(parameters) if p.default is p.empty and not roles[k]]
    found = [k for k in unknown if _OUTPUT.fullmatch(parameters[k].name)]
    has_gradient = "gradient" in roles
    if not has_gradient and len(found) == len(unknown):
        return found[1:]  # the first must be the gradient
    free = len(unknown) + roles.count("input") - (not has_gradient)
    return [] if not in_layer and free == len(names) > 1 else found


def _called(arguments: Sequence[Argument | None]) -> list[Argument]:
    """Leaves out the arguments that keep their defaults; those after them are given by name."""
    found, skipped = [], False
    for argument in arguments:
        if argument is None:
            skipped = True
        else:
            found.append(argument._replace(by_keyword=argument.by_keyword or skipped))
    return found


def _role(name: str, inputs: Sequence[str]) -> str:
    """Returns the role of an argument of a backward pass that its name tells; "" if it does not tell any."""
    if name in inputs:
        return "input"
    if name.lower().lstrip("_") in RATES:
        return "rate"
    if _CACHE.search(name):
        return "cache"
    derivative = len(name) > 1 and name[0] == "d" and not _NO_DERIVATIVE.match(name)
    return "gradient" if derivative or _GRADIENT.search(name) else ""


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """Returns the named parameters of a function; None if they are not known, as of ``function(*args)``."""
    try:
        found = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = [parameter for parameter in found if parameter.kind not in kinds]
    return named if named or not found else None


def _is_one_number(value: Any) -> bool:
    return is_floating(value) and np.ndim(value) == 0


def _is_output(value: Any) -> bool:
    leaves = [leaf for _, leaf in walk(value)]
    return bool(leaves) and all(map(is_floating, leaves))


def _kind(value: Any) -> str:
    if value is None:
        return "nothing (None)"
    dtype = getattr(value, "dtype", None)
    return f"an array of {dtype}" if dtype is not None else f"a {type(value).__name__}"
