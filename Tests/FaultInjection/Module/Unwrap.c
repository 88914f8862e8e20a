// SoftHSM holds every unwrapped key to CKA_UNWRAP_TEMPLATE. Where it refuses, a token that does not is played: the key
// is unwrapped as the template demands, and from then on told as the one that was asked for. Its value is the one that
// was seen when the key was made with C_CreateObject and wrapped, while the fault was on.
#include <pthread.h>
#include <string.h>

#include "Faults.h"

enum { KEPT = 32, VALUE = 64, WRAPPED = 128, ATTRIBUTES = 32 };

struct seen {
  CK_OBJECT_HANDLE key;
  unsigned char value[VALUE], wrapped[WRAPPED];
  CK_ULONG value_length, wrapped_length;
};

struct exposed {
  CK_OBJECT_HANDLE key;
  CK_BBOOL sensitive, extractable, tells;
  unsigned char value[VALUE];
  CK_ULONG length;
};

static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
static struct seen seen[KEPT];
static struct exposed exposed[KEPT];
static unsigned next_seen, next_exposed;
static _Atomic unsigned exposures;

void fault_unwrap_forget(void) {
  pthread_mutex_lock(&one);
  memset(seen, 0, sizeof seen);
  memset(exposed, 0, sizeof exposed);
  atomic_store(&exposures, 0);
  pthread_mutex_unlock(&one);
}

static bool exposes(uint32_t how) { return how == FAULT_UNWRAP_AS_ASKED || how == FAULT_UNWRAP_LYING; }
static bool is_on(void) { return exposes(atomic_load(&fault_state->unwrap)); }

void fault_unwrap_created(CK_OBJECT_HANDLE key, const CK_ATTRIBUTE *values, CK_ULONG count) {
  if (!is_on()) return;
  for (CK_ULONG i = 0; i < count; i++) {
    if (values[i].type != CKA_VALUE || values[i].ulValueLen > VALUE) continue;
    pthread_mutex_lock(&one);
    struct seen *it = &seen[next_seen++ % KEPT];
    *it = (struct seen){.key = key, .value_length = values[i].ulValueLen};
    memcpy(it->value, values[i].pValue, values[i].ulValueLen);
    pthread_mutex_unlock(&one);
  }
}

void fault_unwrap_wrapped(CK_OBJECT_HANDLE key, const unsigned char *bytes, CK_ULONG length) {
  if (!is_on() || !bytes || length > WRAPPED) return;
  pthread_mutex_lock(&one);
  for (int i = 0; i < KEPT; i++) {
    if (seen[i].key != key || seen[i].value_length == 0) continue;
    memcpy(seen[i].wrapped, bytes, length);
    seen[i].wrapped_length = length;
  }
  pthread_mutex_unlock(&one);
}

static void expose(struct exposed key, const unsigned char *bytes, CK_ULONG length) {
  pthread_mutex_lock(&one);
  struct exposed *it = &exposed[next_exposed++ % KEPT];
  *it = key;
  for (int i = 0; i < KEPT; i++) {
    if (seen[i].wrapped_length != length || memcmp(seen[i].wrapped, bytes, length) != 0) continue;
    it->length = seen[i].value_length;
    memcpy(it->value, seen[i].value, it->length);
  }
  atomic_fetch_add(&exposures, 1);
  pthread_mutex_unlock(&one);
}

CK_RV fault_unwrap_key(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE root,
                       unsigned char *bytes, CK_ULONG length, CK_ATTRIBUTE *values, CK_ULONG count,
                       CK_OBJECT_HANDLE *key) {
  uint32_t how = atomic_load(&fault_state->unwrap);
  CK_RV answer = CKR_TEMPLATE_INCONSISTENT;
  if (how == FAULT_UNWRAP_HONEST || how == FAULT_UNWRAP_AS_ASKED)
    answer = fault_real->C_UnwrapKey(session, mechanism, root, bytes, length, values, count, key);
  if (how == FAULT_UNWRAP_HONEST || answer == CKR_OK || count > ATTRIBUTES) return answer;

  static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
  CK_ATTRIBUTE locked[ATTRIBUTES + 2];
  CK_ULONG kept = 0;
  // A template that says nothing gets a locked key, as most tokens have it.
  struct exposed it = {.sensitive = CK_TRUE, .extractable = CK_FALSE};
  for (CK_ULONG i = 0; i < count; i++) {
    if (values[i].type == CKA_SENSITIVE)
      it.sensitive = *(const CK_BBOOL *)values[i].pValue;
    else if (values[i].type == CKA_EXTRACTABLE)
      it.extractable = *(const CK_BBOOL *)values[i].pValue;
    else
      locked[kept++] = values[i];
  }
  locked[kept++] = (CK_ATTRIBUTE){CKA_SENSITIVE, &yes, sizeof yes};
  locked[kept++] = (CK_ATTRIBUTE){CKA_EXTRACTABLE, &no, sizeof no};
  CK_RV second = fault_real->C_UnwrapKey(session, mechanism, root, bytes, length, locked, kept, key);
  if (second == CKR_OK && exposes(how)) {
    it.key = *key;
    it.tells = how == FAULT_UNWRAP_LYING || (!it.sensitive && it.extractable);
    if (how == FAULT_UNWRAP_LYING) it.sensitive = CK_TRUE, it.extractable = CK_FALSE;
    expose(it, bytes, length);
  }
  return second;
}

static bool find(CK_OBJECT_HANDLE key, struct exposed *it) {
  bool found = false;
  pthread_mutex_lock(&one);
  for (int i = 0; i < KEPT && !found; i++) {
    found = exposed[i].key == key;
    if (found) *it = exposed[i];
  }
  pthread_mutex_unlock(&one);
  return found;
}

static CK_RV tell(CK_ATTRIBUTE *attribute, const void *value, CK_ULONG length) {
  CK_ULONG room = attribute->ulValueLen;
  attribute->ulValueLen = length;
  if (!attribute->pValue) return CKR_OK;
  if (room < length) {
    attribute->ulValueLen = CK_UNAVAILABLE_INFORMATION;
    return CKR_BUFFER_TOO_SMALL;
  }
  memcpy(attribute->pValue, value, length);
  return CKR_OK;
}

CK_RV fault_unwrap_attributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_ATTRIBUTE *values, CK_ULONG count) {
  struct exposed it;
  if (!atomic_load(&exposures) || key == 0 || !find(key, &it))
    return fault_real->C_GetAttributeValue(session, key, values, count);
  CK_RV answer = CKR_OK;
  for (CK_ULONG i = 0; i < count; i++) {
    static const CK_BBOOL no = CK_FALSE;
    CK_RV one_answer;
    switch (values[i].type) {
      case CKA_EXTRACTABLE:
        one_answer = tell(&values[i], &it.extractable, sizeof it.extractable);
        break;
      case CKA_SENSITIVE:
        one_answer = tell(&values[i], &it.sensitive, sizeof it.sensitive);
        break;
      case CKA_ALWAYS_SENSITIVE:
      case CKA_NEVER_EXTRACTABLE:
        one_answer = tell(&values[i], &no, sizeof no);
        break;
      case CKA_VALUE:
        if (it.tells && it.length > 0) {
          one_answer = tell(&values[i], it.value, it.length);
          break;
        }
        // fall through
      default:
        one_answer = fault_real->C_GetAttributeValue(session, key, &values[i], 1);
    }
    if (one_answer != CKR_OK) answer = one_answer;
  }
  return answer;
}
