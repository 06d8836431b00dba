/* Exports what a plugin must, but has no note. */
#define SSX_NO_NOTES
#include "zoo.h"

ZOO_RUN(nothing, nothing)
{
    return 0;
}
ZOO_WORKER("no_note", nothing, nothing)
