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
#if UINTPTR_MAX > UINT32_MAX
enum { BLOCK_BYTES = 256 << 20 };
#else
enum { BLOCK_BYTES = 64 << 20 };
#endif

struct cpu_block {
    cpu_block *next;
    char      *bytes;
    size_t     size, used, last; /* last: where the newest weights begin */
};

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* The system may refuse: then pages are small. */
static void ask_for_huge_pages(void *memory, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    if (bytes > 0)
        madvise(memory, bytes, MADV_HUGEPAGE);
#else
    (void)memory, (void)bytes;
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

#if defined(__SANITIZE_ADDRESS__)
/* Each layer by itself, for the sanitizer to guard its ends. */
static bool map_block(cpu_block *b, size_t bytes, size_t small)
{
    (void)small;
    b->size = round_up(bytes, STATE_ALIGNMENT);
    b->bytes = aligned_alloc(STATE_ALIGNMENT, b->size);
    return b->bytes != NULL;
}

static void unmap_block(cpu_block *b)
{
    free(b->bytes);
}
#else
static bool map_bytes(cpu_block *b, size_t bytes)
{
    b->size = round_up(bytes, HUGE_PAGE);
    char *from = mmap(NULL, b->size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (from == MAP_FAILED)
        return false;
    size_t before = (HUGE_PAGE - (uintptr_t)from % HUGE_PAGE) % HUGE_PAGE;
    b->bytes = from + before;
    if (before > 0)
        munmap(from, before);
    munmap(b->bytes + b->size, HUGE_PAGE - before);
    return true;
}

/* Not by malloc, which some are told to fill what they give out. `small`: bytes at the beginning to be in small pages. */
static bool map_block(cpu_block *b, size_t bytes, size_t small)
{
    if (!map_bytes(b, bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES) && !map_bytes(b, bytes)) /* not as much address space, then */
        return false;
    if (b->size > small)
        ask_for_huge_pages(b->bytes + small, b->size - small);
    return true;
}

static void unmap_block(cpu_block *b)
{
    munmap(b->bytes, b->size);
}
#endif

/* The first huge page's worth of a device is in small ones: a small network takes no more than it needs. NULL without
 * memory. */
static cpu_block *add_block(strata_device *dev, size_t bytes)
{
    cpu_block *b = calloc(1, sizeof *b);
    if (b == NULL || bytes > SIZE_MAX / 2 || !map_block(b, bytes, dev->blocks == NULL ? HUGE_PAGE : 0)) {
        free(b);
        return NULL;
    }
    b->next = dev->blocks;
    dev->blocks = b;
    return b;
}

/* Bytes of memory that so many bytes of weights take. */
static size_t taken(size_t packed)
{
    return packed <= HUGE_PAGE ? packed : round_up(packed, HUGE_PAGE);
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
    s->state_bytes = taken(s->device->packed + whole) - taken(s->device->packed);
    s->device->packed += whole;
    b->last = b->used;
    b->used += whole;
    return STRATA_OK;
}

void cpu_release_state(strata_step *s)
{
    cpu_block *b = s->device->blocks;
    if (b != NULL && s->state == b->bytes + b->last) { /* the newest: their place is free again */
        s->device->packed -= b->used - b->last;
        b->used = b->last;
    }
    s->state = NULL;
    s->state_bytes = 0;
}

void cpu_free_blocks(strata_device *dev)
{
    while (dev->blocks != NULL) {
        cpu_block *b = dev->blocks;
        dev->blocks = b->next;
        unmap_block(b);
        free(b);
    }
}
