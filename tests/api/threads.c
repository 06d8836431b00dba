/* Different sessions in different threads at once. */
#include "api.h"

#include <pthread.h>

static void *work(void *context)
{
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    struct ssx_run *runs[8];
    struct hello_result said;
    struct hello hello;
    hello_ssx_defaults(&hello);
    hello.times = 1 + *(int *)context;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 8; i++)
            MUST(ssx_run_start_as(&runs[i], s, "hello", hello, &hello, NULL, &err));
        MUST(ssx_session_wait(s, 60000, &err));
        for (int i = 0; i < 8; i++) {
            MUST(ssx_run_result_as(runs[i], hello_result, &said, &err));
            CHECK(said.greeted == (uint32_t)hello.times);
            ssx_run_free(runs[i]);
        }
    }
    CHECK(ssx_run_start(&runs[0], s, "no such name", NULL, 0, NULL, &err) == -1 && err.code == SSX_ERROR_UNKNOWN_TYPE);
    ssx_session_close(s);
    return NULL;
}

static void sessions_in_threads(void)
{
    pthread_t threads[6];
    int numbers[6];
    for (int i = 0; i < 6; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&threads[i], NULL, work, &numbers[i]) == 0);
    }
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
}

/* Made in one thread, used and closed in another, which has it alone. */
static void *take_over(void *session)
{
    struct ssx_run *run = run_json(session, "hello", NULL, NULL);
    await(run);
    CHECK(ssx_run_outcome(run) == SSX_OUTCOME_OK);
    ssx_run_free(run);
    ssx_session_close(session);
    return NULL;
}

static void a_session_is_handed_over(void)
{
    pthread_t thread;
    struct ssx_session *s = session_here();
    CHECK(pthread_create(&thread, NULL, take_over, s) == 0);
    pthread_join(thread, NULL);
}

const struct api_case thread_cases[] = {
    {"sessions_in_threads", sessions_in_threads}, {"a_session_is_handed_over", a_session_is_handed_over}, {NULL, NULL},
};
