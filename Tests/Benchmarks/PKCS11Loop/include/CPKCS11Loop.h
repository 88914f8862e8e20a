// The yardstick of the PKCS#11 client: the same calls, on the same session and key, from C.
#ifndef TRUSTCORE_PKCS11_LOOP_H
#define TRUSTCORE_PKCS11_LOOP_H

#include <stddef.h>

#pragma clang assume_nonnull begin

// Signs `data` so many times and returns the seconds that it took, by the monotonic clock; minus the CK_RV on failure.
// `functions` is the module's CK_FUNCTION_LIST; `session`, `key` and `mechanism` are Cryptoki's numbers.
double trustcore_c_sign_loop(void *functions, unsigned long session, unsigned long key, unsigned long mechanism,
                             const unsigned char *data, size_t length, long iterations);

// Encrypts `data`, of at most 240 bytes, with AES-GCM under an IV of 12 bytes, and is timed alike. The IV is always the
// same one, so the key must be one that nothing else is encrypted with.
double trustcore_c_gcm_loop(void *functions, unsigned long session, unsigned long key, const unsigned char *iv,
                            const unsigned char *context, size_t context_length, const unsigned char *data,
                            size_t length, long iterations);

#pragma clang assume_nonnull end

#endif
