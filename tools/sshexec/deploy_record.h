/* The record of a deploy, for --rerun and sshexec show: as of a run of a type `deploy`, whose result is what each host
 * answered. */
#ifndef SSHEXEC_DEPLOY_RECORD_H
#define SSHEXEC_DEPLOY_RECORD_H
#include "rollout.h"

/* Writes it, now that all hosts have ended. held_back: those that are prepared were not switched. Where it can't be
 * kept, that is said on stderr. */
void deploy_record(const struct rollout *r, const char *bundle, bool held_back);

#endif
