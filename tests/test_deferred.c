/* Tensors that are computed where they are read: whole or by rows, in any order and from several threads, they are the
 * bits that evaluating the nodes one after the other gives. */
#include "../graph/graph.h"
#include "interpret.h"

#include <strata/nn.h>
#include <strata/ops.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 37, COLUMNS = 3 * 5 };

static strata_context *ctx;

static strata_tensor *noise(const strata_tensor_desc *desc, uint64_t *random)
{
    strata_tensor *t;
    assert_int_equal(strata_tensor_create(desc, &t, NULL), STRATA_OK);
    strata_random_input(++*random, strata_tensor_data(t), (size_t)strata_count(desc));
    return t;
}

static strata_node *constant(strata_builder *b, const char *name, int64_t rows, int64_t columns, uint64_t *random)
{
    strata_tensor_desc desc = strata_desc_f32(4, (int64_t[]){ rows, columns / 5, 5, 1 });
    strata_tensor     *t = noise(&desc, random);
    strata_node       *n = strata_emit_const(b, name, &desc, t);
    strata_tensor_unref(t);
    return n;
}

static strata_tensor *evaluated(const strata_node *n)
{
    strata_tensor *t;
    strata_view    in[STRATA_MAX_OPERANDS] = { 0 }, out = { .desc = &n->desc };
    assert_int_equal(strata_tensor_create(&n->desc, &t, NULL), STRATA_OK);
    out.data = strata_tensor_data(t);
    for (int k = 0; k < strata_operand_count(n); k++)
        in[k] = (strata_view){ .desc = &n->in[k]->desc, .data = strata_tensor_data(n->in[k]->data) };
    assert_int_equal(n->op->eval(n, in, &out), STRATA_OK);
    return t;
}

/* (w * s + v) * -s, of which w, v have ROWS rows and s either one or as many: the truth, and deferred all the way. */
typedef struct chain {
    strata_graph  *g;
    strata_tensor *truth, *deferred;
} chain;

static chain chain_of(int64_t scale_rows, uint64_t random)
{
    chain           c;
    strata_builder *b;
    assert_int_equal(strata_builder_create(ctx, "chain", &b, NULL), STRATA_OK);
    strata_node *w = constant(b, "w", ROWS, COLUMNS, &random), *v = constant(b, "v", ROWS, COLUMNS, &random);
    strata_node *s = constant(b, "s", scale_rows, COLUMNS, &random);
    strata_node *step[4] = { nn_mul(b, w, s), NULL, nn_neg(b, s), NULL };
    step[1] = nn_add(b, step[0], v);
    step[3] = nn_mul(b, step[1], step[2]);
    strata_emit_output(b, "out", step[3]);
    assert_int_equal(strata_builder_finish(b, &c.g, NULL), STRATA_OK);
    for (int deferred = 0; deferred < 2; deferred++)
        for (int i = 0; i < 4; i++) {
            strata_tensor *t;
            if (deferred) {
                assert_true(strata_tensor_can_defer(step[i]));
                assert_int_equal(strata_tensor_defer(step[i], &t, NULL), STRATA_OK);
            } else {
                t = evaluated(step[i]);
            }
            strata_node_set_data(step[i], t);
            if (i == 3)
                *(deferred ? &c.deferred : &c.truth) = t;
            else
                strata_tensor_unref(t);
        }
    return c;
}

static void release(chain *c)
{
    strata_graph_destroy(c->g);
    strata_tensor_unref(c->truth);
    strata_tensor_unref(c->deferred);
}

static void test_rows_and_whole(void **state)
{
    (void)state;
    for (int64_t scale_rows = 1; scale_rows <= ROWS; scale_rows += ROWS - 1)
        for (int whole = 0; whole < 2; whole++) {
            chain        c = chain_of(scale_rows, 5);
            const float *truth = strata_tensor_data(c.truth), *rows;
            strata_graph_destroy(c.g); /* the tensor needs it no more */
            c.g = NULL;
            if (whole)
                assert_memory_equal(strata_tensor_data(c.deferred), truth, strata_bytes(strata_tensor_get_desc(c.truth)));
            for (int64_t first = 0; first <= ROWS; first++)
                for (int64_t count = 0; first + count <= ROWS; count += 1 + count / 2) {
                    float scratch[ROWS * COLUMNS];
                    assert_int_equal(strata_tensor_rows(c.deferred, first, count, scratch, &rows, NULL), STRATA_OK);
                    assert_int_equal(rows == scratch, !whole);
                    assert_memory_equal(rows, truth + first * COLUMNS, (size_t)(count * COLUMNS) * sizeof *rows);
                }
            release(&c);
        }
}

/* Zeros around the rows, and around all of them: the one by rows, the other not. */
static void test_pads(void **state)
{
    (void)state;
    uint64_t        random = 3;
    strata_builder *b;
    strata_graph   *g;
    strata_tensor  *t;
    assert_int_equal(strata_builder_create(ctx, "pads", &b, NULL), STRATA_OK);
    strata_node *w = constant(b, "w", ROWS, COLUMNS, &random);
    strata_node *around = nn_pad(b, w, &(strata_ints){ 4, { 0, 0, 1, 0 } }, &(strata_ints){ 4, { 0, 2, 0, 1 } });
    strata_node *below = nn_pad(b, w, &(strata_ints){ 4, { 0 } }, &(strata_ints){ 4, { 1 } });
    strata_emit_output(b, "around", around);
    strata_emit_output(b, "below", below);
    assert_int_equal(strata_builder_finish(b, &g, NULL), STRATA_OK);
    assert_false(strata_tensor_can_defer(below));
    assert_true(strata_tensor_can_defer(around));
    assert_int_equal(strata_tensor_defer(around, &t, NULL), STRATA_OK);
    strata_tensor *truth = evaluated(around);
    const size_t   row = strata_bytes(&around->desc) / ROWS;
    for (int64_t i = 0; i < ROWS; i++) {
        float        scratch[4 * COLUMNS];
        const float *rows;
        assert_true(row <= sizeof scratch);
        assert_int_equal(strata_tensor_rows(t, i, 1, scratch, &rows, NULL), STRATA_OK);
        assert_memory_equal(rows, (const char *)strata_tensor_data(truth) + (size_t)i * row, row);
    }
    strata_tensor_unref(t);
    strata_tensor_unref(truth);
    strata_graph_destroy(g);
}

static void *read_all(void *arg)
{
    const chain *c = arg;
    const float *truth = strata_tensor_data(c->truth), *rows;
    float        scratch[COLUMNS];
    for (int64_t i = 0; i < ROWS; i++) {
        if (strata_tensor_rows(c->deferred, i, 1, scratch, &rows, NULL) != STRATA_OK ||
            memcmp(rows, truth + i * COLUMNS, sizeof scratch) != 0)
            return arg;
        if (i == ROWS / 2 && !strata_tensor_data(c->deferred))
            return arg;
    }
    return NULL;
}

static void test_from_several_threads(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        chain     c = chain_of(ROWS, (uint64_t)round);
        pthread_t thread[4];
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, read_all, &c), 0);
        for (int i = 0; i < 4; i++) {
            void *failed;
            pthread_join(thread[i], &failed);
            assert_null(failed);
        }
        release(&c);
    }
}

static void test_what_cannot(void **state)
{
    (void)state;
    uint64_t        random = 1;
    strata_error    err;
    strata_tensor  *t;
    strata_builder *b;
    strata_graph   *g;
    const float    *rows;
    float           scratch[COLUMNS];
    assert_int_equal(strata_builder_create(ctx, "others", &b, NULL), STRATA_OK);
    strata_node *w = constant(b, "w", ROWS, COLUMNS, &random);
    strata_node *bare = strata_emit_const(b, "bare", &w->desc, NULL);
    strata_node *sum = nn_add(b, w, bare); /* no data */
    strata_node *turned = nn_reshape(b, w, ROWS, COLUMNS); /* not element-wise */
    strata_tensor_desc filters = strata_desc_f32(4, (int64_t[]){ ROWS, COLUMNS / 5, 1, 1 });
    strata_tensor     *numbers = noise(&filters, &random);
    strata_node       *kernel = strata_emit_const(b, "kernel", &filters, numbers);
    strata_node       *slid = strata_emit(b, &strata_op_conv2d, "slid", NULL, w, kernel); /* of rows, but all of the kernel's */
    strata_tensor_unref(numbers);
    strata_emit_output(b, "sum", sum);
    strata_emit_output(b, "turned", turned);
    strata_emit_output(b, "slid", slid);
    assert_int_equal(strata_builder_finish(b, &g, NULL), STRATA_OK);
    assert_false(strata_tensor_can_defer(sum));
    assert_false(strata_tensor_can_defer(turned));
    assert_false(strata_tensor_can_defer(slid));
    assert_int_equal(strata_tensor_defer(turned, &t, &err), STRATA_INVALID);
    assert_non_null(strstr(err.text, "reshape"));
    assert_int_equal(strata_tensor_rows(w->data, ROWS, 1, scratch, &rows, &err), STRATA_INVALID);
    assert_int_equal(strata_tensor_rows(w->data, -1, 1, scratch, &rows, &err), STRATA_INVALID);
    assert_int_equal(strata_tensor_rows(w->data, 1, INT64_MAX, scratch, &rows, &err), STRATA_INVALID);
    strata_graph_destroy(g);
}

static int set_up(void **state)
{
    (void)state;
    return strata_context_create(&ctx, NULL) != STRATA_OK;
}

static int tear_down(void **state)
{
    (void)state;
    strata_context_destroy(ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_and_whole),
        cmocka_unit_test(test_pads),
        cmocka_unit_test(test_from_several_threads),
        cmocka_unit_test(test_what_cannot),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
