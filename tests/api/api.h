/* A program for the tests: what <sshexec/client.h> promises, case by case, against a real agent. See main.c. */
#ifndef API_H
#define API_H
#define SSX_NO_NOTES
#include "hello.h"
#include "items.h"
#include <sshexec/client.h>

#include <stdio.h>
#include <stdlib.h>

/* Where the cases run: from the command line. */
struct place {
    const char *host;                     /* NULL: this machine */
    struct ssx_session_options options;
    const char *zoo;                      /* the directory of the zoo's plugins */
    const char *key;                      /* for a case that is asked for its passphrase */
    const char *bundles[2];               /* files for a case that deploys them */
};
extern struct place place;

/* Ends the case as failed, saying where and what. */
_Noreturn void failed(const char *file, int line, const char *what, const struct ssx_error *err);
#define CHECK(condition) do { if (!(condition)) failed(__FILE__, __LINE__, #condition, NULL); } while (0)
#define MUST(call) do { struct ssx_error *must_err = &err; if ((call) != 0) failed(__FILE__, __LINE__, #call, must_err); } while (0)

struct ssx_session *session_here(void);

/* A run of a type with its state as JSON (NULL: {}), and its end awaited. */
struct ssx_run *run_json(struct ssx_session *s, const char *type, const char *json, const struct ssx_run_options *o);
void await(struct ssx_run *run);
/* The same for a command line of `exec`. */
struct ssx_run *run_shell(struct ssx_session *s, const char *command, const struct ssx_run_options *o);

long long now_ms(void);
long rss_kib(void);
void nap_ms(int ms);

struct api_case { const char *name; void (*run)(void); };
extern const struct api_case run_cases[], stream_cases[], flow_cases[], loop_cases[], callback_cases[], life_cases[],
    thread_cases[], fleet_cases[], joint_cases[], bundle_cases[];

#endif
