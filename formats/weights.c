/* weights.c: the named tensors of one checkpoint file.
 *
 * The file is mapped, not read. Entries point into the map, and an entry becomes a tensor only when somebody
 * asks for it: as a view of the map when its bytes lie in one piece at an address fit for its type, else as a
 * copy. Either way the pages are given back when they have been copied or the view is let go. The map is
 * counted: views hold it, so tensors outlive the weights they came from, and no weight is in memory twice for
 * longer than its copy takes.
 *
 * The map is read-only; so are tensors that come from here. Cutting a file short while it is mapped is fatal
 * to any program that maps files, hence writers (ours included) replace files by renaming. */
#include "weights.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sha2.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_ENTRIES = 1 << 20, MAX_NAME = 1024 };

typedef struct file_map {
    atomic_int  refs;
    void       *bytes;
    size_t      size;
} file_map;

typedef struct piece {
    const unsigned char *at;
    size_t               size;
} piece;

typedef struct item {
    strata_weights_entry entry;
    size_t               first_piece, pieces;
} item;

typedef struct indexed_name {
    const char *name;
    int         item;
} indexed_name;

struct strata_weights {
    const strata_weights_reader *reader;
    char                        *path;
    file_map                    *map;
    item                        *items;
    piece                       *pieces;
    indexed_name                *by_name; /* sorted */
    size_t                       count, item_space, piece_count, piece_space;
};

/* ---- The map ------------------------------------------------------------------------------------------- */

static void map_release(void *user)
{
    file_map *map = user;
    if (map != NULL && atomic_fetch_sub(&map->refs, 1) == 1) {
        munmap(map->bytes, map->size);
        free(map);
    }
}

static strata_status map_open(const char *path, file_map **out, strata_error *err)
{
    file_map *map = NULL;
    strata_status status = STRATA_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* without waiting for the writer of a pipe */
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        status = strata_fail(err, errno == ENOENT || errno == ENOTDIR ? STRATA_NOT_FOUND : STRATA_IO,
                             "cannot read weights: %s", strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        status = strata_fail(err, STRATA_IO, "not a regular file, and weights have to be one");
    } else if (st.st_size == 0) {
        status = strata_fail(err, STRATA_FORMAT, "the file is empty; was it downloaded completely?");
    } else if ((map = calloc(1, sizeof *map)) == NULL) {
        status = strata_fail(err, STRATA_NOMEM, "out of memory");
    } else {
        map->size = (size_t)st.st_size;
        map->bytes = mmap(NULL, map->size, PROT_READ, MAP_PRIVATE, fd, 0);
        atomic_init(&map->refs, 1);
        if (map->bytes == MAP_FAILED) {
            status = strata_fail(err, errno == ENOMEM ? STRATA_NOMEM : STRATA_IO, "cannot map %zu bytes: %s",
                                 map->size, strerror(errno));
            free(map);
            map = NULL;
        }
    }
    if (fd >= 0)
        close(fd);
    *out = map;
    return status;
}

/* The whole pages of these bytes leave memory; a later read brings them back from the file. */
static void map_forget(const unsigned char *at, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)at + page - 1) / page * page, to = ((uintptr_t)at + size) / page * page;
    if (from < to)
        (void)madvise((void *)from, to - from, MADV_DONTNEED);
}

/* ---- Filling: for readers ------------------------------------------------------------------------------ */

static strata_status add_piece(strata_weights *w, const unsigned char *at, size_t size, strata_error *err)
{
    if (w->piece_count == w->piece_space) {
        size_t space = w->piece_space * 2 + 64;
        piece *pieces = realloc(w->pieces, space * sizeof *pieces);
        if (pieces == NULL)
            return strata_fail(err, STRATA_NOMEM, "out of memory after %zu tensors", w->count);
        w->pieces = pieces;
        w->piece_space = space;
    }
    w->pieces[w->piece_count++] = (piece){ at, size };
    return STRATA_OK;
}

strata_status strata_weights_add(strata_weights *w, const char *name, size_t length,
                                 const strata_tensor_desc *desc, const unsigned char *at, size_t size,
                                 strata_error *err)
{
    if (length == 0 || length > MAX_NAME)
        return strata_fail(err, STRATA_FORMAT, "the name of tensor %zu has %zu bytes, not 1 to %d", w->count,
                           length, MAX_NAME);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 127)
            return strata_fail(err, STRATA_FORMAT, "the name of tensor %zu holds the control character %d",
                               w->count, name[i]);
    if (w->count == MAX_ENTRIES)
        return strata_fail(err, STRATA_FORMAT, "more than %d tensors", MAX_ENTRIES);

    if (w->count == w->item_space) {
        size_t space = w->item_space * 2 + 64;
        item *items = realloc(w->items, space * sizeof *items);
        if (items == NULL)
            return strata_fail(err, STRATA_NOMEM, "out of memory after %zu tensors", w->count);
        w->items = items;
        w->item_space = space;
    }
    char *copy = strndup(name, length);
    if (copy == NULL)
        return strata_fail(err, STRATA_NOMEM, "out of memory after %zu tensors", w->count);
    w->items[w->count++] = (item){ .entry = { .name = copy, .desc = *desc }, .first_piece = w->piece_count };
    return strata_weights_continue(w, at, size, err);
}

strata_status strata_weights_continue(strata_weights *w, const unsigned char *at, size_t size,
                                      strata_error *err)
{
    STRATA_TRY(add_piece(w, at, size, err));
    w->items[w->count - 1].pieces++;
    return STRATA_OK;
}

void strata_weights_skip_last(strata_weights *w, const char *rule)
{
    w->items[w->count - 1].entry.skipped = rule;
}

const strata_weights_entry *strata_weights_last(const strata_weights *w)
{
    return w->count > 0 ? &w->items[w->count - 1].entry : NULL;
}

strata_status strata_check_extent(const char *name, const strata_tensor_desc *desc, uint64_t size,
                                  strata_error *err)
{
    char shape[128];
    for (int i = 0; i < desc->rank; i++)
        if (desc->dim[i] < 0)
            return strata_fail(err, STRATA_FORMAT, "%s: dim %d is negative: %lld", name, i,
                               (long long)desc->dim[i]);
    int64_t elements = strata_count(desc), width = (int64_t)strata_dtype_size(desc->dtype);
    if (elements < 0 || elements > INT64_MAX / width)
        return strata_fail(err, STRATA_FORMAT, "%s: the shape %s is absurd", name,
                           strata_shape_text(desc, shape, sizeof shape));
    if ((uint64_t)(elements * width) != size)
        return strata_fail(err, STRATA_FORMAT, "%s: %s of %s needs %lld bytes, but the file holds %llu", name,
                           strata_shape_text(desc, shape, sizeof shape), strata_dtype_name(desc->dtype),
                           (long long)(elements * width), (unsigned long long)size);
    return STRATA_OK;
}

/* ---- Entries that no network asks for ------------------------------------------------------------------ */

/* What training leaves in a checkpoint beside the parameters. Optimizers keep tensors named like the
 * parameter behind a prefix of theirs (MindSpore's Momentum, Adam, AdamWeightDecay, Lamb, RMSProp, Adagrad,
 * LARS); the others are whole names or last components. */
static const struct skip_rule {
    const char *rule;
    enum { PREFIX, NAME, LEAF } what;
    const char *text;
} skip_rules[] = {
    { "EMA copy", PREFIX, "ema." },
    { "optimizer slot", PREFIX, "moments." },
    { "optimizer slot", PREFIX, "moment." },
    { "optimizer slot", PREFIX, "moment1." },
    { "optimizer slot", PREFIX, "moment2." },
    { "optimizer slot", PREFIX, "adam_m." },
    { "optimizer slot", PREFIX, "adam_v." },
    { "optimizer slot", PREFIX, "lamb_m." },
    { "optimizer slot", PREFIX, "lamb_v." },
    { "optimizer slot", PREFIX, "vhat." },
    { "optimizer slot", PREFIX, "accum." },
    { "optimizer slot", PREFIX, "accumulation." },
    { "optimizer slot", PREFIX, "mean_square." },
    { "optimizer slot", PREFIX, "mean_grad." },
    { "optimizer slot", PREFIX, "rms." },
    { "optimizer slot", PREFIX, "stat." },
    { "optimizer slot", PREFIX, "exp_avg." },
    { "optimizer slot", PREFIX, "exp_avg_sq." },
    { "optimizer slot", PREFIX, "exp_inf." },
    { "optimizer slot", PREFIX, "momentum_buffer." },
    { "optimizer slot", PREFIX, "optimizer." },
    { "training state", NAME, "global_step" },
    { "training state", NAME, "epoch_num" },
    { "training state", NAME, "step_num" },
    { "training state", NAME, "learning_rate" },
    { "training state", NAME, "weight_decay" },
    { "training state", NAME, "momentum" },
    { "training state", NAME, "beta1_power" },
    { "training state", NAME, "beta2_power" },
    { "training state", NAME, "loss_scale" },
    { "training state", NAME, "scale_sense" },
    { "training state", NAME, "scale_value" },
    { "training state", NAME, "growth_tracker" },
    { "training state", NAME, "current_iterator_step" },
    { "training state", NAME, "last_overflow_iterator_step" },
    { "training state", NAME, "updates" },
    { "batch counter", LEAF, "num_batches_tracked" },
};

static const char *skip_rule_of(const strata_weights_entry *e)
{
    const char *dot = strrchr(e->name, '.');
    for (size_t i = 0; i < sizeof skip_rules / sizeof skip_rules[0]; i++) {
        const struct skip_rule *r = &skip_rules[i];
        size_t length = strlen(r->text);
        if (r->what == PREFIX   ? strncmp(e->name, r->text, length) == 0 && e->name[length] != '\0'
            : r->what == LEAF   ? strcmp(dot != NULL ? dot + 1 : e->name, r->text) == 0
                                : strcmp(e->name, r->text) == 0)
            return r->rule;
    }
    return e->desc.rank == 0 ? "scalar" : NULL; /* no network here has a parameter without dims */
}

/* ---- Loading ------------------------------------------------------------------------------------------- */

static bool sniff_zip(const unsigned char *bytes, size_t size)
{
    return (size >= 4 && memcmp(bytes, "PK\3\4", 4) == 0) || (size >= 2 && bytes[0] == 0x80 && bytes[1] <= 5);
}

static strata_status refuse_zip(strata_weights *w, const unsigned char *bytes, size_t size, strata_error *err)
{
    (void)w, (void)bytes, (void)size;
    return strata_fail(err, STRATA_FORMAT,
                       "a zip archive or Python pickle (PyTorch's .pth, or .npz), which is not "
                       "read; save the state dict with safetensors.torch.save_file and use that file");
}

static const strata_weights_reader zip_reader = { "zip", sniff_zip, refuse_zip };

/* Every format, asked in this order. */
static const strata_weights_reader *const readers[] = {
    &strata_safetensors_reader, &strata_encrypted_reader, &zip_reader, &strata_mindspore_reader,
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const indexed_name *)a)->name, ((const indexed_name *)b)->name);
}

/* Sorts the names; a name that occurs twice is an error. */
static strata_status index_names(strata_weights *w, strata_error *err)
{
    w->by_name = calloc(w->count + 1, sizeof *w->by_name);
    if (w->by_name == NULL)
        return strata_fail(err, STRATA_NOMEM, "out of memory for %zu names", w->count);
    for (size_t i = 0; i < w->count; i++)
        w->by_name[i] = (indexed_name){ w->items[i].entry.name, (int)i };
    qsort(w->by_name, w->count, sizeof *w->by_name, compare_names);
    for (size_t i = 1; i < w->count; i++)
        if (strcmp(w->by_name[i - 1].name, w->by_name[i].name) == 0)
            return strata_fail(err, STRATA_FORMAT, "two tensors have the name %s", w->by_name[i].name);
    return STRATA_OK;
}

static strata_status read_entries(strata_weights *w, strata_error *err)
{
    for (size_t i = 0; i < sizeof readers / sizeof readers[0] && w->reader == NULL; i++)
        if (readers[i]->sniff(w->map->bytes, w->map->size))
            w->reader = readers[i];
    if (w->reader == NULL)
        return strata_fail(err, STRATA_FORMAT, "neither a MindSpore checkpoint nor a .safetensors file");
    STRATA_TRY(w->reader->open(w, w->map->bytes, w->map->size, err));
    STRATA_TRY(index_names(w, err));
    for (size_t i = 0; i < w->count; i++)
        if (w->items[i].entry.skipped == NULL)
            w->items[i].entry.skipped = skip_rule_of(&w->items[i].entry);
    return STRATA_OK;
}

strata_status strata_weights_load(strata_context *ctx, const char *path, strata_weights **out,
                                  strata_error *err)
{
    *out = NULL;
    strata_weights *w = calloc(1, sizeof *w);
    if (w == NULL || (w->path = strdup(path)) == NULL) {
        free(w);
        return strata_fail(err, STRATA_NOMEM, "%s: out of memory", path);
    }
    strata_status status = map_open(path, &w->map, err);
    if (status == STRATA_OK)
        status = read_entries(w, err);
    if (status != STRATA_OK) {
        strata_weights_destroy(w);
        return strata_fail_in(err, status, "%s", path);
    }
    strata_log(ctx, STRATA_LOG_DEBUG, "%s: %zu tensors, %s", path, w->count, w->reader->name);
    *out = w;
    return STRATA_OK;
}

void strata_weights_destroy(strata_weights *w)
{
    if (w == NULL)
        return;
    for (size_t i = 0; i < w->count; i++)
        free((char *)w->items[i].entry.name);
    free(w->items);
    free(w->pieces);
    free(w->by_name);
    free(w->path);
    map_release(w->map);
    free(w);
}

/* ---- Reading ------------------------------------------------------------------------------------------- */

const char *strata_weights_format(const strata_weights *w)
{
    return w->reader->name;
}

const char *strata_weights_path(const strata_weights *w)
{
    return w->path;
}

int strata_weights_count(const strata_weights *w)
{
    return (int)w->count;
}

strata_weights_entry strata_weights_get(const strata_weights *w, int i)
{
    return i >= 0 && (size_t)i < w->count ? w->items[i].entry : (strata_weights_entry){ 0 };
}

int strata_weights_find(const strata_weights *w, const char *name)
{
    indexed_name key = { name, 0 };
    const indexed_name *found = bsearch(&key, w->by_name, w->count, sizeof key, compare_names);
    return found != NULL ? found->item : -1;
}

bool strata_weights_each_piece(const strata_weights *w, int i,
                               bool (*fn)(void *user, const void *at, size_t size), void *user)
{
    const item *it = &w->items[i];
    for (size_t p = 0; p < it->pieces; p++)
        if (!fn(user, w->pieces[it->first_piece + p].at, w->pieces[it->first_piece + p].size))
            return false;
    return true;
}

static strata_status check_index(const strata_weights *w, int i, strata_error *err)
{
    if (i < 0 || (size_t)i >= w->count)
        return strata_fail(err, STRATA_INVALID, "%s: no tensor %d; there are %zu", w->path, i, w->count);
    return STRATA_OK;
}

/* A tensor that is a view of the map. */
typedef struct map_view {
    file_map *map;
    piece     bytes;
} map_view;

static void view_release(void *user)
{
    map_view *view = user;
    map_forget(view->bytes.at, view->bytes.size);
    map_release(view->map);
    free(view);
}

static bool copy_piece(void *user, const void *at, size_t size)
{
    unsigned char **to = user;
    memcpy(*to, at, size);
    *to += size;
    map_forget(at, size);
    return true;
}

strata_status strata_weights_tensor(const strata_weights *w, int i, strata_tensor **out, strata_error *err)
{
    *out = NULL;
    STRATA_TRY(check_index(w, i, err));
    const item *it = &w->items[i];
    const piece *first = &w->pieces[it->first_piece];
    bool fit = (uintptr_t)first->at % strata_dtype_size(it->entry.desc.dtype) == 0;
    if (it->pieces == 1 && first->size > 0 && fit) {
        map_view *view = malloc(sizeof *view);
        if (view == NULL)
            return strata_fail(err, STRATA_NOMEM, "out of memory");
        *view = (map_view){ w->map, *first };
        atomic_fetch_add(&w->map->refs, 1);
        strata_status status =
            strata_tensor_wrap(&it->entry.desc, (void *)first->at, view_release, view, out, err);
        if (status != STRATA_OK)
            view_release(view);
        return status;
    }
    STRATA_TRY(strata_tensor_create(&it->entry.desc, out, err));
    unsigned char *to = strata_tensor_data(*out);
    strata_weights_each_piece(w, i, copy_piece, &to);
    return STRATA_OK;
}

static bool hash_piece(void *user, const void *at, size_t size)
{
    SHA256Update(user, at, size);
    return true;
}

strata_status strata_weights_sha256(const strata_weights *w, int i, char hex[65], strata_error *err)
{
    STRATA_TRY(check_index(w, i, err));
    SHA2_CTX hash;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256Init(&hash);
    strata_weights_each_piece(w, i, hash_piece, &hash);
    SHA256Final(digest, &hash);
    for (int k = 0; k < SHA256_DIGEST_LENGTH; k++)
        snprintf(hex + 2 * k, 3, "%02x", digest[k]);
    return STRATA_OK;
}
