/* One pass over two vectors a and n, for all that a comparison without error bars needs.
 *
 *     out[0], out[1], out[2] = the sums of (a - n)^2, (a + n)^2 and n^2
 *     out[3] = the largest |a - n|
 *     out[4] = the largest |a - n| - relative |n|
 *     out[5] = how many n are 0
 *
 * A sum that is not finite says that an entry is not finite, or that a square overflows.
 */
#ifndef GF_COMPARISON_H
#define GF_COMPARISON_H

#include <math.h>

#include "lanes.h"

/* How many sums are added up side by side. */
#define SIDE_BY_SIDE 16

static void compare(ptrdiff_t count, const double *a, const double *n, double relative, double *out) {
    double difference[SIDE_BY_SIDE] = {0.0}, total[SIDE_BY_SIDE] = {0.0}, size[SIDE_BY_SIDE] = {0.0};
    double largest[SIDE_BY_SIDE] = {0.0}, beyond[SIDE_BY_SIDE], zeros[SIDE_BY_SIDE] = {0.0};
    for (ptrdiff_t k = 0; k < SIDE_BY_SIDE; k++) beyond[k] = -INFINITY;
    for (ptrdiff_t i = 0; i < count; i += SIDE_BY_SIDE) {
        ptrdiff_t m = count - i < SIDE_BY_SIDE ? count - i : SIDE_BY_SIDE;
        IGNORE_ALIASING for (ptrdiff_t k = 0; k < m; k++) {
            double x = a[i + k], y = n[i + k], error = fabs(x - y), above = error - relative * fabs(y);
            difference[k] += error * error;
            total[k] += (x + y) * (x + y);
            size[k] += y * y;
            largest[k] = error > largest[k] ? error : largest[k];
            beyond[k] = above > beyond[k] ? above : beyond[k];
            zeros[k] += y == 0.0 ? 1.0 : 0.0;
        }
    }
    for (ptrdiff_t k = 0; k < 6; k++) out[k] = k == 4 ? -INFINITY : 0.0;
    for (ptrdiff_t k = 0; k < SIDE_BY_SIDE; k++) {
        out[0] += difference[k];
        out[1] += total[k];
        out[2] += size[k];
        out[3] = largest[k] > out[3] ? largest[k] : out[3];
        out[4] = beyond[k] > out[4] ? beyond[k] : out[4];
        out[5] += zeros[k];
    }
}

#endif
