/* strata doctor: does a device compute what it should (doctor_device.c), does a plug-in do what it says?
 *
 * A plug-in's cases, graph texts that it brings along, run on every device and are compared with the definitions of their ops;
 * each of its ops must be in some case, and each of its kernels chosen in one. Its passes run over the cases, and no value
 * that keeps its name may change. Its models are built, read back from their text, and run, on small images where they
 * take these. */
#include "command.h"
#include "doctor.h"
#include "model_options.h"
#include "table.h"
#include "talk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Definitions take about a second for so many multiply-accumulates; a model with more is not compared. */
#define MOST_MACS 500000000u
enum { SMALL_SIDE = 64 };

struct row {
    char   part[112], what[80]; /* "op blur_pool"; the case, or what was done */
    char   device[64], kernel[112];
    double error;        /* below 0: nothing was compared */
    char   problem[sizeof((strata_error *)0)->text]; /* empty: fine */
};

struct doctor {
    strata_context           *ctx;
    const strata_plugin_info *plugin; /* under examination */
    bool                     *tried;  /* by its parts */
    strata_device_info       *devices;
    int                       device_count;
    struct row               *rows, spare; /* spare: written where there is no memory */
    int                       row_count;
    bool                      out_of_memory;
};

/* ---- Rows ---------------------------------------------------------------------------------------------------------- */

static struct row *add_row(struct doctor *d, const strata_plugin_part *part, const char *what)
{
    static const char *const kinds[] = { "op", "kernel", "pass", "model", "backend" };
    struct row *grown = realloc(d->rows, ((size_t)d->row_count + 1) * sizeof *grown), *row = &d->spare;
    if (grown) {
        d->rows = grown;
        row = &grown[d->row_count++];
    }
    d->out_of_memory |= !grown;
    *row = (struct row){ .error = -1 };
    snprintf(row->part, sizeof row->part, "%s %s", part ? kinds[part->kind] : "plug-in", part ? part->name : d->plugin->name);
    snprintf(row->what, sizeof row->what, "%s", what);
    return row;
}

static void set_problem(struct row *row, const char *text) { snprintf(row->problem, sizeof row->problem, "%s", text); }

static void set_device(struct row *row, const strata_device_info *device)
{
    snprintf(row->device, sizeof row->device, "%s:%d", device->backend, device->index);
}

static int print_rows(const struct doctor *d)
{
    struct table t = { .titles = { "part", "case", "device", "kernel", ">error", "result" } };
    for (int i = 0; i < d->row_count; i++) {
        const struct row *row = &d->rows[i];
        table_row(&t);
        table_cell(&t, 0, "%s", row->part);
        table_cell(&t, 1, "%s", row->what);
        table_cell(&t, 2, "%s", row->device);
        table_cell(&t, 3, "%s", row->kernel);
        if (row->error >= 0)
            table_cell(&t, 4, row->error > 0 ? "%.1e" : "%.0f", row->error);
        table_cell(&t, 5, "%s%s", *row->problem ? "FAILED: " : "ok", row->problem);
    }
    return table_print(&t, stdout);
}

static int print_json(const struct doctor *d)
{
    json_t *list = json_array();
    for (int i = 0; i < d->row_count; i++) {
        const struct row *row = &d->rows[i];
        json_t *o = json_pack("{s:s, s:s, s:b}", "part", row->part, "case", row->what, "ok", !*row->problem);
        if (*row->device)
            json_object_set_new(o, "device", json_string(row->device));
        if (*row->kernel)
            json_object_set_new(o, "kernel", json_string(row->kernel));
        if (row->error >= 0 && isfinite(row->error))
            json_object_set_new(o, "error", json_real(row->error));
        if (*row->problem)
            json_object_set_new(o, "problem", json_string(row->problem));
        json_array_append_new(list, o);
    }
    return talk_json(list);
}

/* ---- Cases on devices --------------------------------------------------------------------------------------------- */

static strata_status with_noise(strata_graph *g, strata_graph **out, strata_error *err)
{
    strata_status status = strata_graph_bind_random(g, 1, 2, err);
    if (status != STRATA_OK)
        strata_graph_destroy(g);
    else
        *out = g;
    return status;
}

static strata_status make_case(const struct doctor_source *source, strata_graph **out, strata_error *err)
{
    strata_graph *g;
    const char   *text = source->what;
    STRATA_TRY(strata_graph_parse(source->ctx, "case", text, strlen(text), &g, err));
    return with_noise(g, out, err);
}

/* Whether the program uses the part on its device (what that has no kernel for is on the CPU), and by which kernel. */
static bool uses(const strata_program *p, const strata_device_info *device, const strata_plugin_part *part,
                 const char **kernel)
{
    const strata_graph *g = strata_program_graph(p);
    bool                found = false;
    for (int i = 0; i < strata_graph_node_count(g); i++) {
        const strata_node *n = strata_graph_node(g, i);
        bool hit = part->kind == STRATA_PART_OP        ? n->op == part->def
                   : part->kind == STRATA_PART_KERNEL  ? n->kernel == part->def
                   : part->kind == STRATA_PART_BACKEND ? n->kernel && strcmp(device->backend, part->name) == 0
                                                       : false;
        hit &= n->device == 0;
        if (hit)
            *kernel = n->kernel ? n->kernel->name : "none: a view";
        found |= hit;
    }
    return found;
}

/* A kernel for an op of the same plug-in has its row there. */
static bool has_own_row(const struct doctor *d, const strata_plugin_part *part)
{
    if (part->kind != STRATA_PART_KERNEL)
        return true;
    for (int i = 0; i < d->plugin->part_count; i++)
        if (d->plugin->parts[i].def == ((const strata_kernel_def *)part->def)->op)
            return false;
    return true;
}

static void try_on_device(struct doctor *d, const struct doctor_source *source, const char *name,
                          const strata_device_info *device)
{
    struct doctor_run run;
    strata_error      err = { 0 };
    strata_status     status = doctor_run(source, device, &run, &err);
    const char       *problem = status != STRATA_OK ? err.text : run.problem;
    bool              told = false;
    for (int i = 0; run.program && i < d->plugin->part_count; i++) {
        const strata_plugin_part *part = &d->plugin->parts[i];
        const char               *kernel = NULL;
        if (!uses(run.program, device, part, &kernel))
            continue;
        d->tried[i] = true;
        if (!has_own_row(d, part))
            continue;
        struct row *row = add_row(d, part, name);
        set_device(row, device);
        snprintf(row->kernel, sizeof row->kernel, "%s", part->kind == STRATA_PART_BACKEND ? "" : kernel);
        row->error = run.error;
        told = true;
        if (problem)
            set_problem(row, problem);
    }
    if (problem && !told) {
        struct row *row = add_row(d, NULL, name);
        set_device(row, device);
        set_problem(row, problem);
    }
    strata_program_unref(run.program);
}

static void try_case(struct doctor *d, const char *text, int number)
{
    const struct doctor_source source = { d->ctx, make_case, text };
    strata_error               err = { 0 };
    strata_graph              *g;
    char                       name[64];
    snprintf(name, sizeof name, "case %d", number);
    strata_status status = make_case(&source, &g, &err);
    if (status == STRATA_OK) {
        snprintf(name, sizeof name, "%s", strata_graph_name(g));
        strata_graph_destroy(g);
        status = doctor_text(&source, &err);
    }
    if (status != STRATA_OK) {
        set_problem(add_row(d, NULL, name), err.text);
        return;
    }
    for (int i = 0; i < d->device_count; i++)
        if (!*d->devices[i].unusable)
            try_on_device(d, &source, name, &d->devices[i]);
    for (int i = 0; i < d->plugin->part_count; i++) {
        const strata_plugin_part *part = &d->plugin->parts[i];
        bool                      changed = false;
        double                    error = 0;
        if (part->kind != STRATA_PART_PASS)
            continue;
        status = doctor_pass(&source, part->name, &changed, &error, &err);
        struct row *row = add_row(d, part, name);
        row->error = changed ? error : -1;
        snprintf(row->kernel, sizeof row->kernel, "%s", changed ? "changed" : "left alone");
        d->tried[i] |= changed;
        if (status != STRATA_OK)
            set_problem(row, err.text);
        else if (!(error <= DOCTOR_TOLERANCE))
            set_problem(row, "a value that keeps its name has changed");
    }
}

/* ---- Models --------------------------------------------------------------------------------------------------------- */

struct sized_model { const char *name; bool features; int side; /* 0: the model's */ };

static strata_status make_model(const struct doctor_source *source, strata_graph **out, strata_error *err)
{
    const struct sized_model *m = source->what;
    const strata_create_options how = { .features_only = m->features, .height = m->side, .width = m->side };
    strata_graph             *g;
    STRATA_TRY(strata_create_model(source->ctx, m->name, &how, &g, err));
    return with_noise(g, out, err);
}

static void try_model(struct doctor *d, const strata_plugin_part *part)
{
    const strata_model_def    *def = part->def;
    struct sized_model         m = { part->name, def->has_features, SMALL_SIDE };
    const struct doctor_source source = { d->ctx, make_model, &m };
    strata_error               err = { 0 };
    strata_graph              *g;
    struct doctor_run          run;
    uint64_t                   macs;
    char                       what[80], count[32];
    strata_status              status = make_model(&source, &g, &err);
    if (status != STRATA_OK) { /* perhaps too small for it */
        m.side = 0;
        status = make_model(&source, &g, &err);
    }
    if (status != STRATA_OK) {
        set_problem(add_row(d, part, "builds"), err.text);
        return;
    }
    const strata_input_record *r = strata_graph_input_record(g);
    strata_graph_cost(g, NULL, &macs);
    snprintf(what, sizeof what, "%dx%d, %d features%s%s%s", r->height, r->width, strata_graph_feature_count(g),
             macs > MOST_MACS ? "; not run, " : "", macs > MOST_MACS ? talk_count((double)macs, count, sizeof count) : "",
             macs > MOST_MACS ? " MACs" : "");
    strata_graph_destroy(g);
    status = doctor_text(&source, &err);
    struct row *row = add_row(d, part, what);
    for (int i = 0; i < d->device_count && status == STRATA_OK && macs <= MOST_MACS; i++) {
        if (strcmp(d->devices[i].backend, "cpu") != 0)
            continue;
        status = doctor_run(&source, &d->devices[i], &run, &err);
        set_device(row, &d->devices[i]);
        row->error = run.error;
        if (run.problem)
            set_problem(row, run.problem);
        strata_program_unref(run.program);
    }
    if (status != STRATA_OK)
        set_problem(row, err.text);
}

/* ---- A plug-in --------------------------------------------------------------------------------------------------------- */

static const strata_device_info *usable_device(const struct doctor *d, const char *backend)
{
    for (int i = 0; i < d->device_count; i++)
        if (strcmp(d->devices[i].backend, backend) == 0 && !*d->devices[i].unusable)
            return &d->devices[i];
    return NULL;
}

/* What no case has reached. A kernel for a device that is not here is no failure. */
static void tell_untried(struct doctor *d)
{
    static const char *const problems[] = { "no case has it", "no case has chosen it", "no case was changed by it", NULL,
                                            "no case ran on it" };
    for (int i = 0; i < d->plugin->part_count; i++) {
        const strata_plugin_part *part = &d->plugin->parts[i];
        const char               *backend = part->kind == STRATA_PART_BACKEND ? part->name : part->backend;
        if (d->tried[i] || !problems[part->kind])
            continue;
        struct row *row = add_row(d, part, "not tried");
        if (backend && !usable_device(d, backend))
            snprintf(row->device, sizeof row->device, "no usable %s", backend);
        else
            set_problem(row, problems[part->kind]);
    }
}

static void examine(void *user, const strata_plugin_info *plugin)
{
    struct doctor *d = user;
    d->plugin = plugin;
    d->tried = calloc((size_t)plugin->part_count + 1, sizeof *d->tried);
    if (!d->tried) {
        d->out_of_memory = true;
        return;
    }
    if (plugin->part_count == 0)
        set_problem(add_row(d, NULL, "registers"), "nothing");
    for (int i = 0; plugin->cases && plugin->cases[i]; i++)
        try_case(d, plugin->cases[i], i + 1);
    for (int i = 0; i < plugin->part_count; i++)
        if (plugin->parts[i].kind == STRATA_PART_MODEL)
            try_model(d, &plugin->parts[i]);
    tell_untried(d);
    free(d->tried);
    d->tried = NULL;
}

static void collect_device(void *user, const strata_device_info *info)
{
    struct doctor      *d = user;
    strata_device_info *grown = realloc(d->devices, ((size_t)d->device_count + 1) * sizeof *grown);
    d->out_of_memory |= !grown;
    if (!grown)
        return;
    d->devices = grown;
    d->devices[d->device_count++] = *info;
}

static int run(const struct options *o)
{
    struct doctor d = { 0 };
    int           failed = 0;
    if (!o->plugin || o->device)
        return doctor_device(o);
    int code = model_context(o, &d.ctx);
    if (code)
        return code;
    if (!o->verbose) /* which nodes run on the CPU is said in the table */
        strata_set_log(d.ctx, NULL, NULL);
    strata_list_devices(d.ctx, collect_device, &d);
    strata_list_plugins(d.ctx, examine, &d);
    code = o->json ? print_json(&d) : print_rows(&d);
    for (int i = 0; i < d.row_count; i++)
        failed += *d.rows[i].problem != '\0';
    if (d.out_of_memory)
        code = talk_error(EXIT_UNEXPECTED, "out of memory");
    else if (!code && failed)
        code = talk_error(EXIT_UNEXPECTED, "doctor: %d of %d checks failed", failed, d.row_count);
    free(d.rows);
    free(d.devices);
    strata_context_destroy(d.ctx);
    return code;
}

const struct command command_doctor = {
    .name = "doctor",
    .summary = "is a device right, does a plug-in do what it says",
    .usage = "[--device DEVICE] [--plugin FILE.so] [options]",
    .about = "Runs every built-in op on a device, in random cases, compares each element with the op's definition, measures\n"
             "memory and matrix product, and keeps the verdict with the caches of the user. Fails when an op is wrong.\n"
             "With --plugin and no --device it examines the plug-in: runs the cases that it brings along on every device,\n"
             "its passes over them, where no named value may change, and its models. Fails when a check does, or when an\n"
             "op, kernel, pass or backend of the plug-in is in no case.",
    .examples = "  strata doctor --device vulkan:0\n"
                "  strata doctor --json\n"
                "  strata doctor --plugin ./blur_pool.so\n"
                "  strata doctor --plugin ./blur_pool.so --plugin ./trace.so --json\n",
    .bit = FOR_DOCTOR,
    .max_args = 0,
    .args_rule = "takes no arguments",
    .run = run,
};
