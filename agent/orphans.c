#include "orphans.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define INHERITED_MAX 256

static pid_t inherited[INHERITED_MAX];
static size_t inherited_count;

/* The list is text of any length; a read may cut a number in two, so the last word waits for the next read. */
static void each_child(void (*visit)(void *user, pid_t pid), void *user)
{
    char path[64], text[4096];
    size_t kept = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    for (ssize_t n; (n = read(fd, text + kept, sizeof text - 1 - kept)) > 0;) {
        char *word = text, *space;
        text[kept + (size_t)n] = 0;
        for (; (space = strchr(word, ' ')); word = space + 1) {
            pid_t pid = (pid_t)strtol(word, NULL, 10);
            if (pid > 1)
                visit(user, pid);
        }
        kept = strlen(word);
        memmove(text, word, kept);
    }
    close(fd);
}

static void inherit(void *user, pid_t pid)
{
    (void)user;
    if (inherited_count < INHERITED_MAX)
        inherited[inherited_count++] = pid;
}

void orphans_adopt(void)
{
    inherited_count = 0;
    each_child(inherit, NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

static bool is_inherited(pid_t pid)
{
    for (size_t i = 0; i < inherited_count; i++)
        if (inherited[i] == pid)
            return true;
    return false;
}

struct hunt { bool (*is_ours)(void *user, pid_t pid); void *user; int found; };

static void kill_stray(void *user, pid_t pid)
{
    struct hunt *h = user;
    if (is_inherited(pid) || (h->is_ours && h->is_ours(h->user, pid)))
        return;
    kill(pid, SIGKILL);
    h->found++;
}

int orphans_kill(bool (*is_ours)(void *user, pid_t pid), void *user)
{
    struct hunt h = {is_ours, user, 0};
    each_child(kill_stray, &h);
    return h.found;
}
