/* spirv.c: whether words that a user hands in are a whole SPIR-V module. Drivers do not look: what is cut off or overwritten
 * may take the process with it. By the SPIR-V specification, section 2.3, "Physical Layout of a SPIR-V Module and
 * Instruction". Whether the module means something only a validator can tell (spirv-val). */
#include "pipeline.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { HEADER = 5 /* words: magic, version, generator, bound of ids, schema */ };
enum { MAGIC = 0x07230203, OLDEST = 0x00010000, NEWEST = 0x00010500 /* that Vulkan 1.2 takes */ };
enum { OP_ENTRY_POINT = 15, OP_FUNCTION_END = 56, OP_DECORATE = 71 };
enum { GL_COMPUTE = 5, BINDING = 33, MOST_IDS = 4194303 };

typedef struct module {
    uint32_t bound;
    int      bindings; /* that dispatches describe */
    bool     entered;  /* there is a compute shader "main" */
    uint32_t last;     /* opcode */
} module;

STRATA_PRINTF(3, 4) static bool complain(char *problem, size_t size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(problem, size, fmt, args);
    va_end(args);
    return false;
}

static bool check_header(const uint32_t *w, size_t words, char *problem, size_t size)
{
    if (words < HEADER || w[0] != MAGIC)
        return complain(problem, size, "is no SPIR-V, whose first word is 0x%08x", MAGIC);
    if (w[1] < OLDEST || w[1] > NEWEST)
        return complain(problem, size, "is SPIR-V of version %u.%u; 1.0 to 1.5 can be used", w[1] >> 16, w[1] >> 8 & 0xff);
    if (w[3] == 0 || w[3] > MOST_IDS || w[4] != 0)
        return complain(problem, size, "is damaged: %u ids and schema %u in its header", w[3], w[4]);
    return true;
}

/* One instruction of `count` words. */
static bool look_at(module *m, const uint32_t *w, uint32_t count, size_t at, char *problem, size_t size)
{
    m->last = w[0] & 0xffff;
    if (m->last == OP_ENTRY_POINT && count >= 5 && w[1] == GL_COMPUTE && memcmp(&w[3], "main", 5) == 0)
        m->entered = true;
    if (m->last == OP_DECORATE && count >= 2 && w[1] >= m->bound)
        return complain(problem, size, "is damaged: id %u at word %zu, of %u", w[1], at, m->bound);
    if (m->last == OP_DECORATE && count >= 4 && w[2] == BINDING && w[3] >= (uint32_t)m->bindings)
        return complain(problem, size, "has a binding %u, and is said to have %d", w[3], m->bindings);
    return true;
}

bool vk_spirv_check(const uint32_t *code, size_t bytes, int bindings, char *problem, size_t size)
{
    const size_t words = bytes / 4;
    if (bytes % 4 != 0)
        return complain(problem, size, "is no SPIR-V: %zu bytes are no whole number of words", bytes);
    if (!check_header(code, words, problem, size))
        return false;
    module m = { .bound = code[3], .bindings = bindings };
    for (size_t at = HEADER; at < words;) {
        const uint32_t count = code[at] >> 16;
        if (count == 0 || count > words - at)
            return complain(problem, size, "is damaged: an instruction of %u words at word %zu of %zu", count, at, words);
        if (!look_at(&m, code + at, count, at, problem, size))
            return false;
        at += count;
    }
    if (m.last != OP_FUNCTION_END)
        return complain(problem, size, "is damaged: it does not end with a function");
    return m.entered || complain(problem, size, "has no compute shader 'main'");
}
