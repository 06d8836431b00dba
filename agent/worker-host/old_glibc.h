/* The worker host is built here and runs on hosts with an older glibc, so it asks for the oldest version of each symbol
 * that has a newer default. A test reads the built file and fails when a newer version slips in. Include this in the
 * one file that uses the symbols. */
#ifndef WORKER_HOST_OLD_GLIBC_H
#define WORKER_HOST_OLD_GLIBC_H

#ifdef OLD_GLIBC
#if defined __x86_64__
#define OLDEST "GLIBC_2.2.5"
#elif defined __aarch64__
#define OLDEST "GLIBC_2.17"
#endif
__asm__(".symver dlopen,dlopen@" OLDEST);
__asm__(".symver dlsym,dlsym@" OLDEST);
__asm__(".symver dlerror,dlerror@" OLDEST);
#endif

#endif
