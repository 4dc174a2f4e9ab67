"""Refuses programs that the tensor executor cannot run; the message names the step.

It keeps samples apart: what depends on the data has a row, or several, for each sample, and only affine steps combine
that with parameters, which have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.engine.kernel_steps import KERNELS
from gradcheck_fast.kernels._kernels import PAIRWISE
from gradcheck_fast.program.steps.affine import AFFINE, terms_of
from gradcheck_fast.program.steps.arithmetic import WHERE
from gradcheck_fast.program.steps.costs import COSTS
from gradcheck_fast.program.steps.leaves import INPUT, PARAMETER, TARGETS
from gradcheck_fast.program.steps.movement import SLICE

if TYPE_CHECKING:
    from gradcheck_fast.program.program import Program


def require_accepted(program: Program) -> None:
    """Raises a ValueError unless the tensor executor runs the program."""
    steps = program.steps
    of_parameters = {number for number, step in enumerate(steps) if step.name in (PARAMETER.name, SLICE.name)}
    for number, step in enumerate(steps):
        refused = f"step {number}, {step}: the tensor executor"
        if step.name == PARAMETER.name and len(step.shape) not in (1, 2):
            raise ValueError(f"{refused} takes parameters of one or two axes, not {step.shape}")
        if step.name in (INPUT.name, PARAMETER.name):
            continue
        if step.name == SLICE.name:
            if steps[step.inputs[0]].name not in (PARAMETER.name, SLICE.name):
                raise ValueError(f"{refused} takes parts of parameters only")
            continue
        if step.name not in KERNELS:
            raise ValueError(f"{refused} has no such steps")
        if step.shape[:1] != (program.samples,):
            raise ValueError(f"{refused} keeps samples apart, not {step.shape}")
        if step.name in PAIRWISE and any(steps[source].shape != step.shape for source in step.inputs):
            shapes = " and ".join(str(steps[source].shape) for source in step.inputs)
            raise ValueError(f"{refused} broadcasts no inputs, such as these of shapes {shapes}")
        parameters: set[int] = set()
        if step.name == AFFINE.name:
            parameters = {step.inputs[term.parameter] for term in terms_of(step.attributes["terms"])}
        if not parameters <= of_parameters or of_parameters.intersection(step.inputs) - parameters:
            raise ValueError(f"{refused} multiplies by parameters and adds them in affine steps, and only there")
        masks = step.inputs[:1] if step.name == WHERE.name else step.inputs[2:] if step.name in COSTS else ()
        if any(steps[mask].name != INPUT.name for mask in masks):
            raise ValueError(f"{refused} takes masks from the data only")
        if step.name in COSTS:
            target = steps[step.inputs[1]]
            if target.name != INPUT.name or target.attributes["matrix"] != TARGETS:
                raise ValueError(f"{refused} compares with columns of the targets only, not {target}")
    _require_apart(program)


def _require_apart(program: Program) -> None:
    """Raises a ValueError if parts of a parameter overlap: what comes back to both is written at the same time."""
    steps = program.steps
    covered = {number: np.zeros(steps[number].shape, np.int8) for number in program.parameters}
    read = {source for number in program.needed if steps[number].name != SLICE.name for source in steps[number].inputs}
    views = program.with_parts(covered)
    for number in read.intersection(views):
        views[number][...] += 1
    for number, counts in covered.items():
        if counts.max(initial=0) > 1:
            raise ValueError(f"step {number}, {steps[number]}: the tensor executor takes parts that do not overlap")
