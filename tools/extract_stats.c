/* extract_stats.c: what is in the arrays, and whether all of it is finite.
 *
 * Mean and deviation are those of the finite values, in double, by rows: the sum of a row and the squares
 * around its mean, then Chan, Golub and LeVeque's rule (1979) for joining two sets a and b of sizes m and n:
 *
 *     d = mean_b - mean_a     mean = mean_a + d n / (m + n)     M2 = M2_a + M2_b + d^2 m n / (m + n)
 *
 * Rows are joined in order, so the numbers do not depend on the batch. */
#include "extract.h"

#include "table.h"
#include "talk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* NaN and Inf are the floats whose exponent bits are all set. */
static bool all_finite(const float *x, size_t n)
{
    uint32_t worst = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= UINT32_C(0x7f800000);
        worst = bits > worst ? bits : worst;
    }
    return worst != UINT32_C(0x7f800000);
}

static void add_row(struct array_stats *s, const float *x, size_t n)
{
    uint64_t finite = 0;
    double   sum = 0, m2 = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(x[i])) {
            s->nans++;
        } else if (isinf(x[i])) {
            s->infs++;
        } else {
            sum += (double)x[i];
            if (finite++ + s->finite == 0)
                s->min = s->max = (double)x[i];
            s->min = fmin(s->min, (double)x[i]);
            s->max = fmax(s->max, (double)x[i]);
        }
    }
    if (finite == 0)
        return;
    double mean = sum / (double)finite;
    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i]))
            m2 += ((double)x[i] - mean) * ((double)x[i] - mean);
    double total = (double)(s->finite + finite), d = mean - s->mean;
    s->m2 += m2 + d * d * (double)s->finite * (double)finite / total;
    s->mean += d * (double)finite / total;
    s->finite += finite;
}

int stats_add(struct stats *all, int output, const char *name, const strata_tensor *rows,
              const char *const *row_names)
{
    const strata_tensor_desc *desc = strata_tensor_get_desc(rows);
    const float              *x = strata_tensor_data(rows);
    if (output >= all->count) {
        struct array_stats *grown = realloc(all->at, (size_t)(output + 1) * sizeof *grown);
        if (!grown)
            return talk_error(EXIT_UNEXPECTED, "out of memory");
        all->at = grown;
        all->at[output] = (struct array_stats){ .name = strdup(name) };
        all->count = output + 1;
        if (!all->at[output].name)
            return talk_error(EXIT_UNEXPECTED, "out of memory");
    }
    struct array_stats *s = &all->at[output];
    int64_t             row_count = desc->dim[0];
    size_t              n = row_count ? (size_t)(strata_count(desc) / row_count) : 0;
    for (int64_t i = 0; i < row_count; i++, x += n) {
        bool finite = all_finite(x, n);
        if (!finite && !s->first && !(s->first = strdup(row_names[i])))
            return talk_error(EXIT_UNEXPECTED, "out of memory");
        if (all->wanted || !finite)
            add_row(s, x, n);
    }
    return EXIT_DONE;
}

/* Of the finite values, all of them (not a sample). */
static double deviation(const struct array_stats *s)
{
    return s->finite ? sqrt(s->m2 / (double)s->finite) : 0;
}

json_t *stats_json(const struct stats *all)
{
    json_t *object = json_object();
    for (int i = 0; i < all->count; i++) {
        const struct array_stats *s = &all->at[i];
        json_t *one = json_pack("{s:I, s:I, s:I}", "count", (json_int_t)(s->finite + s->nans + s->infs),
                                "nan", (json_int_t)s->nans, "inf", (json_int_t)s->infs);
        static const char *const keys[] = { "min", "max", "mean", "std" };
        const double             values[] = { s->min, s->max, s->mean, deviation(s) };
        for (int k = 0; k < 4; k++)
            json_object_set_new(one, keys[k], s->finite ? json_real(values[k]) : json_null());
        json_object_set_new(object, s->name, one);
    }
    return object;
}

int stats_print(const struct stats *all, FILE *to)
{
    struct table t = { .titles = { "array", ">min", ">max", ">mean", ">std", ">NaN", ">Inf" } };
    for (int i = 0; i < all->count; i++) {
        const struct array_stats *s = &all->at[i];
        const double              values[] = { s->min, s->max, s->mean, deviation(s) };
        table_row(&t);
        table_cell(&t, 0, "%s", s->name);
        for (int k = 0; k < 4; k++)
            if (s->finite)
                table_cell(&t, 1 + k, "%.5g", values[k]);
            else
                table_cell(&t, 1 + k, "-");
        table_cell(&t, 5, "%llu", (unsigned long long)s->nans);
        table_cell(&t, 6, "%llu", (unsigned long long)s->infs);
    }
    return table_print(&t, to);
}

int stats_check(const struct stats *all, bool strict)
{
    int bad = 0;
    for (int i = 0; i < all->count; i++) {
        const struct array_stats *s = &all->at[i];
        if (!s->first)
            continue;
        bad++;
        talk_warning("'%s' holds %llu NaN and %llu Inf, first in %s", s->name, (unsigned long long)s->nans,
                     (unsigned long long)s->infs, s->first);
    }
    if (!bad || !strict)
        return EXIT_DONE;
    return talk_error(
        EXIT_UNEXPECTED,
        "--check-finite: %d of %d arrays hold NaN or Inf; --dump-values '*' DIR shows the value where it begins",
        bad, all->count);
}

void stats_free(struct stats *all)
{
    for (int i = 0; i < all->count; i++) {
        free(all->at[i].name);
        free(all->at[i].first);
    }
    free(all->at);
}
