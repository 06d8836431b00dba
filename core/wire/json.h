/* JSON text <-> msgpack, without a tree in between and without loss.
 *
 * From JSON: integers of 64 bits (signed or unsigned) stay integers; other numbers, integers beyond them and -0 too,
 * become the nearest float64, and one too large for that is an error. Strings are str (\u0000 is allowed, half a
 * surrogate pair is not); objects are maps with str keys, and of a key given twice the last wins. From msgpack: the
 * reverse; a float is always printed with a point or an exponent. And since msgpack has more than JSON, these objects
 * of exactly one key stand for what JSON lacks:
 *   {"$bin":"base64"}         bytes
 *   {"$str":"base64"}         a str that is not UTF-8
 *   {"$f32":1.5}              a float32; "nan", "inf", "-inf", "nan:HEX" (8 digits of bits) where it is not finite
 *   {"$float":"nan"}          a float64 that is not finite; "inf", "-inf", "nan:HEX" (16 digits of bits)
 *   {"$time":"-0.500000000"}  the timestamp extension, in seconds since 1970; fewer decimals are taken too
 *   {"$ext":[type,"base64"]}  any other extension, and timestamps that are not in their shortest form
 *   {"$map":[[key,value]...]} a map with a key that is not UTF-8 text, with a key twice, or whose only key is the name
 * of one of these forms An object of that look that is malformed ({"$bin":"%%%"}) is an error; one with more members is
 * a plain map. So msgpack -> JSON -> msgpack gives the same value, and the same bytes where all was in msgpack's
 * shortest form. */
#ifndef WIRE_JSON_H
#define WIRE_JSON_H
#include "base/buf.h"

#include <sshexec/error.h>
#include <stddef.h>

/* Parses exactly one JSON text (RFC 8259; white space around it allowed, nothing else) and adds it to out as msgpack in
 * its shortest form. The limits are those of wire/value.h (repeated keys count as elements). Returns 0, or -1 with err
 * (SSX_ERROR_USAGE) giving line and column, in characters. On failure out is as it was. */
int json_to_msgpack(struct buf *out, const char *text, size_t n, struct ssx_error *err);

/* Adds the JSON of one msgpack value to out, in one line, without a newline and without white space. The value passes
 * value_scan first, for the JSON of a hostile one could have any depth. Returns 0, or -1 with err (SSX_ERROR_PROTOCOL
 * for a bad value), out as it was. */
int json_from_msgpack(struct buf *out, const void *value, size_t n, struct ssx_error *err);

/* Adds a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD: for text that people read; values go
 * through json_from_msgpack. All control characters are escaped, those too that RFC 8259 would leave. Returns 0, or -1
 * if memory ran out. */
int json_add_string(struct buf *out, const char *text, size_t n);

#endif
