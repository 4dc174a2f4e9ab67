/* The elementwise operations: for each its value y = f(z) and its exact difference f(z + d) - f(z), for any d.
 *
 * An operation NAME is two inline functions and one line in GF_ELEMENTWISE_OPERATIONS:
 *     double NAME_value(double z, double *a, double *b)
 *     double NAME_difference(range known, double z, double y, double a, double b, double d)
 * where a and b are what the value computed and the difference can use again; they are cached on the tape next to y;
 * `known` says how small d is (elementary.h), so that functions of d may be short series.
 * No derivative appears here: the differences are identities, checked against f(z + d) - f(z) at 60 digits.
 */
#ifndef GF_ELEMENTWISE_H
#define GF_ELEMENTWISE_H

#include "elementary.h"
#include "kernels.h"
#include "lanes.h"

#define UNUSED(x) (void)(x)

/* sigmoid: y = 1/(1 + e^-z), a = 1 - y, b = y (1 - y) */
static ALWAYS_INLINE double sigmoid_value(double z, double *a, double *b) {
    logistic_pair s = logistic(z);
    *a = s.minus;
    *b = s.plus * s.minus;
    return s.plus;
}
static ALWAYS_INLINE double sigmoid_difference(range known, double z, double y, double a, double b, double d) {
    return logistic_difference(known, z + d, y, a, b, d);
}

/* tanh(z) = 2 sigma(2z) - 1, hence its difference is 2 (sigma(2z + 2d) - sigma(2z)); a, b = sigma(2z), sigma(-2z) */
static ALWAYS_INLINE double tanh_value(double z, double *a, double *b) {
    exp_pair e = exp_and_expm1(-2.0 * fabs(z));
    logistic_pair s = logistic(2.0 * z);
    *a = s.plus;
    *b = s.minus;
    /* -u / (2 + u) where that is small, corrected by what rounding lost; elsewhere -u / (1 + e) errs less */
    double u = e.expm1, sum = fabs(z) < 0.5 ? 2.0 + u : 1.0 + e.exp, t = -u / sum;
    double lost = fabs(z) < 0.5 ? u - (sum - 2.0) : 0.0;
    return copysign(t + ((-u - t * sum) - t * lost) / sum, z);
}
static ALWAYS_INLINE double tanh_difference(range known, double z, double y, double a, double b, double d) {
    UNUSED(y);
    return 2.0 * logistic_difference(known, 2.0 * (z + d), a, b, a * b, 2.0 * d);
}

/* exp: e^z expm1(d) */
static ALWAYS_INLINE double exp_value(double z, double *a, double *b) {
    UNUSED(a), UNUSED(b);
    return exp_and_expm1(z).exp;
}
static ALWAYS_INLINE double exp_difference(range known, double z, double y, double a, double b, double d) {
    UNUSED(a), UNUSED(b);
    if (known != ANY) return y * expm1_in(known, d);
    exp_pair e = exp_and_expm1(d > FAR ? z + d : d); /* beyond FAR y may underflow, and e^(z+d) - y loses nothing */
    return d > FAR ? e.exp - y : y * e.expm1;
}

/* softplus(z) = log(1 + e^z): with s = sigma(z), q = sigma(-z) the difference is
 *     log(q + s e^d) = log1p(s expm1(d)) = d + log1p(q expm1(-d));
 * the first form for d < 0, the second for large d > 0; log(q + s e^d) itself where s expm1(d) comes near -1. */
static ALWAYS_INLINE double softplus_value(double z, double *a, double *b) {
    logistic_pair s = logistic(z);
    *a = s.plus;
    *b = s.minus;
    return (z > 0.0 ? z : 0.0) + log1p_inline(exp_and_expm1(-fabs(z)).exp);
}
static ALWAYS_INLINE double softplus_difference_of(range known, double z, double s, double q, double d) {
    if (known != ANY) return log1p_in(known, s * expm1_in(known, d));
    double moved = z + d, greater = z > 0.0 ? s : q, lesser = z > 0.0 ? q : s;
    int far_away = fabs(d) > FAR;
    exp_pair step = exp_and_expm1(far_away ? -fabs(moved) : d);
    double x = far_away ? step.exp * greater - lesser : s * step.expm1;
    double near = log_of(far_away ? (1.0 + step.exp) * greater : q + s * step.exp, x);
    double y = 1.0 + x;
    near = x > 0.25 ? near + (x - (y - 1.0)) / y : near;
    return far_away ? near + ((moved > 0.0 ? moved : 0.0) - (z > 0.0 ? z : 0.0)) : near;
}
static ALWAYS_INLINE double softplus_difference(range known, double z, double y, double a, double b, double d) {
    UNUSED(y);
    return softplus_difference_of(known, z, a, b, d);
}

/* max(z + d, 0) - max(z, 0), by case: each side keeps every digit of d that it can */
static ALWAYS_INLINE double positive_part_difference(double z, double d) {
    double moved = z + d;
    double from_off = moved <= 0.0 ? 0.0 : moved; /* in this order NaN stays NaN */
    double from_on = moved <= 0.0 ? -z : d;
    return z > 0.0 ? from_on : from_off;
}

/* clip(z + d, low, high) - clip(z, low, high), by case likewise */
static ALWAYS_INLINE double clip(double z, double low, double high) {
    double above = z < low ? low : z;
    return above > high ? high : above;
}
static ALWAYS_INLINE double clip_difference(double z, double d, double low, double high) {
    double moved = z + d;
    double from_below = clip((z - low) + d, 0.0, high - low);
    double from_above = clip((z - high) + d, low - high, 0.0);
    double from_inside = clip(d, low - z, high - z); /* z + d would round */
    double result = z < low ? from_below : (z > high ? from_above : from_inside);
    return moved == moved ? result : moved; /* NaN stays NaN */
}

/* relu */
static ALWAYS_INLINE double relu_value(double z, double *a, double *b) {
    UNUSED(a), UNUSED(b);
    return z < 0.0 ? 0.0 : z; /* NaN stays NaN */
}
static ALWAYS_INLINE double relu_difference(range known, double z, double y, double a, double b, double d) {
    UNUSED(known), UNUSED(y), UNUSED(a), UNUSED(b);
    return positive_part_difference(z, d);
}

/* leaky_relu, slope 0.01 below zero: z = max(z, 0) - max(-z, 0), each part by case */
#define LEAKY_SLOPE 0.01
static ALWAYS_INLINE double leaky_relu_value(double z, double *a, double *b) {
    UNUSED(a), UNUSED(b);
    return z < 0.0 ? LEAKY_SLOPE * z : z;
}
static ALWAYS_INLINE double leaky_relu_difference(range known, double z, double y, double a, double b, double d) {
    UNUSED(known), UNUSED(y), UNUSED(a), UNUSED(b);
    return positive_part_difference(z, d) - LEAKY_SLOPE * positive_part_difference(-z, -d);
}

/* z for z > 0, alpha expm1(z) below; a = e^z below zero. On the exponential side alpha e^z expm1(d); across zero the
 * two parts have one sign, so subtracting them is exact to rounding. */
static ALWAYS_INLINE double exponential_unit(double z, double alpha, double *a) {
    exp_pair e = exp_and_expm1(z < 0.0 ? z : 0.0);
    *a = e.exp;
    return z < 0.0 ? alpha * e.expm1 : z;
}
static ALWAYS_INLINE double exponential_unit_difference(range known, double z, double y, double alpha, double a, double d) {
    double moved = z + d, unused;
    double below = alpha * (a * expm1_in(known, d));
    double beyond = moved > 0.0 ? moved : alpha * expm1_in(known, moved); /* small across zero, as d is */
    double over = known == ANY ? exponential_unit(moved, alpha, &unused) : beyond;
    double across = over - y;
    double same = z > 0.0 ? d : below;
    double result = (z > 0.0) == (moved > 0.0) && fabs(d) <= FAR ? same : across;
    return moved == moved ? result : moved; /* NaN stays NaN */
}

/* elu, alpha = 1 */
static ALWAYS_INLINE double elu_value(double z, double *a, double *b) {
    UNUSED(b);
    return exponential_unit(z, 1.0, a);
}
static ALWAYS_INLINE double elu_difference(range known, double z, double y, double a, double b, double d) {
    UNUSED(b);
    return exponential_unit_difference(known, z, y, 1.0, a, d);
}

/* selu = scale * the exponential unit with alpha; Klambauer et al. 2017 give both; b = the unit before scaling */
#define SELU_ALPHA 1.6732632423543772848170429916717
#define SELU_SCALE 1.0507009873554804934193349852946
static ALWAYS_INLINE double selu_value(double z, double *a, double *b) {
    *b = exponential_unit(z, SELU_ALPHA, a);
    return SELU_SCALE * *b;
}
static ALWAYS_INLINE double selu_difference(range known, double z, double y, double a, double b, double d) {
    UNUSED(y);
    return SELU_SCALE * exponential_unit_difference(known, z, b, SELU_ALPHA, a, d);
}

/* softsign(z) = z/(1 + |z|): d/((1 + |z|)(1 + |z + d|)) on one side of zero; across zero both parts have one sign */
static ALWAYS_INLINE double softsign_value(double z, double *a, double *b) {
    UNUSED(a), UNUSED(b);
    return z / (1.0 + fabs(z));
}
static ALWAYS_INLINE double softsign_difference(range known, double z, double y, double a, double b, double d) {
    double moved = z + d, size = 1.0 + fabs(moved);
    double across = moved / size - y;
    double along = d / ((1.0 + fabs(z)) * size);
    UNUSED(known), UNUSED(a), UNUSED(b);
    return (z < 0.0) == (moved < 0.0) ? along : across;
}

/* silu(z) = z sigma(z): d sigma(z) + (z + d) (sigma(z + d) - sigma(z)); a, b = sigma(z), sigma(-z) */
static ALWAYS_INLINE double silu_value(double z, double *a, double *b) {
    logistic_pair s = logistic(z);
    *a = s.plus;
    *b = s.minus;
    return z * s.plus;
}
static ALWAYS_INLINE double silu_difference(range known, double z, double y, double a, double b, double d) {
    UNUSED(y);
    return d * a + (z + d) * logistic_difference(known, z + d, a, b, a * b, d);
}

/* gelu_tanh(z) = z/2 (1 + tanh g) = z sigma(2g), g = sqrt(2/pi) (z + 0.044715 z^3), Hendrycks and Gimpel 2016;
 * the difference of a cube: (z+d)^3 - z^3 = d (3 z (z + d) + d^2) */
#define GELU_CUBIC 0.044715
#define TWO_SQRT_2_OVER_PI 1.5957691216057307117597842397375
static ALWAYS_INLINE double gelu_tanh_value(double z, double *a, double *b) {
    logistic_pair s = logistic(TWO_SQRT_2_OVER_PI * (z + GELU_CUBIC * z * z * z));
    *a = s.plus;
    *b = s.minus;
    return z * s.plus;
}
static ALWAYS_INLINE double gelu_tanh_difference(range known, double z, double y, double a, double b, double d) {
    double inner = TWO_SQRT_2_OVER_PI * d * (1.0 + GELU_CUBIC * (3.0 * z * (z + d) + d * d));
    double moved = TWO_SQRT_2_OVER_PI * ((z + d) + GELU_CUBIC * (z + d) * (z + d) * (z + d));
    UNUSED(known), UNUSED(y); /* inner may be much larger than d */
    return d * a + (z + d) * logistic_difference(ANY, moved, a, b, a * b, inner);
}

/* hardtanh(z) = clip(z, -1, 1); relu6(z) = clip(z, 0, 6) */
static ALWAYS_INLINE double hardtanh_value(double z, double *a, double *b) {
    UNUSED(a), UNUSED(b);
    return clip(z, -1.0, 1.0);
}
static ALWAYS_INLINE double hardtanh_difference(range known, double z, double y, double a, double b, double d) {
    UNUSED(known), UNUSED(y), UNUSED(a), UNUSED(b);
    return clip_difference(z, d, -1.0, 1.0);
}
static ALWAYS_INLINE double relu6_value(double z, double *a, double *b) {
    UNUSED(a), UNUSED(b);
    return clip(z, 0.0, 6.0);
}
static ALWAYS_INLINE double relu6_difference(range known, double z, double y, double a, double b, double d) {
    UNUSED(known), UNUSED(y), UNUSED(a), UNUSED(b);
    return clip_difference(z, d, 0.0, 6.0);
}

/* gelu(z) = z Phi(z), Phi the normal distribution function: d Phi(z) + (z + d) (Phi(z + d) - Phi(z)); a, b = Phi(z) and
 * the density phi(z). Phi(z + d) - Phi(z) is the integral of the density over [z, z + d]: with the midpoint m = z + d/2,
 *     phi(m) * integral of e^(-m t - t^2/2) over [-d/2, d/2],
 * by 8-point Gauss-Legendre quadrature, which is exact to rounding while |m d| and |d| stay near 1; beyond, the two
 * values differ so much that subtracting them (in the tail where both are small) loses next to nothing. For small d
 *     phi(z) * integral of e^(-z t) (1 - t^2/2) over [0, d] = phi(z) d (1 - w/2 + w^2/6 - w^3/24 - d^2/6),  w = z d,
 * as far as |z| <= 40, beyond which phi is zero. */
#define ONE_OVER_SQRT_2_PI 0.39894228040143267793994605993438
static ALWAYS_INLINE double normal_cdf(double z) { return 0.5 * erfc(-0.70710678118654752440084436210485 * z); }

static ALWAYS_INLINE double normal_cdf_integral(double z, double d) {
    static const double node[4] = {0.18343464249564980494, 0.52553240991632898582,
                                   0.79666647741362673959, 0.96028985649753623168};
    static const double weight[4] = {0.36268378337836198297, 0.31370664587788728734,
                                     0.22238103445337447054, 0.10122853629037625915};
    double m = z + 0.5 * d, sum = 0.0;
    for (int k = 0; k < 4; k++) {
        double t = 0.5 * d * node[k];
        sum += weight[k] * (exp_and_expm1(-0.5 * (m - t) * (m - t)).exp + exp_and_expm1(-0.5 * (m + t) * (m + t)).exp);
    }
    return ONE_OVER_SQRT_2_PI * 0.5 * d * sum;
}
static ALWAYS_INLINE double normal_cdf_difference(range known, double z, double density, double d) {
    if (known != ANY) {
        double w = clip(z, -40.0, 40.0) * d;
        return density * d * (1.0 - (w * (0.5 - w * (1.0 / 6.0 - w * (1.0 / 24.0))) + d * d * (1.0 / 6.0)));
    }
    double moved = z + d;
    if (fabs(d) * (1.0 + fabs(z + 0.5 * d)) <= 1.5) return normal_cdf_integral(z, d);
    return z + moved > 0.0 ? normal_cdf(-z) - normal_cdf(-moved) : normal_cdf(moved) - normal_cdf(z);
}
static ALWAYS_INLINE double gelu_value(double z, double *a, double *b) {
    *a = normal_cdf(z);
    *b = ONE_OVER_SQRT_2_PI * exp_and_expm1(-0.5 * z * z).exp;
    return z * *a;
}
static ALWAYS_INLINE double gelu_difference(range known, double z, double y, double a, double b, double d) {
    UNUSED(y);
    return d * a + (z + d) * normal_cdf_difference(known, z, b, d);
}

/* name, how many values it caches next to y, and how many kinks it has: the z at which its slope jumps */
#define GF_ELEMENTWISE_OPERATIONS(OPERATION)  \
    OPERATION(sigmoid, 2, 0, 0.0, 0.0)        \
    OPERATION(tanh, 2, 0, 0.0, 0.0)           \
    OPERATION(relu, 0, 1, 0.0, 0.0)           \
    OPERATION(leaky_relu, 0, 1, 0.0, 0.0)     \
    OPERATION(elu, 1, 0, 0.0, 0.0)            \
    OPERATION(selu, 2, 1, 0.0, 0.0)           \
    OPERATION(softplus, 2, 0, 0.0, 0.0)       \
    OPERATION(softsign, 0, 0, 0.0, 0.0)       \
    OPERATION(silu, 2, 0, 0.0, 0.0)           \
    OPERATION(gelu, 2, 0, 0.0, 0.0)           \
    OPERATION(gelu_tanh, 2, 0, 0.0, 0.0)      \
    OPERATION(hardtanh, 0, 2, -1.0, 1.0)      \
    OPERATION(relu6, 0, 2, 0.0, 6.0)          \
    OPERATION(exp, 0, 0, 0.0, 0.0)

/* How small a pair is: from the sum of the squares of all its entries, which none exceeds (and NaN makes NaN). */
static ALWAYS_INLINE range range_of(double square) {
    return square <= TINY_LIMIT * TINY_LIMIT ? TINY : square <= SMALL_LIMIT * SMALL_LIMIT ? SMALL : ANY;
}

#endif
