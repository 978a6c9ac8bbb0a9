#include "command.h"
static int run(const struct options *o) { (void)o; return 0; }
const struct command command_report = { .name = "report", .summary = "x", .usage = "MODEL", .about = "", .examples = "", .bit = FOR_REPORT, .min_args = 1, .max_args = 1, .args_rule = "takes one model", .run = run };
