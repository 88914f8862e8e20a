// Pages for secrets, and the process settings that keep them out of core dumps. C, because the compiler may drop a
// Swift store to memory that is about to be freed, and because the flags are Linux's own.
#ifndef TRUSTCORE_SECURE_MEMORY_H
#define TRUSTCORE_SECURE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#pragma clang assume_nonnull begin

// Zeroed pages of their own for `length` bytes: locked (never swapped), left out of core dumps, and zero in a forked
// child. NULL with errno set when any of the three cannot be had: a secret never rests in ordinary memory instead.
void *_Nullable trustcore_secret_allocate(size_t length);

// Wipes the pages and gives them back; `length` as allocated.
void trustcore_secret_free(void *pages, size_t length);

// Zeroes memory in a way that the optimiser keeps.
void trustcore_secret_wipe(void *bytes, size_t length);

// Compares in a time that depends on `length` alone.
bool trustcore_secret_equal(const void *a, const void *b, size_t length);

// PR_SET_DUMPABLE 0 (no ptrace by the same user, no core dump) and RLIMIT_CORE 0. Zero, or the errno of what failed.
int trustcore_harden_process(void);

#pragma clang assume_nonnull end

#endif
