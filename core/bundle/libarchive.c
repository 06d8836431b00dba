#include "bundle/libarchive.h"

#include "base/error.h"

#include <dlfcn.h>
#include <string.h>

#define SONAME "libarchive.so.13" /* that of every libarchive 3 */

const struct libarchive *libarchive_load(struct ssx_error *err)
{
    static const char *const names[] = {
#define LIBARCHIVE_NAME(name) #name,
        LIBARCHIVE_FUNCTIONS(LIBARCHIVE_NAME)
    };
    static struct libarchive loaded;
    static void *library;
    void *functions[sizeof names / sizeof *names];
    _Static_assert(sizeof functions == sizeof loaded, "a pointer each");
    if (library)
        return &loaded;
    void *opened = dlopen(SONAME, RTLD_NOW | RTLD_LOCAL);
    if (!opened) {
        error_set(err, SSX_ERROR_SYSTEM, "can't load " SONAME ", which bundles need (%s); install libarchive (Debian: libarchive13)",
                  dlerror());
        return NULL;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!(functions[i] = dlsym(opened, names[i]))) {
            error_set(err, SSX_ERROR_SYSTEM, SONAME " has no %s; this sshexec needs libarchive 3", names[i]);
            dlclose(opened);
            return NULL;
        }
    memcpy(&loaded, functions, sizeof loaded);
    library = opened;
    return &loaded;
}
