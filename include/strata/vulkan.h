/* strata/vulkan.h: kernels for the backend "vulkan", with compute shaders of their own.
 *
 * A kernel is a strata_kernel_def as on any backend. Its `prepare` uploads the constants of the node, once per program;
 * its `emit` does not compute but describes dispatches, once per session, which are then replayed by every run:
 *
 *     static strata_status emit(const strata_step *s, const strata_frame *f, strata_error *err)
 *     {
 *         uint32_t           count = (uint32_t)strata_count(f->out.desc);
 *         strata_vk_dispatch d = { .shader = &my_shader };
 *         strata_vk_read(&d, 0);                        // binding 0: operand 0
 *         strata_vk_write(&d);                          // binding 1: the result
 *         strata_vk_push(&d, &count, sizeof count);     // the push constants
 *         strata_vk_cover(&d, count);                   // the grid: an invocation per element
 *         return strata_vk_emit(s, f, &d, err);
 *     }
 *
 *     const strata_kernel_def my_kernel = { .name = "my_op.plain", .op = &my_op, .layouts = 1 << STRATA_NHWC,
 *         .accepts = strata_vk_fits, .prepare = strata_vk_prepare, .release = strata_vk_release, .emit = emit };
 *
 * Every value is one range of float32 without padding, and a shader sees it as a storage buffer that begins there. A
 * value of rank 4 lies as the kernel's layout says: with NHWC, element [n,c,y,x] is at ((n*H + y)*W + x)*C + c; other
 * ranks are row-major. Dispatches run in the order of emitting as far as they touch the same bytes; barriers between
 * them are the backend's business and follow from what is said to be read and written here, so it must be true.
 *
 * docs/adding-an-op.md walks through an example. A build without Vulkan has these functions as well: there is no device
 * then, and no kernel is ever prepared.
 */
#ifndef STRATA_VULKAN_H
#define STRATA_VULKAN_H

#include <strata/extend.h>

#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    STRATA_VK_MAX_BINDINGS = 9,    /* eight operands and the result */
    STRATA_VK_MAX_SPEC     = 16,   /* specialization constants */
    STRATA_VK_MAX_PUSH     = 128,  /* bytes of push constants: what every driver has */
    STRATA_VK_WORKGROUP    = 256   /* invocations of a workgroup, at most; what strata_vk_cover counts in */
};

/* A compute shader with the entry point "main", storage buffers at bindings 0 and up of set 0, specialization constants
 * with constant_id 0 and up, and a block of push constants. A definition: not copied, it must stay until the context is
 * destroyed. Either SPIR-V (for Vulkan 1.1), as `glslangValidator -V --target-env vulkan1.1 --vn my_shader_spv my.comp -o
 * my.spv.h` writes it, or the text of a whole shader, with its #version, which is compiled when it is first used. That takes
 * the optional module libstrata-glsl; where it is not installed, an error says so. There is no #include in a text. */
typedef struct strata_vk_shader {
    const char     *name;     /* for messages */
    int             bindings; /* how many buffers it declares */
    const uint32_t *code;     /* SPIR-V; NULL: there is a text */
    size_t          bytes;    /* of code */
    const char     *glsl;     /* used when code is NULL */
} strata_vk_shader;

typedef enum strata_vk_source {
    STRATA_VK_OPERAND, STRATA_VK_RESULT, STRATA_VK_SCRATCH, STRATA_VK_UNUSED
} strata_vk_source;

typedef struct strata_vk_binding { /* what lies behind a binding */
    strata_vk_source source;
    int              operand; /* of the node */
    bool             read, written;
    size_t           at, size; /* bytes of the step's workspace */
} strata_vk_binding;

/* One dispatch: start with { .shader = ... } and describe it with the functions below, bindings in their order. What is
 * too much for a member is counted and not stored; strata_vk_emit then says so. */
typedef struct strata_vk_dispatch {
    const strata_vk_shader *shader;
    int                     bindings, spec_count;
    size_t                  push_bytes;
    strata_vk_binding       binding[STRATA_VK_MAX_BINDINGS];
    uint32_t                spec[STRATA_VK_MAX_SPEC];
    uint32_t                push[STRATA_VK_MAX_PUSH / 4];
    uint32_t                groups[3]; /* workgroups; 0 counts as 1 */
} strata_vk_dispatch;

static inline void strata_vk_bind(strata_vk_dispatch *d, strata_vk_binding binding)
{
    if (d->bindings < STRATA_VK_MAX_BINDINGS)
        d->binding[d->bindings] = binding;
    d->bindings++;
}

/* The next binding is operand k, read. Constant operands are what prepare has uploaded. */
static inline void strata_vk_read(strata_vk_dispatch *d, int k)
{
    strata_vk_binding b = { STRATA_VK_OPERAND, 0, true, false, 0, 0 };
    b.operand = k;
    strata_vk_bind(d, b);
}

/* The next binding is the result, written. */
static inline void strata_vk_write(strata_vk_dispatch *d)
{
    strata_vk_binding b = { STRATA_VK_RESULT, 0, false, true, 0, 0 };
    strata_vk_bind(d, b);
}

/* The next binding is bytes [at, at + size) of the workspace that prepare has asked for (step->workspace); `at` is a
 * multiple of 256. */
static inline void strata_vk_scratch(strata_vk_dispatch *d, size_t at, size_t size, bool read, bool written)
{
    strata_vk_binding b = { STRATA_VK_SCRATCH, 0, false, false, 0, 0 };
    b.at = at;
    b.size = size;
    b.read = read;
    b.written = written;
    strata_vk_bind(d, b);
}

/* The next binding is one that this specialization of the shader never touches. Not for the first binding. */
static inline void strata_vk_unused(strata_vk_dispatch *d)
{
    strata_vk_binding b = { STRATA_VK_UNUSED, 0, false, false, 0, 0 };
    strata_vk_bind(d, b);
}

/* The value of the next specialization constant. A float goes in by its bits. */
static inline void strata_vk_spec(strata_vk_dispatch *d, uint32_t value)
{
    if (d->spec_count < STRATA_VK_MAX_SPEC)
        d->spec[d->spec_count] = value;
    d->spec_count++;
}

/* The push constants, in the layout of std430; `bytes` is a multiple of 4. */
static inline void strata_vk_push(strata_vk_dispatch *d, const void *words, size_t bytes)
{
    if (bytes <= STRATA_VK_MAX_PUSH)
        memcpy(d->push, words, bytes);
    d->push_bytes = bytes;
}

/* So many workgroups, along x and continued in y where drivers end. The number of a workgroup is then
 * gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x, and the last numbers may be beyond the end. */
static inline void strata_vk_groups(strata_vk_dispatch *d, uint64_t groups)
{
    const uint64_t most = 65535; /* that every driver allows */
    const uint64_t rows = groups > most ? (groups + most - 1) / most : 1;
    d->groups[1] = (uint32_t)rows;
    d->groups[0] = (uint32_t)((groups + rows - 1) / rows);
}

/* The same for a number of invocations, of a shader with local_size_x = 256. */
static inline void strata_vk_cover(strata_vk_dispatch *d, uint64_t invocations)
{
    strata_vk_groups(d, (invocations + STRATA_VK_WORKGROUP - 1) / STRATA_VK_WORKGROUP);
}

/* In `emit`: adds the dispatch, which is copied. INVALID when it does not fit its shader or is too large a description,
 * UNSUPPORTED when the device cannot do it. */
STRATA_API strata_status strata_vk_emit(const strata_step *s, const strata_frame *f, const strata_vk_dispatch *d,
                                        strata_error *err);

/* For `prepare`: uploads every constant operand, of rank 4 in the layout of the result when that is of rank 4 too. */
STRATA_API strata_status strata_vk_prepare(strata_step *s, strata_error *err);
/* In a `prepare` of one's own: puts `count` floats in the place of constant operand k, packed as the shader likes. */
STRATA_API strata_status strata_vk_upload(strata_step *s, int k, const float *data, size_t count, strata_error *err);
/* For `release`, after either: frees what was uploaded. */
STRATA_API void strata_vk_release(strata_step *s);
/* For `accepts`: whether all elements of all values can be counted in 32 bits. */
STRATA_API bool strata_vk_fits(const strata_node *n);

#ifdef __cplusplus
}
#endif
#endif
