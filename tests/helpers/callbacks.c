/* Losses for test_callbacks.py. */
#include <gradcheck_fast.h>
#include <math.h>
#include <stdatomic.h>
#include <time.h>

gradcheck_fast_loss weighted, not_a_number, slow, in_flight, clears, flips, clips;

/* sum of w[k] theta[k] theta[k]; without user_data w[k] is k + 1 */
double weighted(double *theta, intptr_t n, void *user_data)
{
    const double *w = user_data;
    double total = 0.0;
    for (intptr_t k = 0; k < n; k++)
        total += (w ? w[k] : k + 1.0) * theta[k] * theta[k];
    return total;
}

double constant(const double *theta, intptr_t n, void *user_data) { return 0.0; }
float single(double *theta, intptr_t n, void *user_data) { return 0.0f; }
double of_floats(float *theta, intptr_t n, void *user_data) { return 0.0; }
double of_an_int(double *theta, int n, void *user_data) { return 0.0; }
double of_two(double *theta, intptr_t n) { return 0.0; }
double of_a_number(double *theta, intptr_t n, double user_data) { return 0.0; }

double not_a_number(double *theta, intptr_t n, void *user_data) { return NAN; }

static double seconds(void)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

double slow(double *theta, intptr_t n, void *user_data)
{
    for (double end = seconds() + 1e-3; seconds() < end;)
        ;
    return weighted(theta, n, user_data);
}

/* How many calls were in flight at once, at most. Each waits a while for another one, until there has been one. */
struct calls { atomic_int now, most; };

double in_flight(double *theta, intptr_t n, void *user_data)
{
    struct calls *calls = user_data;
    int now = atomic_fetch_add(&calls->now, 1) + 1, most = atomic_load(&calls->most);
    while (now > most && !atomic_compare_exchange_weak(&calls->most, &most, now))
        ;
    for (double end = seconds() + 0.05; seconds() < end && atomic_load(&calls->most) < 2;)
        ;
    atomic_fetch_sub(&calls->now, 1);
    return weighted(theta, n, 0);
}

double clears(double *theta, intptr_t n, void *user_data) { return theta[2] = 0.0; }

double flips(double *theta, intptr_t n, void *user_data) { return theta[2] = -theta[2]; }

double clips(double *theta, intptr_t n, void *user_data)
{
    for (intptr_t k = 0; k < n; k++)
        if (theta[k] > 1.0)
            theta[k] = 1.0;
    return weighted(theta, n, user_data);
}
