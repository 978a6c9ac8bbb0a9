/* extract_pump.c: keeps three things going at once. The loader's threads decode ahead; the session computes
 * one batch; this thread fills the next batch and writes the one before.
 *
 *     slot 0:  fill | run        | write | fill | run        | ...
 *     slot 1:         fill |       wait   run        | write | ...
 *
 * Rows keep the order of the inputs. The last batch of a size is padded with zeros, and the rows of the
 * padding are dropped: a row's numbers do not depend on what shares its batch. */
#include "extract.h"

#include "talk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void on_done(void *user, strata_status status, const strata_error *err)
{
    struct slot *s = user;
    s->status = status;
    if (status != STRATA_OK && err)
        s->err = *err;
    sem_post(&s->done);
}

/* ---- A batch: submit, wait, write ------------------------------------------------------------ */

static int submit(struct pump *p, struct slot *s)
{
    const strata_tensor_desc *desc = strata_tensor_get_desc(s->input);
    const int                 batch = p->current->batch;
    size_t                    row = strata_bytes(desc) / (size_t)batch;
    strata_error              err = { 0 };
    memset((char *)strata_tensor_data(s->input) + row * (size_t)s->rows, 0,
           row * (size_t)(batch - s->rows));
    if (strata_session_submit(p->current->session, &s->input, s->outputs, on_done, s, &err) != STRATA_OK)
        return talk_failure(STAGE_RUN, &err, NULL);
    p->running = s;
    return EXIT_DONE;
}

static int wait_for_running(struct pump *p, struct slot **finished)
{
    struct slot *s = *finished = p->running;
    if (!s)
        return EXIT_DONE;
    while (sem_wait(&s->done) != 0 && errno == EINTR)
        ;
    p->running = NULL;
    return s->status == STRATA_OK ? EXIT_DONE : talk_failure(STAGE_RUN, &s->err, NULL);
}

static int write_slot(struct pump *p, struct slot *s)
{
    const strata_graph *g = strata_program_graph(p->current->program);
    strata_error        err = { 0 };
    int                 code = EXIT_DONE;
    if (!p->pictured)
        code = sides_outputs(&p->sides, g, s->outputs);
    p->pictured = 1;
    for (int i = 0; i < p->current->output_count && !code; i++) {
        const char        *name = strata_graph_output(g, i).name;
        int                kept = p->current->kept;
        strata_tensor_desc desc = *strata_tensor_get_desc(s->outputs[i]);
        strata_tensor     *rows = NULL;
        desc.dim[0] = s->rows;
        if (strata_tensor_wrap(&desc, strata_tensor_data(s->outputs[i]), NULL, NULL, &rows, &err) !=
            STRATA_OK)
            code = talk_failure(STAGE_RUN, &err, NULL);
        else if (i >= kept)
            code = values_append(&p->sizes.values, i - kept, name, rows);
        else if (strata_writer_append(p->writer, name, rows, &err) != STRATA_OK)
            code = talk_failure(STAGE_FILES, &err, NULL);
        if (!code)
            code = stats_add(&p->stats, i, name, rows, (const char *const *)p->names + p->written);
        strata_tensor_unref(rows);
    }
    p->written += s->rows;
    s->rows = 0;
    return code;
}

/* Hands the filled slot to the session as soon as that is free, then writes what the session has finished. */
static int flush(struct pump *p)
{
    struct slot *finished, *filled = &p->current->slots[p->filling];
    int          code = wait_for_running(p, &finished);
    if (!code)
        code = submit(p, filled);
    if (!code && finished)
        code = write_slot(p, finished);
    p->filling = !p->filling;
    return code;
}

/* Until nothing of the current program is on its way. */
static int drain(struct pump *p)
{
    struct slot *finished;
    int          code = EXIT_DONE;
    if (!p->current)
        return code;
    if (p->current->slots[p->filling].rows)
        code = flush(p);
    if (!code)
        code = wait_for_running(p, &finished);
    if (!code && finished)
        code = write_slot(p, finished);
    return code;
}

/* ---- Inputs ---------------------------------------------------------------------------------- */

/* Texts of the library mostly start with the path already. */
static void reject(struct pump *p, const char *path, const char *why)
{
    bool named = strncmp(why, path, strlen(path)) == 0;
    p->rejected++;
    talk_error(EXIT_REJECTED, "rejected: %s%s%s", named ? "" : path, named ? "" : ": ", why);
}

static int add_name(struct pump *p, const char *path, int row, int rows)
{
    if (p->rows == p->name_capacity) {
        int    capacity = p->name_capacity ? 2 * p->name_capacity : 64;
        char **grown = realloc(p->names, (size_t)capacity * sizeof *grown);
        if (!grown)
            return talk_error(EXIT_UNEXPECTED, "out of memory");
        p->names = grown;
        p->name_capacity = capacity;
    }
    char *name = NULL;
    if (rows == 1)
        name = strdup(path);
    else if (asprintf(&name, "%s[%d]", path, row) < 0)
        name = NULL;
    if (!name)
        return talk_error(EXIT_UNEXPECTED, "out of memory");
    p->names[p->rows++] = name;
    return EXIT_DONE;
}

/* Rows of one file have one shape. Logits have it for every input size, feature maps do not. */
static bool fits(struct pump *p, const struct sized *z)
{
    const strata_graph *g = strata_program_graph(z->program);
    if (p->rows == 0) {
        for (int i = 0; i < z->output_count; i++)
            p->shapes[i] = *strata_graph_output(g, i).desc;
        p->first_size[0] = z->height;
        p->first_size[1] = z->width;
        return true;
    }
    if (p->sides.options->dump_input && (z->height != p->first_size[0] || z->width != p->first_size[1]))
        return false;
    for (int i = 0; i < z->output_count; i++)
        if (!strata_same_shape(&p->shapes[i], strata_graph_output(g, i).desc))
            return false;
    return true;
}

/* Makes the program of this input's size the current one. *accepted says whether the input can be used. */
static int choose_size(struct pump *p, const char *path, const strata_tensor_desc *desc, bool *accepted)
{
    struct sized *z = p->current;
    char          why[256];
    *accepted = true;
    if (p->rows > 0 && z->height == desc->dim[2] && z->width == desc->dim[3])
        return EXIT_DONE;
    int code = drain(p);
    if (!code)
        code = sizes_get(&p->sizes, desc->dim[2], desc->dim[3], NULL, &z);
    if (code == EXIT_USAGE) {
        *accepted = false;
        reject(p, path, "the model cannot be built at its size");
        return EXIT_DONE;
    }
    if (code)
        return code;
    p->current = z; /* even if it does not fit: the one before may have been evicted */
    p->filling = 0;
    if (fits(p, z))
        return EXIT_DONE;
    *accepted = false;
    snprintf(
        why, sizeof why,
        "its size %lldx%lld gives arrays of another shape than the %lldx%lld before it; give it its own file",
        (long long)desc->dim[2], (long long)desc->dim[3], (long long)p->first_size[0],
        (long long)p->first_size[1]);
    reject(p, path, why);
    return EXIT_DONE;
}

static int add_rows(struct pump *p, const char *path, const strata_tensor *tensor)
{
    const strata_tensor_desc *desc = strata_tensor_get_desc(tensor);
    int                       rows = (int)desc->dim[0], code = EXIT_DONE;
    size_t                    bytes = rows ? strata_bytes(desc) / (size_t)rows : 0;
    for (int i = 0; i < rows && !code; i++) {
        struct slot *s = &p->current->slots[p->filling];
        memcpy((char *)strata_tensor_data(s->input) + bytes * (size_t)s->rows,
               (const char *)strata_tensor_data(tensor) + bytes * (size_t)i, bytes);
        s->rows++;
        code = add_name(p, path, i, rows);
        if (!code && s->rows == p->current->batch)
            code = flush(p);
    }
    return code;
}

/* Takes the image. */
static int accept_item(struct pump *p, const char *path, const strata_tensor *tensor, strata_image *image)
{
    const strata_tensor_desc *desc = strata_tensor_get_desc(tensor);
    bool                      accepted = false;
    int                       code = EXIT_DONE;
    if (desc->rank != 4 || desc->dim[0] < 1 || desc->dim[1] != p->sides.record.channels) {
        char shape[96], why[256];
        snprintf(why, sizeof why, "a tensor of shape %s; the model wants [N,%d,H,W] or [%d,H,W]",
                 strata_shape_text(desc, shape, sizeof shape), p->sides.record.channels,
                 p->sides.record.channels);
        reject(p, path, why);
    } else {
        code = choose_size(p, path, desc, &accepted);
    }
    if (code || !accepted) {
        strata_image_destroy(image);
        return code;
    }
    code = sides_input(&p->sides, tensor, image, p->rows == 0);
    return code ? code : add_rows(p, path, tensor);
}

int pump_run(struct pump *p, strata_loader *loader, const volatile sig_atomic_t *stop)
{
    int            index, code = EXIT_DONE;
    strata_tensor *tensor = NULL;
    strata_image  *image = NULL, **want = p->sides.options->picture ? &image : NULL;
    strata_status  status;
    strata_error   err = { 0 };
    double         start = talk_seconds();

    while (!code && !*stop && strata_loader_next(loader, &index, &tensor, want, &status, &err)) {
        const char *path = p->inputs->path[index];
        if (status == STRATA_OK)
            code = accept_item(p, path, tensor, image);
        else if (status == STRATA_NOMEM)
            code = talk_failure(STAGE_RUN, &err, NULL);
        else
            reject(p, path, err.text);
        strata_tensor_unref(tensor);
        tensor = NULL;
        image = NULL;
        talk_progress((size_t)index + 1, (size_t)p->inputs->count, talk_seconds() - start);
    }
    if (!code && *stop)
        code = talk_error(EXIT_UNEXPECTED, "stopped by a signal; '%s' is as it was before", p->out);
    return code ? code : drain(p);
}

void pump_free(struct pump *p)
{
    sizes_free(&p->sizes);
    sides_free(&p->sides);
    stats_free(&p->stats);
    strata_writer_destroy(p->writer);
    for (int i = 0; i < p->rows; i++)
        free(p->names[i]);
    free(p->names);
}
