/* gen_docs: writes the pages of docs/ that repeat the definitions, so that they cannot say anything else.
 *
 *     gen_docs ops|passes|models > docs/PAGE.md
 *
 * Not installed. A test compares the pages in docs/ with what this program writes. */
#include <strata/ops.h>

#include <float.h>
#include <stdio.h>
#include <string.h>

static const strata_op_def *const ops[] = {
#define OP(name) &strata_op_##name,
#include <strata/ops.def>
#undef OP
};

static void generated(const char *title, const char *from)
{
    printf("# %s\n\n"
           "<!-- Made from %s by 'meson compile update-docs'. Edit the definitions, not this file. -->\n\n",
           title, from);
}

/* ---- Ops ------------------------------------------------------------------------------------- */

static const char *type_name(strata_attr_type type)
{
    switch (type) {
    case STRATA_ATTR_INT: return "integer";
    case STRATA_ATTR_INT2: return "2 integers (y, x)";
    case STRATA_ATTR_INT4: return "4 integers (top, left, bottom, right)";
    case STRATA_ATTR_INTS: return "integers";
    case STRATA_ATTR_FLOAT: return "number";
    case STRATA_ATTR_ENUM: return "word";
    case STRATA_ATTR_BOOL: return "true or false";
    }
    return "";
}

static void print_range(const strata_attr_def *a)
{
    if (a->type == STRATA_ATTR_ENUM)
        for (int i = 0; a->names[i]; i++)
            printf("%s`%s`", i ? " " : "", a->names[i]);
    else if (a->type != STRATA_ATTR_BOOL && a->min == -DBL_MAX && a->max == DBL_MAX)
        printf("any");
    else if (a->type != STRATA_ATTR_BOOL)
        printf("%.10g to %.10g", a->min, a->max);
}

static void print_default(const strata_attr_def *a)
{
    if (a->type == STRATA_ATTR_ENUM)
        printf("`%s`", a->names[(int)a->deflt]);
    else if (a->type == STRATA_ATTR_BOOL)
        printf("%s", a->deflt != 0 ? "true" : "false");
    else if (a->type == STRATA_ATTR_INTS)
        printf("(always written)");
    else
        printf("%.10g", a->deflt);
}

static void print_op(const strata_op_def *op)
{
    static const struct {
        unsigned    flag;
        const char *text;
    } flags[] = {
        { STRATA_OP_ELEMENTWISE, "elementwise" },
        { STRATA_OP_VIEW, "a view: no bytes move" },
        { STRATA_OP_COMMUTES, "operands 0 and 1 may be swapped" },
        { STRATA_OP_SOURCE, "a source: no operands" },
        { STRATA_OP_VARIADIC, "any number of operands" },
        { STRATA_OP_ROWS, "row by row" },
    };
    const char *also = op->set_rows ? "row by row, if the attributes say so" : NULL;
    printf("## %s\n\n    %s(", op->name, op->name);
    for (int i = 0; i < STRATA_MAX_OPERANDS && op->operands[i].name; i++)
        printf("%s%s%s", i ? ", " : "", op->operands[i].name, op->operands[i].optional ? "?" : "");
    printf("%s)\n\n%s", op->flags & STRATA_OP_VARIADIC ? ", ..." : "", op->doc);
    size_t n = 0;
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (op->flags & flags[i].flag)
            printf("%s%s", n++ ? "; " : "\n\n*", flags[i].text);
    if (also)
        printf("%s%s", n++ ? "; " : "\n\n*", also);
    printf("%s\n", n ? "*" : "");
    if (op->attrs && op->attrs->name) {
        printf("\n| attribute | type | range | default | meaning |\n| --- | --- | --- | --- | --- |\n");
        for (const strata_attr_def *a = op->attrs; a->name; a++) {
            printf("| `%s` | %s | ", a->name, type_name(a->type));
            print_range(a);
            printf(" | ");
            print_default(a);
            printf(" | %s |\n", a->doc);
        }
    }
    printf("\n");
}

static int write_ops(strata_context *ctx)
{
    (void)ctx;
    generated("Ops", "the op definitions in ops/");
    printf("One node is one operation and the one value it defines. Shapes are in logical order N, C, H,\n"
           "W whatever the memory layout; `?` marks operands that may be left out; attributes at their\n"
           "default are not printed. Row by row: row i of the result needs only rows i of the operands that\n"
           "are no parameters, so that images of a batch are independent; element-wise ops are, too.\n\n");
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        print_op(ops[i]);
    return 0;
}

/* ---- Passes ---------------------------------------------------------------------------------- */

static void print_pass(void *user, const char *name, const char *doc)
{
    (void)user;
    printf("| `%s` | %s |\n", name, doc);
}

static int write_passes(strata_context *ctx)
{
    generated("Passes", "the pass definitions in passes/");
    printf("The default pipeline is\n\n    %s\n\n", strata_default_pipeline());
    printf("`--pipeline` replaces it, `--no-pass` leaves a pass out, `strata dump --after PASS` shows its\n"
           "result.\n\n| pass | does |\n| --- | --- |\n");
    strata_list_passes(ctx, print_pass, NULL);
    return 0;
}

/* ---- Models ---------------------------------------------------------------------------------- */

struct models {
    strata_model_info info[512];
    int               count;
};

static void collect(void *user, const strata_model_info *info)
{
    struct models *m = user;
    if (m->count < (int)(sizeof m->info / sizeof *m->info))
        m->info[m->count++] = *info;
}

static int print_model(strata_context *ctx, const strata_model_info *info)
{
    strata_graph *g;
    strata_error  err = { 0 };
    uint64_t      params, macs;
    if (strata_create_model(ctx, info->name, NULL, &g, &err) != STRATA_OK) {
        fprintf(stderr, "gen_docs: %s: %s\n", info->name, err.text);
        return 1;
    }
    strata_graph_cost(g, &params, &macs);
    printf("| %s | %dx%d %s %g | %.2f M | %.2f G |", info->name, info->input.height, info->input.width,
           info->input.interpolation == STRATA_BICUBIC ? "bicubic" : "bilinear", info->input.crop_pct,
           (double)params / 1e6, (double)macs / 1e9);
    for (int i = 0; i < strata_graph_feature_count(g); i++) {
        strata_feature f;
        if (strata_graph_feature(g, i, &f, &err) == STRATA_OK)
            printf(" %d:%d", f.reduction, f.channels);
    }
    printf(" |\n");
    strata_graph_destroy(g);
    return 0;
}

/* Families in order of their first model. */
static int write_models(strata_context *ctx)
{
    static struct models m;
    int                  failed = 0;
    strata_list_models(ctx, NULL, false, collect, &m);
    generated("Models", "the model tables in models/");
    printf("%d models. Parameters count running statistics; multiply-accumulates are of one image of the\n"
           "model's size; features are `stride:channels` by index, as `strata info MODEL` lists them with\n"
           "names and shapes.\n",
           m.count);
    for (int i = 0; i < m.count; i++) {
        bool seen = false;
        for (int k = 0; k < i && !seen; k++)
            seen = strcmp(m.info[k].family, m.info[i].family) == 0;
        if (seen)
            continue;
        printf("\n## %s\n\n"
               "| model | images | parameters | MACs | features |\n| --- | --- | --- | --- | --- |\n",
               m.info[i].family);
        for (int k = i; k < m.count; k++)
            if (strcmp(m.info[k].family, m.info[i].family) == 0)
                failed |= print_model(ctx, &m.info[k]);
    }
    return failed;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *page;
        int (*write)(strata_context *ctx);
    } pages[] = { { "ops", write_ops }, { "passes", write_passes }, { "models", write_models } };
    strata_context *ctx;
    strata_error    err = { 0 };

    for (size_t i = 0; argc == 2 && i < sizeof pages / sizeof *pages; i++) {
        if (strcmp(argv[1], pages[i].page) != 0)
            continue;
        if (strata_context_create(&ctx, &err) != STRATA_OK) {
            fprintf(stderr, "gen_docs: %s\n", err.text);
            return 1;
        }
        int failed = pages[i].write(ctx);
        strata_context_destroy(ctx);
        return failed || fflush(stdout) != 0;
    }
    fprintf(stderr, "usage: gen_docs ops|passes|models > docs/PAGE.md\n");
    return 2;
}
