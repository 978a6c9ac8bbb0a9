/* option_table.c: every option of every command. The order of the rows is that of the help text. */
#include "option_table.h"

#include "command.h"

enum {
    /* the commands that build a model, those that fill it, those that run it */
    BUILDING = FOR_INFO | FOR_EXTRACT | FOR_DUMP | FOR_BENCH | FOR_REPORT | FOR_COMPARE | FOR_EXPORT,
    BINDING = FOR_EXTRACT | FOR_DUMP | FOR_BENCH | FOR_REPORT | FOR_COMPARE | FOR_EXPORT,
    RUNNING = FOR_EXTRACT | FOR_BENCH | FOR_REPORT,
    PLANNING = RUNNING | FOR_DUMP,
    PASSING = PLANNING | FOR_COMPARE | FOR_EXPORT,
    EXTENSIBLE = BUILDING | FOR_MODELS | FOR_DEVICES | FOR_DOCTOR,
    TABLES = FOR_MODELS | FOR_INFO | FOR_DEVICES | FOR_BENCH | FOR_COMPARE | FOR_WEIGHTS | FOR_DOCTOR,
    EVERY = EXTENSIBLE | FOR_WEIGHTS
};

#define FIELD(member) offsetof(struct options, member)
#define MAX_THREADS   1024
#define MAX_SIDE      32768

const char *const option_section_titles[SECTION_COUNT] = {
    [SECTION_MODEL] = "Model and outputs", [SECTION_WEIGHTS] = "Weights", [SECTION_IMAGES] = "Images",
    [SECTION_RESULT] = "Results",          [SECTION_RUN] = "Running",     [SECTION_TALK] = "Talk",
};

const struct option_def option_table[] = {
    { "at", 0, OPTION_TEXT, FIELD(at), BUILDING, SECTION_MODEL, "SEL[,SEL...]",
      "values to give, in this order: 2 or -1 (index of a feature), stride:8, C3 (stride 2^3), last:3, "
      "layer3 (name of a feature), %layer1.0.conv1 (any value of the graph), logits (default: every feature)",
      .group = GROUP_OUTPUTS },
    { "out-indices", 0, OPTION_TEXT, FIELD(out_indices), BUILDING, SECTION_MODEL, "I[,I...]",
      "the same with indices only, as MindCV has it", .group = GROUP_OUTPUTS },
    { "size", 0, OPTION_SIZE, FIELD(size), BUILDING, SECTION_MODEL, "HxW",
      "size of the input in pixels; one number for a square (default: the model's)", 1, MAX_SIDE },
    { "batch", 0, OPTION_INT, FIELD(batch), BUILDING, SECTION_MODEL, "N", "images at once (default 1)", 1,
      4096 },
    { "dynamic-batch", 0, OPTION_FLAG, FIELD(dynamic_batch), FOR_EXPORT, SECTION_MODEL, NULL,
      "any number of images at once: dim 0 is the symbol N" },
    { "num-classes", 0, OPTION_INT, FIELD(num_classes), BUILDING, SECTION_MODEL, "N",
      "width of the classifier (default: the model's)", 1, 1 << 20 },
    { "in-channels", 0, OPTION_INT, FIELD(in_channels), BUILDING, SECTION_MODEL, "N",
      "channels of the input (default 3); 1 is gray, others repeat R, G, B", 1, 1024 },

    { "weights", 0, OPTION_TEXT, FIELD(weights), BINDING, SECTION_WEIGHTS, "FILE",
      "a MindSpore .ckpt or a .safetensors; told apart by content", .group = GROUP_WEIGHTS },
    { "random-weights", 0, OPTION_SEED, FIELD(random_weights), BINDING, SECTION_WEIGHTS, "SEED[:GAIN]",
      "reproducible noise instead of weights, to try things out (default gain 2)", .group = GROUP_WEIGHTS },
    { "auto-map", 0, OPTION_FLAG, FIELD(auto_map), BINDING, SECTION_WEIGHTS, NULL,
      "where names differ, bind by role, shape and place; what is not certain is refused" },
    { "map", 0, OPTION_TEXT, FIELD(map), BINDING, SECTION_WEIGHTS, "FILE",
      "bind by a saved map: lines of parameter, tab, tensor" },
    { "save-map", 0, OPTION_TEXT, FIELD(save_map), BINDING, SECTION_WEIGHTS, "FILE",
      "write the map that was used" },
    { "ema", 0, OPTION_FLAG, FIELD(ema), BINDING, SECTION_WEIGHTS, NULL,
      "the averaged copies, whose names start with \"ema.\"" },

    { "preprocess", 0, OPTION_CHOICE, FIELD(preprocess), FOR_EXTRACT | FOR_INFO | FOR_REPORT | FOR_COMPARE,
      SECTION_IMAGES,
      "mindcv|pillow",
      "how images are resized: as MindCV evaluates (default) or as timm and torchvision do; the wrong one "
      "for your weights costs about 1 % accuracy" },
    { "exif", 0, OPTION_CHOICE, FIELD(exif), FOR_EXTRACT | FOR_REPORT | FOR_COMPARE, SECTION_IMAGES, "apply|ignore",
      "turn photos as their EXIF record says (default), or not, as MindCV" },
    { "image", 0, OPTION_TEXT, FIELD(image), FOR_REPORT, SECTION_IMAGES, "FILE",
      "an image to run the model on: the page shows what each feature makes of it" },

    { "output", 'o', OPTION_TEXT, FIELD(output), FOR_EXTRACT, SECTION_RESULT, "OUT",
      "the arrays: NAME.npz or NAME.safetensors; replaced only when the new file is whole" },
    { "output", 'o', OPTION_TEXT, FIELD(output), FOR_COMPARE, SECTION_RESULT, "DIR/",
      "with --bisect: where the repro goes (default compare-repro): graph text, weights, inputs, run.sh" },
    { "output", 'o', OPTION_TEXT, FIELD(output), FOR_DUMP, SECTION_RESULT, "FILE|DIR/",
      "where to (default: stdout); with --after all, a folder gets a file per pass" },
    { "output", 'o', OPTION_TEXT, FIELD(output), FOR_REPORT, SECTION_RESULT, "FILE.html", "the page" },
    { "output", 'o', OPTION_TEXT, FIELD(output), FOR_EXPORT, SECTION_RESULT, "M.onnx",
      "the file; replaced only when the new one is whole" },
    { "external-data", 0, OPTION_FLAG, FIELD(external_data), FOR_EXPORT, SECTION_RESULT, NULL,
      "weights go to M.onnx.data beside it, as those above 1.8 GB always do" },
    { "dtype", 0, OPTION_CHOICE, FIELD(dtype), FOR_EXTRACT, SECTION_RESULT, "f32|f16",
      "type of the written arrays (default f32)" },
    { "picture", 0, OPTION_TEXT, FIELD(picture), FOR_EXTRACT, SECTION_RESULT, "FILE.png",
      "also a mosaic of the first image and a heat map of each output" },
    { "dump-input", 0, OPTION_TEXT, FIELD(dump_input), FOR_EXTRACT, SECTION_RESULT, "FILE.npy",
      "also the exact input tensor, one row per image" },
    { "dump-values", 0, OPTION_PAIR, FIELD(dump_values), FOR_EXTRACT, SECTION_RESULT, "GLOB DIR",
      "also every value that the optimised graph computes and whose name matches, as DIR/NAME.npy; with a leading @, "
      "constants" },
    { "stats", 0, OPTION_FLAG, FIELD(stats), FOR_EXTRACT, SECTION_RESULT, NULL,
      "least, greatest, mean, deviation, NaN and Inf of each array: a table, and in the record" },
    { "check-finite", 0, OPTION_FLAG, FIELD(check_finite), FOR_EXTRACT, SECTION_RESULT, NULL,
      "exit with 1 when an array holds NaN or Inf; it is written all the same (default: a warning)" },
    { "format", 0, OPTION_CHOICE, FIELD(format), FOR_DUMP, SECTION_RESULT, "text|dot|json|svg|png",
      "text (default) reads back in; dot is for Graphviz, svg and png are drawn by it" },
    { "after", 0, OPTION_TEXT, FIELD(after), FOR_DUMP, SECTION_RESULT, "PASS|all",
      "the graph after this pass, or after each pass that changed it (default: as built)" },
    { "diff", 0, OPTION_PAIR, FIELD(diff), FOR_DUMP, SECTION_RESULT, "A B",
      "what differs, by name of value: two stages of MODEL (built, or a pass), or without MODEL two models or graph files" },
    { "exit-code", 0, OPTION_FLAG, FIELD(exit_code), FOR_DUMP, SECTION_RESULT, NULL,
      "with --diff: exit with 1 when there is a difference, as git diff does" },
    { "after", 0, OPTION_TEXT, FIELD(after), FOR_EXPORT, SECTION_RESULT, "PASS|all",
      "the graph after this pass, or after all of them (default: as built)" },
    { "plan", 0, OPTION_FLAG, FIELD(plan), FOR_DUMP, SECTION_RESULT, NULL,
      "the compiled graph: kernel, cost and memory of each step; needs weights" },
    { "bisect", 0, OPTION_FLAG, FIELD(bisect), FOR_COMPARE, SECTION_RESULT, NULL,
      "find the pass, the node or the fewest nodes that make the difference, and write a repro that runs" },
    { "tolerance", 0, OPTION_NUMBER, FIELD(tolerance), FOR_COMPARE, SECTION_RESULT, "T",
      "the largest difference that agrees, over the largest magnitude of the reference's value (default 1e-4)" },
    { "per-node", 0, OPTION_FLAG, FIELD(per_node), FOR_BENCH, SECTION_RESULT, NULL,
      "a table of the time of every step" },
    { "profile", 0, OPTION_TEXT, FIELD(profile), FOR_BENCH, SECTION_RESULT, "FILE.json",
      "a trace of one run for chrome://tracing or ui.perfetto.dev" },
    { "convert", 0, OPTION_TEXT, FIELD(convert), FOR_WEIGHTS, SECTION_RESULT, "OUT.safetensors",
      "write all entries there instead of listing them; types are kept" },
    { "features", 0, OPTION_FLAG, FIELD(features), FOR_MODELS, SECTION_RESULT, NULL,
      "only models with features" },
    { "json", 0, OPTION_FLAG, FIELD(json), TABLES, SECTION_RESULT, NULL, "JSON instead of a table" },
    { "json", 0, OPTION_FLAG, FIELD(json), FOR_EXTRACT, SECTION_RESULT, NULL,
      "print the record: how the arrays were made, with --stats what is in them" },

    { "random-input", 0, OPTION_SEED, FIELD(random_input), FOR_COMPARE, SECTION_IMAGES, "SEED",
      "noise of this seed as the input (default without INPUT: 1)" },
    { "ref", 0, OPTION_TEXT, FIELD(ref), FOR_COMPARE, SECTION_RUN, "DEVICE",
      "what is taken for right (default cpu): as --device of the other commands, or definition, the definitions of the ops "
      "in double precision, slowly" },
    { "test", 0, OPTION_TEXT, FIELD(test), FOR_COMPARE, SECTION_RUN, "DEVICE", "what is compared with it (default: the same device)" },
    { "ref-pipeline", 0, OPTION_TEXT, FIELD(ref_pipeline), FOR_COMPARE, SECTION_RUN, "\"PASS...\"",
      "passes of the reference (default: those of --pipeline); \"\" runs none" },
    { "test-pipeline", 0, OPTION_TEXT, FIELD(test_pipeline), FOR_COMPARE, SECTION_RUN, "\"PASS...\"",
      "passes of the other side, likewise" },
    { "device", 0, OPTION_TEXT, FIELD(device), PLANNING | FOR_DOCTOR, SECTION_RUN, "DEVICE",
      "a line of 'strata devices': cpu, vulkan with :INDEX, :NAME or :UUID, or auto: a real GPU if there is one, else the "
      "CPU (default auto)" },
    { "fallback", 0, OPTION_CHOICE, FIELD(fallback), RUNNING, SECTION_RUN, "none|cpu",
      "cpu: where the device cannot be used or fails, also in the middle, the CPU takes over, which is said; none "
      "(default): that is an error" },
    { "precision", 0, OPTION_CHOICE, FIELD(precision), PLANNING | FOR_COMPARE | FOR_DOCTOR, SECTION_RUN, "fp32|fp16",
      "of values in the memory of a GPU (default fp32); sums are fp32 in any case" },
    { "strict-device", 0, OPTION_FLAG, FIELD(strict_device), PLANNING | FOR_COMPARE, SECTION_RUN, NULL,
      "fail when a step would have to run elsewhere" },
    { "threads", 0, OPTION_INT, FIELD(threads), PLANNING | FOR_COMPARE, SECTION_RUN, "N",
      "processor threads (default: those this process may use); results do not depend on it", 1,
      MAX_THREADS },
    { "exact", 0, OPTION_FLAG, FIELD(exact), PLANNING | FOR_COMPARE, SECTION_RUN, NULL,
      "no kernels that trade bits for speed, such as Winograd's convolutions: errors stay below 2e-5 of a map's "
      "largest value instead of 1e-4" },
    { "runs", 0, OPTION_INT, FIELD(runs), FOR_BENCH, SECTION_RUN, "N",
      "inferences to time (default: about three seconds, at least 5)", 1, 1000000 },
    { "runs", 0, OPTION_INT, FIELD(runs), FOR_REPORT, SECTION_RUN, "N",
      "inferences of which each step's least time counts (default 5)", 1, 10000 },
    { "pipeline", 0, OPTION_TEXT, FIELD(pipeline), PASSING, SECTION_RUN, "\"PASS...\"",
      "passes to run instead of the default ones; \"\" runs none, \"+PASS\" one before them" },
    { "plugin", 0, OPTION_PATHS, FIELD(plugin), EXTENSIBLE, SECTION_RUN, "FILE.so",
      "load a plug-in: its ops, kernels, passes, models and backends; may be repeated; STRATA_PLUGIN "
      "divides by ':'" },
    { "no-pass", 0, OPTION_LIST, FIELD(no_pass), PASSING, SECTION_RUN, "PASS",
      "leave out a pass; may be repeated" },

    { "quiet", 'q', OPTION_FLAG, FIELD(quiet), EVERY, SECTION_TALK, NULL, "errors only" },
    { "verbose", 'v', OPTION_FLAG, FIELD(verbose), EVERY, SECTION_TALK, NULL,
      "also what the library has to say" },
    { "help", 'h', OPTION_FLAG, FIELD(help), EVERY, SECTION_TALK, NULL, "this text" },
    { 0 },
};
