// The yardstick of the PKCS#11 client: the same C_SignInit and C_Sign, on the same session and key, from C.
#ifndef TRUSTCORE_PKCS11_LOOP_H
#define TRUSTCORE_PKCS11_LOOP_H

#include <stddef.h>

#pragma clang assume_nonnull begin

// Signs `data` so many times and returns the seconds that it took, by the monotonic clock; minus the CK_RV on failure.
// `functions` is the module's CK_FUNCTION_LIST; `session`, `key` and `mechanism` are Cryptoki's numbers.
double trustcore_c_sign_loop(void *functions, unsigned long session, unsigned long key, unsigned long mechanism,
                             const unsigned char *data, size_t length, long iterations);

#pragma clang assume_nonnull end

#endif
