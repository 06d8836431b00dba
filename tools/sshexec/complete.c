/* sshexec complete: what could stand where the cursor is. One place for all shells; tools/completions has the few lines
 * that each needs.
 *
 * Options and words are read from the help page of the subcommand, so that there is one list of them; types and fields
 * from descriptors; hosts from ssh's files. No network. */
#include "host_names.h"
#include "tool.h"
#include "types.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "base/io.h"
#include "base/text.h"
#include "fleet/record_reader.h"
#include "fleet/records.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HELP_MAX (64u << 10)
#define OPTIONS_MAX 128
#define FIELDS_MAX 10000

/* An option of a help page; all of it points into the page. */
struct option_help { char letter; const char *name, *value, *about; size_t name_length, value_length, about_length; bool optional; };

struct completion {
    struct settings settings;        /* the configuration's; plugin_path and ssh_config as the words before the cursor have them */
    char **words;                    /* from the subcommand on, up to the one at the cursor */
    int count;
    const char *current;
    struct buf page;                 /* the subcommand's help */
    struct option_help options[OPTIONS_MAX];
    size_t option_count;
    const char *type;                /* of the words before the cursor */
    bool chosen, has_host, behind_dashes; /* chosen: the word that is one of a choice stands there */
    bool names_hosts;                /* an option does */
    const struct option_help *wants; /* the option whose value the cursor is at */
};

/* --- candidates --- */

/* One line, "WORD\tABOUT": what can't be on one, or would drive a terminal, is no candidate. */
static void offer(const struct completion *c, const char *word, const char *about, size_t about_length)
{
    char safe[PATH_MAX + 256], text[256];
    if (strncmp(word, c->current, strlen(c->current)) || text_escape(safe, sizeof safe, word, strlen(word)) != strlen(word) ||
        strcmp(safe, word))
        return;
    text_escape(text, sizeof text, about, about_length);
    printf("%s\t%s\n", word, text);
}

static void offer_word(const struct completion *c, const char *before, const char *word, const char *about)
{
    char whole[PATH_MAX + 256];
    if ((size_t)snprintf(whole, sizeof whole, "%s%s", before, word) < sizeof whole)
        offer(c, whole, about, strlen(about));
}

/* How much of the current word stands before the part that is completed, as text. */
static char *part_before(char *out, size_t size, const struct completion *c, const char *part)
{
    snprintf(out, size, "%.*s", (int)(part - c->current), c->current);
    return out;
}

/* Files whose path begins with `part`, the end of the current word. suffix: only those, and directories. */
static void offer_files(const struct completion *c, const char *part, const char *suffix)
{
    char before[PATH_MAX], path[PATH_MAX], word[PATH_MAX];
    const char *slash = strrchr(part, '/'), *name = slash ? slash + 1 : part, *home = getenv("HOME");
    int n = (int)(name - part);
    bool at_home = strncmp(part, "~/", 2) == 0 && home;
    snprintf(path, sizeof path, "%s%.*s", at_home ? home : n ? "" : ".", at_home ? n - 1 : n, at_home ? part + 1 : part);
    DIR *dir = opendir(path);
    size_t base = strlen(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        struct stat st;
        size_t length = strlen(e->d_name), end = suffix ? strlen(suffix) : 0;
        if ((e->d_name[0] == '.' && name[0] != '.') || strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            strncmp(e->d_name, name, strlen(name)))
            continue;
        snprintf(path + base, sizeof path - base, "/%s", e->d_name);
        bool is_dir = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
        if (!is_dir && (length < end || strcmp(e->d_name + length - end, suffix ? suffix : "")))
            continue;
        if ((size_t)snprintf(word, sizeof word, "%.*s%s%s", n, part, e->d_name, is_dir ? "/" : "") < sizeof word)
            offer_word(c, part_before(before, sizeof before, c, part), word, "");
    }
    if (dir)
        closedir(dir);
}

/* [user@]host, with what comes behind it. */
static void offer_hosts(const struct completion *c, const char *part, const char *behind)
{
    char before[PATH_MAX], host[PATH_MAX];
    struct words hosts = {0};
    const char *at = strchr(part, '@');
    host_names_add(&hosts, c->settings.ssh_config, at ? at + 1 : part);
    for (size_t i = 0; i < hosts.n; i++) {
        snprintf(host, sizeof host, "%s%s", hosts.at[i], behind);
        offer_word(c, part_before(before, sizeof before, c, at ? at + 1 : part), host, "host");
    }
    words_free(&hosts);
}

/* The records of runs, and how many hosts each had. */
static void offer_records(const struct completion *c, const char *part)
{
    char before[PATH_MAX], path[PATH_MAX], about[64];
    char **names;
    size_t count;
    if (records_list(&names, &count, NULL))
        return;
    for (size_t i = 0; i < count; i++) {
        struct record_reader *r;
        about[0] = 0;
        if (records_find(path, sizeof path, names[i], NULL) == 0 && record_reader_open(&r, path, NULL) == 0) {
            snprintf(about, sizeof about, "%zu host%s", record_reader_head(r)->count, record_reader_head(r)->count == 1 ? "" : "s");
            record_reader_close(r);
        }
        offer_word(c, part_before(before, sizeof before, c, part), names[i], about);
    }
    records_list_free(names, count);
}

static int offer_type(void *user, const char *type, const char *path)
{
    const struct completion *c = user;
    struct plugin plugin;
    if (strncmp(type, c->current, strlen(c->current)) || plugin_open(&plugin, path, NULL, NULL, NULL))
        return 0;
    offer_word(c, "", type, plugin.descriptor.doc);
    plugin_dispose(&plugin);
    return 0;
}

static void offer_types(struct completion *c)
{
    struct registry registry;
    if (types_registry(&registry, c->settings.plugin_path, NULL))
        return;
    registry_each(&registry, offer_type, c);
    registry_close(&registry);
}

/* --- fields --- */

static bool was_given(const struct completion *c, const char *name)
{
    size_t n = strlen(name);
    for (int i = 1; i < c->count - 1; i++)
        if (strncmp(c->words[i], name, n) == 0 && (c->words[i][n] == '=' || c->words[i][n] == ':'))
            return true;
    return false;
}

static const struct schema_type *inner(const struct schema_type *t)
{
    while (t->kind == SCHEMA_LIST || t->kind == SCHEMA_OPT)
        t = t->element;
    return t;
}

/* Those of a struct within the state are written a.b= ; `room`: how many more are looked at, for a hostile schema's
 * structs multiply. */
static void offer_fields(const struct completion *c, const struct schema_struct *s, const char *before, size_t *room)
{
    char name[512];
    for (size_t i = 0; i < s->count && *room; i++) {
        --*room;
        const struct schema_field *f = &s->fields[i];
        snprintf(name, sizeof name, "%s%s", before, f->name);
        if (f->type.kind == SCHEMA_STRUCT) {
            snprintf(name, sizeof name, "%s%s.", before, f->name);
            if (strncmp(name, c->current, strlen(c->current) < strlen(name) ? strlen(c->current) : strlen(name)) == 0)
                offer_fields(c, f->type.structure, name, room);
        } else if (f->type.kind == SCHEMA_LIST || !was_given(c, name)) {
            offer_word(c, name, "=", f->doc);
        }
    }
}

static const struct schema_field *find_field(const struct schema_struct *s, const char *name, size_t n)
{
    const char *dot = memchr(name, '.', n);
    const struct schema_field *f = schema_field_find(s, name, dot ? (size_t)(dot - name) : n);
    if (!f || !dot)
        return f;
    return f->type.kind == SCHEMA_STRUCT ? find_field(f->type.structure, dot + 1, n - (size_t)(dot + 1 - name)) : NULL;
}

/* value: what stands behind the = in the current word. */
static void offer_values(const struct completion *c, const struct schema_field *f, const char *value)
{
    char before[PATH_MAX];
    const struct schema_type *t = inner(&f->type);
    part_before(before, sizeof before, c, value);
    if (*value == '@')
        offer_files(c, value + 1, NULL);
    for (size_t i = 0; t->kind == SCHEMA_ENUM && i < t->enumeration->count; i++)
        offer_word(c, before, t->enumeration->values[i], "");
    for (int i = 0; t->kind == SCHEMA_BOOL && i < 2; i++)
        offer_word(c, before, i ? "false" : "true", "");
    if (t->kind == SCHEMA_STR && strchr("/.~", *value) && strchr(value, '/'))
        offer_files(c, value, NULL);
}

/* Returns whether the current word is a field with a value to be. */
static bool offer_state(const struct completion *c)
{
    struct type type;
    const char *equals = strchr(c->current, '=');
    if (type_open(&type, c->type, c->settings.plugin_path, NULL))
        return equals;
    const struct schema_struct *state = type.plugin.descriptor.state;
    if (equals) {
        const struct schema_field *f =
            find_field(state, c->current, (size_t)(equals - c->current) - (equals > c->current && equals[-1] == ':'));
        if (f)
            offer_values(c, f, equals + 1);
    } else {
        size_t room = FIELDS_MAX;
        offer_fields(c, state, "", &room);
    }
    type_close(&type);
    return equals;
}

/* --- the help page --- */

/* What the subcommand prints for --help. */
static int read_page(struct completion *c, const struct command *command)
{
    static char help[] = "--help";
    char *argv[] = {c->words[0], help, NULL};
    int page = memfd_create("help", MFD_CLOEXEC), out = dup(STDOUT_FILENO), rc = -1;
    fflush(stdout);
    if (page >= 0 && out >= 0 && dup2(page, STDOUT_FILENO) >= 0) {
        command->run(2, argv);
        fflush(stdout);
        dup2(out, STDOUT_FILENO);
        rc = lseek(page, 0, SEEK_SET) || fd_read_all(&c->page, page, HELP_MAX, "help", NULL) || buf_add(&c->page, "", 1) ? -1 : 0;
    }
    fd_close(&page);
    fd_close(&out);
    return rc;
}

static void take_name(struct completion *c, struct option_help *o, const char *at, size_t n)
{
    if (n == 2 && at[1] != '-') {
        o->letter = at[1];
        return;
    }
    o->name = at;
    o->name_length = strcspn(at, " [=,");
    o->name_length = o->name_length < n ? o->name_length : n;
    o->optional = n > o->name_length && at[o->name_length] == '[';
    o->value = at + o->name_length + strspn(at + o->name_length, " [=");
    o->value_length = (size_t)(at + n - o->value) - o->optional;
    if (c->option_count < OPTIONS_MAX)
        c->options[c->option_count++] = *o;
}

/* "  -i, --identity FILE   about" or "  --uploads, --no-uploads   about": names, then two blanks, then what it is about. */
static void take_option_line(struct completion *c, const char *line, size_t length)
{
    struct option_help o = {0};
    const char *end = line + length, *gap = memmem(line, length, "  ", 2), *names_end = gap ? gap : end;
    o.about = gap ? gap + strspn(gap, " ") : end;
    o.about_length = (size_t)(end - o.about);
    while (line < names_end) {
        const char *comma = memmem(line, (size_t)(names_end - line), ", ", 2), *stop = comma ? comma : names_end;
        take_name(c, &o, line, (size_t)(stop - line));
        line = comma ? comma + 2 : names_end;
    }
}

static void parse_page(struct completion *c)
{
    const char *line = (const char *)buf_data(&c->page);
    for (size_t n; *line; line += n + (line[n] == '\n')) {
        n = strcspn(line, "\n");
        size_t indent = strspn(line, " ");
        if (indent && line[indent] == '-' && line[indent + 1] != ' ' && strncmp(line + indent, "-- ", 3))
            take_option_line(c, line + indent, n - indent);
    }
}

/* Whether the usage line has this word. */
static bool usage_has(const struct completion *c, const char *word)
{
    const char *line = (const char *)buf_data(&c->page), *at = memmem(line, strcspn(line, "\n"), word, strlen(word));
    return at && !isalpha((unsigned char)at[strlen(word)]);
}

/* --- the words before the cursor --- */

static const struct option_help *find_long(const struct completion *c, const char *name, size_t n)
{
    for (size_t i = 0; i < c->option_count; i++)
        if (c->options[i].name_length == n && memcmp(c->options[i].name, name, n) == 0)
            return &c->options[i];
    return NULL;
}

static const struct option_help *find_letter(const struct completion *c, char letter)
{
    for (size_t i = 0; i < c->option_count; i++)
        if (c->options[i].letter == letter)
            return &c->options[i];
    return NULL;
}

/* The option of this word that takes a value, and where the value is: NULL, the next word. */
static const struct option_help *option_with_value(const struct completion *c, const char *word, const char **value)
{
    *value = NULL;
    if (strncmp(word, "--", 2) == 0) {
        size_t n = strcspn(word, "=");
        const struct option_help *o = find_long(c, word, n);
        *value = word[n] ? word + n + 1 : NULL;
        return o && o->value_length && (*value || !o->optional) ? o : NULL;
    }
    for (const char *at = word + 1; *at; at++) {
        const struct option_help *o = find_letter(c, *at);
        *value = o && at[1] ? at + 1 : NULL;
        if (!o || o->value_length)
            return o;
    }
    return NULL;
}

static void note_option(struct completion *c, const struct option_help *o, const char *value)
{
    if (o->name_length == 13 && memcmp(o->name, "--plugin-path", 13) == 0)
        c->settings.plugin_path = value;
    if (o->letter == 'F')
        c->settings.ssh_config = value;
    c->names_hosts |= o->letter == 'w' || o->letter == 'g';
}

/* Where the usage line's first word behind the subcommand is a choice, "list|verify|gc", its place and length; else
 * NULL. */
static const char *find_choice(const struct completion *c, size_t *n)
{
    const char *at = (const char *)buf_data(&c->page) + strcspn((const char *)buf_data(&c->page), "\n"),
               *line = (const char *)buf_data(&c->page);
    for (int i = 0; i < 3 && line < at; i++) /* "usage:", "sshexec", the subcommand */
        line += strcspn(line, " \n") + 1;
    *n = line < at ? strspn(line, "abcdefghijklmnopqrstuvwxyz|") : 0;
    return *n && memchr(line, '|', *n) && (line[*n] == ' ' || line[*n] == '\n') ? line : NULL;
}

static void offer_choice(const struct completion *c, const char *choice, size_t n)
{
    char word[64];
    for (const char *end = choice + n; choice < end; choice += n + 1) {
        n = strcspn(choice, "| \n");
        snprintf(word, sizeof word, "%.*s", (int)n, choice);
        offer_word(c, "", word, "");
    }
}

static void walk(struct completion *c)
{
    size_t choice;
    bool takes_type = usage_has(c, "TYPE") || usage_has(c, "PLUGIN");
    for (int i = 1; i < c->count - 1; i++) {
        const char *word = c->words[i], *value;
        c->wants = NULL;
        if (c->behind_dashes || strcmp(word, "--") == 0) {
            c->behind_dashes = true;
        } else if (*word == '-' && word[1]) {
            const struct option_help *o = option_with_value(c, word, &value);
            if (o && !value && i + 1 == c->count - 1)
                c->wants = o;
            else if (o)
                note_option(c, o, value ? value : c->words[++i]);
        } else if (takes_type && !c->type) {
            c->type = word;
        } else if (!c->chosen && find_choice(c, &choice)) {
            c->chosen = true;
        } else if (!strchr(word, '=')) {
            c->has_host = true;
        }
    }
}

/* --- putting it together --- */

static bool value_is(const struct option_help *o, const char *word)
{
    return o->value_length == strlen(word) && memcmp(o->value, word, o->value_length) == 0;
}

static void offer_option_value(struct completion *c, const struct option_help *o, const char *part)
{
    static const char *const files[] = {"FILE", "PATH", "DIR", "DIRS"};
    static const struct { const char *value, *word, *about;
    } choices[] = {
        {"WHICH", "failed", "ran, and did not end well"},
        {"WHICH", "unreachable", "nothing was sent"},
        {"WHICH", "lost", "may have run"},
        {"WHICH", "ok", ""},
        {"WHICH", "all", ""},
        {"WHEN", "auto", "on a terminal"},
        {"WHEN", "always", ""},
        {"WHEN", "never", ""},
    };
    char before[PATH_MAX];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (value_is(o, files[i]))
            offer_files(c, part, NULL);
    if (value_is(o, "HOST"))
        offer_hosts(c, part, "");
    if (value_is(o, "SET")) /* its last member */
        offer_hosts(c, strrchr(part, ',') ? strrchr(part, ',') + 1 : part, "");
    if (value_is(o, "RECORD"))
        offer_records(c, part);
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        if (value_is(o, choices[i].value)) /* its last member, too */
            offer_word(c, part_before(before, sizeof before, c, strrchr(part, ',') ? strrchr(part, ',') + 1 : part),
                       choices[i].word, choices[i].about);
    const char *name = value_is(o, "HOW") ? settings_transport(0) : NULL;
    for (size_t i = 0; name; name = settings_transport(++i))
        offer_word(c, part_before(before, sizeof before, c, part), name, "transport");
}

static void offer_options(const struct completion *c)
{
    for (size_t i = 0; i < c->option_count; i++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)c->options[i].name_length, c->options[i].name);
        offer(c, name, c->options[i].about, c->options[i].about_length);
    }
}

static void offer_words(struct completion *c)
{
    size_t n;
    const char *choice = c->chosen ? NULL : find_choice(c, &n);
    if (choice) {
        offer_choice(c, choice, n);
        return;
    }
    bool takes_type = usage_has(c, "TYPE") || usage_has(c, "PLUGIN");
    if (takes_type && !c->type) {
        offer_types(c);
        offer_files(c, c->current, ".so");
        return;
    }
    if (c->type && usage_has(c, "field") && offer_state(c))
        return;
    bool copies = usage_has(c, "HOST:PATH");
    if (!c->names_hosts && (copies || (usage_has(c, "HOST") && !c->has_host)))
        offer_hosts(c, c->current, copies ? ":" : "");
    if (usage_has(c, "[RECORD]") && !c->has_host)
        offer_records(c, c->current);
    if (copies || usage_has(c, "[FILE]"))
        offer_files(c, c->current, NULL);
}

static void complete_command_words(struct completion *c, const struct command *command)
{
    const char *value;
    if (read_page(c, command))
        return;
    parse_page(c);
    walk(c);
    const struct option_help *o = *c->current == '-' && !c->behind_dashes ? option_with_value(c, c->current, &value) : NULL;
    if (c->wants)
        offer_option_value(c, c->wants, c->current);
    else if (o && value)
        offer_option_value(c, o, value);
    else if (c->behind_dashes)
        offer_files(c, c->current, NULL);
    else if (*c->current == '-')
        offer_options(c);
    else
        offer_words(c);
    buf_free(&c->page);
}

static void complete(struct completion *c)
{
    bool help = c->count == 2 && strcmp(c->words[0], "help") == 0;
    c->current = c->words[c->count - 1];
    if (c->count == 1 || help) {
        for (size_t i = 0; i < command_count; i++)
            if (commands[i].about)
                offer_word(c, "", commands[i].name, commands[i].about);
        for (size_t i = 0; !help && i < 2; i++)
            offer_word(c, "", i ? "version" : "help", i ? "print the versions and exit" : "what there is");
        return;
    }
    for (size_t i = 0; i < command_count; i++)
        if (strcmp(commands[i].name, c->words[0]) == 0)
            complete_command_words(c, &commands[i]);
}

int command_complete(int argc, char **argv)
{
    static struct completion c; /* large */
    struct ssx_error err = {0};
    char **words;
    int count, code;
    if (tool_start(&c.settings, 0, "usage: sshexec complete -- [WORD ...]\n\n"
                   "Prints what could stand in place of the last WORD, one a line with a tab and what it is behind it.\n"
                   "The shells' completions ask this; WORDs are those behind sshexec, up to the cursor.",
                   argc, argv, &words, &count, &c.words, &code))
        return code;
    if (c.settings.help || count || !c.words || !*c.words) {
        error_set(&err, SSX_ERROR_USAGE, "complete takes the words of a command line behind --");
        return tool_complain(&err);
    }
    while (c.words[c.count])
        c.count++;
    complete(&c);
    return 0;
}
