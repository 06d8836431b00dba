/* Small files and lines of them as text. */
#include "facts.h"
#include <fcntl.h>
#include <unistd.h>

bool read_text(const char *path, char text[TEXT_MAX])
{
    size_t n = 0;
    ssize_t got = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    while (fd >= 0 && n < TEXT_MAX - 1 && (got = read(fd, text + n, TEXT_MAX - 1 - n)) > 0)
        n += (size_t)got;
    if (fd >= 0)
        close(fd);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\0'))
        n--;
    text[n] = '\0';
    return n > 0;
}

const char *file_text(struct ssx_call *call, const char *path)
{
    char text[TEXT_MAX];
    read_text(path, text);
    return ssx_strdup(call, text);
}

const char *line_value(const char *text, const char *key)
{
    size_t n = strlen(key);
    while (text && strncmp(text, key, n) != 0)
        if ((text = strchr(text, '\n')))
            text++;
    return text ? text + n : NULL;
}
