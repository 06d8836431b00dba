/* Starts four threads that burn CPU for ever, and returns ok. */
#include "zoo.h"
#include <pthread.h>

static void *burn(void *unused)
{
    (void)unused;
    for (volatile unsigned n = 0;; n++)
        ;
    return NULL;
}

ZOO_RUN(nothing, nothing)
{
    for (int i = 0; i < 4; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, burn, NULL) != 0)
            return 1;
    }
    return 0;
}
ZOO_WORKER("leak_threads", nothing, nothing)
