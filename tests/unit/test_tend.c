/* Looking after a store. What a user sees of it is tested by tests/integration/test_store_command.py. */
#include "base/tree.h"
#include "bundle/tend.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

/* Where the kernel's stamp of a file is finer than time(), the file is from the future for some milliseconds of each
 * second. Over one such moment. */
static void an_object_is_never_younger_than_now(void **state)
{
    char top[] = "/tmp/test_tend.XXXXXX", path[128];
    time_t end = time(NULL) + 2;
    (void)state;
    assert_non_null(mkdtemp(top));
    snprintf(path, sizeof path, "%s/objects", top);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/objects/%064d", top, 0);
    while (time(NULL) < end) {
        struct ssx_error err = {0};
        struct tend_object object;
        struct tend *t;
        int fd = open(path, O_CREAT | O_WRONLY | O_EXCL | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        close(fd);
        assert_int_equal(tend_begin(&t, top, "gc:0:", &err), 0);
        assert_int_equal(tend_next(t, &object, &err), 1);
        assert_string_equal(object.state, "removed");
        tend_end(t);
    }
    assert_int_equal(tree_remove(top), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_object_is_never_younger_than_now)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
