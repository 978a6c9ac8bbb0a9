/* wire.c: see the header. */
#include "wire.h"

enum { DEEPEST = 32, MOST_MESSAGES = 2000000 };

bool wire_read_varint(wire_span *s, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64 && s->at < s->end; shift += 7) {
        unsigned char byte = *s->at++;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

bool wire_read_field(wire_span *s, wire_field *f)
{
    uint64_t tag, length = 0;
    f->start = s->at;
    if (!wire_read_varint(s, &tag))
        return false;
    f->number = tag >> 3;
    f->type = tag & 7;
    switch (f->type) {
    case WIRE_VARINT:
        if (!wire_read_varint(s, &length))
            return false;
        length = 0;
        break;
    case WIRE_FIXED64: length = 8; break;
    case WIRE_FIXED32: length = 4; break;
    case WIRE_BYTES:
        if (!wire_read_varint(s, &length))
            return false;
        break;
    default: return false;
    }
    if (length > (uint64_t)(s->end - s->at))
        return false;
    f->payload = (wire_span){ s->at, s->at + length };
    s->at += length;
    return true;
}

strata_status wire_check(const ProtobufCMessageDescriptor *kind, const void *bytes, size_t size, strata_error *err)
{
    struct {
        const ProtobufCMessageDescriptor *kind;
        wire_span                         rest;
    } stack[DEEPEST];
    int depth = 0;
    long messages = 0;
    stack[0].kind = kind;
    stack[0].rest = (wire_span){ bytes, (const unsigned char *)bytes + size };
    while (depth >= 0) {
        if (stack[depth].rest.at == stack[depth].rest.end) {
            depth--;
            continue;
        }
        wire_field f;
        if (!wire_read_field(&stack[depth].rest, &f))
            return strata_fail(err, STRATA_FORMAT, "damaged or cut short: the field at byte %zu is not whole",
                               (size_t)(f.start - (const unsigned char *)bytes));
        const ProtobufCFieldDescriptor *field =
            f.type == WIRE_BYTES && f.number <= UINT32_MAX
                ? protobuf_c_message_descriptor_get_field(stack[depth].kind, (unsigned)f.number) : NULL;
        if (++messages > MOST_MESSAGES)
            return strata_fail(err, STRATA_FORMAT, "more than %d fields: no sane model", MOST_MESSAGES);
        if (field == NULL || field->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        if (++depth == DEEPEST)
            return strata_fail(err, STRATA_FORMAT, "messages are nested deeper than %d", DEEPEST);
        stack[depth].kind = field->descriptor;
        stack[depth].rest = f.payload;
    }
    return STRATA_OK;
}
