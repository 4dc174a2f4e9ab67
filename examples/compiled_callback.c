/* A 4-16-1 network, tanh, and half the mean squared error: its loss, and its gradient by hand. */
#include <gradcheck_fast.h>
#include <math.h>
#include <string.h>

enum { INPUTS = 4, HIDDEN = 16 };

struct parameters { /* in the order of the tree in Python */
    double W1[INPUTS][HIDDEN], b1[HIDDEN], W2[HIDDEN], b2;
};

struct data {
    intptr_t samples;
    const double (*X)[INPUTS];
    const double *y;
};

static double forward(const struct parameters *p, const double x[INPUTS], double a[HIDDEN])
{
    double out = p->b2;
    for (int j = 0; j < HIDDEN; j++) {
        double z = p->b1[j];
        for (int i = 0; i < INPUTS; i++)
            z += x[i] * p->W1[i][j];
        a[j] = tanh(z);
        out += a[j] * p->W2[j];
    }
    return out;
}

gradcheck_fast_loss loss; /* so the compiler checks the signature */

double loss(double *theta, intptr_t n, void *user_data)
{
    const struct parameters *p = (const void *) theta;
    const struct data *data = user_data;
    double a[HIDDEN], total = 0.0;
    if (n != sizeof *p / sizeof *theta)
        return NAN;
    for (intptr_t k = 0; k < data->samples; k++) {
        double error = forward(p, data->X[k], a) - data->y[k];
        total += 0.5 * error * error;
    }
    return total / data->samples;
}

/* What is checked. `mistake` plants one: the derivative of tanh taken as 1 - a. */
void gradient(const double *theta, const struct data *data, int mistake, double *result)
{
    const struct parameters *p = (const void *) theta;
    struct parameters *g = (void *) result;
    double a[HIDDEN];
    memset(g, 0, sizeof *g);
    for (intptr_t k = 0; k < data->samples; k++) {
        const double *x = data->X[k];
        double d_out = (forward(p, x, a) - data->y[k]) / data->samples;
        g->b2 += d_out;
        for (int j = 0; j < HIDDEN; j++) {
            double d_z = d_out * p->W2[j] * (mistake ? 1 - a[j] : 1 - a[j] * a[j]);
            g->W2[j] += d_out * a[j];
            g->b1[j] += d_z;
            for (int i = 0; i < INPUTS; i++)
                g->W1[i][j] += d_z * x[i];
        }
    }
}
