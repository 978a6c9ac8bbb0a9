/* memory.c: memory of the CPU backend: for buffers, and for the packed weights of a device.
 *
 * All packed weights of a device lie side by side in a few large blocks of huge pages. A run reads each of them once, in
 * about the order in which they were packed, and from small pages the processor would have to look up an address every 4 KB,
 * where it also stops reading ahead: on Zen 3 a thread reads 16 MB that are in no cache with 9 to 12 GB/s from small pages
 * and with 13 to 16 from huge ones. The weights of one layer seldom fill a huge page by themselves.
 */
#include "cpu.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20, STATE_ALIGNMENT = 64 };

/* Address space of a block. It takes memory page by page, when a page is first written to. */
#if defined(__SANITIZE_ADDRESS__)
enum { BLOCK_BYTES = 1 }; /* each layer by itself, for the sanitizer to guard its ends */
#else
enum { BLOCK_BYTES = 64 << 20 };
#endif

struct cpu_block {
    cpu_block *next;
    char      *bytes;
    size_t     size, used, last; /* last: where the newest weights begin */
    size_t     small; /* bytes at the beginning that are in small pages; the others are in huge ones */
};

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* Whether the memory will be in huge pages; the system may refuse. */
static bool ask_for_huge_pages(void *memory, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    return bytes > 0 && madvise(memory, bytes, MADV_HUGEPAGE) == 0;
#else
    (void)memory, (void)bytes;
    return false;
#endif
}

/* Huge pages where whole ones fit, which takes no more memory. */
void *cpu_alloc(size_t alignment, size_t bytes)
{
    if (bytes >= HUGE_PAGE)
        alignment = HUGE_PAGE;
    if (bytes > SIZE_MAX - alignment)
        return NULL;
    size_t whole = round_up(bytes, alignment);
    void *memory = aligned_alloc(alignment, whole != 0 ? whole : alignment);
    if (memory != NULL)
        ask_for_huge_pages(memory, bytes / HUGE_PAGE * HUGE_PAGE);
    return memory;
}

/* ---- Packed weights ---------------------------------------------------------------------------------- */

/* The first huge page's worth of a device is in small pages: a small network takes no more than it needs. NULL without
 * memory. */
static cpu_block *add_block(strata_device *dev, size_t bytes)
{
    cpu_block *b = calloc(1, sizeof *b);
    if (b == NULL || bytes > SIZE_MAX / 2) {
        free(b);
        return NULL;
    }
    b->size = round_up((size_t)cpu_max((int64_t)bytes, BLOCK_BYTES), HUGE_PAGE);
    b->bytes = aligned_alloc(HUGE_PAGE, b->size);
    if (b->bytes == NULL) { /* not as much address space, then */
        b->size = round_up(bytes, HUGE_PAGE);
        b->bytes = aligned_alloc(HUGE_PAGE, b->size);
    }
    if (b->bytes == NULL) {
        free(b);
        return NULL;
    }
    b->small = dev->blocks == NULL ? HUGE_PAGE : 0;
    if (!ask_for_huge_pages(b->bytes + b->small, b->size - b->small))
        b->small = b->size;
    b->next = dev->blocks;
    dev->blocks = b;
    return b;
}

/* Bytes of memory that a block takes when `used` of it are written to. */
static size_t taken(const cpu_block *b, size_t used)
{
    return used <= b->small ? used : round_up(used, HUGE_PAGE);
}

strata_status cpu_alloc_state(strata_step *s, size_t bytes, strata_error *err)
{
    cpu_block *b = s->device->blocks;
    size_t whole = cpu_round64(bytes);
    if (b == NULL || whole < bytes || whole > b->size - b->used)
        b = whole < bytes ? NULL : add_block(s->device, whole);
    if (b == NULL)
        return strata_fail(err, STRATA_NOMEM, "%s: no memory for %zu bytes of packed weights", s->node->name, bytes);
    s->state = b->bytes + b->used;
    s->state_bytes = taken(b, b->used + whole) - taken(b, b->used);
    b->last = b->used;
    b->used += whole;
    return STRATA_OK;
}

void cpu_release_state(strata_step *s)
{
    cpu_block *b = s->device->blocks;
    if (b != NULL && s->state == b->bytes + b->last) /* the newest: their place is free again */
        b->used = b->last;
    s->state = NULL;
    s->state_bytes = 0;
}

void cpu_free_blocks(strata_device *dev)
{
    while (dev->blocks != NULL) {
        cpu_block *b = dev->blocks;
        dev->blocks = b->next;
        free(b->bytes);
        free(b);
    }
}
