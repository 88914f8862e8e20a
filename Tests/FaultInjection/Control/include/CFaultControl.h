// Commands to the fault-injecting PKCS#11 module, given through a file that both sides map: the module may be loaded in
// this process or in another one. C, because the words in the file are atomic and Swift imports no _Atomic.
//
// One process commands, one process at a time has the module loaded. Commands of one control are given one at a time.
#ifndef FAULT_CONTROL_H
#define FAULT_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

// The functions of CK_FUNCTION_LIST, PKCS#11 2.40, in its order.
#define FAULT_FUNCTIONS(X)                                                                                            \
  X(Initialize) X(Finalize) X(GetInfo) X(GetFunctionList) X(GetSlotList) X(GetSlotInfo) X(GetTokenInfo)               \
  X(GetMechanismList) X(GetMechanismInfo) X(InitToken) X(InitPIN) X(SetPIN) X(OpenSession) X(CloseSession)            \
  X(CloseAllSessions) X(GetSessionInfo) X(GetOperationState) X(SetOperationState) X(Login) X(Logout) X(CreateObject)  \
  X(CopyObject) X(DestroyObject) X(GetObjectSize) X(GetAttributeValue) X(SetAttributeValue) X(FindObjectsInit)        \
  X(FindObjects) X(FindObjectsFinal) X(EncryptInit) X(Encrypt) X(EncryptUpdate) X(EncryptFinal) X(DecryptInit)        \
  X(Decrypt) X(DecryptUpdate) X(DecryptFinal) X(DigestInit) X(Digest) X(DigestUpdate) X(DigestKey) X(DigestFinal)     \
  X(SignInit) X(Sign) X(SignUpdate) X(SignFinal) X(SignRecoverInit) X(SignRecover) X(VerifyInit) X(Verify)            \
  X(VerifyUpdate) X(VerifyFinal) X(VerifyRecoverInit) X(VerifyRecover) X(DigestEncryptUpdate)                         \
  X(DecryptDigestUpdate) X(SignEncryptUpdate) X(DecryptVerifyUpdate) X(GenerateKey) X(GenerateKeyPair) X(WrapKey)     \
  X(UnwrapKey) X(DeriveKey) X(SeedRandom) X(GenerateRandom) X(GetFunctionStatus) X(CancelFunction) X(WaitForSlotEvent)

#define FAULT_NAME(name) FAULT_##name,
enum fault_function { FAULT_FUNCTIONS(FAULT_NAME) FAULT_FUNCTION_COUNT };
#undef FAULT_NAME

// Every slot.
static const uint64_t FAULT_ANY_SLOT = UINT64_MAX;

enum fault_action {
  // Answers the code and does not call.
  FAULT_REFUSE,
  // Calls, and answers the code: the answer was lost.
  FAULT_LOSE_ANSWER,
  // Waits before the call until the rule is removed.
  FAULT_HOLD_CALL,
  // Waits after the call.
  FAULT_HOLD_ANSWER,
  // Flips the lowest bit of the output's first byte.
  FAULT_FLIP_BIT,
};

enum fault_unwrap {
  // As the module does it.
  FAULT_UNWRAP_HONEST,
  // The template of the call wins over CKA_UNWRAP_TEMPLATE: the key comes out as it was asked for.
  FAULT_UNWRAP_AS_ASKED,
  // The call succeeds whatever it asks for, and the key is sensitive and not extractable.
  FAULT_UNWRAP_LOCKED,
  // So too, but the value is told.
  FAULT_UNWRAP_LYING,
};

enum fault_figure {
  FAULT_SESSIONS_NOW,
  FAULT_SESSIONS_MOST,
  FAULT_CALLS_NOW,
  FAULT_CALLS_MOST,
  FAULT_LOGINS,
  FAULT_INITIALISATIONS,
  FAULT_FIGURE_COUNT,
};

typedef struct fault_control fault_control;

// Nothing of this is for other libraries: the module exports C_GetFunctionList alone.
#pragma GCC visibility push(hidden)

// Makes the file, which must not exist, and maps it; NULL with errno set when that fails.
fault_control *fault_create(const char *path);
void fault_unmap(fault_control *control);

// The function's name without its C_; NULL past the last one.
const char *fault_function_name(uint32_t function);

// From now on `action` meets the matching calls number skip + 1 … skip + times. Rules are asked in the order of their
// numbers; each counts the calls that reach it, and one that answers ends the search.
// `session` 0 is every session. The rule's number, or -1 when all are in use.
int fault_rule_add(fault_control *control, enum fault_action action, uint32_t function, uint64_t slot,
                   uint64_t session, uint64_t skip, uint64_t times, uint64_t code);
// Ends a rule and lets the calls that it holds go on. It may be removed once only.
void fault_rule_remove(fault_control *control, int rule);
// How many calls the rule met, and how many it holds.
uint64_t fault_rule_met(const fault_control *control, int rule);
uint32_t fault_rule_held(const fault_control *control, int rule);
// Blocks until the rule holds `count` calls at least; false after `seconds`.
bool fault_rule_wait(fault_control *control, int rule, uint32_t count, uint32_t seconds);

// C_OpenSession answers CKR_SESSION_COUNT while so many are open.
void fault_session_limit(fault_control *control, uint64_t limit);
// Takes a token out: its slot answers `slot_code` and its sessions `session_code`; its sessions are dead for ever.
// False when the table of slots is full.
bool fault_token_remove(fault_control *control, uint64_t slot, uint64_t slot_code, uint64_t session_code);
// Puts it back, logged out; the dead sessions answer CKR_SESSION_HANDLE_INVALID.
bool fault_token_return(fault_control *control, uint64_t slot);
// Logs out: until the next C_Login what needs a login answers CKR_USER_NOT_LOGGED_IN.
void fault_expire(fault_control *control, uint64_t slot);
// What makes objects answers CKR_DEVICE_MEMORY.
void fault_full(fault_control *control, uint64_t slot, bool full);
// Everything answers `code` until C_Finalize and C_Initialize.
void fault_reset(fault_control *control, uint64_t code);
void fault_unwrap(fault_control *control, enum fault_unwrap how);

// The slot whose token has this label, 32 bytes with blanks at the end, as C_GetTokenInfo told it last.
bool fault_slot_labelled(const fault_control *control, const char *label, uint64_t *slot);
// Calls of a function, and those that did not answer CKR_OK.
uint64_t fault_calls(const fault_control *control, uint32_t function, uint64_t slot);
uint64_t fault_errors(const fault_control *control, uint32_t function);
uint64_t fault_figure(const fault_control *control, enum fault_figure figure);

#pragma GCC visibility pop

#endif
