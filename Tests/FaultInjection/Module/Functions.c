// Every function of PKCS#11 2.40, passed through.
#include <string.h>

#include "Faults.h"

// A call's parameters name the session `s` or the slot `slot`. `end` runs for a refused call whose operation must end;
// `out` and `out_length` are its output.
#define WRAP(name, kind, id, out, out_length, end, parameters, arguments) \
  static CK_RV do_##name parameters {                                     \
    struct fault_call call;                                               \
    CK_RV answer = CKR_OK;                                                \
    if (fault_enter(&call, FAULT_##name, kind, id))                       \
      answer = fault_real->C_##name arguments;                            \
    else if (fault_must_end(&call)) {                                     \
      end;                                                                \
    }                                                                     \
    return fault_leave(&call, answer, out, out_length);                   \
  }
#define NOTHING (void)0
#define MODULE(name, parameters, arguments) WRAP(name, FAULT_OF_MODULE, 0, NULL, NULL, NOTHING, parameters, arguments)
#define SLOT(name, parameters, arguments) WRAP(name, FAULT_OF_SLOT, slot, NULL, NULL, NOTHING, parameters, arguments)
#define SESSION(name, parameters, arguments) WRAP(name, FAULT_OF_SESSION, s, NULL, NULL, NOTHING, parameters, arguments)
#define ENDS(name, end, parameters, arguments) WRAP(name, FAULT_OF_SESSION, s, NULL, NULL, end, parameters, arguments)
#define OUT(name, out, end, parameters, arguments) \
  WRAP(name, FAULT_OF_SESSION, s, out, out##_length, end, parameters, arguments)

// Enough for what tests sign and encrypt; a longer output leaves the operation active.
#define SCRATCH            \
  unsigned char spare[16384]; \
  CK_ULONG room = sizeof spare
#define END(name, ...) \
  SCRATCH;             \
  (void)fault_real->C_##name(s, __VA_ARGS__)
#define ENDING(name) END(name, data, length, spare, &room)
#define FINAL(name) END(name, spare, &room)
#define VERIFY_FINAL SCRATCH; (void)fault_real->C_VerifyFinal(s, spare, room & 0)

typedef CK_SESSION_HANDLE S;
typedef CK_OBJECT_HANDLE O;
typedef CK_SLOT_ID T;
typedef unsigned char B;
typedef CK_ULONG N;
typedef CK_ATTRIBUTE A;
typedef CK_MECHANISM M;

#define DATA S s, B *data, N length
#define IO DATA, B *out, N *out_length
#define IO_ARGUMENTS (s, data, length, out, out_length)

MODULE(GetInfo, (CK_INFO *info), (info))
MODULE(WaitForSlotEvent, (CK_FLAGS flags, T *slot, void *reserved), (flags, slot, reserved))
SLOT(GetMechanismList, (T slot, CK_MECHANISM_TYPE *list, N *count), (slot, list, count))
SLOT(GetMechanismInfo, (T slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info), (slot, type, info))
SLOT(InitToken, (T slot, B *pin, N length, B *label), (slot, pin, length, label))

SESSION(InitPIN, (S s, B *pin, N length), (s, pin, length))
SESSION(SetPIN, (S s, B *pin, N length, B *fresh, N fresh_length), (s, pin, length, fresh, fresh_length))
SESSION(GetSessionInfo, (S s, CK_SESSION_INFO *info), (s, info))
SESSION(GetOperationState, (S s, B *state, N *length), (s, state, length))
SESSION(SetOperationState, (S s, B *state, N length, O key, O second), (s, state, length, key, second))
SESSION(Logout, (S s), (s))
SESSION(GetFunctionStatus, (S s), (s))
SESSION(CancelFunction, (S s), (s))

SESSION(CopyObject, (S s, O object, A *values, N count, O *copy), (s, object, values, count, copy))
SESSION(DestroyObject, (S s, O object), (s, object))
SESSION(GetObjectSize, (S s, O object, N *size), (s, object, size))
SESSION(SetAttributeValue, (S s, O object, A *values, N count), (s, object, values, count))
SESSION(FindObjectsInit, (S s, A *values, N count), (s, values, count))
SESSION(FindObjects, (S s, O *objects, N most, N *count), (s, objects, most, count))
ENDS(FindObjectsFinal, fault_real->C_FindObjectsFinal(s), (S s), (s))

SESSION(EncryptInit, (S s, M *mechanism, O key), (s, mechanism, key))
OUT(Encrypt, out, ENDING(Encrypt), (IO), IO_ARGUMENTS)
OUT(EncryptUpdate, out, FINAL(EncryptFinal), (IO), IO_ARGUMENTS)
OUT(EncryptFinal, out, FINAL(EncryptFinal), (S s, B *out, N *out_length), (s, out, out_length))
SESSION(DecryptInit, (S s, M *mechanism, O key), (s, mechanism, key))
OUT(Decrypt, out, ENDING(Decrypt), (IO), IO_ARGUMENTS)
OUT(DecryptUpdate, out, FINAL(DecryptFinal), (IO), IO_ARGUMENTS)
OUT(DecryptFinal, out, FINAL(DecryptFinal), (S s, B *out, N *out_length), (s, out, out_length))

SESSION(DigestInit, (S s, M *mechanism), (s, mechanism))
OUT(Digest, out, ENDING(Digest), (IO), IO_ARGUMENTS)
ENDS(DigestUpdate, FINAL(DigestFinal), (DATA), (s, data, length))
ENDS(DigestKey, FINAL(DigestFinal), (S s, O key), (s, key))
OUT(DigestFinal, out, FINAL(DigestFinal), (S s, B *out, N *out_length), (s, out, out_length))

SESSION(SignInit, (S s, M *mechanism, O key), (s, mechanism, key))
OUT(Sign, out, ENDING(Sign), (IO), IO_ARGUMENTS)
ENDS(SignUpdate, FINAL(SignFinal), (DATA), (s, data, length))
OUT(SignFinal, out, FINAL(SignFinal), (S s, B *out, N *out_length), (s, out, out_length))
SESSION(SignRecoverInit, (S s, M *mechanism, O key), (s, mechanism, key))
OUT(SignRecover, out, ENDING(SignRecover), (IO), IO_ARGUMENTS)

SESSION(VerifyInit, (S s, M *mechanism, O key), (s, mechanism, key))
ENDS(Verify, fault_real->C_Verify(s, data, length, signature, count), (DATA, B *signature, N count),
     (s, data, length, signature, count))
ENDS(VerifyUpdate, VERIFY_FINAL, (DATA), (s, data, length))
ENDS(VerifyFinal, fault_real->C_VerifyFinal(s, data, length), (DATA), (s, data, length))
SESSION(VerifyRecoverInit, (S s, M *mechanism, O key), (s, mechanism, key))
OUT(VerifyRecover, out, ENDING(VerifyRecover), (IO), IO_ARGUMENTS)

// Two operations at once: nobody here uses them, and a refusal leaves both active.
OUT(DigestEncryptUpdate, out, NOTHING, (IO), IO_ARGUMENTS)
OUT(DecryptDigestUpdate, out, NOTHING, (IO), IO_ARGUMENTS)
OUT(SignEncryptUpdate, out, NOTHING, (IO), IO_ARGUMENTS)
OUT(DecryptVerifyUpdate, out, NOTHING, (IO), IO_ARGUMENTS)

SESSION(GenerateKey, (S s, M *mechanism, A *values, N count, O *key), (s, mechanism, values, count, key))
SESSION(GenerateKeyPair, (S s, M *mechanism, A *first, N first_count, A *second, N second_count, O *key, O *other),
        (s, mechanism, first, first_count, second, second_count, key, other))
SESSION(DeriveKey, (S s, M *mechanism, O base, A *values, N count, O *key), (s, mechanism, base, values, count, key))
SESSION(SeedRandom, (S s, B *seed, N length), (s, seed, length))
WRAP(GenerateRandom, FAULT_OF_SESSION, s, out, &length, NOTHING, (S s, B *out, N length), (s, out, length))

// MARK: - Functions that do more

static CK_RV do_Initialize(void *arguments) {
  struct fault_call call;
  CK_RV answer = CKR_OK;
  if (fault_enter(&call, FAULT_Initialize, FAULT_OF_MODULE, 0)) answer = fault_real->C_Initialize(arguments);
  if (!call.refused && answer == CKR_OK) {
    fault_sessions_forget(NULL);
    fault_unwrap_forget();
    for (int i = 0; i < FAULT_SLOTS; i++) {
      struct fault_slot *slot = &fault_state->slots[i];
      atomic_store(&slot->pending, 0);
      atomic_store(&slot->login, atomic_load(&slot->expiries));
    }
    if (atomic_exchange(&fault_state->reset_finalized, 0)) atomic_store(&fault_state->reset_code, CKR_OK);
    atomic_fetch_add(&fault_state->figures[FAULT_INITIALISATIONS], 1);
  }
  return fault_leave(&call, answer, NULL, NULL);
}

static CK_RV do_Finalize(void *reserved) {
  struct fault_call call;
  CK_RV answer = CKR_OK;
  if (fault_enter(&call, FAULT_Finalize, FAULT_OF_MODULE, 0)) answer = fault_real->C_Finalize(reserved);
  if (!call.refused && answer == CKR_OK) {
    fault_sessions_forget(NULL);
    if (atomic_load(&fault_state->reset_code) != CKR_OK) atomic_store(&fault_state->reset_finalized, 1);
  }
  return fault_leave(&call, answer, NULL, NULL);
}

static bool is_out(CK_SLOT_ID slot) {
  struct fault_slot *row = fault_slot_row(fault_state, slot, false);
  return row && atomic_load(&row->slot_code) != CKR_OK;
}

// Leaves out the slots of removed tokens when tokens are asked for.
static CK_RV list_slots(CK_BBOOL present, CK_SLOT_ID *list, CK_ULONG *count) {
  if (!present || !count) return fault_real->C_GetSlotList(present, list, count);
  CK_SLOT_ID all[256];
  CK_ULONG length = sizeof all / sizeof *all, kept = 0;
  // A question for the length is where real modules look for new tokens.
  CK_ULONG ignored = 0;
  CK_RV answer = list ? CKR_OK : fault_real->C_GetSlotList(present, NULL, &ignored);
  if (answer == CKR_OK) answer = fault_real->C_GetSlotList(present, all, &length);
  if (answer != CKR_OK) return answer;
  for (CK_ULONG i = 0; i < length; i++)
    if (!is_out(all[i])) all[kept++] = all[i];
  CK_ULONG room = *count;
  *count = kept;
  if (!list) return CKR_OK;
  if (room < kept) return CKR_BUFFER_TOO_SMALL;
  for (CK_ULONG i = 0; i < kept; i++) list[i] = all[i];
  return CKR_OK;
}

static CK_RV do_GetSlotList(CK_BBOOL present, CK_SLOT_ID *list, CK_ULONG *count) {
  struct fault_call call;
  CK_RV answer = CKR_OK;
  if (fault_enter(&call, FAULT_GetSlotList, FAULT_OF_MODULE, 0)) answer = list_slots(present, list, count);
  return fault_leave(&call, answer, NULL, NULL);
}

static CK_RV do_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO *info) {
  struct fault_call call;
  CK_RV answer = CKR_OK;
  if (fault_enter(&call, FAULT_GetSlotInfo, FAULT_OF_SLOT, slot)) {
    answer = fault_real->C_GetSlotInfo(slot, info);
    if (answer == CKR_OK && is_out(slot)) info->flags &= ~(CK_FLAGS)CKF_TOKEN_PRESENT;
  }
  return fault_leave(&call, answer, NULL, NULL);
}

static CK_RV do_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info) {
  struct fault_call call;
  CK_RV answer = CKR_OK;
  if (fault_enter(&call, FAULT_GetTokenInfo, FAULT_OF_SLOT, slot)) {
    answer = fault_real->C_GetTokenInfo(slot, info);
    struct fault_slot *row = answer == CKR_OK ? fault_slot_row(fault_state, slot, true) : NULL;
    for (int i = 0; row && i < 4; i++) {
      uint64_t word;
      memcpy(&word, info->label + 8 * i, sizeof word);
      atomic_store(&row->label[i], word);
    }
  }
  return fault_leave(&call, answer, NULL, NULL);
}

static CK_RV open_session(struct fault_call *call, CK_SLOT_ID slot, CK_FLAGS flags, void *application,
                          CK_NOTIFY notify, CK_SESSION_HANDLE *s) {
  _Atomic uint64_t *now = &fault_state->figures[FAULT_SESSIONS_NOW];
  uint64_t open = atomic_fetch_add(now, 1) + 1;
  CK_RV answer = CKR_SESSION_COUNT;
  if (open <= atomic_load(&fault_state->session_limit)) {
    answer = fault_real->C_OpenSession(slot, flags, application, notify, s);
    if (answer == CKR_OK && !fault_session_enter(call, slot, *s)) {
      fault_real->C_CloseSession(*s);
      answer = CKR_SESSION_COUNT;
    }
  }
  if (answer == CKR_OK)
    fault_raise(&fault_state->figures[FAULT_SESSIONS_MOST], open);
  else
    atomic_fetch_sub(now, 1);
  return answer;
}

static CK_RV do_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
                            CK_SESSION_HANDLE *s) {
  struct fault_call call;
  CK_RV answer = CKR_OK;
  if (fault_enter(&call, FAULT_OpenSession, FAULT_OF_SLOT, slot))
    answer = open_session(&call, slot, flags, application, notify, s);
  return fault_leave(&call, answer, NULL, NULL);
}

static CK_RV do_CloseSession(CK_SESSION_HANDLE s) {
  struct fault_call call;
  CK_RV answer = CKR_OK;
  bool called = fault_enter(&call, FAULT_CloseSession, FAULT_OF_SESSION, s);
  if (called) answer = fault_real->C_CloseSession(s);
  // A dead session's row goes with the first attempt to close it.
  bool dead = call.session && atomic_load(&call.session->state) == FAULT_SESSION_DEAD;
  if (call.session && (dead || (called && answer == CKR_OK))) fault_session_forget(call.session);
  return fault_leave(&call, answer, NULL, NULL);
}

static CK_RV do_CloseAllSessions(CK_SLOT_ID slot) {
  struct fault_call call;
  CK_RV answer = CKR_OK;
  if (fault_enter(&call, FAULT_CloseAllSessions, FAULT_OF_SLOT, slot)) {
    answer = fault_real->C_CloseAllSessions(slot);
    if (answer == CKR_OK && call.slot) fault_sessions_forget(call.slot);
  }
  return fault_leave(&call, answer, NULL, NULL);
}

static CK_RV do_Login(CK_SESSION_HANDLE s, CK_USER_TYPE user, unsigned char *pin, CK_ULONG length) {
  struct fault_call call;
  CK_RV answer = CKR_OK;
  if (fault_enter(&call, FAULT_Login, FAULT_OF_SESSION, s)) {
    uint32_t expiries = call.slot ? atomic_load(&call.slot->expiries) : 0;
    answer = fault_real->C_Login(s, user, pin, length);
    if (answer == CKR_OK) {
      if (call.slot) atomic_store(&call.slot->login, expiries);
      atomic_fetch_add(&fault_state->figures[FAULT_LOGINS], 1);
    }
  }
  return fault_leave(&call, answer, NULL, NULL);
}

static CK_RV do_CreateObject(CK_SESSION_HANDLE s, CK_ATTRIBUTE *values, CK_ULONG count, CK_OBJECT_HANDLE *object) {
  struct fault_call call;
  CK_RV answer = CKR_OK;
  if (fault_enter(&call, FAULT_CreateObject, FAULT_OF_SESSION, s)) {
    answer = fault_real->C_CreateObject(s, values, count, object);
    if (answer == CKR_OK) fault_unwrap_created(*object, values, count);
  }
  return fault_leave(&call, answer, NULL, NULL);
}

static CK_RV do_GetAttributeValue(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *values, CK_ULONG count) {
  struct fault_call call;
  CK_RV answer = CKR_OK;
  if (fault_enter(&call, FAULT_GetAttributeValue, FAULT_OF_SESSION, s))
    answer = fault_unwrap_attributes(s, object, values, count);
  return fault_leave(&call, answer, NULL, NULL);
}

static CK_RV do_WrapKey(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE root, CK_OBJECT_HANDLE key,
                        unsigned char *out, CK_ULONG *out_length) {
  struct fault_call call;
  CK_RV answer = CKR_OK;
  if (fault_enter(&call, FAULT_WrapKey, FAULT_OF_SESSION, s)) {
    answer = fault_real->C_WrapKey(s, mechanism, root, key, out, out_length);
    if (answer == CKR_OK) fault_unwrap_wrapped(key, out, *out_length);
  }
  return fault_leave(&call, answer, out, out_length);
}

static CK_RV do_UnwrapKey(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE root, unsigned char *bytes,
                          CK_ULONG length, CK_ATTRIBUTE *values, CK_ULONG count, CK_OBJECT_HANDLE *key) {
  struct fault_call call;
  CK_RV answer = CKR_OK;
  if (fault_enter(&call, FAULT_UnwrapKey, FAULT_OF_SESSION, s))
    answer = fault_unwrap_key(s, mechanism, root, bytes, length, values, count, key);
  return fault_leave(&call, answer, NULL, NULL);
}

static CK_FUNCTION_LIST *own;

static CK_RV do_GetFunctionList(CK_FUNCTION_LIST **list) {
  struct fault_call call;
  CK_RV answer = CKR_OK;
  if (fault_enter(&call, FAULT_GetFunctionList, FAULT_OF_MODULE, 0)) *list = own;
  return fault_leave(&call, answer, NULL, NULL);
}

void fault_fill(CK_FUNCTION_LIST *list) {
  own = list;
  list->version = fault_real->version;
#define FILL(name) list->C_##name = do_##name;
  FAULT_FUNCTIONS(FILL)
#undef FILL
}
