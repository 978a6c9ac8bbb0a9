/* strata/strata.h: multi-scale features of computer-vision backbones. The header for applications.
 *
 *     strata_context *ctx; strata_graph *graph; strata_program *program; strata_session *session;
 *     strata_context_create(&ctx, &err);
 *     strata_create_model(ctx, "resnet50", &(strata_create_options){ .features_only = true,
 *                         .out_indices = "stride:8,stride:16", .checkpoint_path = "r50.ckpt" }, &graph, &err);
 *     strata_program_create(graph, NULL, &program, &err);         (takes the graph)
 *     strata_session_create(program, &session, &err);
 *     strata_session_run(session, inputs, outputs, &err);
 *
 * Objects and owners. x_create, x_load, x_parse and x_open give one owner through `out`; x_destroy
 * takes NULL. Pointers from getters are borrowed until their owner is destroyed. Only tensors and
 * programs are counted: everything else has one owner.
 *
 * Errors. Every function that can fail returns a strata_status and fills `err` when it is not NULL.
 * Nothing aborts, exits or prints; talk goes through the log callback of the context.
 *
 * Threads. A context is filled first (registration, log callback), then only read, by any thread. A
 * graph belongs to one thread until a program takes it. Programs and weights are immutable and may be
 * shared; a session runs one request at a time.
 */
#ifndef STRATA_H
#define STRATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define STRATA_API              __attribute__((visibility("default")))
#define STRATA_PRINTF(fmt, arg) __attribute__((format(printf, fmt, arg)))
#else
#define STRATA_API
#define STRATA_PRINTF(fmt, arg)
#endif

/* ---- Status -------------------------------------------------------------------------------- */

#define STRATA_STATUS_MAP(XX)                                                                      \
    XX(OK, 0, "success")                                                                           \
    XX(INVALID, -1, "the caller passed something wrong")                                           \
    XX(NOT_FOUND, -2, "no such model, parameter, feature, file or device")                         \
    XX(SHAPE, -3, "shapes or types do not fit together")                                           \
    XX(UNSUPPORTED, -4, "no selected backend can do this")                                         \
    XX(FORMAT, -5, "a file is damaged or of an unknown version")                                   \
    XX(IO, -6, "the operating system could not read or write")                                     \
    XX(NOMEM, -7, "out of host or device memory")                                                  \
    XX(DEVICE, -8, "the device or its driver failed")                                              \
    XX(BUSY, -9, "the session is already running")                                                 \
    XX(INTERNAL, -10, "the graph is not valid after a pass: a bug in Strata")                      \
    XX(WEIGHTS, -11, "parameters and weights do not fit together")

#define XX(name, value, text) STRATA_##name = value,
typedef enum strata_status { STRATA_STATUS_MAP(XX) } strata_status;
#undef XX

/* Filled by the callee when the status is not STRATA_OK. Belongs to the caller, needs no freeing, may
 * be NULL. The text reads like "layer1.0.add: add: dim 1 differs: 16 vs 3". */
typedef struct strata_error {
    strata_status status;
    char          text[2048];
} strata_error;

STRATA_API const char *strata_status_name(strata_status status); /* "FORMAT" */
STRATA_API const char *strata_status_text(strata_status status); /* "a file is damaged ..." */
STRATA_API const char *strata_version(void);                     /* "0.1.0" */
#define STRATA_VERSION_TEXT "0.1.0" /* of these headers: strata_version() is that of the library */

/* ---- Context ------------------------------------------------------------------------------- */

typedef struct strata_context strata_context; /* registries and log; there are no globals */
typedef struct strata_graph   strata_graph;   /* a model as single-assignment nodes */
typedef struct strata_node    strata_node;    /* one of them; see strata/extend.h */
typedef struct strata_weights strata_weights; /* the named tensors of one checkpoint */
typedef struct strata_tensor  strata_tensor;  /* shape and bytes; counted references */
typedef struct strata_program strata_program; /* a graph compiled for devices; counted, immutable */
typedef struct strata_session strata_session; /* working memory to run a program */
typedef struct strata_image   strata_image;   /* decoded 8-bit RGB pixels */

typedef enum strata_log_level { STRATA_LOG_DEBUG, STRATA_LOG_INFO, STRATA_LOG_WARNING } strata_log_level;
/* `text` is one line without a newline, valid during the call. May be called from any thread. */
typedef void (*strata_log_fn)(void *user, strata_log_level level, const char *text);

/* A context with all built-in ops, passes, models and backends. */
STRATA_API strata_status strata_context_create(strata_context **out, strata_error *err);
STRATA_API void          strata_context_destroy(strata_context *ctx); /* after all that it made */
STRATA_API void          strata_set_log(strata_context *ctx, strata_log_fn fn, void *user);

/* Adds the ops, kernels, passes, models and backends of a shared object, which stays open as long as the context
 * does. Before the first graph, like all registration. A path without '/' is in the current folder. Refused, with
 * nothing changed, when it was built with headers of another Strata (FORMAT), when a name is taken (INVALID) or when it
 * cannot be opened (IO). Loading it again does nothing. This runs code of the file. */
STRATA_API strata_status strata_load_plugin(strata_context *ctx, const char *path, strata_error *err);

/* ---- Tensors ------------------------------------------------------------------------------- */

/* XX(name, bytes, text): values of a graph are f32; files hold the others too. */
#define STRATA_DTYPE_MAP(XX)                                                                       \
    XX(F32, 4, "f32") XX(F16, 2, "f16") XX(BF16, 2, "bf16") XX(F64, 8, "f64")                      \
    XX(I8, 1, "i8") XX(I16, 2, "i16") XX(I32, 4, "i32") XX(I64, 8, "i64")                          \
    XX(U8, 1, "u8") XX(U16, 2, "u16") XX(U32, 4, "u32") XX(U64, 8, "u64") XX(BOOL, 1, "bool")
#define XX(name, bytes, text) STRATA_##name,
typedef enum strata_dtype { STRATA_DTYPE_MAP(XX) STRATA_DTYPE_COUNT } strata_dtype;
#undef XX

/* How the elements of a rank-4 value lie in memory. dim[] never changes with it. */
typedef enum strata_layout { STRATA_NCHW, STRATA_NHWC, STRATA_LAYOUT_COUNT } strata_layout;

enum { STRATA_MAX_RANK = 6 };

typedef struct strata_tensor_desc {
    strata_dtype  dtype;
    strata_layout layout; /* STRATA_NCHW, that is row-major, for every rank but 4 */
    int           rank;
    int64_t       dim[STRATA_MAX_RANK]; /* logical order: N, C, H, W */
} strata_tensor_desc;

STRATA_API size_t      strata_dtype_size(strata_dtype dtype);
STRATA_API const char *strata_dtype_name(strata_dtype dtype);
STRATA_API int64_t     strata_count(const strata_tensor_desc *desc); /* elements; -1 when it overflows */
STRATA_API size_t      strata_bytes(const strata_tensor_desc *desc); /* of a valid desc */
STRATA_API strata_tensor_desc strata_desc_f32(int rank, const int64_t *dim);
STRATA_API bool strata_same_shape(const strata_tensor_desc *a, const strata_tensor_desc *b); /* rank, dims */
/* "[1,64,56,56]" into buf; returns buf. */
STRATA_API const char *strata_shape_text(const strata_tensor_desc *desc, char *buf, size_t size);

/* Zero-filled; data is aligned to 64 bytes. */
STRATA_API strata_status strata_tensor_create(const strata_tensor_desc *desc, strata_tensor **out, strata_error *err);
/* Uses the caller's bytes; `release(user)` is called when the last reference goes (may be NULL). */
STRATA_API strata_status strata_tensor_wrap(const strata_tensor_desc *desc, void *data, void (*release)(void *user),
                                            void *user, strata_tensor **out, strata_error *err);
STRATA_API strata_tensor            *strata_tensor_ref(strata_tensor *t);
STRATA_API void                      strata_tensor_unref(strata_tensor *t); /* NULL is fine */
STRATA_API const strata_tensor_desc *strata_tensor_get_desc(const strata_tensor *t);
STRATA_API void                     *strata_tensor_data(const strata_tensor *t);
/* IEEE conversions, round to nearest even. */
STRATA_API void strata_convert_to_f32(strata_dtype from, const void *src, float *dst, size_t n);
STRATA_API void strata_convert_from_f32(const float *src, strata_dtype to, void *dst, size_t n); /* F32, F16 */

/* ---- Models -------------------------------------------------------------------------------- */

typedef enum strata_interpolation { STRATA_BILINEAR, STRATA_BICUBIC } strata_interpolation;

/* What images of a model's checkpoint looked like. mean and std are of values in 0..1. */
typedef struct strata_input_record {
    int                  height, width, channels;
    double               mean[3], std[3];
    strata_interpolation interpolation;
    double               crop_pct;
} strata_input_record;

typedef struct strata_model_info {
    const char         *name, *family, *doc;
    strata_input_record input;
    int                 classes;
    bool                has_features;
} strata_model_info;

/* Calls fn for each registered model whose name matches the shell pattern (NULL: all), in order of
 * name. Returns how many. */
STRATA_API int strata_list_models(const strata_context *ctx, const char *pattern, bool features_only,
                                  void (*fn)(void *user, const strata_model_info *info), void *user);
/* NOT_FOUND names the nearest models. */
STRATA_API strata_status strata_find_model(const strata_context *ctx, const char *name, strata_model_info *out,
                                           strata_error *err);

/* Zero means the model's default. */
typedef struct strata_create_options {
    int         batch, in_channels, height, width, num_classes;
    bool        features_only;   /* outputs are features; else the classifier's logits */
    const char *out_indices;     /* selectors as of `--at`: "1,2", "stride:8", "last:3"; NULL: every feature */
    const char *checkpoint_path; /* NULL: no weights are bound */
    bool        auto_mapping;    /* see strata_bind_options */
    bool        ema;
    const char *map_path;
} strata_create_options;

/* MindCV's create_model: builds, selects outputs, binds weights. `options` may be NULL. */
STRATA_API strata_status strata_create_model(strata_context *ctx, const char *name,
                                             const strata_create_options *options, strata_graph **out,
                                             strata_error *err);

/* ---- Graphs -------------------------------------------------------------------------------- */

/* A registered feature. `index` counts as MindCV's feature_info; `level` is log2(reduction). The
 * receptive field is that of the windows on the way; paths through global pooling (squeeze-excite,
 * split attention) are left out. receptive_field, stride and offset are in input pixels: the centre of
 * element (i, j) lies at offset + i * stride. */
typedef struct strata_feature {
    int                       index;
    const char               *name;
    int                       channels, reduction, level;
    const strata_node        *node;
    const strata_tensor_desc *desc;
    double                    receptive_field[2], offset[2];
} strata_feature;

typedef struct strata_output {
    const char               *name; /* of the feature or value, without '%' */
    const strata_node        *node;
    const strata_tensor_desc *desc;
} strata_output;

STRATA_API void        strata_graph_destroy(strata_graph *g);
STRATA_API const char *strata_graph_name(const strata_graph *g);
STRATA_API const strata_input_record *strata_graph_input_record(const strata_graph *g);
STRATA_API int           strata_graph_input_count(const strata_graph *g);
STRATA_API strata_output strata_graph_input(const strata_graph *g, int i);
STRATA_API int           strata_graph_output_count(const strata_graph *g);
STRATA_API strata_output strata_graph_output(const strata_graph *g, int i);
STRATA_API int           strata_graph_feature_count(const strata_graph *g);
STRATA_API strata_status strata_graph_feature(const strata_graph *g, int i, strata_feature *out, strata_error *err);
/* Of what the outputs need. params counts the elements of parameters, running statistics included. */
STRATA_API void strata_graph_cost(const strata_graph *g, uint64_t *params, uint64_t *macs);

/* Makes values the outputs, in the order asked. Selectors, divided by commas: `2` or `-1` (feature index), `stride:8`
 * (the last feature of that stride; `stride:8,16,32` for several), `C3` (stride 2^3), `last:3`, `layer3` (a feature),
 * `%layer1.0.conv1` (any value), `logits`. NULL: every feature. NOT_FOUND lists what there is. */
STRATA_API strata_status strata_graph_select(strata_graph *g, const char *selectors, strata_error *err);

typedef enum strata_dump_format { STRATA_DUMP_TEXT, STRATA_DUMP_DOT, STRATA_DUMP_JSON } strata_dump_format;
STRATA_API strata_status strata_graph_print(const strata_graph *g, strata_dump_format format, FILE *to,
                                            strata_error *err);
/* How b differs from a in structure, by value name, a line each: "- ..." only a has it, "+ ..." only b has it,
 * "~ %name: ..." op, operands, attributes or type changed; outputs, features and the image record likewise. Numbers of
 * constants are not compared. No line when they are the same. `out` may be NULL. */
typedef struct strata_diff {
    int added, removed, changed;
} strata_diff;
STRATA_API strata_status strata_graph_diff(const strata_graph *a, const strata_graph *b, FILE *to, strata_diff *out,
                                           strata_error *err);
/* The text form. `file_name` is for messages. */
STRATA_API strata_status strata_graph_parse(strata_context *ctx, const char *file_name, const char *text,
                                            size_t size, strata_graph **out, strata_error *err);

/* Called after a pass of a pipeline; a status other than STRATA_OK ends the pipeline with it. */
typedef strata_status (*strata_pass_fn)(void *user, const char *pass, const strata_graph *g, bool changed,
                                        double milliseconds, strata_error *err);
/* A pipeline is pass names divided by blanks, options after '=': "fold_bn fuse_act dce". NULL means
 * strata_default_pipeline(). Names with a leading "-" are left out. A pipeline of nothing but "-name" and "+name" changes the
 * default one: "-fold_bn" leaves a pass out, "+my_pass" runs one before all others. The graph is validated after each pass. `after` may be NULL. */
STRATA_API const char   *strata_default_pipeline(void);
STRATA_API strata_status strata_graph_run_passes(strata_graph *g, const char *pipeline, strata_pass_fn after,
                                                 void *user, strata_error *err);
/* Calls fn with each registered pass; returns how many. */
STRATA_API int strata_list_passes(const strata_context *ctx, void (*fn)(void *user, const char *name, const char *doc),
                                  void *user);

/* ---- ONNX ---------------------------------------------------------------------------------- */

typedef struct strata_onnx_options {
    bool     dynamic_batch;  /* dim 0 of inputs and outputs is symbolic; the graph is one for batch 1 */
    uint64_t external_above; /* more bytes of weights than this go to PATH.data; 0: 1.8e9, near the format's limit */
} strata_onnx_options;

/* Writes the graph as it is, with its weights: opset 17, outputs under their names. WEIGHTS when a parameter that the
 * outputs need has no numbers; UNSUPPORTED when this build has no ONNX. `options` may be NULL. */
STRATA_API strata_status strata_graph_export_onnx(const strata_graph *g, const strata_onnx_options *options,
                                                  const char *path, strata_error *err);
typedef struct strata_onnx_import {
    int  batch, height, width; /* for what the file leaves open; 0: 1, and 224x224 as ImageNet's models have it */
    bool partial; /* in place of outputs that need unsupported nodes, the values that those nodes start from */
} strata_onnx_import;

/* Reads a model of which every node that its outputs need can be said in our ops; UNSUPPORTED names all others at once.
 * Initializers become parameters with their numbers, values keep their names. `options` may be NULL. */
STRATA_API strata_status strata_graph_import_onnx(strata_context *ctx, const char *path, const strata_onnx_import *options,
                                                  strata_graph **out, strata_error *err);

/* ---- Weights ------------------------------------------------------------------------------- */

typedef struct strata_weights_entry {
    const char        *name;
    strata_tensor_desc desc;    /* as in the file */
    const char        *skipped; /* NULL, or the rule by which binding ignores it ("optimizer slot") */
} strata_weights_entry;

/* MindSpore .ckpt and .safetensors, told apart by content. The file stays mapped until destroy. */
STRATA_API strata_status strata_weights_load(strata_context *ctx, const char *path, strata_weights **out,
                                             strata_error *err);
STRATA_API void          strata_weights_destroy(strata_weights *w); /* tensors taken from it live on */
STRATA_API const char   *strata_weights_format(const strata_weights *w); /* "mindspore", "safetensors" */
STRATA_API int           strata_weights_count(const strata_weights *w);
STRATA_API strata_weights_entry strata_weights_get(const strata_weights *w, int i);
/* Entry i in its own dtype; a view of the mapped file where that is possible. The caller unrefs. */
STRATA_API strata_status strata_weights_tensor(const strata_weights *w, int i, strata_tensor **out, strata_error *err);
/* Lower-case hexadecimal SHA-256 of the entry's bytes (little-endian), 65 bytes with the final zero. */
STRATA_API strata_status strata_weights_sha256(const strata_weights *w, int i, char hex[65], strata_error *err);

typedef struct strata_bind_options {
    bool        auto_map;  /* where names differ: by role, shape, place in the network and name, or refuse */
    bool        ema;       /* the "ema."-prefixed copies; NOT_FOUND when there are none */
    const char *map_path;  /* a saved map to use: lines "parameter<TAB>tensor" */
} strata_bind_options;

typedef enum strata_bind_kind {
    STRATA_BIND_EXACT,       /* same name */
    STRATA_BIND_MAPPED,      /* by auto_map or the saved map; `tensor` says to what */
    STRATA_BIND_MISSING,     /* needed by an output, not found; `note` has the nearest candidates */
    STRATA_BIND_SHAPE,       /* found with another shape; `note` has both */
    STRATA_BIND_AMBIGUOUS,   /* several tensors fit equally; `note` names them */
    STRATA_BIND_NOT_NEEDED,  /* no output needs it: not loaded */
    STRATA_BIND_UNEXPECTED,  /* a tensor of the file that no parameter asked for */
    STRATA_BIND_SKIPPED,     /* a tensor left out by rule; `note` names the rule */
    STRATA_BIND_KINDS
} strata_bind_kind;

typedef struct strata_bind_row {
    strata_bind_kind kind;
    const char      *parameter; /* NULL for UNEXPECTED and SKIPPED */
    const char      *tensor;    /* NULL when there is none */
    const char      *note;      /* NULL or a phrase */
} strata_bind_row;

typedef struct strata_bind_report strata_bind_report;
STRATA_API void                   strata_bind_report_destroy(strata_bind_report *r);
STRATA_API int                    strata_bind_report_count(const strata_bind_report *r, strata_bind_kind kind);
STRATA_API int                    strata_bind_report_rows(const strata_bind_report *r);
STRATA_API const strata_bind_row *strata_bind_report_row(const strata_bind_report *r, int i);
/* For people: a summary, then every row that needs attention. */
STRATA_API void          strata_bind_report_print(const strata_bind_report *r, FILE *to);
/* Writes all pairs as a map that map_path reads. */
STRATA_API strata_status strata_bind_report_save(const strata_bind_report *r, const char *path, strata_error *err);

/* Gives every parameter that the outputs need its tensor, or fails with STRATA_WEIGHTS and binds nothing.
 * `report` (may be NULL) is filled in both cases and belongs to the caller. The graph keeps references;
 * w may be destroyed. */
STRATA_API strata_status strata_graph_bind(strata_graph *g, const strata_weights *w, const strata_bind_options *options,
                                           strata_bind_report **report, strata_error *err);
/* Fills the parameters that the outputs need from their names: reproducible noise, see docs/random-weights.md. */
STRATA_API strata_status strata_graph_bind_random(strata_graph *g, uint64_t seed, double gain, strata_error *err);
/* The input of the same rule: uniform in -2..2, the stream of the name "input". */
STRATA_API void strata_random_input(uint64_t seed, float *dst, size_t n);

/* ---- Devices, programs, sessions ----------------------------------------------------------- */

typedef struct strata_device_info {
    const char *backend; /* "cpu", "vulkan" */
    int         index;   /* within the backend */
    char        name[128], type[32], uuid[40];
    char        driver[128];  /* name and version; empty where there is none */
    uint64_t    memory;       /* bytes */
    /* What programs on it can run into; 0: no limit is known. Bytes of one allocation, of one value that a kernel can reach, and
     * of the memory that a workgroup shares; invocations of a workgroup and of a subgroup. */
    uint64_t    max_allocation, max_value, shared_memory;
    int         workgroup, subgroup;
    char        unusable[160]; /* empty, or why it cannot be used */
} strata_device_info;
STRATA_API int strata_list_devices(strata_context *ctx, void (*fn)(void *user, const strata_device_info *info), void *user);

typedef struct strata_program_options {
    const char    *device;        /* as --device; NULL: "cpu" */
    bool           strict_device; /* a node that the device has no kernel for is an error */
    strata_dtype   precision;     /* of values in the device's memory: STRATA_F32, or STRATA_F16 where the device can;
                                     sums are float32, inputs and outputs too */
    int            threads;       /* 0: the processors this process may use */
    int            piece;         /* images of a batch that go through the network together, where the images do not depend
                                     on each other and all runs on the CPU; fewer where they do not divide the batch. 0: as
                                     suits the processor's caches; the batch size: all. The same bits in any case */
    bool           exact;         /* no kernels that trade bits for speed. Else 3x3 convolutions may use Winograd's
                                     algorithms: errors stay below 1e-4 of a map's largest value, not 2e-5 */
    const char    *pipeline;      /* NULL: the default; "" : none */
    strata_pass_fn after_pass;
    void          *after_pass_user;
    /* What the device cannot do, for lack of a driver or memory or because it fails, at creation or in a later run, the CPU
     * does: said once through the log. A request that fails on the way is computed anew. Keeps the weights in host memory. */
    bool           fallback_cpu;
} strata_program_options;

/* Runs the passes, places the nodes, chooses kernels, packs weights and plans memory. Takes the graph: on
 * success it belongs to the program, on failure it is destroyed. `options` may be NULL. */
STRATA_API strata_status strata_program_create(strata_graph *g, const strata_program_options *options,
                                               strata_program **out, strata_error *err);
STRATA_API strata_program     *strata_program_ref(strata_program *p);
STRATA_API void                strata_program_unref(strata_program *p);
STRATA_API const strata_graph *strata_program_graph(const strata_program *p); /* optimised and placed */
/* The graph with kernel, cost and memory of each node in comments; that of a piece, where the batch runs in pieces. */
STRATA_API strata_status strata_program_print(const strata_program *p, FILE *to, strata_error *err);

typedef struct strata_program_info {
    size_t arena_bytes;   /* activations and workspace of one session */
    size_t weight_bytes;  /* constants and packed weights, shared by all sessions */
    size_t tensor_bytes;  /* inputs and outputs of one run: the caller's */
    size_t peak_bytes;    /* the most that is in use at once, graph included, by compiling and by one session with its
                             tensors; of the devices' memory too */
    int    parts, steps, fallback_steps, threads;
    int    pieces;        /* of the batch, which go through all steps one after the other */
    strata_dtype precision; /* of values on the device */
    char   device[160];
} strata_program_info;
STRATA_API void strata_program_get_info(const strata_program *p, strata_program_info *out);

STRATA_API strata_status strata_session_create(strata_program *p, strata_session **out, strata_error *err);
STRATA_API void          strata_session_destroy(strata_session *s); /* waits for a running request */
/* `in` and `out` hold one f32 row-major tensor per input and output of the graph, of its exact shape. The
 * tensors in `out` are written; the caller may keep a reference as long as he likes. Blocks. */
STRATA_API strata_status strata_session_run(strata_session *s, strata_tensor *const *in, strata_tensor *const *out,
                                            strata_error *err);
/* Called exactly once iff submit returned STRATA_OK, on a thread of the session. May submit again. */
typedef void (*strata_done_fn)(void *user, strata_status status, const strata_error *err);
/* Returns at once; references to the tensors are held until `done`. BUSY while a request is running. */
STRATA_API strata_status strata_session_submit(strata_session *s, strata_tensor *const *in, strata_tensor *const *out,
                                               strata_done_fn done, void *user, strata_error *err);
/* Fresh output tensors of the right shapes into out[]: as many as the graph has outputs. */
STRATA_API strata_status strata_session_alloc_outputs(const strata_session *s, strata_tensor **out, strata_error *err);

/* What strata_session_tune found for steps of one kind: there only while it is told. */
typedef struct strata_tuned {
    const char *node;   /* the first of them, as in a profile */
    int         nodes;  /* how many there are */
    const char *choice; /* the fastest, in words */
    double      estimated_ms, best_ms; /* one such step as it was chosen until now, and by the fastest choice */
    bool        kept;   /* by enough to count */
} strata_tuned;
typedef void (*strata_tuned_fn)(void *user, const strata_tuned *found);
/* Measures on the session's device what its kernels can choose between, for every step, and keeps what is faster in the
 * user's cache folder, from which programs that are created later take it, for such steps on this device and driver.
 * Results then differ by rounding. For minutes, while nothing else may use the context's devices; fn (may be NULL) is told
 * what was found. UNSUPPORTED where there is nothing to choose, as on the CPU; BUSY while a request is running. */
STRATA_API strata_status strata_session_tune(strata_session *s, strata_tuned_fn fn, void *user, strata_error *err);

/* One step of the program in the last finished run; times are those of a monotonic clock. */
typedef struct strata_step_profile {
    const char *node, *op, *kernel, *device;
    double      start_ms, ms;
    uint64_t    macs, bytes;
} strata_step_profile;
STRATA_API void strata_session_enable_profile(strata_session *s, bool on);
STRATA_API int  strata_session_step_count(const strata_session *s);
STRATA_API strata_step_profile strata_session_step(const strata_session *s, int i);
/* The same for one piece of the batch alone; above, start_ms is that of the first and the rest are sums. */
STRATA_API int  strata_session_piece_count(const strata_session *s);
STRATA_API strata_step_profile strata_session_piece_step(const strata_session *s, int piece, int i);

/* ---- Images -------------------------------------------------------------------------------- */

/* Decodes JPEG, PNG or WebP, told apart by content, to 8-bit RGB: EXIF orientation applied unless
 * `ignore_exif`, gray replicated, alpha composited on black, CMYK converted, 16-bit scaled to 8. Damaged,
 * truncated and unknown files are FORMAT errors with the reason. */
STRATA_API strata_status  strata_image_load(const char *path, bool ignore_exif, strata_image **out, strata_error *err);
STRATA_API strata_status  strata_image_decode(const void *bytes, size_t size, bool ignore_exif, strata_image **out,
                                              strata_error *err);
STRATA_API strata_status  strata_image_create(int width, int height, const uint8_t *rgb, strata_image **out,
                                              strata_error *err); /* copies; NULL: black */
STRATA_API void           strata_image_destroy(strata_image *img);
STRATA_API int            strata_image_width(const strata_image *img);
STRATA_API int            strata_image_height(const strata_image *img);
STRATA_API uint8_t       *strata_image_pixels(const strata_image *img); /* rows of RGB, no padding */

typedef enum strata_flavour { STRATA_PREPROCESS_MINDCV, STRATA_PREPROCESS_PILLOW } strata_flavour;
/* Resize, bit-equal to OpenCV's 8-bit INTER_LINEAR and INTER_CUBIC (mindcv) or Pillow's (pillow). */
STRATA_API strata_status strata_image_resize(const strata_image *img, int width, int height, strata_interpolation how,
                                             strata_flavour flavour, strata_image **out, strata_error *err);
/* Resize and centre crop to record->height x record->width: the pixels that the network sees. */
STRATA_API strata_status strata_image_preprocess(const strata_image *img, const strata_input_record *record,
                                                 strata_flavour flavour, strata_image **out, strata_error *err);
/* Normalised by record's mean and std into dst[channels][H][W]; channels 3 (RGB), 1 (luma) or any other
 * count, where channel c is RGB channel c % 3. */
STRATA_API void strata_image_normalize(const strata_image *img, const strata_input_record *record, float *dst);
STRATA_API strata_status strata_image_write_png(const strata_image *img, const char *path, strata_error *err);
/* The same file in memory; the caller frees *bytes. */
STRATA_API strata_status strata_image_encode_png(const strata_image *img, void **bytes, size_t *size, strata_error *err);
/* A map, f32 [1,C,H,W], as an image of a pixel per element: one channel, or with channel -1 the mean over all. From its
 * least finite value (dark violet) to its greatest (yellow); red where there is none. */
STRATA_API strata_status strata_heat_map(const strata_tensor *map, int channel, strata_image **out, strata_error *err);
/* A mosaic: the image and a heat map (mean over channels) of each map[i], f32 [1,C,H,W], with its name. */
STRATA_API strata_status strata_picture(const strata_image *img, int maps, strata_tensor *const *map,
                                        const char *const *name, strata_image **out, strata_error *err);

/* Reads and preprocesses many images ahead of the caller, in order, on worker threads. */
typedef struct strata_loader strata_loader;
typedef struct strata_loader_options {
    strata_input_record record;
    strata_flavour      flavour;
    bool                ignore_exif;
    int                 ahead; /* images in memory at once; 0: twice the threads */
} strata_loader_options;
/* The paths are copied. */
STRATA_API strata_status strata_loader_create(strata_context *ctx, const char *const *paths, int count,
                                              const strata_loader_options *options, strata_loader **out,
                                              strata_error *err);
/* Waits for the next image, in the order given: its index, its status (a rejected image does not end the
 * loader: `item_err` says why), and on STRATA_OK its input tensor [1,C,H,W]. Paths ending in .npy are read as
 * tensors. Returns false after the last one. The caller unrefs the tensor and destroys the image. `image` may be
 * NULL; else it gets the preprocessed pixels (NULL for a .npy). */
STRATA_API bool strata_loader_next(strata_loader *l, int *index, strata_tensor **tensor, strata_image **image,
                                   strata_status *item_status, strata_error *item_err);
STRATA_API void strata_loader_destroy(strata_loader *l); /* may come early */

/* ---- Arrays on disk ------------------------------------------------------------------------ */

/* .npy, C order, any byte order, float32 only for the pipeline; other dtypes keep theirs. */
STRATA_API strata_status strata_npy_read(const char *path, strata_tensor **out, strata_error *err);
STRATA_API strata_status strata_npy_write(const char *path, const strata_tensor *t, strata_error *err);

/* Writes named arrays of equal first dimension row by row to x.npz or x.safetensors: to temporary files in
 * the same folder, renamed by commit when whole. Destroy without commit leaves nothing behind. */
typedef struct strata_writer strata_writer;
STRATA_API strata_status strata_writer_create(const char *path, strata_dtype dtype, strata_writer **out,
                                              strata_error *err); /* STRATA_F32 or STRATA_F16; by suffix */
/* Appends a tensor [n,...] of f32 to the array of that name; the first call declares it. */
STRATA_API strata_status strata_writer_append(strata_writer *w, const char *name, const strata_tensor *rows,
                                              strata_error *err);
/* Texts that go along: key "record" (JSON) and the array of `names`, one per row. */
STRATA_API strata_status strata_writer_set_text(strata_writer *w, const char *key, const char *text, strata_error *err);
STRATA_API strata_status strata_writer_set_names(strata_writer *w, const char *const *names, int count,
                                                 strata_error *err);
STRATA_API strata_status strata_writer_commit(strata_writer *w, strata_error *err);
STRATA_API void          strata_writer_destroy(strata_writer *w);
/* All entries of a checkpoint as .safetensors, dtypes kept. */
STRATA_API strata_status strata_weights_save(const strata_weights *w, const char *path, strata_error *err);
/* The parameters and constants that the outputs of a graph need, under their names, as .safetensors: with the text
 * form, all there is to the graph. WEIGHTS when one has no numbers. */
STRATA_API strata_status strata_graph_save_weights(const strata_graph *g, const char *path, strata_error *err);

#ifdef __cplusplus
}
#endif
#endif
