#include "proof.h"

#include "base/error.h"
#include "base/io.h"

#include <signal.h>
#include <stdio.h>

#define PROOF_MS 10000

int proof_begin(struct proof *p, struct child **children, struct image *image, char reason[PROOF_REASON], struct ssx_error *err)
{
    snprintf(reason, PROOF_REASON, "busy");
    p->host = host_start(image, true, err);
    if (!p->host)
        return error_prefix(err, "%s", image->type);
    child_watch(children, &p->child, p->host->pid);
    p->until_ms = clock_ms() + PROOF_MS;
    return 0;
}

static int judge(struct proof *p, char *reason, struct ssx_error *err)
{
    struct host_report report;
    int rc = host_report(p->host, &report);
    if (rc == 0 && clock_ms() < p->until_ms)
        return 0;
    snprintf(reason, PROOF_REASON, "load");
    if (rc == 0)
        return error_set(err, SSX_ERROR_REFUSED, "it did not load, and pass its selftest, within %d s", PROOF_MS / 1000);
    if (rc > 0 && report.op == HOST_READY)
        return 1;
    if (rc < 0 || report.op != HOST_FAILED)
        return error_set(err, SSX_ERROR_REFUSED, "it ended its process while it was loaded or tested itself");
    snprintf(reason, PROOF_REASON, "%s", report.reason);
    return error_set(err, SSX_ERROR_REFUSED, "%s", report.text);
}

int proof_look(struct proof *p, char reason[PROOF_REASON], struct ssx_error *err)
{
    int rc = judge(p, reason, err);
    return rc < 0 ? error_prefix(err, "%s", p->host->image->type) : rc;
}

void proof_end(struct proof *p)
{
    if (!p->host)
        return;
    p->host->status = child_end(&p->child, SIGKILL);
    p->host->dead = true;
    host_end(p->host);
    p->host = NULL;
}
