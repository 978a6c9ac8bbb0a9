/* strata compare: do two ways to run a model give the same values?
 *
 * Each side runs its passes and then the graph twice: as it would run anyhow, and with every value as an output. Values are
 * matched by name, for names mean values: what a pass has merged into others is simply on one side only. */
#include "command.h"
#include "compare.h"
#include "files.h"
#include "table.h"
#include "talk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Two orders of summation in single precision, through a hundred layers, stay some ten times below. */
static const double USUAL_TOLERANCE = 1e-4;
enum { WORST = 10 };

struct comparison {
    const struct options *o;
    struct model          model;
    struct side           ref, test;
    double                tolerance;
    strata_graph         *plain;
    struct values         given;              /* a graph with nothing but values for the inputs */
    struct values         ref_all, test_all;  /* every value */
    struct values         ref_run, test_run;  /* outputs of an undisturbed run */
    struct difference    *list, *outputs;
    int                   count, output_count;
    int                   beyond, first;      /* first: index in list, or -1 */
    int                   only_ref, only_test;
    struct verdict        verdict;
};

/* ---- What is compared ---------------------------------------------------------------------------------------------- */

static struct side make_side(const struct comparison *c, const char *device, const char *pipeline)
{
    return (struct side){ .ctx = c->model.ctx, .device = device ? device : "cpu",
                          .pipeline = pipeline ? pipeline : c->model.pipeline, .threads = c->o->threads,
                          .strict = c->o->strict_device, .exact = c->o->exact };
}

static int choose_sides(struct comparison *c)
{
    const struct options *o = c->o;
    const bool            passes = o->ref_pipeline || o->test_pipeline;
    if (!o->test && !passes && !o->precision)
        return talk_error(EXIT_USAGE, "compare: both sides would be the same; give --test DEVICE, such as --test vulkan:0, or "
                                      "--ref-pipeline \"\" for the graph as built against the optimised one");
    int code = o->ref_pipeline ? model_check_pipeline(&c->model, "--ref-pipeline", o->ref_pipeline) : EXIT_DONE;
    if (!code && o->test_pipeline)
        code = model_check_pipeline(&c->model, "--test-pipeline", o->test_pipeline);
    c->ref = make_side(c, o->ref, o->ref_pipeline);
    c->test = make_side(c, o->test ? o->test : o->ref, o->test_pipeline);
    c->test.precision = (strata_dtype)o->precision; /* the other one is fp32 in any case */
    c->tolerance = o->tolerance > 0 ? o->tolerance : USUAL_TOLERANCE;
    return code;
}

/* ---- Inputs -------------------------------------------------------------------------------------------------------- */

static bool is_tensor(const char *path) { return has_suffix(path, ".npy"); }

/* The size of the first input where that is a tensor, else what the options say. */
static void find_size(const struct options *o, int size[3])
{
    strata_tensor *t = NULL;
    size[0] = o->batch, size[1] = o->size[0], size[2] = o->size[1];
    if (o->arg_count < 2 || !is_tensor(o->args[1]) || strata_npy_read(o->args[1], &t, NULL) != STRATA_OK)
        return;
    const strata_tensor_desc *d = strata_tensor_get_desc(t);
    if (d->rank == 4 || d->rank == 3) {
        size[0] = d->rank == 4 ? (int)d->dim[0] : 1;
        size[1] = (int)d->dim[d->rank - 2];
        size[2] = (int)d->dim[d->rank - 1];
    }
    strata_tensor_unref(t);
}

static int read_tensor(const char *path, const strata_output *in, strata_tensor **out)
{
    strata_tensor *t = NULL;
    strata_error   err = { 0 };
    char           have[96], want[96];
    if (strata_npy_read(path, &t, &err) != STRATA_OK)
        return talk_failure(STAGE_FILES, &err, NULL);
    const strata_tensor_desc *d = strata_tensor_get_desc(t);
    if (d->dtype != STRATA_F32 || strata_count(d) != strata_count(in->desc) ||
        !(strata_same_shape(d, in->desc) || (d->rank == 3 && in->desc->rank == 4 && in->desc->dim[0] == 1))) {
        int code = talk_error(EXIT_FILES, "'%s': %s%s, but input %s of the graph is f32%s", path, strata_dtype_name(d->dtype),
                              strata_shape_text(d, have, sizeof have), in->name,
                              strata_shape_text(in->desc, want, sizeof want));
        strata_tensor_unref(t);
        return code;
    }
    strata_status status = strata_tensor_create(in->desc, out, &err); /* [C,H,W] becomes [1,C,H,W] */
    if (status == STRATA_OK)
        memcpy(strata_tensor_data(*out), strata_tensor_data(t), strata_bytes(in->desc));
    strata_tensor_unref(t);
    return status == STRATA_OK ? EXIT_DONE : talk_failure(STAGE_RUN, &err, NULL);
}

static int make_input(struct comparison *c, int i, strata_tensor **out)
{
    const struct options *o = c->o;
    strata_output         in = strata_graph_input(c->plain, i);
    strata_error          err = { 0 };
    const char           *path = i + 1 < o->arg_count ? o->args[i + 1] : NULL;
    if (path && is_tensor(path))
        return read_tensor(path, &in, out);
    if (strata_tensor_create(in.desc, out, &err) != STRATA_OK)
        return talk_failure(STAGE_RUN, &err, NULL);
    if (path && in.desc->rank != 4)
        return talk_error(EXIT_USAGE, "'%s': input %s of the graph is no image; give a .npy", path, in.name);
    if (path)
        return model_load_image(&c->model, "compare", path, c->plain, *out, NULL);
    strata_random_input((o->random_input.given ? o->random_input.value : 1) + (uint64_t)i, strata_tensor_data(*out),
                        (size_t)strata_count(in.desc));
    return EXIT_DONE;
}

static int prepare(struct comparison *c)
{
    const struct options *o = c->o;
    strata_error          err = { 0 };
    int                   size[3];
    find_size(o, size);
    int code = model_build(&c->model, size[0], size[1], size[2], false, &c->plain);
    if (!code)
        code = model_bind(&c->model, c->plain);
    if (code)
        return code;
    const int inputs = strata_graph_input_count(c->plain), given = o->arg_count - 1;
    if (given > 0 && o->random_input.given)
        return talk_error(EXIT_USAGE, "an INPUT and --random-input exclude each other; give one of them");
    if (given > 0 && given != inputs)
        return talk_error(EXIT_USAGE, "the graph has %d input%s, and %d are given; give each, in order, or none for noise", inputs,
                          inputs == 1 ? "" : "s", given);
    if (cut_copy(c->plain, &c->given.graph, &err) != STRATA_OK)
        return talk_failure(STAGE_RUN, &err, NULL);
    c->given.value = calloc((size_t)strata_graph_node_count(c->given.graph) + 1, sizeof *c->given.value);
    if (!c->given.value)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    for (int i = 0; i < inputs && !code; i++)
        code = make_input(c, i, &c->given.value[strata_graph_input(c->given.graph, i).node->id]);
    return code;
}

/* ---- Running and comparing ------------------------------------------------------------------------------------------ */

static int run_side(const struct comparison *c, const struct side *side, struct values *all, struct values *run)
{
    strata_error  err = { 0 };
    strata_graph *g = NULL;
    if (side_passes(side, c->plain, &g, &err) != STRATA_OK)
        return talk_failure(STAGE_RUN, &err, NULL);
    strata_status status = side_run(side, g, &c->given, true, all, &err);
    if (status == STRATA_OK && strcmp(side->device, "definition") != 0) /* which computes the same either way */
        status = cut_copy(all->graph, &g, &err);
    else
        g = NULL;
    if (status == STRATA_OK && g)
        status = side_run(side, g, &c->given, false, run, &err);
    if (status == STRATA_OK)
        return EXIT_DONE;
    const bool device = status == STRATA_DEVICE || status == STRATA_UNSUPPORTED || status == STRATA_NOT_FOUND;
    return talk_failure(device ? STAGE_DEVICE : STAGE_RUN, &err, NULL);
}

static int computed(const struct values *v)
{
    int count = 0;
    for (int i = 0; i < strata_graph_node_count(v->graph); i++)
        count += v->value[i] && !strata_node_is_source(strata_graph_node(v->graph, i));
    return count;
}

static int compare(struct comparison *c)
{
    const struct values *test_run = c->test_run.graph ? &c->test_run : &c->test_all,
                        *ref_run = c->ref_run.graph ? &c->ref_run : &c->ref_all;
    const size_t         room = (size_t)strata_graph_node_count(c->test_all.graph) + 1;
    c->list = calloc(room, sizeof *c->list);
    c->outputs = calloc(room, sizeof *c->outputs);
    if (!c->list || !c->outputs)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    c->count = values_compare(&c->ref_all, &c->test_all, c->list);
    c->output_count = values_compare(ref_run, test_run, c->outputs);
    c->only_ref = computed(&c->ref_all) - c->count;
    c->only_test = computed(&c->test_all) - c->count;
    c->first = -1;
    for (int i = 0; i < c->count; i++)
        if (!(c->list[i].error <= c->tolerance)) {
            c->beyond++;
            c->first = c->first < 0 ? i : c->first;
        }
    for (int i = 0; c->beyond == 0 && i < c->output_count; i++) /* right only while each value has memory of its own */
        if (!(c->outputs[i].error <= c->tolerance)) {
            c->list[0] = c->outputs[i];
            c->beyond = 1;
            c->first = 0;
        }
    return c->count ? EXIT_DONE : talk_error(EXIT_UNEXPECTED, "compare: the sides have no value in common");
}

/* ---- Results --------------------------------------------------------------------------------------------------------- */

static int worst_first(const void *a, const void *b)
{
    const struct difference *x = a, *y = b;
    return (x->error < y->error) - (x->error > y->error);
}

static const char *kernel_of(const struct comparison *c, const struct difference *d)
{
    const strata_node *n = strata_graph_find(c->test_all.graph, d->node->name);
    return n && c->test_all.kernel[n->id] ? c->test_all.kernel[n->id] : "?";
}

/* "[0,3,1,2]": where element `at` is. */
static const char *place_text(const strata_tensor_desc *desc, int64_t at, char *buf, size_t size)
{
    int64_t index[STRATA_MAX_RANK];
    size_t  used = 0;
    for (int i = desc->rank - 1; i >= 0; i--) {
        index[i] = at % desc->dim[i];
        at /= desc->dim[i];
    }
    for (int i = 0; i < desc->rank && used < size; i++)
        used += (size_t)snprintf(buf + used, size - used, "%s%lld", i ? "," : "[", (long long)index[i]);
    if (used < size)
        snprintf(buf + used, size - used, "]");
    return buf;
}

static const char *pipeline_text(const struct side *s) { return s->pipeline ? *s->pipeline ? s->pipeline : "none" : "default"; }

static json_t *difference_json(const struct comparison *c, const struct difference *d)
{
    const strata_tensor_desc *desc = &d->node->desc;
    json_t                   *shape = json_array(), *index = json_array();
    int64_t                   rest = d->at, stride = strata_count(desc);
    for (int i = 0; i < desc->rank; i++) {
        stride /= desc->dim[i] ? desc->dim[i] : 1;
        json_array_append_new(shape, json_integer(desc->dim[i]));
        json_array_append_new(index, json_integer(stride ? rest / stride : 0));
        rest = stride ? rest % stride : 0;
    }
    json_t *o = json_pack("{s:o, s:s, s:s, s:o, s:o}", "name", talk_json_text(d->node->name), "op", d->node->op->name, "kernel",
                          kernel_of(c, d), "shape", shape, "at", index);
    /* JSON has no infinity and no NaN: null */
    json_object_set_new(o, "error", isfinite(d->error) ? json_real(d->error) : json_null());
    json_object_set_new(o, "absmax", json_real(d->absmax));
    json_object_set_new(o, "ref", isfinite(d->ref) ? json_real((double)d->ref) : json_null());
    json_object_set_new(o, "test", isfinite(d->test) ? json_real((double)d->test) : json_null());
    return o;
}

static json_t *side_json(const struct side *s, const struct values *v)
{
    return json_pack("{s:s, s:s}", "device", v->device, "pipeline", s->pipeline ? s->pipeline : strata_default_pipeline());
}

static const char *const guilt_names[] = { "nobody", "pass", "node", "nodes" };

static json_t *verdict_json(const struct verdict *v)
{
    json_t *o = json_pack("{s:s}", "guilty", guilt_names[v->guilt]);
    if (v->guilt == GUILTY_NOBODY)
        return o;
    if (v->guilt == GUILTY_PASS)
        json_object_set_new(o, "pass", json_string(v->pass));
    json_object_set_new(o, "value", talk_json_text(v->value));
    json_object_set_new(o, "op", json_string(v->op));
    json_object_set_new(o, "kernel", json_string(v->kernel));
    json_object_set_new(o, "device", json_string(v->device));
    json_object_set_new(o, "nodes", json_integer(v->nodes));
    json_object_set_new(o, "error", isfinite(v->error) ? json_real(v->error) : json_null());
    json_object_set_new(o, "repro", talk_json_text(v->repro));
    return o;
}

static int print_json(const struct comparison *c, const struct difference *sorted)
{
    json_t *worst = json_array();
    for (int i = 0; i < c->count && i < WORST; i++)
        json_array_append_new(worst, difference_json(c, &sorted[i]));
    json_t *o = json_pack("{s:o, s:o, s:o, s:f, s:b, s:i, s:i, s:i, s:i, s:o, s:o}", "model", talk_json_text(c->model.info.name),
                          "ref", side_json(&c->ref, &c->ref_all), "test", side_json(&c->test, &c->test_all), "tolerance",
                          c->tolerance, "agree", c->beyond == 0, "values", c->count, "beyond", c->beyond, "only_ref",
                          c->only_ref, "only_test", c->only_test, "first",
                          c->first < 0 ? json_null() : difference_json(c, &c->list[c->first]), "worst", worst);
    if (o && c->o->bisect && c->beyond)
        json_object_set_new(o, "bisect", verdict_json(&c->verdict));
    return talk_json(o);
}

static void print_verdict(const struct verdict *v)
{
    if (v->guilt == GUILTY_NOBODY)
        printf("\nguilty   nobody: computed anew, from the reference's values, nothing differs; the values before it have drifted,\n"
               "         or it differs only now and then\n");
    else if (v->guilt == GUILTY_PASS)
        printf("\nguilty   pass %s: %s differs after it (on %s)\n", v->pass, v->value, v->device);
    else if (v->guilt == GUILTY_NODE)
        printf("\nguilty   node %s (%s): kernel %s on %s, error %.1e of the right operands alone\n", v->value, v->op, v->kernel,
               v->device, v->error);
    else
        printf("\nguilty   no node alone: %d together, up to %s (%s), on %s, error %.1e\n", v->nodes, v->value, v->op, v->device,
               v->error);
    if (v->repro)
        printf("repro    sh %s   (%d node%s)\n", v->repro, v->nodes, v->nodes == 1 ? "" : "s");
}

static int print_text(const struct comparison *c, const struct difference *sorted)
{
    struct table t = { .titles = { "value", "op", "kernel", ">error", ">absmax", "at", ">ref", ">test" } };
    char         place[96];
    printf("ref      %s, passes: %s\n", c->ref_all.device, pipeline_text(&c->ref));
    printf("test     %s, passes: %s\n", c->test_all.device, pipeline_text(&c->test));
    printf("values   %d of both, %d of ref alone, %d of test alone\n", c->count, c->only_ref, c->only_test);
    if (c->first < 0)
        printf("agree    the worst is %.1e of its largest magnitude, tolerance %.0e\n\n", sorted[0].error, c->tolerance);
    else
        printf("differ   %d beyond %.0e of their largest magnitude; the first is %s\n\n", c->beyond, c->tolerance,
               c->list[c->first].node->name);
    for (int i = 0; i < c->count && i < WORST; i++) {
        const struct difference *d = &sorted[i];
        table_row(&t);
        table_cell(&t, 0, "%s", d->node->name);
        table_cell(&t, 1, "%s", d->node->op->name);
        table_cell(&t, 2, "%s", kernel_of(c, d));
        table_cell(&t, 3, "%.1e", d->error);
        table_cell(&t, 4, "%.3g", d->absmax);
        table_cell(&t, 5, "%s", place_text(&d->node->desc, d->at, place, sizeof place));
        table_cell(&t, 6, "%.6g", (double)d->ref);
        table_cell(&t, 7, "%.6g", (double)d->test);
    }
    int code = table_print(&t, stdout);
    if (!code && c->o->bisect && c->beyond)
        print_verdict(&c->verdict);
    return code;
}

static int report(struct comparison *c)
{
    struct difference *sorted = malloc((size_t)c->count * sizeof *sorted);
    if (!sorted)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    memcpy(sorted, c->list, (size_t)c->count * sizeof *sorted);
    qsort(sorted, (size_t)c->count, sizeof *sorted, worst_first);
    int code = c->o->json ? print_json(c, sorted) : print_text(c, sorted);
    free(sorted);
    if (!code && c->beyond)
        code = talk_error(EXIT_UNEXPECTED, "compare: %d of %d values differ by more than %g of their largest magnitude, first %s%s",
                          c->beyond, c->count, c->tolerance, c->list[c->first].node->name,
                          c->o->bisect ? "" : "; --bisect finds the node or pass");
    return code;
}

static int find_guilty(struct comparison *c)
{
    const struct bisection b = { .options = c->o, .ref = c->ref, .test = c->test, .plain = c->plain, .given = &c->given,
                                 .tolerance = c->tolerance, .folder = c->o->output ? c->o->output : "compare-repro" };
    return c->o->bisect && c->beyond ? bisect(&b, &c->verdict) : EXIT_DONE;
}

static void clean_up(struct comparison *c)
{
    verdict_free(&c->verdict);
    values_clear(&c->ref_all);
    values_clear(&c->test_all);
    values_clear(&c->ref_run);
    values_clear(&c->test_run);
    values_clear(&c->given);
    strata_graph_destroy(c->plain);
    free(c->list);
    free(c->outputs);
    model_close(&c->model);
}

static int run(const struct options *o)
{
    struct comparison c = { .o = o };
    int               code = model_check_weights(o, true);
    if (!code)
        code = model_open_any(o, o->args[0], &c.model);
    if (!code)
        code = choose_sides(&c);
    if (!code)
        code = prepare(&c);
    if (!code)
        code = run_side(&c, &c.ref, &c.ref_all, &c.ref_run);
    if (!code)
        code = run_side(&c, &c.test, &c.test_all, &c.test_run);
    if (!code)
        code = compare(&c);
    if (!code)
        code = find_guilty(&c);
    if (!code)
        code = report(&c);
    clean_up(&c);
    return code;
}

const struct command command_compare = {
    .name = "compare",
    .summary = "do two devices, or two pipelines, give the same values",
    .usage = "MODEL [INPUT...] (--random-weights SEED | --weights FILE) --test DEVICE [options]",
    .about = "Runs a model on two sides and compares every value that both have, by name. Exits with 0 when all agree,\n"
             "with 1 when one is beyond the tolerance. The input is an image, a .npy tensor, or noise.",
    .examples = "  strata compare resnet18 --random-weights 1 --test vulkan:0 --size 64\n"
                "  strata compare resnet18 --random-weights 1 --ref-pipeline \"\"        as built against optimised\n"
                "  strata compare resnet18 cat.jpg --weights r18.ckpt --test vulkan --bisect -o repro/\n"
                "  strata compare resnet18 --random-weights 1 --ref definition --size 32\n",
    .bit = FOR_COMPARE,
    .min_args = 1,
    .max_args = -1,
    .args_rule = "wants a model",
    .run = run,
};
