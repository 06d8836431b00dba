/* Host set expressions, one a line from stdin; for each, what test_hosts_command.py compares:
 * "EXPRESSION\tCOUNT\tFOLDED\tNAMES" or "EXPRESSION\terror". */
#include "fleet/hostset_parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int print_name(void *ctx, const char *name, size_t n)
{
    bool *first = ctx;
    if (!*first)
        putchar(' ');
    *first = false;
    fwrite(name, 1, n, stdout);
    return 0;
}

static void print(const char *text, struct groups *groups)
{
    const struct host_scope scope = {groups, NULL, false};
    struct hostset *s = hostset_new();
    struct buf folded = {0};
    bool first = true;
    fputs(text, stdout);
    if (!s || hostset_parse(s, text, strlen(text), &scope, NULL) || hostset_fold(s, &folded, NULL)) {
        fputs("\terror\n", stdout);
    } else {
        printf("\t%zu\t%.*s\t", hostset_count(s), (int)buf_length(&folded), buf_length(&folded) ? (const char *)buf_data(&folded) : "");
        hostset_each(s, print_name, &first, NULL);
        putchar('\n');
    }
    buf_free(&folded);
    hostset_free(s);
}

int main(void)
{
    static const struct groups_options options;
    struct groups *groups = groups_new(&options);
    char *line = NULL;
    size_t size = 0;
    for (ssize_t n; (n = getline(&line, &size, stdin)) > 0;) {
        line[strcspn(line, "\n")] = 0;
        print(line, groups);
    }
    free(line);
    groups_free(groups);
    return 0;
}
