/* The names a person may have meant: by Damerau-Levenshtein distance in its restricted form (insertions,
 * deletions, substitutions and swaps of neighbours; Damerau 1964), and by containing what was typed. */
#include <strata/extend.h>

#include <string.h>

enum { LONGEST = 96, MOST = 8 };

static int distance(const char *a, const char *b)
{
    int n = (int)strlen(a), m = (int)strlen(b);
    if (n > LONGEST || m > LONGEST)
        return LONGEST;
    int  rows[3][LONGEST + 1];
    int *before = rows[0], *above = rows[1], *row = rows[2];
    for (int j = 0; j <= m; j++)
        above[j] = j;
    for (int i = 1; i <= n; i++) {
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int cost = a[i - 1] != b[j - 1];
            int best = above[j - 1] + cost;
            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        int *oldest = before;
        before = above, above = row, row = oldest;
    }
    return above[m];
}

/* Lower is nearer; -1 when not near at all. */
static int score(const char *wanted, const char *name)
{
    int length = (int)strlen(wanted), d = distance(wanted, name);
    if (d <= 1 + length / 4)
        return d;
    if (length >= 3 && strstr(name, wanted))
        return 1 + length / 4 + (int)strlen(name) - length;
    return -1;
}

const char *strata_nearest(const char *wanted, const char *const *names, int count, int max, char *buf, size_t size)
{
    int best[MOST], at[MOST], n = 0;
    if (max > MOST)
        max = MOST;
    for (int i = 0; i < count; i++) {
        int s = score(wanted, names[i]);
        if (s < 0)
            continue;
        int k = n < max ? n++ : max;
        for (; k > 0 && best[k - 1] > s; k--)
            if (k < max)
                best[k] = best[k - 1], at[k] = at[k - 1];
        if (k < max)
            best[k] = s, at[k] = i;
    }
    size_t used = 0;
    if (size)
        buf[0] = 0;
    for (int i = 0; i < n && used < size; i++)
        used += (size_t)snprintf(buf + used, size - used, "%s%s", i ? ", " : "", names[at[i]]);
    return buf;
}
