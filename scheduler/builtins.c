/* A context with everything that is built in. The lists are the .def files of the folders: a new op, pass, model
 * family or backend is a line there. */
#include "../graph/context.h"

#include <strata/ops.h>

#define OP(name) &strata_op_##name,
static const strata_op_def *const ops[] = {
#include <strata/ops.def>
    NULL
};
#undef OP

#define PASS(name) extern const strata_pass_def strata_pass_##name;
#include "../passes/passes.def"
#undef PASS
#define PASS(name) &strata_pass_##name,
static const strata_pass_def *const passes[] = {
#include "../passes/passes.def"
    NULL
};
#undef PASS

#define FAMILY(name) extern const strata_model_def strata_models_##name[];
#include "../models/models.def"
#undef FAMILY
#define FAMILY(name) strata_models_##name,
static const strata_model_def *const families[] = {
#include "../models/models.def"
    NULL
};
#undef FAMILY

#define BACKEND(name) extern const strata_backend_def strata_backend_##name;
#include "../backends/backends.def"
#undef BACKEND
#define BACKEND(name) &strata_backend_##name,
static const strata_backend_def *const backends[] = {
#include "../backends/backends.def"
    NULL
};
#undef BACKEND

static strata_status register_all(strata_context *ctx, strata_error *err)
{
    for (int i = 0; ops[i]; i++)
        STRATA_TRY(strata_register_op(ctx, ops[i], err));
    for (int i = 0; passes[i]; i++)
        STRATA_TRY(strata_register_pass(ctx, passes[i], err));
    for (int i = 0; families[i]; i++)
        for (const strata_model_def *def = families[i]; def->name; def++)
            STRATA_TRY(strata_register_model(ctx, def, err));
    for (int i = 0; backends[i]; i++)
        STRATA_TRY(strata_register_backend(ctx, backends[i], err));
    return STRATA_OK;
}

strata_status strata_context_create(strata_context **out, strata_error *err)
{
    strata_context *ctx;
    STRATA_TRY(strata_context_create_empty(&ctx, err));
    strata_status status = register_all(ctx, err);
    if (status == STRATA_OK)
        *out = ctx;
    else
        strata_context_destroy(ctx);
    return status;
}
