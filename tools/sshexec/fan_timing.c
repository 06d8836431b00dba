#include "fan_timing.h"

#include <stdio.h>
#include <string.h>

#define BARS 10
#define BAR_LENGTH 40

static const struct column { const char *name; size_t offset;
} columns[] = {
#define COLUMN(name) {#name, offsetof(struct ssx_fleet_timing, name##_us)}
    COLUMN(wait),  COLUMN(look),   COLUMN(resolve), COLUMN(connect), COLUMN(exchange), COLUMN(auth),
    COLUMN(agent), COLUMN(upload), COLUMN(load),    COLUMN(run),     COLUMN(drain),    COLUMN(total),
#undef COLUMN
};
#define COLUMNS (sizeof columns / sizeof *columns)

static double ms(const struct ssx_fleet_timing *t, size_t column)
{
    uint64_t us;
    memcpy(&us, (const char *)t + columns[column].offset, sizeof us);
    return (double)us / 1000;
}

/* As wide as its longest number, or its name. */
static int column_width(const struct ssx_fleet_timing *times, size_t count, size_t column)
{
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = ms(&times[i], column) > most ? ms(&times[i], column) : most;
    int digits = snprintf(NULL, 0, "%.1f", most), name = (int)strlen(columns[column].name);
    return digits > name ? digits : name;
}

void fan_timing_table(struct buf *out, char *const *names, const struct ssx_fleet_timing *times, size_t count)
{
    int width = 4, widths[COLUMNS];
    for (size_t i = 0; i < count; i++)
        width = (int)strlen(names[i]) > width ? (int)strlen(names[i]) : width;
    buf_printf(out, "%-*s", width, "host");
    for (size_t c = 0; c < COLUMNS; c++) {
        widths[c] = column_width(times, count, c);
        buf_printf(out, " %*s", widths[c], columns[c].name);
    }
    buf_add_text(out, "\n");
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "%-*s", width, names[i]);
        for (size_t c = 0; c < COLUMNS; c++)
            buf_printf(out, " %*.1f", widths[c], ms(&times[i], c));
        buf_add_text(out, "\n");
    }
}

void fan_timing_histogram(struct buf *out, const struct ssx_fleet_timing *times, size_t count)
{
    static const char bar[BAR_LENGTH + 1] = "########################################";
    size_t counts[BARS] = {0}, most = 0;
    double least = ms(&times[0], COLUMNS - 1), greatest = least;
    for (size_t i = 1; i < count; i++) {
        double total = ms(&times[i], COLUMNS - 1);
        least = total < least ? total : least;
        greatest = total > greatest ? total : greatest;
    }
    double step = greatest > least ? (greatest - least) / BARS : 1;
    for (size_t i = 0; i < count; i++) {
        size_t at = (size_t)((ms(&times[i], COLUMNS - 1) - least) / step);
        size_t n = ++counts[at < BARS ? at : BARS - 1];
        most = n > most ? n : most;
    }
    for (size_t i = 0; i < BARS; i++)
        buf_printf(out, "%9.1f ms %7zu%s%.*s\n", least + step * (double)i, counts[i], counts[i] ? " " : "",
                   (int)(counts[i] * BAR_LENGTH / most), bar);
}
