/* hello's state and result: the worker includes this, and so does a program that calls it
 * (sdk/examples/call_hello.c). */
#ifndef HELLO_H
#define HELLO_H
#include <sshexec/worker.h>

#define HELLO(F)                                                    \
    F(str_max(64),     name,  default("world"), "whom to greet")    \
    F(i32_in(1, 100),  times, default(1),       "how often each")   \
    F(list(str),       also,  empty,            "others to greet")
SSX_STRUCT(hello, HELLO)

#define HELLO_RESULT(F)                                             \
    F(str, greeting, required, "what was said first")               \
    F(u32, greeted,  required, "how many greetings were said")
SSX_STRUCT(hello_result, HELLO_RESULT)

#endif
