/* ahead.h: weights on their way from memory before the step that reads them begins.
 *
 * A step that uses each weight once, as gates and classifiers do, waits for memory, while convolutions before it leave
 * memory idle. So each of these is given some of the bytes that such steps will read, and asks for them between its tiles.
 */
#ifndef STRATA_CPU_AHEAD_H
#define STRATA_CPU_AHEAD_H

#include "cpu.h"

/* What a step is to bring along, in the `stream` of its frame; nothing: no bytes. */
typedef struct cpu_ahead {
    const char *data;
    size_t      bytes;
} cpu_ahead;

/* Shares out what the steps will read: ahead[i] for step i, which its frame is made to point at. */
void cpu_plan_ahead(const strata_step *steps, strata_frame *frames, int count, cpu_ahead *ahead);

/* The part of `item`, of so many alike, for tiles that t is going to compute in `tiles` tiles altogether. */
void cpu_tiles_bring(cpu_tiles *t, const strata_frame *f, int64_t item, int64_t items, int64_t tiles);

#endif
