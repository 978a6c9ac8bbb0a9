/* pack.c: the walk over the weights that are packed.
 *
 * Packing reads and writes every weight of a network once, which is most of the time from a checkpoint to the
 * first result. So all threads share in it, layer by layer, and weights that are still to be computed (folded
 * batch norms) come in rows that stay in the cache. */
#include "cpu.h"

#include <stdatomic.h>
#include <stdlib.h>

typedef struct rows_job {
    const strata_tensor *tensor;
    int64_t              rows, unit, parts, part; /* part: units in each of the parts */
    size_t               slot_bytes;
    char                *scratch;
    cpu_rows_fn          fn;
    void                *arg;
    atomic_int           status;
} rows_job;

/* Units are taken from all parts in turn: threads that work side by side would take the same huge page from the
 * system, one waiting while the other clears it. */
static void rows_item(void *arg, int item, int slot)
{
    rows_job *job = arg;
    int64_t first = (item % job->parts * job->part + item / job->parts) * job->unit;
    int64_t count = cpu_min(job->unit, job->rows - first);
    if (count <= 0)
        return;
    float *scratch = (float *)(void *)(job->scratch + (size_t)slot * job->slot_bytes);
    const float *rows;
    strata_status status = strata_tensor_rows(job->tensor, first, count, scratch, &rows, NULL);
    if (status == STRATA_OK)
        job->fn(job->arg, rows, first, count);
    else
        atomic_store(&job->status, (int)status);
}

strata_status cpu_each_rows(const strata_step *s, const strata_node *n, int unit, cpu_rows_fn fn, void *arg,
                            strata_error *err)
{
    rows_job job = { .tensor = n->data, .rows = n->desc.dim[0], .unit = unit, .fn = fn, .arg = arg };
    job.parts = s->device->threads;
    job.part = cpu_ceil_div(cpu_ceil_div(job.rows, unit), job.parts);
    job.slot_bytes = cpu_round64((size_t)unit * (strata_bytes(&n->desc) / (size_t)cpu_max(1, job.rows)));
    job.scratch = cpu_alloc(64, job.slot_bytes * (size_t)s->device->threads);
    if (job.scratch == NULL)
        return strata_fail(err, STRATA_NOMEM, "%s: no memory to pack it", n->name);
    cpu_parallel(s, job.parts * job.part, rows_item, &job);
    free(job.scratch);
    strata_status status = (strata_status)atomic_load(&job.status);
    return status == STRATA_OK ? status : strata_fail(err, status, "%s: it could not be computed", n->name);
}
