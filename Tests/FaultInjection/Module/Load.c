#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "Faults.h"

static CK_FUNCTION_LIST list;
static CK_RV loaded = CKR_GENERAL_ERROR;

// Without a control file every call is passed through, on counters of this process's own.
static fault_control *map(const char *path) {
  int file = -1;
  if (path) {
    struct stat about;
    file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return NULL;
    if (fstat(file, &about) != 0 || about.st_size != (off_t)sizeof(fault_control)) {
      close(file);
      return NULL;
    }
  }
  int flags = path ? MAP_SHARED : MAP_SHARED | MAP_ANONYMOUS;
  void *pages = mmap(NULL, sizeof(fault_control), PROT_READ | PROT_WRITE, flags, file, 0);
  if (file >= 0) close(file);
  if (pages == MAP_FAILED) return NULL;
  fault_control *control = pages;
  if (!path) {
    atomic_store(&control->session_limit, UINT64_MAX);
  } else if (atomic_load(&control->magic) != FAULT_MAGIC) {
    munmap(pages, sizeof(fault_control));
    return NULL;
  }
  return control;
}

static void load(void) {
  const char *path = getenv("FAULT_PKCS11_MODULE");
  void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  CK_C_GetFunctionList get = library ? (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList") : NULL;
  if (!get || get(&fault_real) != CKR_OK || !fault_real) return;
#define CHECK(name) if (!fault_real->C_##name) return;
  FAULT_FUNCTIONS(CHECK)
#undef CHECK
  fault_state = map(getenv("FAULT_PKCS11_CONTROL"));
  if (!fault_state) return;
  // What a process left behind that was killed in the middle of calls.
  atomic_store(&fault_state->figures[FAULT_CALLS_NOW], 0);
  atomic_store(&fault_state->figures[FAULT_SESSIONS_NOW], 0);
  for (int i = 0; i < FAULT_SESSIONS; i++) atomic_store(&fault_state->sessions[i].handle, FAULT_FREE);
  for (int i = 0; i < FAULT_RULES; i++) atomic_store(&fault_state->rules[i].held, 0);
  fault_fill(&list);
  loaded = CKR_OK;
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **result) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  if (!result) return CKR_ARGUMENTS_BAD;
  pthread_once(&once, load);
  if (loaded != CKR_OK) return loaded;
  return list.C_GetFunctionList(result);
}
