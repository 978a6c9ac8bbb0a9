/* doctor_device.c: does a device compute what the ops' definitions say, and how fast is it?
 *
 * Each built-in op runs in a few of its random cases (op_cases.c), as a program of one node, and every element is compared
 * with the definition. The verdict is kept in $XDG_CACHE_HOME/strata, in a file named by device, driver and version of Strata:
 * whatever changes, it is forgotten. */
#include "doctor.h"

#include "files.h"
#include "model_options.h"
#include "op_cases.h"
#include "table.h"
#include "talk.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct op_verdict {
    const strata_op_def *op;
    int                  cases;
    char                 kernels[160];
    double               error; /* the worst element, over what is allowed: fine up to 1 */
    bool                 elsewhere; /* the device has no kernel, the CPU did it */
    char                 problem[256];
};

struct examination {
    strata_context    *ctx;
    const char        *device; /* as the user names it */
    strata_dtype       precision;
    strata_device_info info;
    struct op_verdict *ops;
    int                op_count, failed;
    struct speed       speed;
};

/* ---- One case ------------------------------------------------------------------------------------------------------ */

static strata_status make_graph(strata_context *ctx, const op_case *c, strata_graph **out, strata_error *err)
{
    strata_builder *b;
    strata_node    *in[STRATA_MAX_OPERANDS] = { NULL };
    char            name[16];
    STRATA_TRY(strata_builder_create(ctx, c->op->name, &b, err));
    for (int k = 0; k < c->count; k++) {
        if (c->desc[k].rank == 0)
            continue;
        snprintf(name, sizeof name, "x%d", k);
        in[k] = c->constant[k] ? strata_emit_param(b, name, &c->desc[k]) : strata_emit_input(b, name, &c->desc[k]);
    }
    strata_emit_output(b, "y", strata_emit_n(b, c->op, "y", c->attrs.bytes, in, c->count));
    STRATA_TRY(strata_builder_finish(b, out, err));
    strata_status status = STRATA_OK;
    for (int k = 0; k < c->count && status == STRATA_OK; k++) { /* copies: the program may keep them longer than the case */
        strata_tensor *t;
        if (!c->constant[k])
            continue;
        snprintf(name, sizeof name, "x%d", k);
        status = strata_tensor_create(&c->desc[k], &t, err);
        if (status != STRATA_OK)
            break;
        memcpy(strata_tensor_data(t), c->x[k], strata_bytes(&c->desc[k]));
        strata_node_set_data(strata_graph_find(*out, name), t);
        strata_tensor_unref(t);
    }
    if (status != STRATA_OK)
        strata_graph_destroy(*out);
    return status;
}

static strata_status run_case(strata_program *p, const op_case *c, strata_tensor **out, strata_error *err)
{
    strata_tensor  *in[STRATA_MAX_OPERANDS] = { NULL };
    strata_session *s = NULL;
    int             count = 0;
    *out = NULL;
    strata_status status = strata_session_create(p, &s, err);
    for (int k = 0; k < c->count && status == STRATA_OK; k++)
        if (c->desc[k].rank > 0 && !c->constant[k])
            status = strata_tensor_wrap(&c->desc[k], c->x[k], NULL, NULL, &in[count++], err);
    if (status == STRATA_OK)
        status = strata_session_alloc_outputs(s, out, err);
    if (status == STRATA_OK) {
        memset(strata_tensor_data(*out), 0xff, strata_bytes(strata_tensor_get_desc(*out)));
        status = strata_session_run(s, in, out, err);
    }
    while (count > 0)
        strata_tensor_unref(in[--count]);
    strata_session_destroy(s);
    return status;
}

static bool is_approximate(const strata_program *p)
{
    const strata_node *n = strata_graph_find(strata_program_graph(p), "y");
    return n && n->kernel && n->kernel->approximate;
}

static void note_kernel(struct op_verdict *v, const strata_program *p)
{
    const strata_node *n = strata_graph_find(strata_program_graph(p), "y");
    strata_program_info info;
    strata_program_get_info(p, &info);
    v->elsewhere |= info.fallback_steps > 0;
    const char *name = !n || !n->kernel ? "view" : n->kernel->name;
    const size_t used = strlen(v->kernels);
    if (!strstr(v->kernels, name) && used + strlen(name) + 2 < sizeof v->kernels)
        snprintf(v->kernels + used, sizeof v->kernels - used, "%s%s", used ? " " : "", name);
}

/* The worst element over its tolerance. */
static double worst(const op_case_def *def, const float *got, const float *want, const float *scale, int64_t count, int64_t *at)
{
    double most = 0;
    for (int64_t i = 0; i < count; i++) {
        const double d = fabs((double)got[i] - (double)want[i]), allowed = def->tolerance * (double)scale[i];
        const double error = d == 0 ? 0 : !isfinite(d) || allowed == 0 ? INFINITY : d / allowed;
        if (error > most)
            most = error, *at = i;
    }
    return most;
}

/* What float16 can hold of the operands, so that only the result is rounded. */
static void round_operands(op_case *c)
{
    for (int k = 0; k < c->count; k++)
        for (int64_t i = 0, n = c->desc[k].rank > 0 ? strata_count(&c->desc[k]) : 0; i < n; i++) {
            uint16_t half;
            strata_convert_from_f32(&c->x[k][i], STRATA_F16, &half, 1);
            strata_convert_to_f32(STRATA_F16, &half, &c->x[k][i], 1);
        }
}

/* Half of a last place of float16, and what lies below its smallest numbers; where nothing is tolerated, results are
 * operands. */
static void allow_rounding(const float *want, float *scale, int64_t count, double tolerance)
{
    for (int64_t i = 0; i < count && tolerance > 0; i++)
        scale[i] += (float)((fabs((double)want[i]) * 0x1.1p-11 + 0x1p-24) / tolerance);
}

static strata_status try_case(struct examination *x, struct op_verdict *v, const op_case_def *def, uint64_t seed,
                              strata_error *err)
{
    op_case            c;
    strata_tensor_desc desc;
    float             *want = NULL, *scale = NULL;
    strata_graph      *g = NULL;
    strata_program    *p = NULL;
    strata_tensor     *got = NULL;
    char               name[96], shape[96];
    snprintf(name, sizeof name, "%s:%d", x->info.backend, x->info.index);
    strata_status status = op_case_make(def, seed, 1 + (int)(seed % 2), &c) ? STRATA_OK
                                                                            : strata_fail(err, STRATA_NOMEM, "out of memory");
    if (status == STRATA_OK && x->precision == STRATA_F16)
        round_operands(&c);
    if (status == STRATA_OK)
        status = op_case_eval(&c, &desc, &want, err);
    if (status == STRATA_OK && !(scale = op_case_scales(&c, &desc, want)))
        status = strata_fail(err, STRATA_NOMEM, "out of memory");
    if (status == STRATA_OK && x->precision == STRATA_F16)
        allow_rounding(want, scale, strata_count(&desc), def->tolerance);
    if (status == STRATA_OK)
        status = make_graph(x->ctx, &c, &g, err);
    if (status == STRATA_OK)
        status = strata_program_create(g, &(strata_program_options){ .device = name, .precision = x->precision, .pipeline = "" }, &p,
                                       err);
    if (status == STRATA_OK)
        status = run_case(p, &c, &got, err);
    if (status == STRATA_OK) {
        if (is_approximate(p))
            op_case_spread(&c, &desc, scale);
        int64_t at = 0;
        double  error = worst(def, strata_tensor_data(got), want, scale, strata_count(&desc), &at);
        note_kernel(v, p);
        v->cases++;
        v->error = fmax(v->error, error);
        if (error > 1 && !*v->problem)
            snprintf(v->problem, sizeof v->problem, "%s case, seed %llu: element %lld of %s is %.9g, not %.9g", def->name,
                     (unsigned long long)seed, (long long)at, strata_shape_text(&desc, shape, sizeof shape),
                     (double)((const float *)strata_tensor_data(got))[at], (double)want[at]);
    }
    strata_tensor_unref(got);
    strata_program_unref(p);
    free(scale);
    free(want);
    op_case_free(&c);
    return status;
}

/* ---- All ops --------------------------------------------------------------------------------------------------------- */

static struct op_verdict *verdict_of(struct examination *x, const strata_op_def *op)
{
    for (int i = 0; i < x->op_count; i++)
        if (x->ops[i].op == op)
            return &x->ops[i];
    struct op_verdict *v = &x->ops[x->op_count++];
    *v = (struct op_verdict){ .op = op };
    return v;
}

static int try_ops(struct examination *x)
{
    enum { LEAST = 2, SHARE = 20, SEED = 20240229, STEP = 1000003 };
    int      defs = 0;
    uint64_t seed = SEED;
    while (op_case_defs[defs].op)
        defs++;
    x->ops = calloc((size_t)defs + 1, sizeof *x->ops);
    if (!x->ops)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    for (const op_case_def *def = op_case_defs; def->op; def++) {
        struct op_verdict *v = verdict_of(x, def->op);
        const int          times = def->times / SHARE > LEAST ? def->times / SHARE : LEAST;
        for (int i = 0; i < times && !*v->problem; i++, seed += STEP) {
            strata_error err = { 0 };
            if (try_case(x, v, def, seed, &err) != STRATA_OK)
                snprintf(v->problem, sizeof v->problem, "%s case, seed %llu: %.180s", def->name, (unsigned long long)seed,
                         err.text);
        }
        talk_progress((size_t)(def - op_case_defs) + 1, (size_t)defs, 1);
    }
    for (int i = 0; i < x->op_count; i++)
        x->failed += *x->ops[i].problem != '\0';
    return EXIT_DONE;
}

/* ---- The verdict on disk ------------------------------------------------------------------------------------------- */

/* FNV-1a, 64 bits (Fowler, Noll, Vo). */
static uint64_t hash(uint64_t h, const char *text)
{
    do
        h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    while (*text++);
    return h;
}

/* The folder is made when `make`. */
static bool verdict_path(const strata_device_info *info, strata_dtype precision, bool make, char *path, size_t size)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int         n = -1;
    if (cache && *cache == '/')
        n = snprintf(path, size, "%s/strata", cache);
    else if (home && *home == '/')
        n = snprintf(path, size, "%s/.cache/strata", home);
    if (n <= 0 || (size_t)n + 64 > size)
        return false;
    for (char *slash = strchr(path + 1, '/'); make && slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0777);
        *slash = '/';
    }
    if (make && mkdir(path, 0777) != 0 && errno != EEXIST)
        return false;
    uint64_t h = hash(UINT64_C(0xcbf29ce484222325), info->name);
    h = hash(hash(hash(h, info->uuid), info->driver), strata_version());
    if (precision != STRATA_F32)
        h = hash(h, strata_dtype_name(precision));
    snprintf(path + n, size - (size_t)n, "/doctor-%.16s-%016llx.json", info->backend, (unsigned long long)h);
    return true;
}

bool doctor_recall(const strata_device_info *info, char *text, size_t size)
{
    char    path[1100];
    json_t *o = verdict_path(info, STRATA_F32, false, path, sizeof path) ? json_load_file(path, 0, NULL) : NULL;
    int     ops = 0, failed = 0;
    bool    known = o && json_unpack(o, "{s:i, s:i}", "checked", &ops, "failed", &failed) == 0;
    if (known && failed)
        snprintf(text, size, "%d of %d ops are wrong, says strata doctor", failed, ops);
    else if (known)
        snprintf(text, size, "%d ops checked", ops);
    json_decref(o);
    return known;
}

static void keep_verdict(const struct examination *x, json_t *o)
{
    char           path[1100];
    struct outfile out;
    if (!verdict_path(&x->info, x->precision, true, path, sizeof path)) {
        talk_line("verdict", "not kept: there is no folder for caches ($XDG_CACHE_HOME, $HOME)");
        return;
    }
    if (outfile_open("doctor", path, &out) != EXIT_DONE) /* has said why */
        return;
    json_dumpf(o, out.stream, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
    putc('\n', out.stream);
    if (outfile_close(&out, true) == EXIT_DONE)
        talk_line("verdict", "kept in %s", path);
}

/* ---- Results ------------------------------------------------------------------------------------------------------- */

static const char *precision_name(const struct examination *x) { return x->precision == STRATA_F16 ? "fp16" : "fp32"; }

static json_t *make_json(const struct examination *x)
{
    char      device[64], when[32];
    time_t    now = time(NULL);
    struct tm utc;
    json_t   *ops = json_array();
    for (int i = 0; i < x->op_count; i++) {
        const struct op_verdict *v = &x->ops[i];
        json_t *row = json_pack("{s:s, s:i, s:s, s:b, s:b}", "op", v->op->name, "cases", v->cases, "kernels", v->kernels,
                                "on_device", !v->elsewhere, "ok", !*v->problem);
        if (isfinite(v->error))
            json_object_set_new(row, "error", json_real(v->error));
        if (*v->problem)
            json_object_set_new(row, "problem", talk_json_text(v->problem));
        json_array_append_new(ops, row);
    }
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:f, s:f, s:o}", "device",
                     model_device_name(&x->info, device, sizeof device), "name", x->info.name, "type", x->info.type, "uuid",
                     x->info.uuid, "driver", x->info.driver, "precision", precision_name(x), "strata", strata_version(), "when", when, "checked", x->op_count,
                     "failed", x->failed, "bandwidth_gbps", x->speed.gbps, "product_gflops", x->speed.gflops, "ops", ops);
}

static int print_text(const struct examination *x)
{
    struct table t = { .titles = { "op", ">cases", ">error", "kernels", "result" } };
    char         device[64];
    for (int i = 0; i < x->op_count; i++) {
        const struct op_verdict *v = &x->ops[i];
        table_row(&t);
        table_cell(&t, 0, "%s", v->op->name);
        table_cell(&t, 1, "%d", v->cases);
        table_cell(&t, 2, "%.2f", v->error);
        table_cell(&t, 3, "%s", v->kernels);
        table_cell(&t, 4, "%s%s", *v->problem ? "FAILED: " : v->elsewhere ? "ok, on the CPU: no kernel for some" : "ok", v->problem);
    }
    printf("device   %s %s (%s)%s%s\n", model_device_name(&x->info, device, sizeof device), x->info.name, x->info.type,
           *x->info.driver ? ", driver " : "", x->info.driver);
    if (strcmp(x->info.backend, "cpu") != 0 && strcmp(x->info.type, "cpu") == 0)
        printf("         a software device: right, perhaps, and slow\n");
    printf("speed    %.3g GB/s of memory, %.4g GFLOP/s of matrix product (%s)\n", x->speed.gbps, x->speed.gflops, x->speed.what);
    printf("ops      %d in %s, %d failed; error is over what is allowed\n\n", x->op_count, precision_name(x), x->failed);
    return table_print(&t, stdout);
}

static int report(const struct examination *x, bool as_json)
{
    json_t *o = make_json(x);
    if (!o)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    keep_verdict(x, o);
    int code = as_json ? talk_json(json_incref(o)) : print_text(x);
    json_decref(o);
    char device[64];
    if (!code && x->failed) {
        char   names[256] = "";
        size_t used = 0;
        for (int i = 0; i < x->op_count && used < sizeof names; i++)
            if (*x->ops[i].problem)
                used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", x->ops[i].op->name);
        code = talk_error(EXIT_UNEXPECTED, "doctor: %s is wrong in %d of %d ops: %s; use another device, or another driver",
                          model_device_name(&x->info, device, sizeof device), x->failed, x->op_count, names);
    }
    return code;
}

/* ---- Everything ------------------------------------------------------------------------------------------------------ */

static void pick_device(void *user, const strata_device_info *info)
{
    struct examination *x = user;
    char                text[192];
    snprintf(text, sizeof text, "%s:%d %s", info->backend, info->index, info->name);
    if (strncmp(text, x->device, sizeof((strata_program_info *)0)->device - 1) == 0)
        x->info = *info;
}

/* Opens what --device means, the only one who knows: a program of next to nothing. */
static int choose_device(struct examination *x)
{
    static const char   text[] = "graph \"nothing\" { input %x : f32[1]  %y = neg(%x) : f32[1]  output \"y\" = %y }";
    strata_graph       *g;
    strata_program     *p;
    strata_program_info info;
    strata_error        err = { 0 };
    if (strata_graph_parse(x->ctx, "nothing", text, sizeof text - 1, &g, &err) != STRATA_OK ||
        strata_program_create(g, &(strata_program_options){ .device = x->device, .precision = x->precision }, &p,
                              &err) != STRATA_OK)
        return talk_failure(STAGE_DEVICE, &err, strstr(err.text, "strata devices") ? NULL : "'strata devices' lists what can be used");
    strata_program_get_info(p, &info);
    strata_program_unref(p);
    x->device = info.device;
    strata_list_devices(x->ctx, pick_device, x);
    x->device = NULL;
    return *x->info.backend ? EXIT_DONE : talk_error(EXIT_DEVICE, "doctor: '%s' is not listed", info.device);
}

int doctor_device(const struct options *o)
{
    struct examination x = { .device = o->device ? o->device : "auto", .precision = (strata_dtype)o->precision };
    strata_error       err = { 0 };
    int                code = model_context(o, &x.ctx);
    if (code)
        return code;
    if (!o->verbose) /* which nodes run on the CPU is said in the table */
        strata_set_log(x.ctx, NULL, NULL);
    code = choose_device(&x);
    if (!code)
        code = try_ops(&x);
    if (!code && doctor_speed(x.ctx, &x.info, &x.speed, &err) != STRATA_OK)
        snprintf(x.speed.what, sizeof x.speed.what, "not measured: %.100s", err.text);
    if (!code)
        code = report(&x, o->json);
    free(x.ops);
    strata_context_destroy(x.ctx);
    return code;
}
