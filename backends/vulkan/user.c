/* user.c: <strata/vulkan.h>: kernels with shaders of their own, on top of kernel.h.
 *
 * A description names operands and ranges of the workspace; here it becomes a dispatch over buffers. It may come from a
 * plug-in, so all of it is checked. A shader given as text is compiled when a dispatch first has it, once per context.
 */
#include "kernel.h"

#include <strata/vulkan.h>

#include <stdlib.h>
#include <string.h>

_Static_assert((int)STRATA_VK_MAX_BINDINGS == (int)VK_MAX_BINDINGS && (int)STRATA_VK_MAX_SPEC == (int)VK_MAX_SPEC &&
                   (int)STRATA_VK_MAX_PUSH == (int)VK_MAX_PUSH && (int)STRATA_VK_WORKGROUP == (int)VK_WORKGROUP,
               "what is promised is what there is");

/* ---- Shaders ------------------------------------------------------------------------------------- */

struct vk_user_shader {
    const strata_vk_shader *def;
    vk_shader               shader;
    uint32_t               *compiled; /* of a text */
    struct vk_user_shader  *next;
};

/* With v->lock held. */
static strata_status add_shader(vk_instance *v, const strata_vk_shader *def, const vk_shader **out, strata_error *err)
{
    struct vk_user_shader *s = calloc(1, sizeof *s);
    strata_status          status = STRATA_OK;
    if (!s)
        return strata_fail(err, STRATA_NOMEM, "no memory for shader %s", def->name);
    s->def = def;
    s->shader.name = def->name;
    s->shader.code = def->code;
    s->shader.bytes = def->bytes;
    s->shader.bindings = def->bindings;
    if (!def->code) {
        status = vk_glsl_compile(v, def->glsl, &s->compiled, &s->shader.bytes, err);
        s->shader.code = s->compiled;
        if (status != STRATA_OK)
            strata_fail_in(err, status, "shader %s", def->name);
    } else {
        char problem[128];
        if (!vk_spirv_check(def->code, def->bytes, def->bindings, problem, sizeof problem))
            status = strata_fail(err, STRATA_FORMAT, "shader %s %s; compile it again, or see what spirv-val says", def->name,
                                 problem);
    }
    if (status != STRATA_OK) {
        free(s);
        return status;
    }
    s->next = v->user_shaders;
    v->user_shaders = s;
    *out = &s->shader;
    return STRATA_OK;
}

static strata_status find_shader(vk_instance *v, const strata_vk_shader *def, const vk_shader **out, strata_error *err)
{
    strata_status status = STRATA_OK;
    *out = NULL;
    pthread_mutex_lock(&v->lock);
    for (const struct vk_user_shader *s = v->user_shaders; s && !*out; s = s->next)
        if (s->def == def)
            *out = &s->shader;
    if (!*out)
        status = add_shader(v, def, out, err);
    pthread_mutex_unlock(&v->lock);
    return status;
}

void vk_user_close(vk_instance *v)
{
    while (v->user_shaders) {
        struct vk_user_shader *next = v->user_shaders->next;
        free(v->user_shaders->compiled);
        free(v->user_shaders);
        v->user_shaders = next;
    }
    vk_glsl_close(v);
}

/* ---- Dispatches ---------------------------------------------------------------------------------- */

static strata_status check(const strata_vk_dispatch *d, strata_error *err)
{
    const strata_vk_shader *shader = d->shader;
    if (!shader || !shader->name || (!shader->code && !shader->glsl))
        return strata_fail(err, STRATA_INVALID, "a dispatch needs a shader, and that a name and its code or its text");
    if (d->bindings != shader->bindings || d->bindings < 1 || d->bindings > STRATA_VK_MAX_BINDINGS)
        return strata_fail(err, STRATA_INVALID, "shader %s has %d bindings and %d are described; 1 to %d are possible",
                           shader->name, shader->bindings, d->bindings, STRATA_VK_MAX_BINDINGS);
    if (d->spec_count > STRATA_VK_MAX_SPEC)
        return strata_fail(err, STRATA_INVALID, "shader %s: %d specialization constants; %d are possible", shader->name,
                           d->spec_count, STRATA_VK_MAX_SPEC);
    if (d->push_bytes > STRATA_VK_MAX_PUSH || d->push_bytes % 4 != 0)
        return strata_fail(err, STRATA_INVALID, "shader %s: %zu bytes of push constants; multiples of 4 up to %d are possible",
                           shader->name, d->push_bytes, STRATA_VK_MAX_PUSH);
    return STRATA_OK;
}

/* Binds what is meant; false when there is nothing behind it. */
static bool bind(vk_dispatch *out, const strata_step *s, const strata_frame *f, const strata_vk_binding *b)
{
    const vk_state *state = s->state;
    const int       k = b->operand;
    switch (b->source) {
    case STRATA_VK_OPERAND:
        if (k < 0 || k >= STRATA_MAX_OPERANDS || !s->node->in[k] ||
            (!f->in[k].buffer && !(state && state->constant[k].block)))
            return false;
        vk_read_operand(out, s, f, k);
        return true;
    case STRATA_VK_RESULT: vk_write_result(out, f); return true;
    case STRATA_VK_SCRATCH:
        if (b->size == 0 || b->at > s->workspace || b->size > s->workspace - b->at)
            return false;
        vk_use_scratch(out, f, b->at, b->size, b->read, b->written);
        return true;
    case STRATA_VK_UNUSED:
        if (out->bindings == 0)
            return false;
        vk_unused(out);
        return true;
    }
    return false;
}

strata_status strata_vk_emit(const strata_step *s, const strata_frame *f, const strata_vk_dispatch *d, strata_error *err)
{
    const vk_shader *shader;
    STRATA_TRY(check(d, err));
    STRATA_TRY(find_shader(s->device->instance, d->shader, &shader, err));
    vk_dispatch out = vk_shader_dispatch(shader);
    for (int i = 0; i < d->bindings; i++)
        if (!bind(&out, s, f, &d->binding[i]))
            return strata_fail(err, STRATA_INVALID, "shader %s: there is nothing behind binding %d: an operand that is left "
                               "out, a constant that was not uploaded, or bytes outside of the workspace of %zu",
                               d->shader->name, i, s->workspace);
    for (int i = 0; i < d->spec_count; i++)
        vk_spec(&out, d->spec[i]);
    vk_push(&out, d->push, d->push_bytes);
    for (int i = 0; i < 3; i++)
        out.groups[i] = d->groups[i] ? d->groups[i] : 1;
    return vk_emit(f->stream, &out, err);
}

/* ---- prepare, release, accepts ------------------------------------------------------------------- */

strata_status strata_vk_prepare(strata_step *s, strata_error *err) { return vk_prepare(s, err); }

strata_status strata_vk_upload(strata_step *s, int k, const float *data, size_t count, strata_error *err)
{
    if (k < 0 || k >= STRATA_MAX_OPERANDS || !vk_has_constant(s->node, k) || count == 0)
        return strata_fail(err, STRATA_INVALID, "operand %d is no constant, or it is given no data", k);
    return vk_upload(s, k, data, count, STRATA_F32, err);
}

void strata_vk_release(strata_step *s) { vk_release(s); }
bool strata_vk_fits(const strata_node *n) { return vk_fits(n); }
