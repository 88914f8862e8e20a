// Cryptoki 2.40 as p11-kit declares it, and p11-kit's loader and RFC 7512 URIs. The macros below are casts, which the
// Swift importer leaves out, so each returns as a constant. The locks of the module's gate wait on the monotonic clock,
// by functions that glibc declares for _GNU_SOURCE alone, which Swift's Glibc does not define.
#ifndef TRUSTCORE_CP11KIT_SHIM_H
#define TRUSTCORE_CP11KIT_SHIM_H

#include <p11-kit/p11-kit.h>
#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>
#include <pthread.h>
#include <time.h>

// Marks a number that the token does not tell (C_GetAttributeValue, C_GetTokenInfo).
static const unsigned long TRUSTCORE_CK_UNAVAILABLE_INFORMATION = CK_UNAVAILABLE_INFORMATION;

// pthread_*lock with a time on a clock of one's choice (glibc 2.30 and later).
extern int pthread_mutex_clocklock(pthread_mutex_t *, clockid_t, const struct timespec *);
extern int pthread_rwlock_clockrdlock(pthread_rwlock_t *, clockid_t, const struct timespec *);
extern int pthread_rwlock_clockwrlock(pthread_rwlock_t *, clockid_t, const struct timespec *);

#endif
