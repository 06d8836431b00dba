/* Standard base64 (RFC 4648, section 4): bytes inside JSON. Strict, so that one run of bytes has exactly one text. */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H
#include "base/buf.h"

/* Adds the base64 of n bytes, padded, to out. Returns 0, or -1 if memory ran out. */
int base64_encode(struct buf *out, const void *bytes, size_t n);

/* Adds the bytes that n characters stand for to out. Returns 0, or -1 for other characters, missing padding, bits
 * behind the last byte that are not zero (out is then as it was), or if memory ran out (out->failed). */
int base64_decode(struct buf *out, const char *text, size_t n);

#endif
