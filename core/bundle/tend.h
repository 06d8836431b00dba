/* Looking after a node's store: what it holds, whether that is sound, and removing what nobody uses. One object at a
 * time, so that an agent can do it between other things. */
#ifndef BUNDLE_TEND_H
#define BUNDLE_TEND_H
#include "base/digest.h"
#include "base/text.h"

#include <sshexec/error.h>
#include <stdint.h>

struct tend;

/* An object, and what became of it. */
struct tend_object {
    struct digest digest;
    uint64_t size;
    uint64_t idle_s;                   /* since it was last used */
    const char *state;                 /* kept, damaged or removed */
    const char *use;                   /* what keeps it from being removed: -, generation or call */
    char type[TYPE_NAME_MAX + 1], version[64]; /* "": it is no plugin (any more) */
};

/* Begins to do with the store in dir what the words say:
 *   list              shows them
 *   verify            hashes each anew
 *   verify-remove     the same, and removes those that are damaged
 *   gc:SECONDS:BYTES  removes what was not used for SECONDS, then the longest unused until BYTES are left at most; never what a generation
 *                     or a running session uses. Either may be empty: no limit
 *   gc-dry:...        says what that would remove
 * Generations are the files below DIR/generations: an object whose digest stands in one of them is in use. One that
 * can't be read keeps gc from removing anything. No generation is made while this is under way. Returns 0 (the caller
 * calls tend_end); 1 where a generation is being made now, and the caller asks again a little later; or -1 with err
 * (USAGE for other words). */
int tend_begin(struct tend **out, const char *dir, const char *words, struct ssx_error *err);

/* Deals with the next object, the longest unused first. Returns 1, 0 where there is none, or -1 with err. */
int tend_next(struct tend *t, struct tend_object *out, struct ssx_error *err);

/* NULL is fine. */
void tend_end(struct tend *t);

/* Whether these words may remove something. */
bool tend_removes(const char *words);

#endif
