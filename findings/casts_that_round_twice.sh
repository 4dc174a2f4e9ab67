#!/bin/sh
# torch 2.13.0, jax 0.10.2, ml_dtypes 0.6.0 and numpy 2.4.6 (CPU): a float64 that is to be rounded to fewer digits is
# rounded to float32 first by some, so that what lies just above the middle of two numbers falls to the lower one.
# torch does so for float16, numpy and jax do not; for bfloat16 all of them do; for float8_e4m3fn torch and ml_dtypes
# do, and jax does not. The error is a whole step of the target where half a step is the most that rounding to nearest
# may give, so a bound of half a step per cast is too tight.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 jax==0.10.2 jaxlib==0.10.2 ml_dtypes==0.6.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import jax
import ml_dtypes
import numpy as np
import torch
from jax import numpy as jnp

jax.config.update("jax_enable_x64", True)
print("torch", torch.__version__, "jax", jax.__version__, "ml_dtypes", ml_dtypes.__version__, "numpy", np.__version__)
digits = {"float16": 10, "bfloat16": 7, "float8_e4m3fn": 3}
found = {}
for name, bits in digits.items():
    upper, above_the_middle = 1 + 2.0**-bits, 1 + 2.0 ** -(bits + 1) + 2.0**-40
    of_numpy = np.float16 if name == "float16" else getattr(ml_dtypes, name)
    results = {
        "torch": torch.tensor(above_the_middle, dtype=torch.float64).to(getattr(torch, name)).double().item(),
        "jax": float(jnp.asarray(above_the_middle, jnp.float64).astype(getattr(jnp, name)).astype(jnp.float64)),
        "numpy": float(np.float64(above_the_middle).astype(of_numpy)),
    }
    for who, result in results.items():
        found[name, who] = result == upper
        verdict = "right" if result == upper else "rounded twice"
        print(f"{name:14} {who:6} {above_the_middle:.12f} -> {result} ({verdict})")
twice = {("float16", "torch"), ("float8_e4m3fn", "torch"), ("float8_e4m3fn", "numpy")}
twice |= {("bfloat16", who) for who in ("torch", "jax", "numpy")}
sys.exit(0 if {key for key, is_right in found.items() if not is_right} == twice else 1)
PYTHON
