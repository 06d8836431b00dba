#include "orphans.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

void orphans_adopt(void) { prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

/* The list is text of any length; a read may cut a number in two, so the last word waits for the next read. */
int orphans_kill(bool (*is_ours)(void *user, pid_t pid), void *user)
{
    char path[64], text[4096];
    size_t kept = 0;
    int found = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    for (ssize_t n; (n = read(fd, text + kept, sizeof text - 1 - kept)) > 0;) {
        char *word = text, *space;
        text[kept + (size_t)n] = 0;
        for (; (space = strchr(word, ' ')); word = space + 1) {
            pid_t pid = (pid_t)strtol(word, NULL, 10);
            if (pid > 1 && !is_ours(user, pid)) {
                kill(pid, SIGKILL);
                found++;
            }
        }
        kept = strlen(word);
        memmove(text, word, kept);
    }
    close(fd);
    return found;
}
