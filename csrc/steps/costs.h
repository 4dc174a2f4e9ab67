/* The costs: for each the cost of one sample, and the exact difference of that cost when its input x changes by d.
 *
 * Cost NAME is two functions and one line in GF_COSTS at the end. Reductions are a factor outside.
 */
#ifndef GF_COSTS_H
#define GF_COSTS_H

#include "steps/elementwise.h"
#include "steps/softmax.h"

#define COST_VALUE(NAME)                                                                                          \
    static double NAME##_value(ptrdiff_t n, const double *x, const double *target, double constant, double *cache, \
                               ptrdiff_t stride)
/* change[0] and change[1]: what the differences plus and minus do */
#define COST_DIFFERENCE(NAME)                                                                                      \
    static ALWAYS_INLINE void NAME##_changes(ptrdiff_t n, const double *x, const double *target, double constant,  \
                                             const double *cache, ptrdiff_t stride, const double *plus,            \
                                             const double *minus, double change[2])

/* out[k] = (cost(x[k] + h) - cost(x[k] - h)) / 2h; where a cost has a singularity, h is in units of the distance to it */
#define COST_SLOPES(NAME)                                                                                          \
    static void NAME##_slopes(ptrdiff_t n, const double *x, const double *target, double constant,                 \
                              const double *cache, ptrdiff_t stride, double h, double *out)

/* Whole panels vectorise: beyond n, d is zero, and so is a separable cost's difference; the rest is readable. */
static ALWAYS_INLINE ptrdiff_t whole_panels(ptrdiff_t n) { return (n + GF_PANEL - 1) / GF_PANEL * GF_PANEL; }

/* The step of a slope, for a distance to the nearest singularity; at one, h itself. */
static ALWAYS_INLINE double slope_step(double h, double distance) { return distance > 0.0 ? h * distance : h; }

/* A cost that is a sum over k of e(x, y), x and y being x[k] and target[k]: written as its two scalar functions, and the
 * distance of x[k] to the nearest singularity, or 1. */
#define SEPARABLE_COST(NAME, SIZE, VALUE, DIFFERENCE)                                                    \
    static ALWAYS_INLINE double NAME##_of(double x, double y, double constant) {                         \
        UNUSED(constant);                                                                                \
        return VALUE;                                                                                    \
    }                                                                                                    \
    static ALWAYS_INLINE double NAME##_difference_of(double x, double y, double constant, double d) {    \
        UNUSED(constant);                                                                                \
        return DIFFERENCE;                                                                               \
    }                                                                                                    \
    COST_VALUE(NAME) {                                                                                   \
        double sum = 0.0;                                                                                \
        UNUSED(cache), UNUSED(stride);                                                                   \
        SUM_IN_LANES(n, sum, NAME##_of(x[k], target[k], constant));                                      \
        return sum;                                                                                      \
    }                                                                                                    \
    COST_DIFFERENCE(NAME) {                                                                              \
        UNUSED(cache), UNUSED(stride);                                                                   \
        if (n == 1) {                                                                                    \
            change[0] = NAME##_difference_of(x[0], target[0], constant, plus[0]);                        \
            change[1] = NAME##_difference_of(x[0], target[0], constant, minus[0]);                       \
            return;                                                                                      \
        }                                                                                                \
        double up[GF_PANEL] = {0}, down[GF_PANEL] = {0};                                                 \
        for (ptrdiff_t k = 0; k < n; k += GF_PANEL)                                                      \
            for (int i = 0; i < GF_PANEL; i++) {                                                         \
                up[i] += NAME##_difference_of(x[k + i], target[k + i], constant, plus[k + i]);           \
                down[i] += NAME##_difference_of(x[k + i], target[k + i], constant, minus[k + i]);        \
            }                                                                                            \
        change[0] = sum_of_panel(up);                                                                    \
        change[1] = sum_of_panel(down);                                                                  \
    }                                                                                                    \
    COST_SLOPES(NAME) {                                                                                  \
        UNUSED(cache), UNUSED(stride);                                                                   \
        IGNORE_ALIASING for (ptrdiff_t k = 0; k < n; k++) {                                              \
            double step = slope_step(h, SIZE);                                                           \
            double plus = NAME##_difference_of(x[k], target[k], constant, step);                         \
            out[k] = (plus - NAME##_difference_of(x[k], target[k], constant, -step)) / (2.0 * step);     \
        }                                                                                                \
    }

/* c (y - x)^2:  c d (d - 2 (y - x)) */
SEPARABLE_COST(squared_error, 1.0, constant *(y - x) * (y - x), constant *d *(d - 2.0 * (y - x)))

/* |x - y| = max(x - y, 0) + max(y - x, 0), each by case */
SEPARABLE_COST(absolute_error, 1.0, fabs(x - y), positive_part_difference(x - y, d) + positive_part_difference(y - x, -d))

/* Huber, r = x - y: r^2/2 within [-c, c], c (|r| - c/2) outside, that is with t = clip(r, -c, c)
 *     t^2/2 + c max(r - c, 0) + c max(-r - c, 0),
 * whose parts are differenced by case: (t' - t)(t' + t)/2, where t' + t = 2t + (t' - t). */
static ALWAYS_INLINE double huber_loss(double r, double c) {
    double t = clip(r, -c, c);
    return 0.5 * t * t + c * (fabs(r) > c ? fabs(r) - c : 0.0);
}
static ALWAYS_INLINE double huber_loss_difference(double r, double c, double d) {
    double t = clip(r, -c, c), inner = clip_difference(r, d, -c, c);
    return inner * (t + 0.5 * inner) +
           c * (positive_part_difference(r - c, d) + positive_part_difference(-r - c, -d));
}
SEPARABLE_COST(huber, 1.0, huber_loss(x - y, constant), huber_loss_difference(x - y, constant, d))

/* Binary cross-entropy of a logit: (1 - y) softplus(x) + y softplus(-x) */
static ALWAYS_INLINE double binary_logit(double x, double y) {
    double both = log1p_inline(exp_and_expm1(-fabs(x)).exp);
    return (1.0 - y) * (x > 0.0 ? x : 0.0) + y * (x < 0.0 ? -x : 0.0) + both;
}
static ALWAYS_INLINE double binary_logit_difference(double x, double y, double d) {
    logistic_pair s = logistic(x);
    return (1.0 - y) * softplus_difference_of(ANY, x, s.plus, s.minus, d) +
           y * softplus_difference_of(ANY, -x, s.minus, s.plus, -d);
}
SEPARABLE_COST(binary_cross_entropy_logits, 1.0, binary_logit(x, y), binary_logit_difference(x, y, d))

/* -w log x, and its difference -w log1p(d/x); nothing at all where w = 0 or d = 0, even if x is 0 there */
static ALWAYS_INLINE double weighted_log(double w, double x) { return w == 0.0 ? 0.0 : -w * log_positive(x); }
static ALWAYS_INLINE double weighted_log_difference(double w, double x, double d) {
    return w == 0.0 || d == 0.0 ? 0.0 : -w * log1p_inline(d / x);
}

/* Binary cross-entropy of a probability: -y log x - (1 - y) log(1 - x) */
SEPARABLE_COST(binary_cross_entropy_probabilities, x[k] < 0.5 ? x[k] : 1.0 - x[k], weighted_log(y, x) + weighted_log(1.0 - y, 1.0 - x),
               weighted_log_difference(y, x, d) + weighted_log_difference(1.0 - y, 1.0 - x, -d))

/* Cross-entropy of probabilities with target rows: -sum_k y_k log x_k */
SEPARABLE_COST(cross_entropy_probabilities, x[k], weighted_log(y, x), weighted_log_difference(y, x, d))

/* Cross-entropy of probabilities with a class c = target[0]: -log x_c */
COST_VALUE(cross_entropy_probabilities_class) {
    UNUSED(n), UNUSED(constant), UNUSED(cache), UNUSED(stride);
    return weighted_log(1.0, x[(ptrdiff_t)target[0]]);
}
COST_DIFFERENCE(cross_entropy_probabilities_class) {
    ptrdiff_t c = (ptrdiff_t)target[0];
    UNUSED(n), UNUSED(constant), UNUSED(cache), UNUSED(stride);
    change[0] = weighted_log_difference(1.0, x[c], plus[c]);
    change[1] = weighted_log_difference(1.0, x[c], minus[c]);
}
COST_SLOPES(cross_entropy_probabilities_class) {
    ptrdiff_t c = (ptrdiff_t)target[0];
    UNUSED(constant), UNUSED(cache), UNUSED(stride);
    memset(out, 0, (size_t)n * sizeof(double));
    double step = slope_step(h, x[c]);
    out[c] = (weighted_log_difference(1.0, x[c], step) - weighted_log_difference(1.0, x[c], -step)) / (2.0 * step);
}

/* Cross-entropy of logits with target rows y: sum_k y_k (log sum_j e^(x_j) - x_k). With p = softmax(x), Y = sum_k y_k
 * and the mean difference m = sum_k y_k d_k / Y, it changes by
 *     Y log(sum_j p_j e^(d_j)) - Y m  =  Y log1p(sum_j p_j expm1(d_j - m)),
 * which for a single class c is log1p(sum_{j != c} p_j expm1(d_j - d_c)): no cancellation, even where p_c is nearly 1. */
static double log_sum(ptrdiff_t n, const double *x) {
    double top = largest(n, x), sum = 0.0;
    for (ptrdiff_t k = 0; k < n; k++) sum += exp_and_expm1(x[k] - top).exp;
    return top + log_positive(sum);
}
static double log_mean_exp_difference(ptrdiff_t n, const double *p, const double *d, double m) {
    double square = 0.0, x = 0.0, y = 0.0;
    ptrdiff_t padded = whole_panels(n); /* p is zero beyond n */
    SUM_IN_LANES(padded, square, d[k] * d[k]);
    if (2.0 * (sqrt(square) + fabs(m)) <= SMALL_LIMIT) {
        SUM_IN_LANES(padded, x, p[k] * expm1_in(SMALL, d[k] - m));
        return log1p_in(SMALL, x);
    }
    double top = largest(n, d) - m;
    double shift = top > 700.0 ? m + top : m; /* out of range of exp: relative to the largest instead */
    SUM_IN_LANES(n, x, p[k] * exp_and_expm1(d[k] - shift).expm1);
    if (x >= -0.25) return log1p_inline(x) + (shift - m);
    SUM_IN_LANES(n, y, p[k] * exp_and_expm1(d[k] - shift).exp); /* 1 + x would cancel */
    return log_positive(y) + (shift - m);
}
/* the cache: p, and the sum of the weights y */
COST_VALUE(cross_entropy_logits) {
    double weight = 0.0, dot = 0.0;
    UNUSED(constant);
    softmax_value(n, x, cache);
    SUM_IN_LANES(n, weight, target[k]);
    SUM_IN_LANES(n, dot, target[k] * x[k]);
    cache[stride] = weight;
    return weight * log_sum(n, x) - dot;
}
static double weighted_mean(ptrdiff_t n, const double *target, double weight, const double *d) {
    double dot = 0.0;
    SUM_IN_LANES(whole_panels(n), dot, target[k] * d[k]);
    return dot / weight;
}
COST_DIFFERENCE(cross_entropy_logits) {
    double weight = cache[stride];
    UNUSED(x), UNUSED(constant);
    change[0] = weight * log_mean_exp_difference(n, cache, plus, weighted_mean(n, target, weight, plus));
    change[1] = weight * log_mean_exp_difference(n, cache, minus, weighted_mean(n, target, weight, minus));
}
/* Where x_k alone changes by d, m is w d with w = y_k / Y, and of the sum over j two terms are left,
 *     Y log1p(p_k expm1(d - m) + q_k expm1(-m)),   q_k = sum of the other p. */
static double log_mean_exp_of_one(double p, double q, double w, double d) {
    range known = 2.0 * fabs(d) * (1.0 + fabs(w)) <= SMALL_LIMIT ? SMALL : ANY;
    return log1p_in(known, p * expm1_in(known, d - w * d) + q * expm1_in(known, -w * d));
}
/* 1 - p_k, added up where it would cancel */
static double all_but(ptrdiff_t n, const double *p, ptrdiff_t k) {
    double sum = 0.0;
    if (p[k] <= 0.5) return 1.0 - p[k];
    for (ptrdiff_t j = 0; j < n; j++) sum += j == k ? 0.0 : p[j];
    return sum;
}
static double logit_slope(ptrdiff_t n, const double *p, ptrdiff_t k, double w, double h) {
    double q = all_but(n, p, k);
    return (log_mean_exp_of_one(p[k], q, w, h) - log_mean_exp_of_one(p[k], q, w, -h)) / (2.0 * h);
}
COST_SLOPES(cross_entropy_logits) {
    double weight = cache[stride];
    UNUSED(x), UNUSED(constant);
    for (ptrdiff_t k = 0; k < n; k++) out[k] = weight * logit_slope(n, cache, k, target[k] / weight, h);
}
COST_SLOPES(cross_entropy_logits_class) {
    UNUSED(x), UNUSED(constant), UNUSED(stride);
    for (ptrdiff_t k = 0; k < n; k++) out[k] = logit_slope(n, cache, k, k == (ptrdiff_t)target[0], h);
}
COST_VALUE(cross_entropy_logits_class) {
    UNUSED(constant), UNUSED(stride);
    softmax_value(n, x, cache);
    return log_sum(n, x) - x[(ptrdiff_t)target[0]];
}
COST_DIFFERENCE(cross_entropy_logits_class) {
    ptrdiff_t c = (ptrdiff_t)target[0];
    UNUSED(x), UNUSED(constant), UNUSED(stride);
    change[0] = log_mean_exp_difference(n, cache, plus, plus[c]);
    change[1] = log_mean_exp_difference(n, cache, minus, minus[c]);
}

/* name, whether it is separable, how many arrays it caches, and whether its slope jumps where x is the target */
#define GF_COSTS(COST)                                \
    COST(squared_error, 1, 0, 0)                      \
    COST(absolute_error, 1, 0, 1)                     \
    COST(huber, 1, 0, 0)                              \
    COST(binary_cross_entropy_logits, 1, 0, 0)        \
    COST(binary_cross_entropy_probabilities, 1, 0, 0) \
    COST(cross_entropy_logits, 0, 2, 0)               \
    COST(cross_entropy_logits_class, 0, 1, 0)         \
    COST(cross_entropy_probabilities, 1, 0, 0)        \
    COST(cross_entropy_probabilities_class, 0, 0, 0)

#define DEFINE_PAIRS(NAME, SEPARABLE, CACHED, KINK)                                                                   \
    static void NAME##_difference(const gf_pairs *pairs, const gf_cost_place *place, const double *d, ptrdiff_t row,  \
                                  double *change) {                                                                   \
        for (ptrdiff_t p = 0; p < pairs->count; p++) {                                                                \
            const double *base = pairs->tape + pairs->sample[p] * pairs->tape_stride;                                 \
            if (place->mask >= 0 && base[place->mask] == 0.0) continue;                                               \
            ptrdiff_t shift = row ? 0 : pairs->column[p];                                                             \
            const double *target = place->targets + pairs->sample[p] * place->target_stride + shift;                  \
            const double *plus = row ? d + 2 * p * row : d + p;                                                       \
            double changes[2];                                                                                        \
            NAME##_changes(row ? place->n : 1, base + place->x + shift, target, place->constant, base + place->cache, \
                           place->stride, plus, plus + (row ? row : pairs->capacity), changes);                       \
            change[p] += place->scale * changes[0];                                                                   \
            change[pairs->capacity + p] += place->scale * changes[1];                                                 \
        }                                                                                                             \
    }                                                                                                                 \
    static void NAME##_both(ptrdiff_t n, const double *x, const double *target, double constant, const double *cache, \
                            ptrdiff_t stride, const double *plus, const double *minus, double *change) {              \
        NAME##_changes(n, x, target, constant, cache, stride, plus, minus, change);                                   \
    }
GF_COSTS(DEFINE_PAIRS)

#define COST_ENTRY(NAME, SEPARABLE, CACHED, KINK) \
    {#NAME, SEPARABLE, CACHED, KINK, NAME##_value, NAME##_difference, NAME##_both, NAME##_slopes},
static const gf_cost cost_table[] = {GF_COSTS(COST_ENTRY)};

#endif
