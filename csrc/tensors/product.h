/* Products of matrices that lie anywhere: c (m x n) = or += a (m x inner) b (inner x n).
 *
 * One factor lies in vectors of 16 numbers: a piece of it is packed into panels, of 384 by 16, and the micro-kernel of
 * steps/affine.h runs over them. The numbers of the other factor are broadcast one by one, and are read where they lie.
 * The packed factor is the one that belongs to the shorter side of c, so that each packed number is used often: the
 * samples of a pass, say, and not the parameters. If it is a, the kernel computes c transposed, in tiles. Each entry of
 * c is one chain of multiply-adds in the order of `inner` for each piece, whichever factor is packed, and however c is
 * cut into regions.
 */
#ifndef GF_TENSORS_PRODUCT_H
#define GF_TENSORS_PRODUCT_H

#include "steps/affine.h"
#include "tensors/tensors.h"

#define TILE_ROWS 12
#define PANELS_AT_ONCE 8
#define PACKED_PANEL (INNER_AT_ONCE * GF_PANEL)

/* What is packed at once: panels of one factor, and rows of a sum in place of the other. */
_Static_assert(PANELS_AT_ONCE * PACKED_PANEL + INNER_AT_ONCE * TILE_ROWS <= GF_SCRATCH, "scratch memory");

/* A factor: entry (i, j) is at[i * row + j * column], plus scale times the same entry of `more` if that is not NULL. */
typedef struct {
    const double *at;
    ptrdiff_t row, column;
    const double *more;
    double scale;
} factor;

static ALWAYS_INLINE factor part_of(factor f, ptrdiff_t i, ptrdiff_t j) {
    ptrdiff_t skipped = i * f.row + j * f.column;
    f.at += skipped;
    if (f.more) f.more += skipped;
    return f;
}
static ALWAYS_INLINE factor transposed(factor f) {
    ptrdiff_t row = f.row;
    f.row = f.column;
    f.column = row;
    return f;
}

/* to[i * to_row + j] = f[i][j] for i < rows, j < columns; columns are next to each other, and there are few of them */
static void pack_factor(factor f, ptrdiff_t rows, ptrdiff_t columns, double *to, ptrdiff_t to_row) {
    if (f.column == 1 && columns == GF_PANEL && !f.more) {
        for (ptrdiff_t i = 0; i < rows; i++)
            for (int v = 0; v < VECTORS; v++) store(to + i * to_row + v * LANES, load(f.at + i * f.row + v * LANES));
        return;
    }
    for (ptrdiff_t first = 0; first < rows; first += 8) {
        ptrdiff_t last = rows - first < 8 ? rows : first + 8;
        for (ptrdiff_t j = 0; j < columns; j++)
            for (ptrdiff_t i = first; i < last; i++) {
                ptrdiff_t from = i * f.row + j * f.column;
                to[i * to_row + j] = f.more ? f.at[from] + f.scale * f.more[from] : f.at[from];
            }
        for (ptrdiff_t j = columns; j < to_row; j++)
            for (ptrdiff_t i = first; i < last; i++) to[i * to_row + j] = 0.0;
    }
}

/* c[i * row + j * column] = or += tile[i][j] */
static void put_tile(const double *tile, ptrdiff_t rows, ptrdiff_t columns, double *c, ptrdiff_t row, ptrdiff_t column,
                     int accumulate) {
    for (ptrdiff_t j = 0; j < columns; j++)
        for (ptrdiff_t i = 0; i < rows; i++) {
            double *to = c + i * row + j * column;
            *to = tile[i * GF_PANEL + j] + (accumulate ? *to : 0.0);
        }
}

/* c (rows x columns) = or += x y, where y is packed and x is broadcast */
static void packed_product(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t inner, factor x, factor y, double *c,
                           ptrdiff_t c_row, ptrdiff_t c_column, int accumulate, double *scratch) {
    double *strip = scratch + PANELS_AT_ONCE * PACKED_PANEL, tile[TILE_ROWS * GF_PANEL];
    ptrdiff_t k = 0;
    do {
        ptrdiff_t some = inner - k < INNER_AT_ONCE ? inner - k : INNER_AT_ONCE;
        for (ptrdiff_t j = 0; j < columns; j += PANELS_AT_ONCE * GF_PANEL) {
            ptrdiff_t end = columns - j < PANELS_AT_ONCE * GF_PANEL ? columns : j + PANELS_AT_ONCE * GF_PANEL;
            for (ptrdiff_t p = j; p < end; p += GF_PANEL)
                pack_factor(part_of(y, k, p), some, end - p < GF_PANEL ? end - p : GF_PANEL,
                            scratch + (p - j) / GF_PANEL * PACKED_PANEL, GF_PANEL);
            for (ptrdiff_t i = 0; i < rows; i += TILE_ROWS) {
                ptrdiff_t count = rows - i < TILE_ROWS ? rows - i : TILE_ROWS;
                factor own = part_of(x, i, k);
                if (x.more) { /* the sum is formed once, for all panels */
                    pack_factor(transposed(own), some, count, strip, TILE_ROWS);
                    own = (factor){strip, 1, TILE_ROWS, NULL, 0.0};
                }
                for (ptrdiff_t p = j; p < end; p += GF_PANEL) {
                    const double *panel = scratch + (p - j) / GF_PANEL * PACKED_PANEL;
                    ptrdiff_t width = end - p < GF_PANEL ? end - p : GF_PANEL;
                    double *out = c + i * c_row + p * c_column;
                    int more = accumulate || k > 0;
                    if (c_column == 1 && width == GF_PANEL) {
                        near_panel(count, some, own.at, own.row, own.column, panel, out, c_row, more);
                    } else {
                        near_panel(count, some, own.at, own.row, own.column, panel, tile, GF_PANEL, 0);
                        put_tile(tile, count, width, out, c_row, c_column, more);
                    }
                }
            }
        }
        k += some;
    } while (k < inner);
}

/* c (m x n), with rows c_row apart, = or += a (m x inner) b (inner x n) */
static void product(ptrdiff_t m, ptrdiff_t n, ptrdiff_t inner, factor a, factor b, double *c, ptrdiff_t c_row,
                    int accumulate, double *scratch) {
    if (m < n)
        packed_product(n, m, inner, transposed(b), transposed(a), c, 1, c_row, accumulate, scratch);
    else
        packed_product(m, n, inner, a, b, c, c_row, 1, accumulate, scratch);
}

#endif
