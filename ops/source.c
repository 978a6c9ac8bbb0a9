/* Sources: values that come from outside the graph or belong to it. They take no operands; their desc is
 * given when they are emitted and their numbers come from the caller, the checkpoint or the graph. */
#include <strata/ops.h>

const strata_op_def strata_op_input = {
    .name = "input", .doc = "A value that the caller gives with every request.", .flags = STRATA_OP_SOURCE };

const strata_op_def strata_op_param = {
    .name = "param", .doc = "A parameter: its numbers come from the checkpoint.", .flags = STRATA_OP_SOURCE };

const strata_op_def strata_op_const = {
    .name = "const", .doc = "A constant that belongs to the graph, such as a folded weight.",
    .flags = STRATA_OP_SOURCE };
