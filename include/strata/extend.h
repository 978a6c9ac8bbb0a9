/* strata/extend.h: add an op, a pass, a model, a kernel or a backend.
 *
 * Everything built in is written against this header and its companions (ops.h: the built-in ops and
 * their attributes; nn.h: short names for models and passes). Source compatibility only.
 */
#ifndef STRATA_EXTEND_H
#define STRATA_EXTEND_H

#include <strata/strata.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct strata_op_def      strata_op_def;
typedef struct strata_kernel_def  strata_kernel_def;
typedef struct strata_backend_def strata_backend_def;
typedef struct strata_pass_def    strata_pass_def;
typedef struct strata_model_def   strata_model_def;
typedef struct strata_builder     strata_builder;
typedef struct strata_device      strata_device; /* a backend's own type */
typedef struct strata_buffer      strata_buffer; /* a backend's own type */

/* ---- Errors -------------------------------------------------------------------------------- */

/* Fills err (may be NULL) and returns status. */
STRATA_API strata_status strata_fail(strata_error *err, strata_status status, const char *fmt, ...) STRATA_PRINTF(3, 4);
/* Puts "prefix: " before the text already in err. Returns err's status, or `status` when err is NULL. */
STRATA_API strata_status strata_fail_in(strata_error *err, strata_status status, const char *fmt, ...)
    STRATA_PRINTF(3, 4);
STRATA_API void strata_log(const strata_context *ctx, strata_log_level level, const char *fmt, ...) STRATA_PRINTF(3, 4);

/* The only macro that hides a return. */
#define STRATA_TRY(call)                                                                           \
    do {                                                                                           \
        strata_status strata_try_status = (call);                                                  \
        if (strata_try_status != STRATA_OK)                                                        \
            return strata_try_status;                                                              \
    } while (0)

/* The best `max` of `names` for a mistyped `wanted`, nearest first, as "a, b, c" in buf; "" when none is
 * near. Damerau-Levenshtein distance, plus names that contain `wanted`. Returns buf. */
STRATA_API const char *strata_nearest(const char *wanted, const char *const *names, int count, int max, char *buf,
                                      size_t size);

/* ---- Nodes --------------------------------------------------------------------------------- */

enum { STRATA_MAX_OPERANDS = 8 };

struct strata_node {          /* one operation and the one value it defines */
    const strata_op_def *op;  /* identity: compare with &strata_op_conv2d */
    const char          *name; /* unique in the graph; names the value for ever; no sigil */
    strata_tensor_desc   desc; /* the result, as op->infer computed it */
    const void          *attrs; /* op->attr_size bytes, immutable after creation */
    strata_node         *in[STRATA_MAX_OPERANDS]; /* NULL: optional operand left out */
    strata_tensor       *data; /* parameters and constants only; NULL before binding */
    const strata_kernel_def *kernel; /* chosen by placement; NULL before */
    int                  device;     /* index into the program's devices; -1 before placement */
    uint32_t             id, uses;   /* set by strata_graph_refresh: place in the order; live consumers + outputs */
};

/* ---- Ops ----------------------------------------------------------------------------------- */

typedef struct strata_operand_def {
    const char *name;
    bool        optional;
    const char *role; /* for parameters that enter here: "weight", "bias", "scale", "shift", "mean", "variance";
                         NULL: by name only */
} strata_operand_def;

typedef enum strata_attr_type {
    STRATA_ATTR_INT,   /* int */
    STRATA_ATTR_INT2,  /* int[2], y and x; prints as one number when both are equal */
    STRATA_ATTR_INT4,  /* int[4], top, left, bottom, right; likewise */
    STRATA_ATTR_INTS,  /* strata_ints: up to STRATA_MAX_RANK numbers */
    STRATA_ATTR_FLOAT, /* double */
    STRATA_ATTR_ENUM,  /* int, index into attr->names */
    STRATA_ATTR_BOOL   /* int, 0 or 1; prints as true and false */
} strata_attr_type;

typedef struct strata_ints {
    int     count;
    int64_t at[STRATA_MAX_RANK];
} strata_ints;

typedef struct strata_attr_def { /* a row per attribute: prints, parses, checks and documents it */
    const char        *name;
    strata_attr_type   type;
    size_t             offset;
    double             min, max, deflt; /* of every element; STRATA_ATTR_INTS has no default and is always printed */
    const char        *doc;
    const char *const *names; /* STRATA_ATTR_ENUM: NULL-terminated */
} strata_attr_def;

/* "nchw", "nhwc", NULL: for STRATA_ATTR_ENUM rows. */
extern STRATA_API const char *const strata_layout_names[];

enum strata_op_flags {
    STRATA_OP_ELEMENTWISE = 1 << 0, /* element i of the result needs only elements i of the operands (broadcast) */
    STRATA_OP_VIEW        = 1 << 1, /* the result is operand 0's bytes under another shape */
    STRATA_OP_COMMUTES    = 1 << 2, /* operands 0 and 1 may be swapped */
    STRATA_OP_SOURCE      = 1 << 3, /* no operands: input, param, const */
    STRATA_OP_VARIADIC    = 1 << 4, /* takes any number (1..STRATA_MAX_OPERANDS) of operand 0's kind */
    STRATA_OP_ROWS        = 1 << 5, /* not element-wise, but row i of dim 0 needs only rows i of the operands without a role */
};

/* How a window op maps positions of its result to positions of operand 0. */
typedef struct strata_window {
    double size[2];   /* y, x: extent in elements of the operand, dilation included */
    double stride[2]; /* steps of the operand per step of the result; below 1 when up-sampling */
    double pad[2];    /* elements before the first: position 0 of the result starts at -pad */
    bool   global;    /* sees the whole map */
} strata_window;

typedef struct strata_view { /* bytes that a kernel or eval reads or writes */
    const strata_tensor_desc *desc; /* NULL: an optional operand left out */
    float                    *data; /* host memory; NULL on devices without */
    strata_buffer            *buffer; /* the device's handle and place in it, for backends that need one */
    size_t                    offset;
} strata_view;

struct strata_op_def {
    const char            *name, *doc; /* doc: one sentence, goes into docs/ops.md */
    strata_operand_def     operands[STRATA_MAX_OPERANDS];
    const strata_attr_def *attrs; /* NULL, or ends with { 0 } */
    size_t                 attr_size;
    unsigned               flags;
    /* Checks operands and attributes (ranges are checked already) and gives the result's desc. `out` starts as
     * a copy of operand 0's desc, layout included, where there is one. Error texts name the rule and both
     * values; the caller adds node and op. NULL for sources. */
    strata_status (*infer)(const strata_node *n, strata_tensor_desc *out, strata_error *err);
    uint64_t (*macs)(const strata_node *n);                           /* NULL: zero */
    void     (*window)(const strata_node *n, strata_window *w);       /* NULL: one element, stride 1 */
    /* For ops whose attributes say how many rows (of dim 0) the result has, or whether STRATA_OP_ROWS holds. True when it
     * does; then `attrs`, which begins as a copy of n's, is changed to give as many as `rows`. NULL: as the flags say. */
    bool     (*set_rows)(const strata_node *n, int64_t rows, void *attrs);
    /* The definition in numbers, naive, accumulating in double. Views are row-major f32. NULL for sources. Element-wise
     * ops and those of rows are asked for some rows of a constant too: shapes are those of the views. */
    strata_status (*eval)(const strata_node *n, const strata_view *in, strata_view *out);
};

/* ---- Graphs: reading and rewriting ----------------------------------------------------------- */

STRATA_API strata_context *strata_graph_context(const strata_graph *g);
/* Nodes in execution order: operands before users. Valid until the next change. */
STRATA_API int          strata_graph_node_count(const strata_graph *g);
STRATA_API strata_node *strata_graph_node(const strata_graph *g, int i);
STRATA_API strata_node *strata_graph_find(const strata_graph *g, const char *name); /* NULL: none */
STRATA_API const strata_op_def *strata_find_op(const strata_context *ctx, const char *name);
/* A name that no node has: base, or base.1, base.2, ... It lives as long as the graph; NULL when out of memory. */
STRATA_API const char *strata_graph_unique_name(strata_graph *g, const char *base);

/* The value that was an output under this name when the graph was built, also after others were selected; NULL when
 * there is none (any more). */
STRATA_API strata_node  *strata_graph_declared_output(const strata_graph *g, const char *name);
STRATA_API void          strata_graph_clear_outputs(strata_graph *g);
STRATA_API strata_status strata_graph_add_output(strata_graph *g, const char *name, strata_node *n, strata_error *err);
/* All uses of `from`, outputs and features included, become uses of `to`. */
STRATA_API void strata_graph_replace(strata_graph *g, strata_node *from, strata_node *to);
/* Recomputes order, ids and use counts; INTERNAL when there is a cycle. Nodes that reach no output stay. */
STRATA_API strata_status strata_graph_refresh(strata_graph *g, strata_error *err);
/* Removes nodes (not inputs) that reach no output; features that lose their node are forgotten. */
STRATA_API void strata_graph_prune(strata_graph *g, bool *changed);
/* Structure, names, attribute ranges; infers every node again and compares. */
STRATA_API strata_status strata_graph_validate(const strata_graph *g, strata_error *err);
STRATA_API void          strata_node_set_data(strata_node *n, strata_tensor *t); /* takes a reference */
/* For each node by id: whether an output needs it. `live` holds strata_graph_node_count bytes. */
STRATA_API void strata_graph_mark_live(const strata_graph *g, bool *live);
STRATA_API bool strata_attrs_equal(const strata_op_def *op, const void *a, const void *b);
/* Whether the layout tag makes no difference: rank is not 4, or H*W or C is 1. */
STRATA_API bool strata_layout_free(const strata_tensor_desc *desc);
STRATA_API int  strata_operand_count(const strata_node *n); /* up to the last one present */
STRATA_API const char *strata_operand_role(const strata_node *n, int k); /* NULL: a value, no parameter of the op */
STRATA_API bool strata_node_is_source(const strata_node *n);
STRATA_API bool strata_node_is_constant(const strata_node *n); /* param or const */

/* ---- Building -------------------------------------------------------------------------------- */

/* The error is sticky: after the first one every call returns a harmless dead node, and finish reports it. */
STRATA_API strata_status strata_builder_create(strata_context *ctx, const char *graph_name, strata_builder **out,
                                               strata_error *err);
/* To change a graph: finish gives the same graph back. Nodes are appended; refresh sorts them. */
STRATA_API strata_status strata_builder_open(strata_graph *g, strata_builder **out, strata_error *err);
/* Destroys the builder in any case. New graphs are refreshed and validated, and their features checked. */
STRATA_API strata_status strata_builder_finish(strata_builder *b, strata_graph **out, strata_error *err);
STRATA_API void          strata_builder_fail(strata_builder *b, strata_status status, const char *fmt, ...)
    STRATA_PRINTF(3, 4);
STRATA_API bool          strata_builder_failed(const strata_builder *b);
STRATA_API strata_graph *strata_builder_graph(strata_builder *b);
STRATA_API void          strata_push_scope(strata_builder *b, const char *fmt, ...) STRATA_PRINTF(2, 3);
STRATA_API void          strata_pop_scope(strata_builder *b);
/* "scope.leaf" in the graph's memory; leaf NULL: the scope itself. */
STRATA_API const char   *strata_scoped(strata_builder *b, const char *leaf);

/* Emits a node. `name` is the whole name of the value, or NULL: scope + op name, made unique. `attrs` is
 * copied (NULL: every attribute at its default). Absent optional operands are NULL. */
STRATA_API strata_node *strata_emit_n(strata_builder *b, const strata_op_def *op, const char *name, const void *attrs,
                                      strata_node *const *in, int count);
#define strata_emit(b, op, name, attrs, ...)                                                       \
    strata_emit_n(b, op, name, attrs, (strata_node *[]){ __VA_ARGS__ },                            \
                  (int)(sizeof((strata_node *[]){ __VA_ARGS__ }) / sizeof(strata_node *)))
/* Sources. A param belongs to the checkpoint, a const to the graph (data may be NULL in parsed graphs). */
STRATA_API strata_node *strata_emit_input(strata_builder *b, const char *name, const strata_tensor_desc *desc);
STRATA_API strata_node *strata_emit_param(strata_builder *b, const char *name, const strata_tensor_desc *desc);
STRATA_API strata_node *strata_emit_const(strata_builder *b, const char *name, const strata_tensor_desc *desc,
                                          strata_tensor *data);
STRATA_API void strata_emit_feature(strata_builder *b, const char *name, strata_node *n, int channels, int reduction);
STRATA_API void strata_emit_output(strata_builder *b, const char *name, strata_node *n);

/* ---- Constants that are computed where they are read -------------------------------------------- */

/* Whether the value of n can be computed by rows, parts of dim 0: n is element-wise or of rows, and all its operands are
 * constants with data, of its rank and rows, without a role. */
STRATA_API bool strata_tensor_can_defer(const strata_node *n);
/* A tensor whose data is n->op of the data of n's operands, computed when it is read. It keeps the operands' data, but
 * not the graph. */
STRATA_API strata_status strata_tensor_defer(const strata_node *n, strata_tensor **out, strata_error *err);
/* Rows [first, first + count) of an f32 tensor: *rows is the tensor's own memory or, when they are computed for this
 * call, `scratch`, which has room for them. From any thread. */
STRATA_API strata_status strata_tensor_rows(const strata_tensor *t, int64_t first, int64_t count, float *scratch,
                                            const float **rows, strata_error *err);
/* Computes all that is deferred, as strata_tensor_data does, which gives NULL where this fails. */
STRATA_API strata_status strata_tensor_compute(const strata_tensor *t, strata_error *err);

/* ---- Passes ---------------------------------------------------------------------------------- */

struct strata_pass_def { /* exactly one of run and rewrite */
    const char *name, *doc;
    /* options: the text after '=', or NULL. The manager refreshes before and after, validates, times, dumps. */
    strata_status (*run)(strata_graph *g, const char *options, bool *changed, strata_error *err);
    /* Called for each live node that is no source, in order: n itself, or its replacement. A new replacement takes
     * n's name whatever it was emitted with; helpers without a name are named after n (the scope is n->name). Use
     * counts are kept right between calls. */
    strata_node *(*rewrite)(strata_builder *b, strata_node *n);
};

/* ---- Models ---------------------------------------------------------------------------------- */

typedef struct strata_model_args {
    int batch, channels, height, width, classes; /* never zero in build */
} strata_model_args;

struct strata_model_def {
    const char *name, *family, *doc;
    void (*build)(strata_builder *b, const void *config, const strata_model_args *args);
    const void         *config; /* the row of the model file's table */
    strata_input_record input;
    int                 classes;
    bool                has_features;
};

STRATA_API const strata_model_def *strata_find_model_def(const strata_context *ctx, const char *name,
                                                         strata_error *err); /* NULL: err names the nearest */
/* The graph of a model with all features and its classifier's output; zeros in args mean the defaults. */
STRATA_API strata_status strata_model_build(strata_context *ctx, const strata_model_def *def,
                                            const strata_model_args *args, strata_graph **out, strata_error *err);
STRATA_API void strata_graph_set_input_record(strata_graph *g, const strata_input_record *record);

/* ---- Kernels and backends ---------------------------------------------------------------------- */

/* A node of a program, prepared by one kernel. Immutable once the program exists, shared by sessions. */
typedef struct strata_step {
    const strata_node       *node;
    const strata_kernel_def *kernel;
    strata_device           *device;
    void                    *state;        /* the kernel's own, from prepare to release */
    size_t                   state_bytes;  /* of packed weights and tables, for reports */
    size_t                   workspace;    /* bytes of scratch in one session, from prepare */
    unsigned                 consumed;     /* from prepare: bit i when emit never reads constant operand i, whose data
                                              may then be dropped; prepare is its only reader */
} strata_step;

/* One run of one step: what emit reads and writes. */
typedef struct strata_frame {
    strata_view in[STRATA_MAX_OPERANDS];
    strata_view beside[STRATA_MAX_OPERANDS]; /* of a kernel that absorbs: operands 1 and up of the node that it absorbs, without
                                                its constants */
    strata_view out;
    strata_view workspace; /* step->workspace bytes, desc NULL, aligned to 64; its content is lost between steps */
    void       *stream;    /* the backend's own: nothing for cpu, a command recorder for vulkan */
} strata_frame;

struct strata_kernel_def {
    const char          *name; /* "conv2d.im2col": shown in plans and profiles */
    const strata_op_def *op;
    unsigned layouts;          /* bits 1 << STRATA_NHWC ...: of all rank-4 values that are not constant */
    bool     by_rows;          /* prepare reads constants with strata_tensor_rows: they need not be in memory whole */
    bool     half;             /* values may be float16 as well, all of one node's that are not constant */
    unsigned in_place;         /* bit k: out may be the memory of operand k when that is of the same size and dies here */
    bool approximate;          /* trades bits for speed: beyond the rounding of the op's own formula. Not for programs that
                                  want to be exact */
    bool absorbs;              /* computes the node of operand 0 as well, which then has no step and no memory: frame.in[0] is
                                  operand 0 of that node, s->node->in[0], and frame.beside are its others. Asked only where
                                  that node is to run on the same device in the same form and nothing else reads its value;
                                  prepare consumes all of its constants */
    bool          (*accepts)(const strata_node *n); /* attributes and shapes; NULL: every one. Must not look at data */
    strata_status (*prepare)(strata_step *s, strata_error *err); /* once: pack weights; NULL: nothing to do */
    void          (*release)(strata_step *s);                    /* NULL: nothing to do */
    strata_status (*emit)(const strata_step *s, const strata_frame *f, strata_error *err); /* cpu: compute */
};

typedef struct strata_device_options {
    int  threads; /* resolved, at least 1 */
    bool profile;
} strata_device_options;

/* For kernels of the backend "cpu", in emit: calls fn(arg, item, slot) for each item from 0 to count - 1 on the threads of
 * the device, in any order, and returns when all are done. `slot`, below strata_cpu_threads(), differs between calls that
 * run at the same time, to pick scratch memory by. Results must not depend on it. Not from inside an item. */
STRATA_API void strata_cpu_parallel(const strata_step *s, int count, void (*fn)(void *arg, int item, int slot), void *arg);
STRATA_API int  strata_cpu_threads(const strata_step *s);

/* Every member is mandatory but may_have_gpu, working_set and tune. */
struct strata_backend_def {
    const char *name;
    strata_layout layout;                    /* of rank-4 values, where kernels have it */
    bool          host_memory;               /* buffers are plain memory: views carry data */
    bool          side_by_side;              /* `run` may run steps at the same time that touch other bytes: they are ordered,
                                                and memory is planned, so that those without dependences can */
    /* Bytes of values that a step can read and write and that the next one still finds in a cache, where that makes a
     * difference, else 0. A batch of images that do not depend on each other then runs in pieces, the same recording
     * again and again with other host pointers to inputs and outputs. Needs host_memory, and kernels whose bits do not
     * depend on the number of rows. */
    size_t        working_set;
    const strata_kernel_def *const *kernels; /* NULL-terminated; for one op, best first */
    /* Whether it is worth asking for a real GPU: false spares --device auto from starting drivers. NULL: always. */
    bool          (*may_have_gpu)(strata_context *ctx);
    int           (*count)(strata_context *ctx);
    void          (*describe)(strata_context *ctx, int index, strata_device_info *out);
    strata_status (*open)(strata_context *ctx, int index, const strata_device_options *options, strata_device **out,
                          strata_error *err);
    void          (*close)(strata_device *dev);
    /* Whether values of this type may lie on the device; STRATA_F32 always may. */
    bool          (*stores)(const strata_device *dev, strata_dtype dtype);
    strata_status (*alloc)(strata_device *dev, size_t bytes, strata_buffer **out, strata_error *err);
    void          (*free)(strata_device *dev, strata_buffer *buf);
    void         *(*map)(strata_buffer *buf); /* the bytes when host_memory, else NULL */
    strata_status (*write)(strata_buffer *dst, size_t at, const void *src, size_t n, strata_error *err);
    strata_status (*read)(const strata_buffer *src, size_t at, void *dst, size_t n, strata_error *err);
    /* Once per session and part: record or compile `steps` with their frames, which stay where they are until
     * discard. Between runs the host pointers in the frames may change when host_memory. `run` executes all steps and
     * blocks; `ms` (NULL or `count` entries) receives the start, from a monotonic clock, and the duration of each. */
    strata_status (*record)(strata_device *dev, const strata_step *steps, strata_frame *frames, int count, void **out,
                            strata_error *err);
    strata_status (*run)(strata_device *dev, void *recording, double (*ms)[2], strata_error *err);
    void          (*discard)(strata_device *dev, void *recording);
    /* Measures what can be chosen for the steps of a part, and keeps what is faster for every device that is opened from then
     * on; steps and frames as for record. NULL: there is nothing to choose. */
    strata_status (*tune)(strata_device *dev, const strata_step *steps, const strata_frame *frames, int count,
                          strata_tuned_fn fn, void *user, strata_error *err);
};

/* What a backend keeps for the life of a context, for lack of globals: a driver's instance, opened devices. The
 * first call with `key` has make(arg) create it, later ones give the same pointer; NULL when make returned that.
 * `destroy` is called with the context, in the reverse order of making. From any thread; make must not call this. */
STRATA_API void *strata_context_keep(strata_context *ctx, const void *key, void *(*make)(void *arg), void *arg,
                                     void (*destroy)(void *kept));

/* ---- Registration: before the first graph, on one thread. Definitions are not copied. ----------- */
/* INVALID when a definition is incomplete or its name is taken. */

STRATA_API strata_status strata_register_op(strata_context *ctx, const strata_op_def *def, strata_error *err);
STRATA_API strata_status strata_register_pass(strata_context *ctx, const strata_pass_def *def, strata_error *err);
STRATA_API strata_status strata_register_model(strata_context *ctx, const strata_model_def *def, strata_error *err);
STRATA_API strata_status strata_register_backend(strata_context *ctx, const strata_backend_def *def, strata_error *err);
/* An extra kernel for a backend; asked before the built-in ones. */
STRATA_API strata_status strata_register_kernel(strata_context *ctx, const char *backend, const strata_kernel_def *def,
                                                strata_error *err);

/* ---- Plug-ins that strata_load_plugin has loaded. To write one: plugin.h ------------------------- */

typedef enum strata_part_kind {
    STRATA_PART_OP, STRATA_PART_KERNEL, STRATA_PART_PASS, STRATA_PART_MODEL, STRATA_PART_BACKEND
} strata_part_kind;

typedef struct strata_plugin_part {
    strata_part_kind kind;
    const char      *name;
    const char      *backend; /* of a kernel; else NULL */
    const void      *def;     /* strata_op_def, strata_kernel_def, ... */
} strata_plugin_part;

typedef struct strata_plugin_info {
    const char               *path, *name, *doc;
    const char *const        *cases; /* NULL-terminated; may be NULL */
    int                       part_count;
    const strata_plugin_part *parts;
} strata_plugin_info;

/* Calls fn with each plug-in, in order of loading; returns how many. */
STRATA_API int strata_list_plugins(const strata_context *ctx, void (*fn)(void *user, const strata_plugin_info *info),
                                   void *user);

#ifdef __cplusplus
}
#endif
#endif
