/* call_hello [HOST]: runs hello on a host, or on this machine, and prints its typed result. */
#define SSX_NO_NOTES
#include "hello.h"
#include <sshexec/client.h>

int main(int argc, char **argv)
{
    struct ssx_error err = {0};
    struct ssx_session *session;
    struct ssx_run *run;
    struct hello_result said;
    struct hello hello;
    hello_ssx_defaults(&hello);
    hello.name = "Ada";
    if (ssx_session_open(&session, argc > 1 ? argv[1] : NULL, NULL, &err) == 0) {
        if (ssx_run_start_as(&run, session, "hello", hello, &hello, NULL, &err) == 0) {
            if (ssx_run_wait(run, -1, &err) == 0 && ssx_run_result_as(run, hello_result, &said, &err) == 0)
                printf("%s (%u in all)\n", said.greeting, said.greeted);
            ssx_run_free(run);
        }
        ssx_session_close(session);
    }
    if (err.code)
        fprintf(stderr, "call_hello: %s\n", err.text);
    return ssx_error_exit_code(err.code);
}
