#define _GNU_SOURCE
#include "CSecureMemory.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static size_t whole_pages(size_t length) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  return (length + page - 1) / page * page;
}

void *trustcore_secret_allocate(size_t length) {
  if (length == 0 || length > SIZE_MAX / 2) {
    errno = EINVAL;
    return NULL;
  }
  size_t size = whole_pages(length);
  void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return NULL;
  if (mlock(pages, size) != 0 || madvise(pages, size, MADV_DONTDUMP) != 0 ||
      madvise(pages, size, MADV_WIPEONFORK) != 0) {
    int reason = errno;
    munmap(pages, size);
    errno = reason;
    return NULL;
  }
  return pages;
}

void trustcore_secret_free(void *pages, size_t length) {
  size_t size = whole_pages(length);
  explicit_bzero(pages, size);
  munmap(pages, size);  // Unlocks as well.
}

void trustcore_secret_wipe(void *bytes, size_t length) { explicit_bzero(bytes, length); }

bool trustcore_secret_equal(const void *a, const void *b, size_t length) {
  const volatile unsigned char *x = a, *y = b;
  unsigned char difference = 0;
  for (size_t i = 0; i < length; i++) difference |= x[i] ^ y[i];
  return difference == 0;
}

int trustcore_harden_process(void) {
  struct rlimit none = {0, 0};
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || setrlimit(RLIMIT_CORE, &none) != 0) return errno;
  return 0;
}
