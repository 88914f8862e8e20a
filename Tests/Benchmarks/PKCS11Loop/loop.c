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
