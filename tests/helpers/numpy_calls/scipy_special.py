"""Calls of SciPy's functions."""

from __future__ import annotations

from importlib.util import find_spec

SCIPY = {}
sp = None
if find_spec("scipy"):
    import scipy.special as sp

    SCIPY = {
        "expit": [lambda a: sp.expit(a)],
        "logit": [lambda u: sp.logit(u)],
        "log_expit": [lambda a: sp.log_expit(a)],
        "erf": [lambda a: sp.erf(a)],
        "erfc": [lambda a: sp.erfc(a)],
        "softmax": [lambda a: sp.softmax(a), lambda a: sp.softmax(a, axis=1)],
        "log_softmax": [lambda a: sp.log_softmax(a, axis=0)],
        "logsumexp": [
            lambda a: sp.logsumexp(a),
            lambda a: sp.logsumexp(a, axis=1, keepdims=True),
            lambda a, p: sp.logsumexp(a, axis=0, b=p),
            lambda a: sp.logsumexp(a, return_sign=True)[0],
        ],
        "xlogy": [lambda a, p: sp.xlogy(a, p), lambda p: sp.xlogy(0, p) + p],
        "xlog1py": [lambda a, p: sp.xlog1py(a, p)],
        "gammaln": [lambda p: sp.gammaln(p)],
        "ndtr": [lambda a: sp.ndtr(a)],
        "entr": [lambda p: sp.entr(p)],
        "rel_entr": [lambda p, u: sp.rel_entr(p, u), lambda u: sp.rel_entr([0.0, 1.0, 0.0, 2.0], u)],
        "kl_div": [lambda p, u: sp.kl_div(p, u)],
        "huber": [lambda a: sp.huber(1.0, a), lambda a, s: sp.huber(s, a)],
        "pseudo_huber": [lambda a: sp.pseudo_huber(1.0, a)],
        "exp10": [lambda a: sp.exp10(a)],
        "betaln": [lambda p, u: sp.betaln(p, u)],
        "comb": [lambda a: sp.comb(5, 2) * a],
        "factorial": [lambda a: sp.factorial(4) * a],
        "psi": [lambda p: sp.digamma(p)],
        "erfinv": [lambda u: sp.erfinv(0.9 * u)],
        "gamma": [lambda p: sp.gamma(p)],
        "i0e": [lambda a: sp.i0e(a)],
        "expm1": [lambda a: sp.expm1(a)],
        "cbrt": [lambda a: sp.cbrt(a)],
        "log1p": [lambda p: sp.log1p(p)],
    }
    if hasattr(sp, "softplus"):
        SCIPY["softplus"] = [lambda a: sp.softplus(a)]
