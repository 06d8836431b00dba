/* What the openings of one run share, so that a thousand hosts do not each read what is the same for all: the
 * known_hosts files, indexed once, the answers of ssh -G, asked for once for all hosts that the configuration treats
 * alike, and the logins at bastions. As of the first opening; from any thread. */
#ifndef TRANSPORT_COMMON_H
#define TRANSPORT_COMMON_H
#include "transport/answer_class.h"
#include "transport/bastion.h"
#include "transport/known_hosts.h"

struct common;

/* Returns 0 or -1. */
int common_new(struct common **out, struct ssx_error *err);
void common_free(struct common *c);

/* The index of these files, which is the common's. Returns 0 or -1. */
int common_known_hosts(struct common *c, const struct known_hosts **out, const char *const *files, size_t count, struct ssx_error *err);

/* Its answers, and its bastions. */
struct answer_classes *common_answers(struct common *c);
struct bastions *common_bastions(struct common *c);

#endif
