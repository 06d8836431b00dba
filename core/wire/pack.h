/* Writing msgpack: msgpack-c's packer, with one of our buffers behind it. Running out of memory shows in
 * buf->failed. */
#ifndef WIRE_PACK_H
#define WIRE_PACK_H
#include "base/buf.h"

#include <msgpack/pack.h>
#include <string.h>

static inline int pack_write(void *buf, const char *bytes, size_t n) { return buf_add(buf, bytes, n); }

/* To be made anew in each function that packs: the compiler then sees through it to buf_add, and a token costs no
 * call. */
static inline msgpack_packer packer(struct buf *out) { return (msgpack_packer){.data = out, .callback = pack_write}; }

static inline void pack_text(msgpack_packer *p, const char *text) { msgpack_pack_str_with_body(p, text, strlen(text)); }

#endif
