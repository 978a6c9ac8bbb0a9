/* strata devices: what programs can run on. */
#include "command.h"
#include "doctor.h"
#include "model_options.h"
#include "table.h"
#include "talk.h"

struct listing {
    struct table table;
    json_t      *json;
};

/* What programs can run into. */
static const char *limits(const strata_device_info *info, char *buf, size_t size)
{
    char allocation[32], value[32], shared[32];
    if (!info->max_allocation)
        return "-";
    snprintf(buf, size, "%s at once, %s a value, %d threads and %s a group", talk_bytes((double)info->max_allocation, allocation, sizeof allocation),
             talk_bytes((double)info->max_value, value, sizeof value), info->workgroup,
             talk_bytes((double)info->shared_memory, shared, sizeof shared));
    return buf;
}

static void to_table(void *user, const strata_device_info *info)
{
    struct table *t = &((struct listing *)user)->table;
    char          buf[160];
    table_row(t);
    table_cell(t, 0, "%s", model_device_name(info, buf, sizeof buf));
    table_cell(t, 1, "%s", info->name);
    table_cell(t, 2, "%s", info->type);
    table_cell(t, 3, "%s", talk_bytes((double)info->memory, buf, sizeof buf));
    table_cell(t, 4, "%s", *info->uuid ? info->uuid : "-");
    table_cell(t, 5, "%s", limits(info, buf, sizeof buf));
    if (*info->unusable)
        table_cell(t, 6, "%s", info->unusable);
    else if (doctor_recall(info, buf, sizeof buf))
        table_cell(t, 6, "usable, %s", buf);
    else
        table_cell(t, 6, "usable");
}

static void to_json(void *user, const strata_device_info *info)
{
    char    buf[160];
    json_t *row = json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:I, s:b}", "device",
                            model_device_name(info, buf, sizeof buf), "backend", info->backend, "index",
                            info->index, "name", info->name, "type", info->type, "uuid", info->uuid, "memory",
                            (json_int_t)info->memory, "usable", !*info->unusable);
    if (*info->unusable)
        json_object_set_new(row, "unusable", json_string(info->unusable));
    if (*info->driver)
        json_object_set_new(row, "driver", json_string(info->driver));
    if (info->max_allocation)
        json_object_update_new(row, json_pack("{s:I, s:I, s:I, s:i, s:i}", "max_allocation", (json_int_t)info->max_allocation,
                                              "max_value", (json_int_t)info->max_value, "shared_memory",
                                              (json_int_t)info->shared_memory, "workgroup", info->workgroup, "subgroup",
                                              info->subgroup));
    if (doctor_recall(info, buf, sizeof buf))
        json_object_set_new(row, "doctor", json_string(buf));
    json_array_append_new(((struct listing *)user)->json, row);
}

static int run(const struct options *o)
{
    strata_context *ctx;
    struct listing  l = { .table.titles = { "device", "name", "type", ">memory", "uuid", "limits", "state" } };
    int             code = model_context(o, &ctx);
    if (code)
        return code;
    if (o->json) {
        l.json = json_array();
        strata_list_devices(ctx, to_json, &l);
        code = talk_json(l.json);
    } else {
        strata_list_devices(ctx, to_table, &l);
        code = table_print(&l.table, stdout);
    }
    strata_context_destroy(ctx);
    return code;
}

const struct command command_devices = {
    .name = "devices",
    .summary = "what models can run on",
    .usage = "[options]",
    .about = "Every device that --device can name: its memory, and why it cannot be used if it cannot.",
    .examples = "  strata devices\n"
                "  strata devices --json\n",
    .bit = FOR_DEVICES,
    .max_args = 0,
    .args_rule = "takes no arguments",
    .run = run,
};
