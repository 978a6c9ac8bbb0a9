/* extract_record.c: the record that goes with the arrays, enough to make them again. */
#include "extract.h"

#include "talk.h"

#include <sha2.h>
#include <stdlib.h>
#include <string.h>

static void *hash_file(void *user)
{
    struct file_hash *h = user;
    if (!SHA256File(h->path, h->hex))
        h->hex[0] = '\0';
    return NULL;
}

int file_hash_start(struct file_hash *h, const char *path)
{
    h->path = path;
    if (pthread_create(&h->thread, NULL, hash_file, h) != 0)
        return talk_error(EXIT_UNEXPECTED, "cannot start a thread");
    h->started = true;
    return EXIT_DONE;
}

const char *file_hash_wait(struct file_hash *h)
{
    if (h->started)
        pthread_join(h->thread, NULL);
    h->started = false;
    return h->hex;
}

static json_t *weights_record(const struct model *m, const char *sha256)
{
    const struct options *o = m->options;
    if (!o->weights && !o->random_weights.given) /* an ONNX model brings its own */
        return json_pack("{s:s}", "file", m->graph_path);
    if (!o->weights)
        return json_pack("{s:I, s:f}", "random_seed", (json_int_t)o->random_weights.value, "gain",
                         o->random_weights.gain);
    return json_pack("{s:o, s:s, s:s, s:b, s:o?, s:b}", "file", talk_json_text(o->weights), "format",
                     strata_weights_format(m->weights), "sha256", sha256, "auto_map", o->auto_map, "map",
                     o->map ? talk_json_text(o->map) : NULL, "ema", o->ema);
}

static json_t *input_record(const struct model *m, const strata_input_record *r)
{
    const struct options *o = m->options;
    return json_pack("{s:[i,i], s:i, s:[f,f,f], s:[f,f,f], s:s, s:f, s:s, s:s}", "size", r->height, r->width,
                     "channels", r->channels, "mean", r->mean[0], r->mean[1], r->mean[2], "std", r->std[0],
                     r->std[1], r->std[2], "interpolation",
                     r->interpolation == STRATA_BICUBIC ? "bicubic" : "bilinear", "crop_pct", r->crop_pct,
                     "preprocess", o->preprocess == STRATA_PREPROCESS_PILLOW ? "pillow" : "mindcv", "exif",
                     o->exif == EXIF_IGNORE ? "ignore" : "apply");
}

char *record_text(const struct model *m, const strata_program *program, const strata_input_record *r,
                  const char *sha256, const struct stats *stats)
{
    const struct options *o = m->options;
    const strata_graph   *g = strata_program_graph(program);
    strata_program_info   info;
    json_t               *outputs = json_array();
    strata_program_get_info(program, &info);
    for (int i = 0; i < strata_graph_output_count(g) && strata_graph_output(g, i).name[0] != '%'; i++)
        json_array_append_new(outputs, talk_json_text(strata_graph_output(g, i).name));

    const char *selectors = o->at ? o->at : o->out_indices;
    json_t     *record =
        json_pack("{s:s, s:o, s:s?, s:o, s:o, s:o, s:s, s:s, s:b, s:s, s:s}", "strata", strata_version(), "model",
                  talk_json_text(m->info.name), "at", selectors, "outputs", outputs, "weights",
                  weights_record(m, sha256), "input", input_record(m, r), "device", info.device, "precision",
                  info.precision == STRATA_F16 ? "fp16" : "fp32", "exact", o->exact, "pipeline", m->pipeline ? m->pipeline : strata_default_pipeline(), "dtype",
                  o->dtype ? "f16" : "f32");
    if (record && stats->wanted)
        json_object_set_new(record, "stats", stats_json(stats));
    char *text = record ? json_dumps(record, JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(record);
    return text;
}
