/* The tests of ONNX itself (Debian: libonnx-testdata): models of one op or a few, with inputs and the outputs that they
 * must give. Whatever import accepts must give those numbers. Skipped where they are not installed.
 *
 * usage: test_onnx_conformance [FOLDER] */
#include "../formats/onnx_import.h"

#include "interpret.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

enum { SKIPPED = 77, MOST_VALUES = 8 };
static const double TOLERANCE = 1e-5; /* of the largest magnitude */

static int accepted, wrong, refused, listed;

/* A message in a file of its own; NULL when there is none. */
static ProtobufCMessage *read_message(const ProtobufCMessageDescriptor *kind, const char *folder, const char *name)
{
    char path[700];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *from = fopen(path, "rb");
    if (from == NULL)
        return NULL;
    unsigned char    *bytes = malloc(1 << 24);
    size_t            size = bytes != NULL ? fread(bytes, 1, 1 << 24, from) : 0;
    ProtobufCMessage *message = protobuf_c_message_unpack(kind, NULL, size, bytes);
    fclose(from);
    free(bytes);
    return message;
}

static Onnx__TensorProto *read_proto(const char *folder, const char *kind, int i)
{
    char name[64];
    snprintf(name, sizeof name, "test_data_set_0/%s_%d.pb", kind, i);
    return (Onnx__TensorProto *)read_message(&onnx__tensor_proto__descriptor, folder, name);
}

/* As f32; NULL when it is of another type. */
static strata_tensor *read_tensor(const char *folder, const char *kind, int i)
{
    Onnx__TensorProto *t = read_proto(folder, kind, i);
    strata_tensor     *out = NULL;
    strata_tensor_desc d = { .rank = t != NULL ? (int)t->n_dims : 0 };
    if (t != NULL && t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT && t->n_dims <= STRATA_MAX_RANK) {
        for (int k = 0; k < d.rank; k++)
            d.dim[k] = t->dims[k];
        if (strata_tensor_create(&d, &out, NULL) == STRATA_OK)
            memcpy(strata_tensor_data(out), t->has_raw_data ? (const void *)t->raw_data.data : t->float_data,
                   strata_bytes(&d));
    }
    onnx__tensor_proto__free_unpacked(t, NULL);
    return out;
}

/* The model with all inputs but the first as constants, in a file at `path`: weights and shapes are inputs in these tests.
 * False when there is only one input. */
static bool bake(const char *folder, const char *path)
{
    Onnx__ModelProto *m = (Onnx__ModelProto *)read_message(&onnx__model_proto__descriptor, folder, "model.onnx");
    Onnx__GraphProto *g = m != NULL ? m->graph : NULL;
    const size_t      inputs = g != NULL ? g->n_input : 0;
    bool              done = inputs > 1;
    for (size_t i = 1; i < inputs; i++) {
        Onnx__TensorProto  *t = read_proto(folder, "input", (int)i);
        Onnx__TensorProto **grown = t != NULL ? realloc(g->initializer, (g->n_initializer + 1) * sizeof *grown) : NULL;
        if (grown == NULL) {
            done = false;
            break;
        }
        free(t->name);
        t->name = strdup(g->input[i]->name);
        g->initializer = grown;
        g->initializer[g->n_initializer++] = t;
    }
    FILE *to = done ? fopen(path, "wb") : NULL;
    if (to != NULL) {
        size_t         size = onnx__model_proto__get_packed_size(m);
        unsigned char *bytes = malloc(size);
        done = bytes != NULL && fwrite(bytes, 1, onnx__model_proto__pack(m, bytes), to) == size;
        done = fclose(to) == 0 && done;
        free(bytes);
    }
    onnx__model_proto__free_unpacked(m, NULL);
    return done;
}

static bool run_graph(strata_graph *g, strata_tensor **in, strata_tensor **out)
{
    strata_program *p = NULL;
    strata_session *s = NULL;
    strata_error    err = { 0 };
    bool ok = strata_program_create(g, &(strata_program_options){ .threads = 1 }, &p, &err) == STRATA_OK &&
              strata_session_create(p, &s, &err) == STRATA_OK && strata_session_alloc_outputs(s, out, &err) == STRATA_OK &&
              strata_session_run(s, in, out, &err) == STRATA_OK;
    if (!ok)
        printf("cannot run: %s\n", err.text);
    strata_session_destroy(s);
    strata_program_unref(p);
    return ok;
}

static double distance(const strata_tensor *a, const strata_tensor *b)
{
    const strata_tensor_desc *d = strata_tensor_get_desc(a);
    const float              *x = strata_tensor_data(a), *y = strata_tensor_data(b);
    double                    largest = 1e-3, worst = 0;
    if (!strata_same_shape(d, strata_tensor_get_desc(b)))
        return INFINITY;
    for (int64_t i = 0; i < strata_count(d); i++) {
        largest = fmax(largest, fabs((double)y[i]));
        worst = fmax(worst, x[i] == y[i] || (isnan(x[i]) && isnan(y[i])) ? 0 : fabs((double)x[i] - y[i]));
    }
    return worst / largest;
}

static strata_graph *import(strata_context *ctx, const char *folder, strata_error *err)
{
    char          path[700], baked[] = "/tmp/strata-conformance.XXXXXX";
    strata_graph *g = NULL;
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    int fd = mkstemp(baked);
    if (strata_graph_import_onnx(ctx, path, NULL, &g, err) != STRATA_OK && fd >= 0 && bake(folder, baked))
        (void)strata_graph_import_onnx(ctx, baked, NULL, &g, err);
    if (fd >= 0) {
        close(fd);
        unlink(baked);
    }
    return g;
}

static void one(strata_context *ctx, const char *folder, const char *name)
{
    strata_error   err = { 0 };
    strata_tensor *in[MOST_VALUES] = { NULL }, *out[MOST_VALUES] = { NULL };
    strata_graph  *g = import(ctx, folder, &err);
    if (g == NULL) {
        refused++;
        if (listed)
            printf("%-50s refused: %s\n", name, err.text);
        return;
    }
    const int inputs = strata_graph_input_count(g), outputs = strata_graph_output_count(g);
    bool      ready = inputs <= MOST_VALUES && outputs <= MOST_VALUES;
    for (int i = 0; i < inputs && ready; i++)
        ready = (in[i] = read_tensor(folder, "input", i)) != NULL &&
                strata_same_shape(strata_tensor_get_desc(in[i]), strata_graph_input(g, i).desc);
    if (!ready) { /* a symbolic size, or a missing file */
        refused++;
        strata_graph_destroy(g);
    } else {
        const bool ran = run_graph(g, in, out);
        double     worst = ran ? 0 : INFINITY;
        for (int i = 0; i < outputs && ran; i++) {
            strata_tensor *want = read_tensor(folder, "output", i);
            worst = fmax(worst, want != NULL ? distance(out[i], want) : INFINITY);
            strata_tensor_unref(want);
        }
        accepted++;
        wrong += !(worst <= TOLERANCE);
        if (listed || !(worst <= TOLERANCE))
            printf("%-50s %9.2e %s\n", name, worst, worst <= TOLERANCE ? "" : "WRONG");
    }
    for (int i = 0; i < MOST_VALUES; i++) {
        strata_tensor_unref(in[i]);
        strata_tensor_unref(out[i]);
    }
}

int main(int argc, char **argv)
{
    const char *root = argc > 1 ? argv[1] : "/usr/share/libonnx-testdata/data";
    const char *const kinds[] = { "node", "simple", "pytorch-converted", "pytorch-operator" };
    strata_context   *ctx = NULL;
    listed = argc > 2;
    if (strata_context_create(&ctx, NULL) != STRATA_OK)
        return 1;
    for (int k = 0; k < 4; k++) {
        char path[300];
        snprintf(path, sizeof path, "%s/%s", root, kinds[k]);
        DIR *dir = opendir(path);
        for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
            char folder[560];
            snprintf(folder, sizeof folder, "%s/%s", path, e->d_name);
            if (e->d_name[0] != '.')
                one(ctx, folder, e->d_name);
        }
        if (dir != NULL)
            closedir(dir);
    }
    strata_context_destroy(ctx);
    printf("%d accepted, %d of them wrong; %d refused\n", accepted, wrong, refused);
    if (accepted + refused == 0)
        return SKIPPED;
    return wrong > 0 || accepted < 230; /* 238 of ONNX 1.12 */
}
