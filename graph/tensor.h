/* What a counted tensor is; shared by tensor.c and deferred.c. */
#ifndef STRATA_GRAPH_TENSOR_H
#define STRATA_GRAPH_TENSOR_H

#include <strata/extend.h>

#include <pthread.h>
#include <stdatomic.h>

typedef struct tensor_recipe tensor_recipe;

struct strata_tensor {
    atomic_int         references;
    strata_tensor_desc desc;
    void              *data; /* under the recipe's lock, where there is one: NULL until it is computed */
    void (*release)(void *user);
    void          *user;
    tensor_recipe *recipe; /* of deferred tensors */
};

void strata_tensor_recipe_free(tensor_recipe *r);
/* Bytes of memory that t keeps in use, those of operands of what is deferred included. Bytes that are not the tensor's own
 * (a mapped file's) count only when `borrowed` ones are asked for, too. */
size_t strata_tensor_memory(const strata_tensor *t, bool borrowed);
/* Zeros: *data, aligned, lies in *block. */
strata_status strata_tensor_alloc(size_t bytes, void **block, void **data, strata_error *err);
void          strata_tensor_free(void *block);

#endif
