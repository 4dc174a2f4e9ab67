/* A loss in C, for gradcheck_fast.callback(). C99 or C++11; there is nothing to link with.
 *
 *     #include <gradcheck_fast.h>
 *
 *     gradcheck_fast_loss sum_of_squares;   // declares it, so the compiler checks the signature
 *
 *     double sum_of_squares(double *theta, intptr_t n, void *user_data)
 *     {
 *         double total = 0.0;
 *         for (intptr_t k = 0; k < n; k++)
 *             total += theta[k] * theta[k];
 *         return total;
 *     }
 *
 * The directory of this file is gradcheck_fast.get_include() in Python. */
#ifndef GRADCHECK_FAST_H
#define GRADCHECK_FAST_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The loss at the parameters theta[0] .. theta[n - 1].
 *
 * theta      all parameters, array after array, each in C order: a private copy, to be read only
 * n          how many
 * user_data  what was given as user_data=, or NULL
 *
 * The same theta must always give the same value, whatever it was called with before; NaN says that there is none.
 * Declared thread-safe, it is called from several threads at once and without Python's interpreter lock: each thread
 * has a theta of its own, user_data they share. */
typedef double gradcheck_fast_loss(double *theta, intptr_t n, void *user_data);

#ifdef __cplusplus
}
#endif

#endif
