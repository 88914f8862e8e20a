#include "CPKCS11Loop.h"

#include <p11-kit/pkcs11.h>
#include <time.h>

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

double trustcore_c_sign_loop(void *functions, unsigned long session, unsigned long key, unsigned long mechanism,
                             const unsigned char *data, size_t length, long iterations) {
  CK_FUNCTION_LIST *list = functions;
  CK_MECHANISM kind = {mechanism, NULL, 0};
  unsigned char signature[256];
  double start = now();
  for (long i = 0; i < iterations; i++) {
    CK_ULONG count = sizeof signature;
    CK_RV value = list->C_SignInit(session, &kind, key);
    if (value == CKR_OK) value = list->C_Sign(session, (unsigned char *)data, length, signature, &count);
    if (value != CKR_OK) return -(double)value;
  }
  return now() - start;
}

double trustcore_c_gcm_loop(void *functions, unsigned long session, unsigned long key, const unsigned char *iv,
                            const unsigned char *context, size_t context_length, const unsigned char *data,
                            size_t length, long iterations) {
  CK_FUNCTION_LIST *list = functions;
  CK_GCM_PARAMS parameters = {(unsigned char *)iv, 12, 96, (unsigned char *)context, context_length, 128};
  CK_MECHANISM kind = {CKM_AES_GCM, &parameters, sizeof parameters};
  unsigned char sealed[256];
  double start = now();
  for (long i = 0; i < iterations; i++) {
    CK_ULONG count = sizeof sealed;
    CK_RV value = list->C_EncryptInit(session, &kind, key);
    if (value == CKR_OK) value = list->C_Encrypt(session, (unsigned char *)data, length, sealed, &count);
    if (value != CKR_OK) return -(double)value;
  }
  return now() - start;
}
