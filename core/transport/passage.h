/* A tunnel from within. tunnel.c is its thread: what is asked of it, what it waits for, how it ends; passage.c moves
 * one connection. */
#ifndef TRANSPORT_PASSAGE_H
#define TRANSPORT_PASSAGE_H
#include "transport/tunnel.h"

#include "base/buf.h"

#include <libssh/callbacks.h>
#include <pthread.h>
#include <stdint.h>

#define PASSAGE_PIECE (64u << 10) /* moved at once towards the server: libssh would take as much as the window allows into its memory, and siblings want their turn */

struct tunnel {
    char *name;
    pthread_t thread;
    /* the thread's: */
    ssh_session session;
    ssh_channel ear;                   /* never opened: to poll it has libssh read the socket for all the others */
    struct ssh_counter_struct heard;   /* bytes that have come over the socket */
    uint32_t channels;                 /* opened so far */
    int epoll, wake;
    bool confused;                     /* the server speaks to a channel that it was never asked for */
    int alive_ms, alive_max, questions; /* how often it is asked for a sign of life in silence (0: never), and how often it has been */
    uint64_t heard_before;
    int64_t heard_ms;                  /* when the last bytes came */
    bool silent;                       /* too many questions without an answer */
    bool wants_out;                    /* epoll tells when the session's socket can be written to */
    struct passage *passages;
    unsigned char piece[PASSAGE_PIECE];
    pthread_mutex_t lock;              /* of all that follows, and of a passage's `left` and `over` */
    struct passage *asked, **asked_end;
    bool ending, served, lost;
    char why[256];                     /* lost */
};

enum passage_stage {
    PASSAGE_ASKED,    /* for */
    PASSAGE_OPENING,  /* the server has not answered yet */
    PASSAGE_FLOWING,
    PASSAGE_CLOSING,  /* the server has to be told */
    PASSAGE_GONE,     /* it may be forgotten */
};

struct passage {
    struct tunnel *tunnel;
    char *host;
    int port;
    char refused[640];                 /* why; filled in before the answer says so */
    bool left, over;                   /* its owner, and the tunnel's thread, are done with it: the second one frees it */
    /* the thread's: */
    struct passage *next;
    enum passage_stage stage;
    int fd;                            /* our end of the pair; -1: closed */
    ssh_channel channel;
    struct ssh_channel_callbacks_struct callbacks;
    uint32_t number;                   /* libssh's of the channel */
    uint64_t asked_at;                 /* what the tunnel had heard when the channel was last looked at */
    bool readable, writable;           /* our end, as far as epoll has told */
    bool ended;                        /* our end has nothing more to give */
    bool far_ended, far_closed;
    size_t held;                       /* bytes in libssh's memory */
    struct buf up, down;               /* read from our end, and from libssh, and not taken yet */
};

/* The answer to whoever asked is the first byte that comes out of the pair; all after it is the server's. */
#define PASSAGE_OPEN "+"
#define PASSAGE_REFUSED "-"

/* In the tunnel's thread. Moves what can be moved; returns whether anything was. */
bool passage_move(struct passage *p);

/* What libssh has just said of an error, which may be that a channel was refused: the one place where it says why, for
 * it keeps the last error only. */
void passage_take_refusal(struct tunnel *t, const char *text);

/* Closes our end of the pair, and forgets the channel. */
void passage_end(struct passage *p);

/* One that has ended, or that the thread never had; in any thread. */
void passage_free(struct passage *p);

#endif
