/* What the worker @NAME@ takes and gives. A program that calls it includes this file too, behind `#define SSX_NO_NOTES`. */
#ifndef @UPPER@_H
#define @UPPER@_H
#include <sshexec/worker.h>

#define @UPPER@_STATE(F)                                                   \
    F(str_max(4096),    path,  required,  "the file to read")               \
    F(list(str_max(63)), find, empty,     "words to count one by one as well")
SSX_STRUCT(@IDENT@_state, @UPPER@_STATE)

#define @UPPER@_FOUND(F)                                                   \
    F(str,  word,   required,  "a word of `find`")                          \
    F(u64,  count,  required,  "how often it stands in the file")
SSX_STRUCT(@IDENT@_found, @UPPER@_FOUND)

#define @UPPER@_RESULT(F)                                                  \
    F(u64,  lines,  required,  "lines in the file")                         \
    F(u64,  words,  required,  "words, as wc counts them")                  \
    F(u64,  bytes,  required,  "its length")                                \
    F(list(struct(@IDENT@_found)),  found,  empty,  "for each word of `find`, in their order")
SSX_STRUCT(@IDENT@_result, @UPPER@_RESULT)

#endif
