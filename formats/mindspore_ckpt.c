/* mindspore_ckpt.c: reads the checkpoints that MindSpore's save_checkpoint writes.
 *
 *     Checkpoint  { repeated Value value = 1; }
 *     Value       { string tag = 1; TensorProto tensor = 2; }
 *     TensorProto { repeated int64 dims = 1; string tensor_type = 2; bytes tensor_content = 3; }
 *
 * protobuf-c copies every bytes field while it unpacks, so unpacking a file of 700 MB would need 1.4 GB and
 * more, and an arena or another allocator does not change that: the copy is in the decoder. Therefore the
 * framing of the outer two levels (a tag, a length, the payload: thirty lines) is walked here over the mapped
 * file, the range of tensor_content is noted, and what remains of a TensorProto, some 20 bytes, goes to
 * protobuf-c, which decodes dims (packed or not), the type and whatever the wire format allows there. The
 * content stays a view of the map.
 *
 * Larger tensors come in slices: consecutive values with the same tag and dims, whose contents follow one
 * another. A file may end in "crc_num" and ten bytes of checksum, which MindSpore verifies only on request;
 * they are passed over here. Encrypted files are recognised by the number that each encrypted block starts
 * with, and refused. */
#include "checkpoint.pb-c.h"
#include "weights.h"
#include "wire.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TENSOR_HEADER = 1024, CRC_TRAILER = 17 };

/* ---- Values -------------------------------------------------------------------------------------------- */

static const struct type_name {
    const char  *name;
    strata_dtype dtype;
} type_names[] = {
    { "Float32", STRATA_F32 }, { "Float16", STRATA_F16 }, { "BFloat16", STRATA_BF16 },
    { "Float64", STRATA_F64 }, { "Int8", STRATA_I8 },     { "Int16", STRATA_I16 },
    { "Int32", STRATA_I32 },   { "Int64", STRATA_I64 },   { "UInt8", STRATA_U8 },
    { "UInt16", STRATA_U16 },  { "UInt32", STRATA_U32 },  { "UInt64", STRATA_U64 },
    { "Bool", STRATA_BOOL },
};

static bool find_dtype(const char *name, strata_dtype *out)
{
    for (size_t i = 0; i < sizeof type_names / sizeof type_names[0]; i++)
        if (strcmp(name, type_names[i].name) == 0) {
            *out = type_names[i].dtype;
            return true;
        }
    return false;
}

/* One decoded value: everything but its bytes is copied. */
typedef struct value {
    const char        *tag; /* not terminated */
    size_t             tag_length;
    strata_tensor_desc desc;
    bool               text; /* of type str */
    wire_span          content;
} value;

/* Splits a TensorProto into its content and the rest, which protobuf-c decodes. */
static strata_status decode_tensor(const char *name, wire_span body, value *v, strata_error *err)
{
    unsigned char header[MAX_TENSOR_HEADER];
    size_t used = 0;
    bool has_content = false;
    while (body.at < body.end) {
        wire_field f;
        if (!wire_read_field(&body, &f))
            return strata_fail(err, STRATA_FORMAT, "%s: the tensor is damaged or cut short", name);
        size_t size = (size_t)(body.at - f.start);
        if (f.number == 3 && f.type == WIRE_BYTES) {
            if (has_content)
                return strata_fail(err, STRATA_FORMAT, "%s: the tensor has two contents", name);
            has_content = true;
            v->content = f.payload;
        } else if (size > sizeof header - used) {
            return strata_fail(err, STRATA_FORMAT, "%s: the tensor's dims and type take more than %d bytes",
                               name, MAX_TENSOR_HEADER);
        } else {
            memcpy(header + used, f.start, size);
            used += size;
        }
    }
    if (!has_content)
        v->content = (wire_span){ body.end, body.end };

    Strata__Mindspore__TensorProto *t = strata__mindspore__tensor_proto__unpack(NULL, used, header);
    if (t == NULL)
        return strata_fail(err, STRATA_FORMAT, "%s: the tensor's dims or type are damaged", name);
    strata_status status = STRATA_OK;
    if (t->base.n_unknown_fields > 0) {
        status = strata_fail(err, STRATA_FORMAT, "%s: the tensor has the unknown field %u", name,
                             t->base.unknown_fields[0].tag);
    } else if (strcmp(t->tensor_type, "str") == 0) {
        v->text = true;
        v->desc =
            (strata_tensor_desc){ .dtype = STRATA_U8, .rank = 1, .dim = { v->content.end - v->content.at } };
    } else if (!find_dtype(t->tensor_type, &v->desc.dtype)) {
        status = strata_fail(err, STRATA_FORMAT, "%s: unknown type \"%.32s\"", name, t->tensor_type);
    } else if (t->n_dims > STRATA_MAX_RANK) {
        status = strata_fail(err, STRATA_FORMAT, "%s: %zu dims, but at most %d are supported", name,
                             t->n_dims, STRATA_MAX_RANK);
    } else if (!(t->n_dims == 1 && t->dims[0] == 0 && v->content.at < v->content.end)) { /* [0]: a scalar */
        v->desc.rank = (int)t->n_dims;
        for (int i = 0; i < v->desc.rank; i++)
            v->desc.dim[i] = t->dims[i];
    }
    strata__mindspore__tensor_proto__free_unpacked(t, NULL);
    return status;
}

static strata_status decode_value(wire_span body, uint64_t at, value *v, strata_error *err)
{
    wire_span tensor = { NULL, NULL };
    while (body.at < body.end) {
        wire_field f;
        if (!wire_read_field(&body, &f))
            return strata_fail(err, STRATA_FORMAT, "the entry at byte %llu is damaged or cut short",
                               (unsigned long long)at);
        if (f.number == 1 && f.type == WIRE_BYTES && v->tag == NULL) {
            v->tag = (const char *)f.payload.at;
            v->tag_length = (size_t)(f.payload.end - f.payload.at);
        } else if (f.number == 2 && f.type == WIRE_BYTES && tensor.at == NULL) {
            tensor = f.payload;
        } else if (f.number == 3 && f.type == WIRE_BYTES) {
            return strata_fail(err, STRATA_FORMAT,
                               "the entry at byte %llu is a map tensor (a hash table), which no "
                               "network here uses",
                               (unsigned long long)at);
        } else {
            return strata_fail(err, STRATA_FORMAT, "the entry at byte %llu has an unexpected field %llu",
                               (unsigned long long)at, (unsigned long long)f.number);
        }
    }
    if (v->tag == NULL || tensor.at == NULL)
        return strata_fail(err, STRATA_FORMAT, "the entry at byte %llu has no %s", (unsigned long long)at,
                           v->tag == NULL ? "name" : "tensor");
    char name[96];
    snprintf(name, sizeof name, "%.*s", (int)(v->tag_length < 90 ? v->tag_length : 90), v->tag);
    return decode_tensor(name, tensor, v, err);
}

/* ---- The file ------------------------------------------------------------------------------------------ */

static bool same_tag(const strata_weights_entry *e, const value *v)
{
    return e != NULL && strlen(e->name) == v->tag_length && memcmp(e->name, v->tag, v->tag_length) == 0;
}

static bool same_desc(const strata_tensor_desc *a, const strata_tensor_desc *b)
{
    return a->dtype == b->dtype && strata_same_shape(a, b);
}

static strata_status read_mindspore(strata_weights *w, const unsigned char *bytes, size_t size,
                                    strata_error *err)
{
    wire_span file = { bytes, bytes + size };
    if (size >= CRC_TRAILER && memcmp(file.end - CRC_TRAILER, "crc_num", 7) == 0)
        file.end -= CRC_TRAILER;

    uint64_t held = 0; /* bytes of the last entry so far */
    while (file.at < file.end) {
        wire_field f;
        uint64_t at = (uint64_t)(file.at - bytes);
        if (!wire_read_field(&file, &f))
            return strata_fail(err, STRATA_FORMAT,
                               "damaged or cut short: the entry at byte %llu of %zu is not whole",
                               (unsigned long long)at, size);
        if (f.number != 1 || f.type != WIRE_BYTES)
            return strata_fail(err, STRATA_FORMAT, "damaged: no entry begins at byte %llu",
                               (unsigned long long)at);

        value v = { 0 };
        STRATA_TRY(decode_value(f.payload, at, &v, err));
        size_t length = (size_t)(v.content.end - v.content.at);
        const strata_weights_entry *last = strata_weights_last(w);
        if (same_tag(last, &v)) { /* the next slice */
            if (v.text || !same_desc(&last->desc, &v.desc))
                return strata_fail(err, STRATA_FORMAT, "%s: the slices of the tensor differ in type or shape",
                                   last->name);
            held += length;
            STRATA_TRY(strata_weights_continue(w, v.content.at, length, err));
            continue;
        }
        if (last != NULL)
            STRATA_TRY(strata_check_extent(last->name, &last->desc, held, err));
        held = length;
        STRATA_TRY(strata_weights_add(w, v.tag, v.tag_length, &v.desc, v.content.at, length, err));
        if (v.text)
            strata_weights_skip_last(w, "text");
    }
    const strata_weights_entry *last = strata_weights_last(w);
    if (last == NULL)
        return strata_fail(err, STRATA_FORMAT, "the checkpoint holds no tensor");
    return strata_check_extent(last->name, &last->desc, held, err);
}

/* A Checkpoint starts with a Value, and that with its tag. */
static bool sniff_mindspore(const unsigned char *bytes, size_t size)
{
    wire_span s = { bytes + 1, bytes + size };
    uint64_t length;
    return bytes[0] == 0x0a && (!wire_read_varint(&s, &length) || s.at == s.end || *s.at == 0x0a);
}

const strata_weights_reader strata_mindspore_reader = { "mindspore", sniff_mindspore, read_mindspore };

/* ---- Encrypted files ----------------------------------------------------------------------------------- */

/* Blocks of AES-GCM, AES-CBC and SM4-CBC start with these numbers; either byte order is accepted. */
static bool sniff_encrypted(const unsigned char *bytes, size_t size)
{
    if (size < 4)
        return false;
    uint32_t little =
        bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    uint32_t big = bytes[3] | (uint32_t)bytes[2] << 8 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[0] << 24;
    return (little >= 0x7F3A5ED8 && little <= 0x7F3A5EDA) || (big >= 0x7F3A5ED8 && big <= 0x7F3A5EDA);
}

static strata_status refuse_encrypted(strata_weights *w, const unsigned char *bytes, size_t size,
                                      strata_error *err)
{
    (void)w, (void)bytes, (void)size;
    return strata_fail(err, STRATA_FORMAT,
                       "an encrypted MindSpore checkpoint; load it in MindSpore with its key "
                       "(dec_key) and save it again without enc_key");
}

const strata_weights_reader strata_encrypted_reader = { "encrypted", sniff_encrypted, refuse_encrypted };
