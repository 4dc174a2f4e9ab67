"""What tests of several modules need to run."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
from xml.etree import ElementTree

import pytest
import work
from compiled import COMPILER, FLAGS, HERE

from gradcheck_fast.running import checkpoint

#: Where several tests run at a time (pytest-xdist), threads that wait for work leave the cores to the other tests. The
#: workers inherit this; they read it when OpenMP is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# What a shell runs in the background ignores Ctrl-C, and so would the processes that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Of these tests with many parameters each n-th is run by default; the others are long tests.
ONE_OF = {
    "test_a_planted_mistake_is_named": 6,
    "test_random_program": 7,
    "test_random_program_of_many_widths": 5,
    "test_it_is_the_central_difference": 7,
    "test_one_wrong_array": 5,
    "test_the_smallest_entry_if_wrong_is_the_worst": 5,
    "test_bias_gradient_that_misses_samples": 5,
    "test_forgotten_derivative_of_an_activation": 2,
    "test_the_gradient_of_the_exact_problem_is_called_so": 4,
    "test_it_is_not_said_of_a_planted_mistake": 5,
    "test_every_planted_error_is_found": 2,
    "test_nothing_is_said_of_an_unrelated_error": 5,
    "test_any_form_of_gradient_goes_with_any_form_of_params": 3,
    "test_a_function_of_any_scale": 5,
    "test_right_gradients_of_all_activations_pass": 5,
    "test_the_lines_that_are_asked_for_are_of_the_forward_pass": 3,
    "test_the_first_wrong_delta_is_named": 2,
    "test_no_delta_is_wrong_where_only_the_last_product_is": 2,
    "test_blocks_are_found_exactly": 2,
    "test_wrong_entries_are_found_exactly": 2,
    "test_a_mistake_in_loops_is_named": 2,
    "test_the_line_of_a_mistake_is_named": 2,
    "test_a_mistake_in_a_convolution_is_named": 3,
    "test_at_a_kink_any_slope_between_passes_and_none_outside": 2,
    "test_difference_of_the_largest_steps_that_a_series_takes": 2,
    "test_difference_is_within_a_few_ulp": 5,
    "test_the_mistake_and_its_line_are_named_first": 3,
    "test_every_variant_is_the_central_difference": 4,
    "test_a_hand_written_function_is_traced_and_certified": 2,
    "test_it_is_not_said_of_a_mistake_in_the_gradient_of_an_exact_problem": 3,
    "test_sums_in_another_order_each_time": 2,
    "test_a_call_is_recorded_as_numpy_computes_it": 4,
    "test_each_primitive_changes_as_the_twin_says": 4,
    "test_every_slope_between_the_sides_of_a_kink_lies_within_the_spread": 4,
    "test_the_difference_at_60_digits": 3,
    "test_it_is_what_the_rule_reach_says": 4,
    "test_the_difference_is_that_of_two_values": 2,
    "test_differences_are_those_of_the_rule": 3,
    "test_a_primitive_runs_like_its_twin": 2,
    "test_what_goes_back_to_each_entry_is_its_central_difference": 2,
    "test_the_spread_bounds_what_a_doubtful_sensitivity_changes": 2,
    "test_a_wrong_derivative_of_a_normalisation_is_named_with_its_line": 2,
    "test_a_wrong_derivative_of_softmax_is_named_with_its_line": 2,
    "test_it_is_not_said_of_mistakes_in_functions_of_every_kind": 2,
}


def pytest_addoption(parser):
    parser.addoption(
        "--not-in", metavar="FILE", help="leave out what has passed according to a file that --junit-xml has written"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items, config):
    mark_long_tests(items)
    if file := config.getoption("--not-in"):
        passed = {
            f"{case.get('classname')}.{case.get('name')}"
            for case in ElementTree.parse(file).iter("testcase")
            if not len(case)  # a failure, an error and why it was skipped are children
        }
        items[:] = [item for item in items if dotted(item.nodeid) not in passed]


def dotted(nodeid):
    """The name of a test as --junit-xml writes it."""
    path, _, names = nodeid.partition("::")
    name, bracket, parameters = names.partition("[")
    return f"{path.removesuffix('.py')}/{name}".replace("/", ".").replace("::", ".") + bracket + parameters


def mark_long_tests(items):
    met = dict.fromkeys(ONE_OF, 0)
    for item in items:
        name = getattr(item, "originalname", item.name)
        if name in met and item.get_closest_marker("long") is None:
            if met[name] % ONE_OF[name]:
                item.add_marker(pytest.mark.long)
            met[name] += 1


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    if shutil.which(COMPILER) is None:
        pytest.skip(f"there is no C compiler, {COMPILER}")
    library = tmp_path_factory.mktemp("callbacks") / "callbacks.so"
    subprocess.run([COMPILER, *FLAGS, HERE / "callbacks.c", "-o", library, "-lm"], check=True)
    return str(library)


@pytest.fixture(scope="module")
def library(path):
    return ctypes.CDLL(path)


@pytest.fixture(scope="module")
def one_thread_of_torch():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def seed_of_torch():
    pytest.importorskip("torch").manual_seed(0)


@pytest.fixture
def clock_of(monkeypatch):
    """A function that gives modules a clock that moves only when told, or by so much at every look."""

    class Clock:
        now = each_look = 0.0

        def __call__(self):
            self.now += self.each_look
            return self.now

    def clock_of(*modules):
        clock = Clock()
        for module in modules:
            monkeypatch.setattr(module, "perf_counter", clock)
        return clock

    return clock_of


@pytest.fixture
def eager(monkeypatch):
    """Everything that is done is saved."""
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "SAVE_PART", float("inf"))


@pytest.fixture(scope="module")
def processes():
    with work.pool() as executor:
        yield executor


@pytest.fixture
def pyplot():
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")
