/* What the Vulkan backend keeps on disk: compiled pipelines, and the table of tile shapes and splits that were measured. */
#include "scratch.h"
#include "vulkan_net.h"

#include "../backends/vulkan/tuning.h"

/* ---- Files --------------------------------------------------------------------------------------- */

static void cache_files(void **state)
{
    (void)state;
    scratch s;
    size_t  size;
    char    path[600], bytes[1000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 31);
    scratch_open(&s);
    snprintf(path, sizeof path, "%s", scratch_path(&s, "a.pipelines"));
    assert_null(vk_cache_load(path, &size));
    assert_true(vk_cache_save(path, bytes, sizeof bytes));
    assert_true(vk_cache_save(path, bytes, sizeof bytes - 1)); /* replaces */
    assert_int_equal(scratch_count(&s), 1);
    void *loaded = vk_cache_load(path, &size);
    assert_non_null(loaded);
    assert_int_equal(size, sizeof bytes - 1);
    assert_memory_equal(loaded, bytes, size);
    free(loaded);

    size_t         whole;
    unsigned char *file = read_file(path, &whole);
    for (size_t i = 0; i < whole; i += 37) { /* any byte changed */
        file[i] ^= 4;
        write_file(path, file, whole);
        assert_null(vk_cache_load(path, &size));
        file[i] ^= 4;
    }
    for (size_t n = 0; n < whole; n += 41) { /* cut anywhere */
        write_file(path, file, n);
        assert_null(vk_cache_load(path, &size));
    }
    free(file);
    assert_false(vk_cache_save("/proc/no/such/folder/x", bytes, sizeof bytes));
    scratch_close(&s);
}

static void cache_names(void **state)
{
    (void)state;
    strata_context *ctx = vulkan_context_with((vk_config){ 0 });
    vk_adapter      a = vk_instance_of(ctx)->adapters[vulkan_index(ctx)];
    char            one[600], two[600];
    assert_true(vk_cache_path(&a, "/tmp/x", "pipelines", one, sizeof one));
    assert_ptr_equal(strstr(one, "/tmp/x/vulkan-"), one);
    a.properties.driverVersion++;
    assert_true(vk_cache_path(&a, "/tmp/x", "pipelines", two, sizeof two));
    assert_string_not_equal(one, two);
    assert_false(vk_cache_path(&a, "", "pipelines", two, sizeof two));
    assert_false(vk_cache_path(&a, "/tmp/x", "pipelines", two, 20));
    strata_context_destroy(ctx);
}

/* The choice for a convolution by a new device on these files. */
static vk_gemm choice_with(const char *folder, const vk_conv *c, const vk_tuned *add, int count)
{
    strata_context *ctx = vulkan_context_with((vk_config){ .conv = VK_CONV_GEMM, .cache_folder = folder });
    strata_device  *dev;
    vk_gemm         chosen;
    OK(vk_device_open(vk_instance_of(ctx), vulkan_index(ctx), 1, &dev, &err));
    if (count > 0)
        assert_true(vk_tuning_save(dev, add, count));
    assert_true(vk_gemm_plan(dev, c, STRATA_F32, &chosen));
    vk_device_close(dev);
    strata_context_destroy(ctx);
    return chosen;
}

static bool same_choice(const vk_gemm *a, const vk_gemm *b)
{
    return a->matrix == b->matrix && a->tile == b->tile && a->splits == b->splits;
}

/* What was measured is taken by the next device, for its shape and type alone; what cannot be is passed over. */
static void tuned_choices(void **state)
{
    (void)state;
    scratch        s;
    char           path[600];
    vk_conv        c = { .pixels = 90, .c = 256, .o = 64, .og = 64, .cg = 256, .groups = 1, .pitch = 64, .k = 256, .share = 256 };
    vk_conv        other = c;
    other.pixels = 91;
    scratch_open(&s);
    const vk_gemm   free_choice = choice_with(s.dir, &c, NULL, 0);
    strata_context *ctx = vulkan_context_with((vk_config){ .cache_folder = s.dir });
    const int       index = vulkan_index(ctx);
    strata_device  *dev;
    OK(vk_device_open(vk_instance_of(ctx), index, 1, &dev, &err));
    const int      tile = (free_choice.tile + 1) % vk_gemm_tiles(dev, STRATA_F32);
    const vk_tuned better = vk_gemm_tuned(dev, &c, STRATA_F32, tile, 4), half = vk_gemm_tuned(dev, &c, STRATA_F16, tile, 2);
    assert_true(vk_cache_path(&vk_instance_of(ctx)->adapters[index], s.dir, "tiles", path, sizeof path));
    vk_device_close(dev);
    strata_context_destroy(ctx);

    vk_gemm now = choice_with(s.dir, &c, &better, 1); /* a device keeps to what it read when it was opened */
    assert_true(same_choice(&now, &free_choice));
    now = choice_with(s.dir, &c, &half, 1); /* added to the file, about another type */
    assert_true(now.tile == tile && now.splits == 4);
    now = choice_with(s.dir, &c, NULL, 0);
    assert_true(now.tile == tile && now.splits == 4);
    const vk_gemm elsewhere = choice_with(s.dir, &other, NULL, 0);
    assert_true(same_choice(&elsewhere, &free_choice));

    vk_tuned wrong = better;
    wrong.splits = 1000;
    choice_with(s.dir, &c, &wrong, 1); /* takes its place */
    now = choice_with(s.dir, &c, NULL, 0);
    assert_true(same_choice(&now, &free_choice));
    wrong = better;
    wrong.depth++;
    choice_with(s.dir, &c, &wrong, 1);
    now = choice_with(s.dir, &c, &better, 1);
    assert_true(same_choice(&now, &free_choice));
    size_t         whole;
    unsigned char *file = read_file(path, &whole);
    file[whole - 1] ^= 1;
    write_file(path, file, whole);
    free(file);
    now = choice_with(s.dir, &c, NULL, 0);
    assert_true(same_choice(&now, &free_choice));
    scratch_close(&s);
    assert_int_equal(vulkan_messages, 0);
}

/* ---- Measuring ----------------------------------------------------------------------------------- */

static strata_graph *two_convolutions(strata_context *ctx)
{
    strata_builder *b;
    strata_graph   *g;
    OK(strata_builder_create(ctx, "two", &b, &err));
    strata_node *x = nn_image(b, &(strata_model_args){ 1, 8, 6, 7, 1 });
    nn_output(b, nn_conv2d(b, nn_conv2d(b, x, "a", 8, 1), "b", 8, 1), "y"); /* of one kind */
    OK(strata_builder_finish(b, &g, &err));
    fill_constants(g, 7);
    return g;
}

static int found, found_kept;

static void note(void *user, const strata_tuned *t)
{
    (void)user;
    found++;
    found_kept += t->kept;
    assert_string_equal(t->node, "a");
    assert_int_equal(t->nodes, 2);
    assert_true(t->estimated_ms > 0 && t->best_ms > 0);
    assert_int_equal(t->kept, t->best_ms < 0.98 * t->estimated_ms);
    assert_non_null(strstr(t->choice, "split"));
}

/* Each kind of convolution is measured once, in all forms, and the session works as before. */
static void measured_choices(void **state)
{
    (void)state;
    scratch s;
    char    device[32];
    scratch_open(&s);
    strata_context *ctx = vulkan_context_with((vk_config){ .conv = VK_CONV_GEMM, .cache_folder = s.dir });
    strata_graph   *g = two_convolutions(ctx);
    strata_tensor **value = interpret(g, 3), *out;
    strata_tensor  *in = random_tensor(strata_graph_input(g, 0).desc, seed_of_name(3, "input"), -1, 1);
    strata_program *p;
    strata_session *session;
    OK(strata_program_create(two_convolutions(ctx), &(strata_program_options){ .device = vulkan_name(ctx, device) }, &p, &err));
    OK(strata_session_create(p, &session, &err));
    OK(strata_session_tune(session, note, NULL, &err));
    assert_int_equal(found, 1);
    int tables = 0;
    for (int i = 0; i < vk_instance_of(ctx)->count; i++) {
        char path[600];
        if (i == vulkan_index(ctx) && vk_cache_path(&vk_instance_of(ctx)->adapters[i], s.dir, "tiles", path, sizeof path))
            tables += access(path, R_OK) == 0;
    }
    assert_int_equal(tables, found_kept);
    OK(strata_session_alloc_outputs(session, &out, &err));
    OK(strata_session_run(session, &in, &out, &err));
    assert_true(difference(value[((const strata_node *)strata_graph_output(g, 0).node)->id], out) < 1e-5);
    strata_session_destroy(session);
    strata_program_unref(p);

    OK(strata_program_create(two_convolutions(ctx), NULL, &p, &err));
    OK(strata_session_create(p, &session, &err));
    assert_int_equal(strata_session_tune(session, NULL, NULL, &err), STRATA_UNSUPPORTED);
    assert_non_null(strstr(err.text, "nothing to tune on cpu:0"));
    strata_session_destroy(session);
    strata_program_unref(p);
    strata_tensor_unref(in);
    strata_tensor_unref(out);
    free_values(value, strata_graph_node_count(g));
    strata_graph_destroy(g);
    strata_context_destroy(ctx);
    scratch_close(&s);
    assert_int_equal(vulkan_messages, 0);
}

/* ---- Runs ---------------------------------------------------------------------------------------- */

/* A whole run with a cache folder that holds a damaged file changes nothing but speed. */
static void damaged_cache(void **state)
{
    (void)state;
    scratch s;
    char    path[600];
    scratch_open(&s);
    strata_context *ctx = vulkan_context_with((vk_config){ .cache_folder = s.dir });
    assert_true(vk_cache_path(&vk_instance_of(ctx)->adapters[vulkan_index(ctx)], s.dir, "pipelines", path, sizeof path));
    strata_context_destroy(ctx);
    write_file(path, "strataVK, but nothing that a driver should see", 46);
    for (int again = 0; again < 2; again++)
        assert_int_equal(check_net((vk_config){ .cache_folder = s.dir }, 1, false), 0);
    scratch_close(&s);
}

int main(void)
{
    const struct CMUnitTest always[] = { cmocka_unit_test(cache_files) };
    const struct CMUnitTest tests[] = { cmocka_unit_test(cache_names), cmocka_unit_test(damaged_cache),
                                        cmocka_unit_test(tuned_choices), cmocka_unit_test(measured_choices) };
    int failed = cmocka_run_group_tests(always, NULL, NULL);
    if (failed)
        return failed;
    vulkan_need_device();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
