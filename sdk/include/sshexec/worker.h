/* Everything that a worker plugin needs: the lists that describe its state and result, and what it can ask of its host.
 *
 * A plugin is one C or C++ file, compiled to a .so that links nothing of ours:
 *
 *     #include <sshexec/worker.h>
 *
 *     #define HELLO(F)                                                   \
 *         F(str_max(64),    name,  default("world"), "whom to greet")    \
 *         F(i32_in(1, 100), times, default(1),       "how often")
 *     SSX_STRUCT(hello, HELLO)
 *
 *     #define HELLO_RESULT(F)  F(u32, greeted, required, "how many greetings were said")
 *     SSX_STRUCT(hello_result, HELLO_RESULT)
 *
 *     static int hello_run(struct ssx_call *call, const struct hello *in, struct hello_result *out) { ... return 0; }
 *     SSX_WORKER("hello", "1.0", "says hello", hello, hello_result, SSX_IDEMPOTENT, hello_run)
 *
 * One list gives the C struct (`struct hello`), the table that decodes it, and the text that `sshexec describe` shows. What a
 * worker prints with printf goes to the caller, stdout and stderr apart; they are pipes, so flush what must be seen at once.
 * ABI.md says what else a worker finds. */
#ifndef SSHEXEC_WORKER_H
#define SSHEXEC_WORKER_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#ifdef __cpp_exceptions
#include <exception>
#endif

/* The version of all that a plugin and its host share: the structs below, `run`, the notes. A host runs plugins of its
 * own major and of its own or an older minor. A new minor adds at the end of ssx_plugin or ssx_host; anything else is a
 * new major. */
#define SSX_ABI_MAJOR 1
#define SSX_ABI_MINOR 1
/* Changelog
 *   1.0  the first version
 *   1.1  ssx_read; SSX_RETURNS_STATE; SSX_WORKER_ITEMS
 */

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Kinds: what a field can be ------------------------------------------------------------------------------------------
 *
 *   in the list           C type                                       values
 *   bool                  bool
 *   i32 i64 u32 u64       int32_t int64_t uint32_t uint64_t            all of the C type
 *   i32_in(lo, hi) ...    the same                                     lo to hi, both included
 *   f64                   double                                       all, NaN and the infinities too
 *   f64_in(lo, hi)        double                                       lo to hi, both included; no NaN
 *   str                   const char *                                 text without NUL, UTF-8 or not; never NULL in a state
 *   str_max(n)            const char *                                 the same, at most n bytes
 *   bin                   struct ssx_bin                               any bytes
 *   bin_max(n)            struct ssx_bin                               at most n of them
 *   any                   struct ssx_any                               any value
 *   enum(t)               enum t                                       one of an earlier SSX_ENUM
 *   struct(t)             struct t                                     an earlier SSX_STRUCT, by value
 *   list(e)               struct { E *at; size_t n, room; }            any number of e
 *   opt(e)                struct { bool set; E value; }                an e or nothing
 *   secret(e)             as e                                         never shown: not in JSON, logs, records or error messages
 *   rest(list(e))         as list(e)                                   takes the words after `--`; one field of the state, at most
 *
 * list(struct(disk)), opt(f64), secret(str_max(64)) nest freely, but a kind can't hold itself: for a list of lists put
 * a struct between. Bounds and lengths are literals that are JSON as well as C: 100, -1, 0.5; not 1u, 0x10, SOME_MACRO
 * or 60 * 60 (`sshexec describe --check` refuses those). C has no such literal for integers from 2^63 up.
 *
 * The third word of a field says what stands there when the sender leaves it out:
 *
 *   required              the call is refused without it
 *   empty                 false, 0, "", no bytes, no elements, not set, the enum's first value, a struct's own defaults
 *   default(v)            a number, true, false or "text": a literal that is JSON as well as C
 *   member(enum, v)       an enum's value
 *
 * In a result, a field that the worker leaves alone is sent with its default (required: the empty value). Names match
 * [A-Za-z_][A-Za-z0-9_]{0,63}; those that begin with ssx_ are taken, and a field can't have a macro's (errno). A struct
 * or enum has at most 256 fields or values. */

/* Bytes, borrowed: in a state they live as long as the call. */
struct ssx_bin { const void *at; size_t n; };

/* One msgpack value, well-formed, byte for byte as it was sent; n == 0 is the same as nil. */
struct ssx_any { const void *at; size_t n; };

/* The description of fields: made by the macros, read by the host. Its layout holds for a whole major version. */
enum ssx_kind {
    SSX_KIND_BOOL = 1,
    SSX_KIND_INT,    /* lo to (int64_t)hi, `size` 4 or 8 */
    SSX_KIND_UINT,   /* (uint64_t)lo to hi, `size` 4 or 8 */
    SSX_KIND_F64,    /* flo to fhi; -inf to inf: any double */
    SSX_KIND_STR,    /* at most hi bytes */
    SSX_KIND_BIN,    /* at most hi bytes */
    SSX_KIND_ANY,
    SSX_KIND_ENUM,   /* names[0] to names[hi] */
    SSX_KIND_STRUCT, /* schema() */
    SSX_KIND_LIST,   /* of the type that follows in the chain */
    SSX_KIND_OPT,    /* the same */
    SSX_KIND_SECRET  /* the same; this link has no storage of its own */
};

/* A field's type is a chain of links, list -> opt -> i32, that ends with the first link that holds no other. */
struct ssx_type {
    uint8_t kind;                              /* enum ssx_kind */
    uint8_t align;                             /* of the C object; of list and opt: of what this link adds; secret: 0 */
    uint16_t reserved;                         /* 0 */
    uint32_t size;                             /* the same */
    int64_t lo; uint64_t hi;
    double flo, fhi;
    const struct ssx_schema *(*schema)(void);  /* STRUCT; else NULL */
    const char *const *names;                  /* ENUM; else NULL */
};

struct ssx_field {
    const char *name;
    uint16_t name_length;
    uint8_t required;                          /* 0 or 1 */
    uint8_t reserved;                          /* 0 */
    uint32_t offset;                           /* in the C struct */
    const struct ssx_type *type;               /* the chain */
};

struct ssx_schema {
    const char *name;
    uint32_t size, count;                      /* of the C struct in bytes; of fields, at most 256 */
    const struct ssx_field *fields;            /* NULL if there are none */
    void (*defaults)(void *);                  /* fills a struct: every field's default */
};

/* ---- Traits: what a worker declares of itself; ORed, 0 for none ---------------------------------------------------------- */
#define SSX_IDEMPOTENT   1u  /* running it twice does no harm: a lost call may be tried again */
#define SSX_REUSABLE     2u  /* one process may serve many calls, one after the other */
#define SSX_TAKES_INPUT  4u  /* it reads its stdin, which is the caller's */
#define SSX_SHOWS_OUTPUT 8u  /* `sshexec run` prints its output, not its result */
#define SSX_SHOWS_RESULT 16u /* `sshexec run` prints its result, not its output */
#define SSX_SANDBOX_NONE 32u /* it can't work in the sandbox profile `default` */
#define SSX_RETURNS_STATE 64u /* its function may change the state, and the caller gets it back (since 1.1) */

/* ---- What the host gives to a call; use it through the ssx_ functions at the end of this file ----------------------------- */
struct ssx_call;

struct ssx_host {
    size_t size; /* of this struct as the host knows it: a later minor version appends */
    void *(*alloc)(struct ssx_call *call, size_t n);
    void (*log)(struct ssx_call *call, int level, const char *text);
    void (*progress)(struct ssx_call *call, uint64_t done, uint64_t total, const char *text);
    int (*item)(struct ssx_call *call, const struct ssx_schema *schema, const void *item);
    int (*item_any)(struct ssx_call *call, const void *msgpack, size_t n);
    bool (*cancelled)(struct ssx_call *call);
    int64_t (*time_left_ms)(struct ssx_call *call);
    const char *(*temp_dir)(struct ssx_call *call);
    int (*fail)(struct ssx_call *call, int code, const char *message);
    ptrdiff_t (*read)(struct ssx_call *call, void *buf, size_t n); /* since 1.1 */
};

struct ssx_call { const struct ssx_host *host; };

/* What a plugin exports as `ssx_plugin`, next to `int run(struct ssx_call *, const void *state, void *result)`. */
struct ssx_plugin {
    uint16_t abi_major, abi_minor;
    uint32_t size;                                             /* of this struct as the plugin knows it */
    const char *name, *version;
    uint64_t traits;
    const struct ssx_schema *(*state)(void), *(*result)(void);
    int (*selftest)(struct ssx_call *call);                    /* may be NULL; 0: the plugin can work here */
    const struct ssx_schema *(*item)(void);                    /* since 1.1; may be NULL: items are of any type */
};

/* ---- The macros an author uses ------------------------------------------------------------------------------------------- */

/* SSX_STRUCT(t, LIST): `struct t` from a list of F(kind, name, default, "doc"). */
#define SSX_STRUCT(t, LIST)                                                                                                \
    LIST(SSX_F_COUNTED) SSX_ASSERT(1, "clang looks a token ahead: this keeps it off the next list until it has spoken");   \
    LIST(SSX_F_KIND_NAME_DEFAULT_DOC)                                                                                      \
    SSX_ASSERT((0 LIST(SSX_F_RESTS)) <= 1, "struct " #t " has more than one rest field: only one list can take the words after --"); \
    struct t { LIST(SSX_F_MEMBER) };                                                                                       \
    SSX_MAYBE static inline void t##_ssx_defaults(void *ssx_at)                                                            \
    {                                                                                                                      \
        struct t *ssx_self = (struct t *)ssx_at;                                                                           \
        memset(ssx_at, 0, sizeof *ssx_self);                                                                               \
        LIST(SSX_F_DEFAULT)                                                                                                \
    }                                                                                                                      \
    SSX_MAYBE static inline const struct ssx_schema *t##_ssx(void)                                                         \
    {                                                                                                                      \
        typedef struct t ssx_self; /* the list doesn't know its struct */                                                  \
        LIST(SSX_F_TYPE)                                                                                                   \
        static const struct ssx_field ssx_fields[] = {LIST(SSX_F_FIELD)};                                                  \
        static const struct ssx_schema ssx_schema = {                                                                      \
            #t, (uint32_t)sizeof(ssx_self), (uint32_t)SSX_COUNT(ssx_fields), ssx_fields, t##_ssx_defaults}; \
        SSX_ASSERT(SSX_COUNT(ssx_fields) <= 256, "struct " #t " has more than 256 fields");               \
        return &ssx_schema;                                                                                                \
    }                                                                                                                      \
    SSX_NOTE(t, "{\"struct\":\"" #t "\"}", LIST, SSX_F_ROOM, SSX_F_TEXT)

/* SSX_NOTHING(t): `struct t` without fields, for a worker that takes or gives nothing. */
#define SSX_NOTHING(t)                                                                                                     \
    struct t { char ssx_nothing; };                                                                                        \
    SSX_MAYBE static inline void t##_ssx_defaults(void *ssx_at) { memset(ssx_at, 0, sizeof(struct t)); }                   \
    SSX_MAYBE static inline const struct ssx_schema *t##_ssx(void)                                                         \
    {                                                                                                                      \
        static const struct ssx_schema ssx_schema = {#t, (uint32_t)sizeof(struct t), 0, NULL, t##_ssx_defaults};           \
        return &ssx_schema;                                                                                                \
    }                                                                                                                      \
    SSX_NOTE(t, "{\"struct\":\"" #t "\"}", SSX_NO_LIST, SSX_F_ROOM, SSX_F_TEXT)

/* SSX_ENUM(t, LIST): `enum t` from a list of V(t, value); the constants are t_value, counted from 0.
 *     #define FSTYPE(V) V(fstype, ext4) V(fstype, xfs) V(fstype, other)
 *     SSX_ENUM(fstype, FSTYPE) */
#define SSX_ENUM(t, LIST)                                                                                                  \
    enum t { LIST(SSX_V_MEMBER) };                                                                                         \
    SSX_MAYBE static const char *const t##_ssx_names[] = {LIST(SSX_V_NAME)};                                               \
    SSX_ASSERT(sizeof(enum t) == sizeof(int), "enum " #t " must have the size of an int");                                 \
    SSX_ASSERT(SSX_COUNT(t##_ssx_names) <= 256, "enum " #t " has more than 256 values");               \
    SSX_NOTE(t, "{\"enum\":\"" #t "\"}", LIST, SSX_V_ROOM, SSX_V_TEXT)

/* SSX_WORKER("type", "version", "doc", state, result, traits, function): the worker itself, once a plugin. Its function:
 *     int f(struct ssx_call *call, const struct STATE *in, struct RESULT *out)
 * `in` lives as long as the call; `out` comes filled with its defaults. 0: ok, and the result is sent; else see
 * ssx_fail. No semicolon behind it.
 *
 * With SSX_RETURNS_STATE among the traits it is
 *     int f(struct ssx_call *call, struct STATE *in, struct RESULT *out)
 * What it leaves in `in` goes back to the caller, if it returns 0: a call that fails leaves the caller's object as it
 * was.
 *
 * In C++ the function may throw: the call fails with code 1 and the exception's what(). It must not throw through a C
 * frame. */
#define SSX_WORKER(type, version, doc, state_t, result_t, traits, function) \
    SSX_WORKER_ALL(type, version, doc, state_t, result_t, NULL, "", traits, #traits, function)

/* The same for a worker that streams items of one type, with `item` the name of their SSX_STRUCT: ssx_item takes no
 * other, and ssx_item_any none. Without it items are of any type, and those who show them know nothing of their
 * fields. */
#define SSX_WORKER_ITEMS(type, version, doc, state_t, result_t, item_t, traits, function) \
    SSX_WORKER_ALL(type, version, doc, state_t, result_t, item_t##_ssx, ",\"items\":\"" #item_t "\"", traits, #traits, function)

/* Define SSX_NO_NOTES before the include in a program that shares a plugin's lists but is no plugin, and in all files
 * but one of a plugin of several files: each list's note must stand in it once. */

/* ---- The services -------------------------------------------------------------------------------------------------------- */

/* There is no service for output: printf, puts and write go to the caller as they are. stdout is a pipe, so it is
 * buffered in full until fflush(stdout) or the end of the call; stderr isn't. */

/* n bytes, zeroed, aligned for any type, valid until the call ends. Never NULL: where memory runs out the call ends as
 * failed. */
static inline void *ssx_alloc(struct ssx_call *call, size_t n) { return call->host->alloc(call, n); }

/* A copy of text, as long-lived as the call. Never NULL. */
static inline char *ssx_strdup(struct ssx_call *call, const char *text)
{
    size_t size = strlen(text) + 1;
    return (char *)memcpy(ssx_alloc(call, size), text, size);
}

/* Formatted text of any length, as long-lived as the call. Never NULL. */
__attribute__((format(printf, 2, 3))) static inline char *ssx_sprintf(struct ssx_call *call, const char *format, ...)
{
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    size_t size = n < 0 ? 1 : (size_t)n + 1; /* a format that libc refuses gives "" */
    char *text = (char *)ssx_alloc(call, size);
    if (n > 0)
        vsnprintf(text, size, format, again);
    va_end(again);
    return text;
}

/* Appends `count` elements to a list and gives the first of them, each with the defaults of its kind (the words of the
 * field's list(...)):
 *     struct disk *d = ssx_list_add(call, &out->disks, struct(disk), 1);
 *     *ssx_list_add(call, &out->names, str, 1) = "root";
 * The elements may move: a pointer from an earlier call is no longer good. A list may also be set by hand: `at` and
 * `n`, memory that lives as long as the call, `room` left alone. */
#define ssx_list_add(call, list, kind, count)                                                                              \
    ((list)->at = (__typeof__((list)->at))ssx_list_grow((call), (list)->at, &(list)->n, &(list)->room, (count),            \
        sizeof *(list)->at, SSX_I_##kind), (list)->at + ((list)->n - (count)))

/* A line in the call's log: what an operator may want to know, not the output. Longer than 1,023 bytes: cut. */
#define SSX_LOG_DEBUG   0
#define SSX_LOG_INFO    1
#define SSX_LOG_WARNING 2
#define SSX_LOG_ERROR   3
__attribute__((format(printf, 3, 4))) static inline void ssx_log(struct ssx_call *call, int level, const char *format, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, format);
    if (vsnprintf(text, sizeof text, format, ap) >= 0)
        call->host->log(call, level, text);
    va_end(ap);
}

/* How far the call is: `done` of `total` in a unit of the worker's own; total 0: not known. text may be NULL. Cheap to
 * call often: the host drops what comes too fast. */
static inline void ssx_progress(struct ssx_call *call, uint64_t done, uint64_t total, const char *text)
{
    call->host->progress(call, done, total, text ? text : "");
}

/* Sends one value to the caller now, ahead of the result: the `struct t` at `value` (the host keeps nothing of it).
 * Waits where the caller is slow. 0; -1: a field is out of its range, or t is not the type of SSX_WORKER_ITEMS; nothing
 * is sent, and the log says why. */
#define ssx_item(call, t, value) ((call)->host->item((call), t##_ssx(), 1 ? (value) : (const struct t *)NULL))

/* The same with one msgpack value of the worker's own making. -1: it is not well-formed, or SSX_WORKER_ITEMS declares a
 * type. */
static inline int ssx_item_any(struct ssx_call *call, const void *msgpack, size_t n)
{
    return call->host->item_any(call, msgpack, n);
}

/* The caller's input, as it comes: waits until there is some and puts up to n bytes of it into buf. Returns how many; 0
 * at the end of the input (at once where there is none: the type needs SSX_TAKES_INPUT, and the caller may give none);
 * -1 with errno. A signal that the worker handles itself doesn't end the wait. A cancel does in a worker that has
 * called ssx_cancelled before:
 * -1, ECANCELED, also where there was more to read; any other worker is ended by SIGTERM there as everywhere.
 * It reads descriptor 0, as stdin does, but past stdin's buffer: use one of the two in a call, not both. Read through
 * stdin, a cancel shows as an error of the stream (errno EINTR), or not before more input comes. */
static inline ptrdiff_t ssx_read(struct ssx_call *call, void *buf, size_t n) { return call->host->read(call, buf, n); }

/* Whether the call should end: cancelled, past its deadline, or the caller is gone. From the first use on SIGTERM only
 * sets this flag (it still interrupts a waiting system call); a worker that never asks is ended by SIGTERM. In both
 * cases SIGKILL follows after the grace time. */
static inline bool ssx_cancelled(struct ssx_call *call) { return call->host->cancelled(call); }

/* Milliseconds until the deadline, 0 once it has passed; -1: there is none. */
static inline int64_t ssx_time_left_ms(struct ssx_call *call) { return call->host->time_left_ms(call); }

/* The call's own directory, empty at first (TMPDIR is the same), removed with what is in it after the call. NULL where
 * there is none: under the profile `none`, or where the host could not make one. */
static inline const char *ssx_temp_dir(struct ssx_call *call) { return call->host->temp_dir(call); }

/* Says why the call fails and gives back `code`, so that the way out of a worker is
 *     return ssx_fail(call, 2, "can't read %s: %s", in->path, strerror(errno));
 * code (not 0) from 1 to 123 is also the exit code of `sshexec run`; larger: shown, exit 123; negative: 1. The message
 * is copied, one line, cut after 1,023 bytes. */
__attribute__((format(printf, 3, 4))) static inline int ssx_fail(struct ssx_call *call, int code, const char *format, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, format);
    if (vsnprintf(text, sizeof text, format, ap) < 0)
        text[0] = '\0';
    va_end(ap);
    return call->host->fail(call, code, text);
}

/* ---- From here on: how the lists become code. An author need not read it. -------------------------------------------------
 *
 * A kind pastes to one macro a facet, so that kinds nest by pasting again: SSX_C_ the C type, SSX_T_ the chain of
 * links, SSX_J_ the JSON of the note, SSX_I_ a function that fills in the empty value. A kind never passes through a
 * second macro as a plain argument, where `bool` would become `_Bool`. */
#define SSX_WORKER_ALL(type, version, doc, state_t, result_t, item_schema, item_text, traits, traits_text, function)       \
    SSX_NOTE(ssx_worker, "{\"worker\":" #type ",\"version\":" #version ",\"abi\":[" SSX_TEXT(SSX_ABI_MAJOR) ","            \
        SSX_TEXT(SSX_ABI_MINOR) "],\"state\":\"" #state_t "\",\"result\":\"" #result_t "\"" item_text ",\"traits\":\""     \
        traits_text "\",\"doc\":" #doc "}", SSX_NO_LIST, SSX_F_ROOM, SSX_F_TEXT)                                               \
    SSX_ASSERT(SSX_TAKES(function, state_t, result_t),                                                                     \
        #function " must be int " #function "(struct ssx_call *, const struct " #state_t " *, struct " #result_t " *)");   \
    SSX_ASSERT(SSX_TAKES(function, state_t, result_t) != 2 || ((traits) & SSX_RETURNS_STATE),                              \
        #function " may change its state, which comes back only with SSX_RETURNS_STATE among the traits: add that, or const"); \
    SSX_ASSERT(SSX_TAKES(function, state_t, result_t) != 1 || !((traits) & SSX_RETURNS_STATE),                             \
        #function " takes a const state, but the traits have SSX_RETURNS_STATE: drop one of the two");                     \
    SSX_C_BEGIN                                                                                                            \
    __attribute__((visibility("default"))) int run(struct ssx_call *ssx_call, const void *ssx_in, void *ssx_out);          \
    __attribute__((visibility("default"))) extern const struct ssx_plugin ssx_plugin;                                      \
    int run(struct ssx_call *ssx_call, const void *ssx_in, void *ssx_out)                                                  \
    {                                                                                                                      \
        SSX_TRY {                                                                                                          \
            /* const is the ABI's word for what few may change; the host's memory is not */                                \
            return function(ssx_call, (struct state_t *)(uintptr_t)ssx_in, (struct result_t *)ssx_out);                    \
        } SSX_CATCH(ssx_call)                                                                                              \
    }                                                                                                                      \
    const struct ssx_plugin ssx_plugin = {SSX_ABI_MAJOR, SSX_ABI_MINOR, (uint32_t)sizeof(struct ssx_plugin),               \
        type, version, traits, state_t##_ssx, result_t##_ssx, NULL, item_schema};                                          \
    SSX_C_END

#define SSX_LINK(kind, ctype, lo, hi) SSX_LINK_ALL(kind, ctype, lo, hi, 0, 0, NULL, NULL)
#define SSX_LINK_F64(lo, hi) SSX_LINK_ALL(SSX_KIND_F64, double, 0, 0, lo, hi, NULL, NULL)
#define SSX_LINK_ALL(kind, ctype, lo, hi, flo, fhi, schema, names) \
    {(uint8_t)(kind), (uint8_t)SSX_ALIGNOF(ctype), 0, (uint32_t)sizeof(ctype), (int64_t)(lo), (uint64_t)(hi), flo, fhi, schema, names},

#define SSX_C_bool            bool
#define SSX_C_i32             int32_t
#define SSX_C_i64             int64_t
#define SSX_C_u32             uint32_t
#define SSX_C_u64             uint64_t
#define SSX_C_f64             double
#define SSX_C_str             const char *
#define SSX_C_bin             struct ssx_bin
#define SSX_C_any             struct ssx_any
#define SSX_C_i32_in(lo, hi)  int32_t
#define SSX_C_i64_in(lo, hi)  int64_t
#define SSX_C_u32_in(lo, hi)  uint32_t
#define SSX_C_u64_in(lo, hi)  uint64_t
#define SSX_C_f64_in(lo, hi)  double
#define SSX_C_str_max(max)    const char *
#define SSX_C_bin_max(max)    struct ssx_bin
#define SSX_C_enum(t)         enum t
#define SSX_C_struct(t)       struct t
#define SSX_C_list(e)         struct { SSX_C_##e *at; size_t n, room; }
#define SSX_C_opt(e)          struct { bool set; SSX_C_##e value; }
#define SSX_C_secret(e)       SSX_C_##e
#define SSX_C_rest(e)         SSX_C_##e

#define SSX_T_bool            SSX_LINK(SSX_KIND_BOOL, bool, 0, 1)
#define SSX_T_i32             SSX_LINK(SSX_KIND_INT, int32_t, INT32_MIN, INT32_MAX)
#define SSX_T_i64             SSX_LINK(SSX_KIND_INT, int64_t, INT64_MIN, INT64_MAX)
#define SSX_T_u32             SSX_LINK(SSX_KIND_UINT, uint32_t, 0, UINT32_MAX)
#define SSX_T_u64             SSX_LINK(SSX_KIND_UINT, uint64_t, 0, UINT64_MAX)
#define SSX_T_f64             SSX_LINK_F64(-__builtin_inf(), __builtin_inf())
#define SSX_T_str             SSX_LINK(SSX_KIND_STR, const char *, 0, UINT32_MAX)
#define SSX_T_bin             SSX_LINK(SSX_KIND_BIN, struct ssx_bin, 0, UINT32_MAX)
#define SSX_T_any             SSX_LINK(SSX_KIND_ANY, struct ssx_any, 0, 0)
#define SSX_T_i32_in(lo, hi)  SSX_LINK(SSX_KIND_INT, int32_t, lo, hi)
#define SSX_T_i64_in(lo, hi)  SSX_LINK(SSX_KIND_INT, int64_t, lo, hi)
#define SSX_T_u32_in(lo, hi)  SSX_LINK(SSX_KIND_UINT, uint32_t, lo, hi)
#define SSX_T_u64_in(lo, hi)  SSX_LINK(SSX_KIND_UINT, uint64_t, lo, hi)
#define SSX_T_f64_in(lo, hi)  SSX_LINK_F64(lo, hi)
#define SSX_T_str_max(max)    SSX_LINK(SSX_KIND_STR, const char *, 0, max)
#define SSX_T_bin_max(max)    SSX_LINK(SSX_KIND_BIN, struct ssx_bin, 0, max)
#define SSX_T_enum(t)         SSX_LINK_ALL(SSX_KIND_ENUM, enum t, 0, SSX_COUNT(t##_ssx_names) - 1, 0, 0, NULL, t##_ssx_names)
#define SSX_T_struct(t)       SSX_LINK_ALL(SSX_KIND_STRUCT, struct t, 0, 0, 0, 0, t##_ssx, NULL)
#define SSX_T_list(e)         SSX_LINK(SSX_KIND_LIST, struct ssx_list, 0, 0) SSX_T_##e
#define SSX_T_opt(e)          SSX_LINK(SSX_KIND_OPT, bool, 0, 0) SSX_T_##e
#define SSX_T_secret(e)       {SSX_KIND_SECRET, 0, 0, 0, 0, 0, 0, 0, NULL, NULL}, SSX_T_##e
#define SSX_T_rest(e)         SSX_T_##e

#define SSX_J_bool            "\"bool\""
#define SSX_J_i32             "\"i32\""
#define SSX_J_i64             "\"i64\""
#define SSX_J_u32             "\"u32\""
#define SSX_J_u64             "\"u64\""
#define SSX_J_f64             "\"f64\""
#define SSX_J_str             "\"str\""
#define SSX_J_bin             "\"bin\""
#define SSX_J_any             "\"any\""
#define SSX_J_i32_in(lo, hi)  "{\"i32\":[" #lo "," #hi "]}"
#define SSX_J_i64_in(lo, hi)  "{\"i64\":[" #lo "," #hi "]}"
#define SSX_J_u32_in(lo, hi)  "{\"u32\":[" #lo "," #hi "]}"
#define SSX_J_u64_in(lo, hi)  "{\"u64\":[" #lo "," #hi "]}"
#define SSX_J_f64_in(lo, hi)  "{\"f64\":[" #lo "," #hi "]}"
#define SSX_J_str_max(max)    "{\"str\":" #max "}"
#define SSX_J_bin_max(max)    "{\"bin\":" #max "}"
#define SSX_J_enum(t)         "{\"enum\":\"" #t "\"}"
#define SSX_J_struct(t)       "{\"struct\":\"" #t "\"}"
#define SSX_J_list(e)         "{\"list\":" SSX_J_##e "}"
#define SSX_J_opt(e)          "{\"opt\":" SSX_J_##e "}"
#define SSX_J_secret(e)       "{\"secret\":" SSX_J_##e "}"
#define SSX_J_rest(e)         "{\"rest\":" SSX_J_##e "}"

#define SSX_I_bool            ssx_init_zero
#define SSX_I_i32             ssx_init_zero
#define SSX_I_i64             ssx_init_zero
#define SSX_I_u32             ssx_init_zero
#define SSX_I_u64             ssx_init_zero
#define SSX_I_f64             ssx_init_zero
#define SSX_I_str             ssx_init_str
#define SSX_I_bin             ssx_init_zero
#define SSX_I_any             ssx_init_zero
#define SSX_I_i32_in(lo, hi)  ssx_init_zero
#define SSX_I_i64_in(lo, hi)  ssx_init_zero
#define SSX_I_u32_in(lo, hi)  ssx_init_zero
#define SSX_I_u64_in(lo, hi)  ssx_init_zero
#define SSX_I_f64_in(lo, hi)  ssx_init_zero
#define SSX_I_str_max(max)    ssx_init_str
#define SSX_I_bin_max(max)    ssx_init_zero
#define SSX_I_enum(t)         ssx_init_zero
#define SSX_I_struct(t)       t##_ssx_defaults
#define SSX_I_list(e)         ssx_init_zero
#define SSX_I_opt(e)          ssx_init_zero
#define SSX_I_secret(e)       SSX_I_##e
#define SSX_I_rest(e)         SSX_I_##e

/* Whether a kind is one, and whether a default fits: a probe (a comma behind it is how SSX_KNOWN tells a kind from a
 * name that no macro has), 1 where what it holds is a kind too, how to judge a default, and the bounds. */
#define SSX_K_bool            ~, 1, SSX_FITS_ANY, 0, 0
#define SSX_K_i32             ~, 1, SSX_FITS_INT, INT32_MIN, INT32_MAX
#define SSX_K_i64             ~, 1, SSX_FITS_INT, INT64_MIN, INT64_MAX
#define SSX_K_u32             ~, 1, SSX_FITS_INT, 0, UINT32_MAX
#define SSX_K_u64             ~, 1, SSX_FITS_INT, 0, INT64_MAX
#define SSX_K_f64             ~, 1, SSX_FITS_ANY, 0, 0
#define SSX_K_str             ~, 1, SSX_FITS_ANY, 0, 0
#define SSX_K_bin             ~, 1, SSX_FITS_ANY, 0, 0
#define SSX_K_any             ~, 1, SSX_FITS_ANY, 0, 0
#define SSX_K_i32_in(lo, hi)  ~, 1, SSX_FITS_INT, lo, hi
#define SSX_K_i64_in(lo, hi)  ~, 1, SSX_FITS_INT, lo, hi
#define SSX_K_u32_in(lo, hi)  ~, 1, SSX_FITS_INT, lo, hi
#define SSX_K_u64_in(lo, hi)  ~, 1, SSX_FITS_INT, lo, hi
#define SSX_K_f64_in(lo, hi)  ~, 1, SSX_FITS_ANY, 0, 0
#define SSX_K_str_max(max)    ~, 1, SSX_FITS_STR, 0, max
#define SSX_K_bin_max(max)    ~, 1, SSX_FITS_ANY, 0, 0
#define SSX_K_enum(t)         ~, 1, SSX_FITS_ANY, 0, 0
#define SSX_K_struct(t)       ~, 1, SSX_FITS_ANY, 0, 0
#define SSX_K_list(e)         ~, SSX_KNOWN(SSX_K_##e), SSX_FITS_ANY, 0, 0
#define SSX_K_opt(e)          ~, SSX_KNOWN(SSX_K_##e), SSX_FITS_ANY, 0, 0
#define SSX_K_secret(e)       SSX_K_##e
#define SSX_K_rest(e)         SSX_K_##e

#define SSX_KNOWN(...) SSX_SECOND(__VA_ARGS__, 0, 0)
#define SSX_SECOND(a, b, ...) b
#define SSX_FITS(...) SSX_FITS_(__VA_ARGS__)
#define SSX_FITS_(fits, lo, hi, need, number, text) ((need) ? 1 : fits(number, text, lo, hi))
#define SSX_JUDGE(...) SSX_JUDGE_(__VA_ARGS__, 0, SSX_FITS_ANY, 0, 0, 0)
#define SSX_JUDGE_(probe, known, fits, lo, hi, ...) fits, lo, hi
#define SSX_VALUE(...) SSX_VALUE_(__VA_ARGS__, 0, 1, 0, "", 0)
#define SSX_VALUE_(probe, known, need, number, text, ...) need, number, text
#define SSX_FITS_ANY(number, text, lo, hi) 1
#define SSX_FITS_INT(number, text, lo, hi) SSX_IN_RANGE(number, lo, hi)
#define SSX_FITS_STR(number, text, lo, hi) (sizeof(text) - 1 <= (hi))

/* What stands in for a field that was not given: R required or not, S the assignment, D the JSON; DEFAULT as SSX_K_:
 * probe, 1, whether there is none, and what it is as a number and as text. */
#define SSX_R_required        1
#define SSX_R_empty           0
#define SSX_R_default(v)      0
#define SSX_R_member(t, v)    0
#define SSX_S_required
#define SSX_S_empty
#define SSX_S_default(v)      = (v)
#define SSX_S_member(t, v)    = t##_##v
#define SSX_D_required        "\"required\":true"
#define SSX_D_empty           "\"default\":null"
#define SSX_D_default(v)      "\"default\":" #v
#define SSX_D_member(t, v)    "\"default\":\"" #v "\""
#define SSX_DEFAULT_required        ~, 1, 1, 0, ""
#define SSX_DEFAULT_empty           ~, 1, 0, 0, ""
#define SSX_DEFAULT_default(v)      ~, 1, 0, v, v
#define SSX_DEFAULT_member(t, v)    ~, 1, 0, t##_##v, ""

/* An author's mistakes, in words, before what follows stumbles over them. g++ counts arguments before it looks at
 * anything else, and says the macro's name: hence that name. */
#define SSX_F_COUNTED(...) \
    SSX_ASSERT(SSX_ARGUMENTS(__VA_ARGS__) == 4, "F(" #__VA_ARGS__ "): a field has a kind, a name, a default and a doc");
#define SSX_F_KIND_NAME_DEFAULT_DOC(kind, name, dflt, doc)                                                                 \
    SSX_ASSERT(sizeof(#name) == sizeof(SSX_SPELLED(name)), "field " #name ": this name is a macro here; take another");    \
    SSX_ASSERT(SSX_KNOWN(SSX_K_##kind), "field " #name ": " #kind " is no kind");                                          \
    SSX_ASSERT(SSX_KNOWN(SSX_DEFAULT_##dflt), "field " #name ": " #dflt " is none of required, empty, default(v), member(enum, v)"); \
    SSX_ASSERT(SSX_FITS(SSX_JUDGE(SSX_K_##kind), SSX_VALUE(SSX_DEFAULT_##dflt)),                                           \
        "field " #name ": its default, " #dflt ", is out of range for " #kind);
#define SSX_F_RESTS(kind, name, dflt, doc) + SSX_KNOWN(SSX_REST_##kind)
#define SSX_REST_rest(e) ~, 1

#define SSX_ARGUMENTS(...) SSX_NINTH(__VA_ARGS__, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define SSX_NINTH(a, b, c, d, e, f, g, h, n, ...) n
#define SSX_SPELLED(...) #__VA_ARGS__

/* What an entry of a list becomes: a member, its default, its type's chain, its row; and the room and the text of its
 * line in the note, each line a literal of its own (one past 4,095 bytes is more than ISO C grants). */
#define SSX_F_MEMBER(kind, name, dflt, doc)  SSX_C_##kind name;
#define SSX_F_DEFAULT(kind, name, dflt, doc) SSX_I_##kind(&ssx_self->name); (void)(ssx_self->name SSX_S_##dflt);
#define SSX_F_TYPE(kind, name, dflt, doc)    static const struct ssx_type ssx_type_##name[] = {SSX_T_##kind};
#define SSX_F_FIELD(kind, name, dflt, doc) \
    {#name, (uint16_t)(sizeof #name - 1), SSX_R_##dflt, 0, (uint32_t)offsetof(ssx_self, name), ssx_type_##name},
#define SSX_F_ROOM(kind, name, dflt, doc) \
    char name[sizeof("{\"field\":\"" #name "\",\"type\":" SSX_J_##kind "," SSX_D_##dflt ",\"doc\":" #doc "}")];
#define SSX_F_TEXT(kind, name, dflt, doc) \
    "{\"field\":\"" #name "\",\"type\":" SSX_J_##kind "," SSX_D_##dflt ",\"doc\":" #doc "}",
#define SSX_V_MEMBER(t, v) t##_##v,
#define SSX_V_NAME(t, v)   #v,
#define SSX_V_ROOM(t, v)   char v[sizeof("{\"value\":\"" #v "\"}")];
#define SSX_V_TEXT(t, v)   "{\"value\":\"" #v "\"}",
#define SSX_NO_LIST(F)

#define SSX_COUNT(array) (sizeof array / sizeof *array)

/* Not every file that has a list uses all that comes of it, and clang would say so. */
#define SSX_MAYBE __attribute__((unused))

#define SSX_TEXT(x) SSX_TEXT_(x)
#define SSX_TEXT_(x) #x

/* An ELF note (ABI.md, section 2). aligned(4): a struct of more than 32 bytes would get 32 on x86-64, and notes must
 * touch. */
#ifdef SSX_NO_NOTES
#define SSX_NOTE(id, head, LIST, room, text)
#else
#define SSX_NOTE(id, head, LIST, room, text)                                                                               \
    struct id##_ssx_lines { char ssx_head[sizeof(head)]; LIST(room) };                                                     \
    struct id##_ssx_note { uint32_t owner_size, text_size, type; char owner[8]; struct id##_ssx_lines lines; };            \
    SSX_NOTE_ATTRIBUTES static const struct id##_ssx_note id##_ssx_note = {                                                \
        8, (uint32_t)sizeof(struct id##_ssx_lines), 1, "sshexec", {head, LIST(text)}};
#endif

/* Notes stay in the order of the source, which gcc is otherwise free to change, and get no red zones from a
 * sanitizer. */
#ifdef __clang__
#define SSX_NOTE_ATTRIBUTES __attribute__((used, section(".note.sshexec"), aligned(4), no_sanitize("address")))
#else
#define SSX_NOTE_ATTRIBUTES __attribute__((used, section(".note.sshexec"), aligned(4), no_reorder))
#endif

#ifdef __cplusplus
#define SSX_C_BEGIN extern "C" {
#define SSX_C_END }
#define SSX_ALIGNOF alignof
#define SSX_ASSERT(condition, message) static_assert(condition, message)
extern "C++" {
template <typename S, typename R> constexpr int ssx_takes(int (*)(struct ssx_call *, const S *, R *)) { return 1; }
template <typename S, typename R> constexpr int ssx_takes(int (*)(struct ssx_call *, S *, R *)) { return 2; }
template <typename S, typename R> constexpr int ssx_takes(...) { return 0; }
template <typename T> constexpr bool ssx_in_range(T n, int64_t lo, int64_t hi) { return int64_t(n) >= lo && int64_t(n) <= hi; }
constexpr bool ssx_in_range(const char *, int64_t, int64_t) { return false; }
}
#define SSX_IN_RANGE(number, lo, hi) ssx_in_range(number, lo, hi)
#define SSX_TAKES(function, state_t, result_t) ssx_takes<struct state_t, struct result_t>(function)
#else
#define SSX_C_BEGIN
#define SSX_C_END
#define SSX_ALIGNOF _Alignof
#define SSX_ASSERT(condition, message) _Static_assert(condition, message)
#define SSX_IN_RANGE(number, lo, hi) \
    _Generic((number), char *: 0, default: (int64_t)(number) >= (int64_t)(lo) && (int64_t)(number) <= (int64_t)(hi))
#define SSX_TAKES(function, state_t, result_t)                                                                             \
    _Generic((function), int (*)(struct ssx_call *, const struct state_t *, struct result_t *): 1,                         \
        int (*)(struct ssx_call *, struct state_t *, struct result_t *): 2, default: 0)
#endif

/* No exception may cross into the host, which is C. */
#ifdef __cpp_exceptions
#define SSX_TRY try
#define SSX_CATCH(call)                                                                                                    \
    catch (const std::exception &ssx_thrown) { return ssx_fail(call, 1, "%s", ssx_thrown.what()); }                        \
    catch (...) { return ssx_fail(call, 1, "the worker threw something that is no std::exception"); }
#else
#define SSX_TRY
#define SSX_CATCH(call)
#endif

/* What every list(e) looks like. */
struct ssx_list { void *at; size_t n, room; };

static inline void ssx_init_zero(void *at) { (void)at; } /* what comes here is zeroed already */
static inline void ssx_init_str(void *at) { *(const char **)at = ""; }

/* Room for `count` more elements of `size` bytes, which are counted and filled in; the elements' new address. */
static inline void *ssx_list_grow(struct ssx_call *call, void *at, size_t *n, size_t *room, size_t count, size_t size,
                                  void (*init)(void *))
{
    size_t first = *n, wanted = first + count;
    if (wanted < first || wanted > SIZE_MAX / 2 / size)
        return ssx_alloc(call, SIZE_MAX); /* more than there can be: ends the call */
    if (wanted > *room) {
        *room = wanted > 2 * first ? wanted : 2 * first;
        void *old = at;
        at = ssx_alloc(call, *room * size);
        if (first)
            memcpy(at, old, first * size);
    }
    for (size_t i = first; i < wanted; i++)
        init((char *)at + i * size);
    *n = wanted;
    return at;
}

#ifdef __cplusplus
}
#endif
#endif
