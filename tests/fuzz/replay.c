/* Every input of the corpus through its target, as a test each: what fuzzing found stays found. replay [DIR] */
#include "targets.h"
#include "base/buf.h"
#include "base/file.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned count;

static void replay_one(const struct fuzz_target *t, const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct buf bytes = {0};
    snprintf(path, sizeof path, "%s/%s/%s", dir, t->name, name);
    int rc = file_read(&bytes, path, 1 << 20, NULL);
    if (rc == 0)
        fuzz_run(t, buf_data(&bytes), buf_length(&bytes));
    printf("%sok %u - %s/%s\n", rc ? "not " : "", ++count, t->name, name);
    fflush(stdout); /* the next one may abort */
    buf_free(&bytes);
}

int main(int argc, char **argv)
{
    const char *dir = argc > 1 ? argv[1] : CORPUS;
    for (const struct fuzz_target *t = fuzz_targets; t->name; t++) {
        char path[PATH_MAX];
        struct dirent **names;
        snprintf(path, sizeof path, "%s/%s", dir, t->name);
        int n = scandir(path, &names, NULL, alphasort);
        if (n <= 2) { /* "." and ".." */
            printf("not ok %u - %s has no corpus\n", ++count, t->name);
            continue;
        }
        for (int i = 0; i < n; i++) {
            if (names[i]->d_name[0] != '.')
                replay_one(t, dir, names[i]->d_name);
            free(names[i]);
        }
        free(names);
    }
    printf("1..%u\n", count);
    return 0;
}
