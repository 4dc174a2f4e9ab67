import itertools

import numpy as np
import pytest
from operator_peer import agree, numbers, traced

from gradcheck_fast.frontends.operators import convolution

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSES = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
#: The size of the array, for each number of spatial axes.
SIZES = {1: (9,), 2: (7, 6), 3: (4, 5, 3)}


def settings(axes, stride=1, padding=0, dilation=1):
    """The same numbers for each spatial axis."""
    return {"stride": (stride,) * axes, "padding": ((padding,) * 2,) * axes, "dilation": (dilation,) * axes}


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "groups"),
    [(3, 1, 1, 1, 1), (3, 2, 1, 1, 2), (2, 1, 1, 2, 1), (1, 1, 0, 1, 1), (1, 2, 1, 1, 4), (3, 1, 1, 1, 4)],
)
def test_a_convolution_is_that_of_pytorch(axes, kernel, stride, padding, dilation, groups):
    arrays = {"x": numbers(3, 4, *SIZES[axes]), "w": numbers(8, 4 // groups, *(kernel,) * axes), "b": numbers(8)}
    own = settings(axes, stride, padding, dilation)
    agree(
        lambda of: convolution.convolution(of["x"], of["w"], of["b"], **own, groups=groups),
        lambda of: CONVOLUTIONS[axes](of["x"], of["w"], of["b"], stride, padding, dilation, groups),
        arrays,
    )


def test_each_axis_has_its_own_numbers_and_the_bias_may_be_missing():
    agree(
        lambda of: convolution.convolution(
            of["x"], of["w"], stride=(1, 2), padding=((2, 2), (0, 0)), dilation=(2, 1)
        ),
        lambda of: F.conv2d(of["x"], of["w"], None, (1, 2), (2, 0), (2, 1)),
        {"x": numbers(2, 3, 6, 7), "w": numbers(4, 3, 2, 3)},
    )  # fmt: skip


@pytest.mark.parametrize("traced_ones", [("x",), ("w",), ("b",), ("w", "b")], ids="".join)
def test_some_arrays_may_be_plain(traced_ones):
    arrays = {"x": numbers(2, 4, 6, 5), "w": numbers(4, 4, 3, 3), "b": numbers(4)}
    own = settings(2, padding=1)

    def both(of):
        all_of = arrays | of
        x = convolution.convolution(all_of["x"], all_of["w"], all_of["b"], **own)
        return convolution.transposed_convolution(x, all_of["w"], all_of["b"], **own, output_padding=(0, 0))

    def theirs(of):
        all_of = {name: torch.tensor(array) for name, array in arrays.items()} | of
        x = F.conv2d(all_of["x"], all_of["w"], all_of["b"], padding=1)
        return F.conv_transpose2d(x, all_of["w"], all_of["b"], padding=1)

    agree(both, theirs, {name: arrays[name] for name in traced_ones})


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("kernel", [2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_padding_is_that_of_pytorch(kernel, dilation):
    pads = convolution.same_padding((7, 6), (kernel,) * 2, (1, 1), (dilation,) * 2)
    agree(
        lambda of: convolution.convolution(
            of["x"], of["w"], stride=(1, 1), padding=pads, dilation=(dilation,) * 2
        ),
        lambda of: F.conv2d(of["x"], of["w"], padding="same", dilation=dilation),
        {"x": numbers(2, 3, 7, 6), "w": numbers(4, 3, kernel, kernel)},
    )  # fmt: skip


def test_same_padding_gives_one_output_for_each_whole_stride_and_pads_more_after_or_before():
    assert convolution.same_padding((5, 6, 7), (3,) * 3, (2, 3, 1), (1,) * 3) == [(1, 1), (0, 0), (1, 1)]
    assert convolution.same_padding((6,), (3,), (2,), (1,)) == [(0, 1)]
    assert convolution.same_padding((6,), (3,), (2,), (1,), upper=False) == [(1, 0)]
    for size, kernel, stride in itertools.product(range(1, 9), range(1, 4), range(1, 4)):
        ((before, after),) = convolution.same_padding((size,), (kernel,), (stride,), (1,))
        assert (size + before + after - kernel) // stride + 1 == -(-size // stride)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "more", "dilation", "groups"),
    [
        (3, 1, 1, 0, 1, 1),
        (2, 2, 0, 0, 1, 1),
        (3, 2, 1, 1, 1, 2),
        (2, 1, 0, 1, 2, 1),
        (1, 3, 0, 2, 1, 4),
        (3, 3, 0, 2, 2, 2),
    ],
)
def test_a_transposed_convolution_is_that_of_pytorch(axes, kernel, stride, padding, more, dilation, groups):
    arrays = {"x": numbers(2, 4, *SIZES[axes]), "w": numbers(4, 8 // groups, *(kernel,) * axes), "b": numbers(8)}
    own = settings(axes, stride, padding, dilation)
    agree(
        lambda of: convolution.transposed_convolution(
            of["x"], of["w"], of["b"], **own, output_padding=(more,) * axes, groups=groups
        ),
        lambda of: TRANSPOSES[axes](of["x"], of["w"], of["b"], stride, padding, more, groups, dilation),
        arrays,
    )


def test_a_transposed_convolution_is_the_transpose():
    """<convolution of x, y> = <x, transposed convolution of y>, with uneven padding, too."""
    own = {"stride": (2, 1), "padding": ((2, 0), (1, 1)), "dilation": (1, 2)}
    x, w = numbers(2, 3, 8, 7), numbers(4, 3, 3, 2)
    y = numbers(*convolution.convolution(x, w, **own).shape)
    back = convolution.transposed_convolution(y, w, output_padding=(1, 0), **own)
    assert back.shape == x.shape
    assert np.vdot(convolution.convolution(x, w, **own), y) == pytest.approx(np.vdot(x, back), rel=1e-13)


def test_negative_padding_cuts_entries_off():
    x, w = numbers(1, 2, 7, 6), numbers(3, 2, 2, 2)
    cut = convolution.convolution(x, w, stride=(1, 1), padding=((-1, 0), (1, -2)), dilation=(1, 1))
    parts = convolution.convolution(x[:, :, 1:, :4], w, stride=(1, 1), padding=((0, 0), (1, 0)), dilation=(1, 1))
    np.testing.assert_array_equal(cut, parts)


def test_a_convolution_is_a_few_steps_without_a_map_of_its_windows():
    arrays = {"x": numbers(2, 4, 6, 5), "w": numbers(8, 4, 3, 3), "b": numbers(8)}
    problem = traced(
        lambda of: np.sum(convolution.convolution(of["x"], of["w"], of["b"], **settings(2, padding=1))), arrays
    )
    steps = [problem.program.steps[number] for number in problem.engine.computed]
    names = [step.name for step in steps if step.name not in ("constant", "reshape")]
    assert names == ["gather", "strided", "matmul", "add", "strided", "sum"]
    assert max(step.attributes["index"].size for step in steps if step.name == "gather") == 2 * 4 * 8 * 7  # the padding


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"w": numbers(8, 3, 3, 3)}, "weight: expected 4 channels in axis 1 for 4 channels in 1 groups, got the shape"),
        ({"groups": 3}, "groups: 4 and 8 channels cannot be in 3 groups of equal size"),
        ({"dilation": (4, 1)}, r"a kernel of the size \(3, 3\) with the dilation \(4, 1\) does not fit into an array"),
    ],
)
def test_shapes_that_do_not_fit_are_named(change, said):
    given = {"x": numbers(2, 4, 6, 5), "w": numbers(8, 4, 3, 3), **settings(2), "groups": 1} | change
    with pytest.raises(ValueError, match=said):
        convolution.convolution(given.pop("x"), given.pop("w"), **given)


def test_a_transposed_convolution_names_a_weight_that_does_not_fit():
    with pytest.raises(ValueError, match=r"weight: expected 4 channels in axis 0, .* got the shape \(3, 8, 2\)"):
        convolution.transposed_convolution(
            numbers(1, 4, 6), numbers(3, 8, 2), output_padding=(0,), **settings(1)
        )  # fmt: skip
