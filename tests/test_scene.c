/* examples/scene.png is what examples/scene.c paints, pixel for pixel. Arguments: program, picture. */
#include "image_data.h"

#include <sys/wait.h>
#include <unistd.h>

static char **arguments;

static void the_scene_is_reproducible(void **state)
{
    (void)state;
    char path[] = "/tmp/strata-scene-XXXXXX";
    int fd = mkstemp(path), code;
    assert_true(fd >= 0);
    close(fd);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl(arguments[1], arguments[1], path, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_int_equal(code, 0);

    strata_error err;
    strata_image *painted, *shipped;
    assert_ok(strata_image_load(path, false, &painted, &err));
    assert_ok(strata_image_load(arguments[2], false, &shipped, &err));
    assert_int_equal(strata_image_width(painted), 640);
    assert_int_equal(strata_image_height(painted), 480);
    assert_int_equal(hash_image(painted), hash_image(shipped));
    strata_image_destroy(painted);
    strata_image_destroy(shipped);
    unlink(path);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: test_scene PROGRAM PICTURE\n");
        return 2;
    }
    arguments = argv;
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_scene_is_reproducible) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
