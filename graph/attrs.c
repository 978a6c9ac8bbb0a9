/* Attribute values seen through the rows of an op's table: everything that prints, parses, checks or compares
 * attributes works with these few functions, so an op never does. */
#include "text.h"

#include <math.h>
#include <string.h>

int strata_attr_length(const strata_attr_def *row, const void *attrs)
{
    switch (row->type) {
    case STRATA_ATTR_INT2: return 2;
    case STRATA_ATTR_INT4: return 4;
    case STRATA_ATTR_INTS: return ((const strata_ints *)((const char *)attrs + row->offset))->count;
    default: return 1;
    }
}

double strata_attr_get(const strata_attr_def *row, const void *attrs, int i)
{
    const void *at = (const char *)attrs + row->offset;
    switch (row->type) {
    case STRATA_ATTR_FLOAT: return *(const double *)at;
    case STRATA_ATTR_INTS: return (double)((const strata_ints *)at)->at[i];
    default: return ((const int *)at)[i];
    }
}

void strata_attr_set(const strata_attr_def *row, void *attrs, int i, double value)
{
    void *at = (char *)attrs + row->offset;
    switch (row->type) {
    case STRATA_ATTR_FLOAT: *(double *)at = value; break;
    case STRATA_ATTR_INTS: ((strata_ints *)at)->at[i] = (int64_t)value; break;
    default: ((int *)at)[i] = (int)value; break;
    }
}

bool strata_attr_is_default(const strata_attr_def *row, const void *attrs)
{
    if (row->type == STRATA_ATTR_INTS)
        return false;
    for (int i = 0; i < strata_attr_length(row, attrs); i++)
        if (strata_attr_get(row, attrs, i) != row->deflt)
            return false;
    return true;
}

void strata_attrs_set_defaults(const strata_op_def *op, void *attrs)
{
    for (const strata_attr_def *row = op->attrs; row && row->name; row++)
        for (int i = 0; row->type != STRATA_ATTR_INTS && i < strata_attr_length(row, attrs); i++)
            strata_attr_set(row, attrs, i, row->deflt);
}

static int name_count(const char *const *names)
{
    int count = 0;
    while (names[count])
        count++;
    return count;
}

static strata_status out_of_range(const strata_attr_def *row, double value, double low, double high,
                                  strata_error *err)
{
    char a[32], b[32], c[32];
    return strata_fail(err, STRATA_INVALID, "%s is %s; it must be in %s..%s", row->name,
                       strata_number_text(value, a), strata_number_text(low, b), strata_number_text(high, c));
}

strata_status strata_attrs_check(const strata_op_def *op, const void *attrs, strata_error *err)
{
    for (const strata_attr_def *row = op->attrs; row && row->name; row++) {
        double low = row->min, high = row->max;
        if (row->type == STRATA_ATTR_ENUM)
            low = 0, high = name_count(row->names) - 1;
        else if (row->type == STRATA_ATTR_BOOL)
            low = 0, high = 1;
        int length = strata_attr_length(row, attrs);
        if (length < 0 || (row->type == STRATA_ATTR_INTS && length > STRATA_MAX_RANK))
            return strata_fail(err, STRATA_INVALID, "%s has %d numbers; at most %d are allowed", row->name, length,
                               STRATA_MAX_RANK);
        for (int i = 0; i < length; i++) {
            double value = strata_attr_get(row, attrs, i);
            if (!(value >= low && value <= high)) /* catches NaN too */
                return out_of_range(row, value, low, high, err);
        }
    }
    return STRATA_OK;
}

bool strata_attrs_equal(const strata_op_def *op, const void *a, const void *b)
{
    for (const strata_attr_def *row = op->attrs; row && row->name; row++) {
        int length = strata_attr_length(row, a);
        if (length != strata_attr_length(row, b))
            return false;
        for (int i = 0; i < length; i++)
            if (strata_attr_get(row, a, i) != strata_attr_get(row, b, i))
                return false;
    }
    return true;
}
