/* wire.h: protobuf's wire format, for looking at a mapped file before, or instead of, unpacking it. */
#ifndef STRATA_FORMATS_WIRE_H
#define STRATA_FORMATS_WIRE_H

#include <strata/extend.h>

#include <protobuf-c/protobuf-c.h>

typedef struct wire_span {
    const unsigned char *at, *end;
} wire_span;

typedef struct wire_field {
    const unsigned char *start; /* of its tag */
    uint64_t             number;
    unsigned             type;
    wire_span            payload; /* of length-delimited fields */
} wire_field;

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

bool wire_read_varint(wire_span *s, uint64_t *out);
/* Reads the field at s->at, and moves behind it. False when it does not fit in s. */
bool wire_read_field(wire_span *s, wire_field *f);

/* Whether unpacking a message of this kind is safe: protobuf-c recurses as deep as messages are nested and makes a
 * structure of every empty one. FORMAT when the framing is damaged, messages are nested deeper than 32 or are more than
 * 2 million. Texts need the path in front. */
strata_status wire_check(const ProtobufCMessageDescriptor *kind, const void *bytes, size_t size, strata_error *err);

#endif
