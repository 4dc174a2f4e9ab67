"""check_jacobian() where inputs or outputs are complex."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

RNG = np.random.default_rng(0)
A = RNG.standard_normal((3, 4)) + 1j * RNG.standard_normal((3, 4))
Z = RNG.standard_normal(4) + 1j * RNG.standard_normal(4)
X = np.arange(1.0, 5.0)


def holomorphic(z):
    return np.sin(A @ z)


def derivative(z):
    return np.cos(A @ z)[:, None] * A


def test_the_derivative_of_a_holomorphic_function():
    report = gf.check_jacobian(holomorphic, derivative, Z)
    assert report.ok
    assert [a.name for a in report.arrays] == [
        f"output.{row} by inputs.{column}" for row in ("real", "imag") for column in ("real", "imag")
    ]
    assert report.relative_error < 1e-14
    assert not report.notes


def test_its_conjugate_is_that_of_reverse_mode_in_pytorch():
    report = gf.check_jacobian(holomorphic, lambda z: derivative(z).conj(), Z)
    assert report.ok
    assert report.notes == (
        "J is compared as the conjugate of the complex derivative, as PyTorch's reverse mode has it",
    )


@pytest.mark.parametrize("factor", [1.000001, 1j, -1.0])
def test_one_wrong_entry(factor):
    def wrong(z):
        J = derivative(z)
        J[1, 2] *= factor
        return J

    report = gf.check_jacobian(holomorphic, wrong, Z)
    assert report.verdict == "FAIL"
    assert {worst.index for worst in report.worst()} == {(1, 2)}


def test_one_conjugated_row_is_wrong():
    def wrong(z):
        J = derivative(z)
        J[2] = J[2].conj()
        return J

    report = gf.check_jacobian(holomorphic, wrong, Z)
    assert report.verdict == "FAIL"
    assert {worst.index[0] for worst in report.worst()} == {2}


def test_real_inputs_and_complex_outputs():
    f, J = lambda x: np.exp(1j * x), lambda x: np.diag(1j * np.exp(1j * x))
    assert gf.check_jacobian(f, J, X).ok
    assert gf.check_jacobian(f, lambda x: J(x).conj(), X).verdict == "FAIL"
    assert gf.check_jacobian(f, lambda x: np.diag(-np.sin(x)), X).verdict == "FAIL"


@pytest.mark.parametrize("conjugate", [False, True], ids=["JAX", "PyTorch"])
def test_real_outputs_of_complex_inputs_follow_either_convention(conjugate):
    f, own = lambda z: np.abs(z) ** 2, lambda z: np.diag(2 * z.conj())
    assert gf.check_jacobian(f, lambda z: own(z).conj() if conjugate else own(z), Z).ok
    assert gf.check_jacobian(f, lambda z: own(z) / 2, Z).verdict == "FAIL"


def test_a_function_that_is_not_holomorphic_has_no_complex_derivative():
    f = lambda z: z.conj() * z**2
    report = gf.check_jacobian(f, lambda z: np.diag(2 * z.conj() * z), Z)
    assert report.verdict == "FAIL"
    assert report.notes[0].startswith("output is no holomorphic function of inputs, and has no complex derivative")


def test_trees_of_real_and_complex_arrays():
    f = lambda x, other: {"a": x * other["z"], "b": np.abs(other["z"]) * x, "c": x * 2}

    def J(x, other, factor=1.0):
        z = other["z"]
        none = np.zeros((4, 4))
        return {
            "a": (np.diag(z), {"z": factor * np.diag(x)}),
            "b": (np.diag(np.abs(z)), {"z": np.diag(z.conj() / np.abs(z) * x)}),
            "c": (2 * np.eye(4), {"z": none}),
        }

    report = gf.check_jacobian(f, J, (X, {"z": Z}))
    assert report.ok
    assert "output.b by inputs[1].z.imag" in report.analytic
    wrong = gf.check_jacobian(f, lambda x, other: J(x, other, 1.001), (X, {"z": Z}))
    assert {a.name for a in wrong.arrays if a.wrong} == {
        "output.a.real by inputs[1].z.real", "output.a.imag by inputs[1].z.imag"
    }  # fmt: skip


def test_a_conjugate_beside_a_real_input_is_wrong():
    """Nothing has it: reverse mode of PyTorch has the real part of the derivative by a real number."""
    f = lambda x, z: x * z * z
    J = lambda x, z: (np.diag(z * z), np.diag(2 * x * z))
    assert gf.check_jacobian(f, J, (X, Z)).ok
    assert gf.check_jacobian(f, lambda x, z: (J(x, z)[0], J(x, z)[1].conj()), (X, Z)).verdict == "FAIL"


@pytest.mark.parametrize("name", ["output", "inputs", "real", "imag"])
def test_names_that_reports_use_too(name):
    f, J = lambda p: {name: p[name] ** 2}, lambda p: {name: {name: np.diag(2 * p[name])}}
    assert gf.check_jacobian(f, J, {name: Z}).ok
    assert gf.check_jacobian(f, lambda p: {name: {name: np.diag(2.02 * p[name])}}, {name: Z}).verdict == "FAIL"


def test_a_jacobian_of_less_precision():
    assert gf.check_jacobian(np.sin, np.diag(np.cos(Z)).astype(np.complex64), Z).ok
    assert gf.check_jacobian(np.sin, np.diag(1.001 * np.cos(Z)).astype(np.complex64), Z).verdict == "FAIL"


def test_lists_of_numbers():
    z = Z[:2]
    assert gf.check_jacobian(np.square, [[2 * complex(z[0]), 0], [0, 2 * complex(z[1])]], z).ok
    assert gf.check_jacobian(lambda z: z + 1j, [[1, 0], [0, 1.0]], z).ok


def test_noise_is_not_called_a_function_that_is_not_holomorphic():
    report = gf.check_jacobian(lambda z: np.log(np.exp(z)) - z, np.zeros((4, 4)), Z)
    assert not any("holomorphic" in note for note in report.notes)


def test_a_matrix_of_all_outputs_by_all_inputs():
    f = lambda z, w: (z * w, z + w)
    J = np.block([[np.diag(Z), np.diag(Z)], [np.eye(4), np.eye(4)]])
    assert gf.check_jacobian(f, J, (Z, Z)).ok


def test_a_function_that_keeps_something_for_its_jacobian_and_cannot_be_traced():
    kept = {}

    def f(z):
        kept["z"] = z
        return np.array([complex(v) ** 2 for v in z.tolist()])

    assert gf.check_jacobian(f, lambda z: np.diag(2 * kept["z"]), Z).ok
    assert gf.check_jacobian(f, lambda z: np.diag(2.02 * kept["z"]), Z).verdict == "FAIL"


def test_what_is_given_is_not_changed():
    z, J = Z.copy(), derivative(Z)
    before = J.copy()
    z.flags.writeable = J.flags.writeable = False
    assert gf.check_jacobian(holomorphic, J, z).ok
    np.testing.assert_array_equal(J, before)


def test_what_does_not_fit_is_refused_by_name():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"^J: expected arrays, got a sparse matrix; .* give J.toarray\(\)"):
        gf.check_jacobian(holomorphic, sparse.csr_array(derivative(Z)), Z)
    with pytest.raises(ValueError, match=r"^J: expected the shape \(3, 4\), .* got \(4, 3\): it is transposed"):
        gf.check_jacobian(holomorphic, derivative(Z).T, Z)
    with pytest.raises(ValueError, match=r"returns \(out, cache\)"):
        gf.check_jacobian(lambda z: (z * z, {"z": z, "kind": "square"}), np.diag(2 * Z), Z)
    with pytest.raises(TypeError, match=r"^f: expected a function, got 3"):
        gf.check_jacobian(3, derivative(Z), Z)
    with pytest.raises(TypeError, match=r"^J: output by inputs\[0\]: expected real numbers, for both are real"):
        gf.check_jacobian(lambda x, z: 2 * x, (2j * np.eye(4), np.zeros((4, 4))), (X, Z))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # by an import within PyTorch
def test_jacobians_of_pytorch():
    torch = pytest.importorskip("torch")
    f, given = lambda z: torch.sin(torch.tensor(A) @ z), torch.tensor(Z)
    for strategy in ("reverse-mode", "forward-mode"):
        J = torch.autograd.functional.jacobian(f, given, vectorize=True, strategy=strategy).resolve_conj().numpy()
        report = gf.check_jacobian(holomorphic, J, Z)
        assert report.ok
        assert bool(report.notes) == (strategy == "reverse-mode")


def test_jacobians_of_jax():
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        J = np.asarray(jax.jacrev(lambda z: jax.numpy.sin(A @ z), holomorphic=True)(Z))
    report = gf.check_jacobian(holomorphic, J, Z)
    assert report.ok
    assert not report.notes
