#include "size_text.h"

#include <stdio.h>

const char *size_text(char out[32], uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double number = (double)bytes;
    size_t unit = 0;
    for (; number >= 1024 && unit < 4; unit++)
        number /= 1024;
    snprintf(out, 32, unit ? "%.1f %s" : "%.0f %s", number, units[unit]);
    return out;
}
