// What the wrappers of the functions share.
#ifndef FAULT_FAULTS_H
#define FAULT_FAULTS_H

#include <p11-kit/pkcs11.h>

#include "FaultControlLayout.h"

// The library exports C_GetFunctionList alone.
#pragma GCC visibility push(hidden)

extern CK_FUNCTION_LIST *fault_real;
extern fault_control *fault_state;

enum fault_kind { FAULT_OF_MODULE, FAULT_OF_SLOT, FAULT_OF_SESSION };

// One call on its way through.
struct fault_call {
  enum fault_function function;
  struct fault_slot *slot;
  struct fault_session *session;
  uint64_t handle;
  // The slot's count of removals when the call went in.
  uint32_t removals;
  // Counted among the calls that the real module works on for the slot.
  bool admitted;
  // Refused before the call, and with what.
  bool refused;
  CK_RV answer;
  // A rule replaces the answer.
  CK_RV lost;
  // A rule holds the answer while its word is this.
  struct fault_rule *hold;
  uint32_t word;
};

// Counts the call, holds it, and tells whether the real function is called. `id` is a slot or a session.
bool fault_enter(struct fault_call *call, enum fault_function function, enum fault_kind kind, uint64_t id);
// True for a refused call whose session lives on: its active operation must end, as PKCS#11 2.40 has every error of
// these functions do (section 11.8 ff.), and the real module was not asked.
bool fault_must_end(const struct fault_call *call);
// The answer, with the output damaged where a rule says so.
CK_RV fault_leave(struct fault_call *call, CK_RV answer, unsigned char *output, const CK_ULONG *length);

// The table of sessions.
bool fault_session_enter(struct fault_call *call, CK_SLOT_ID slot, CK_SESSION_HANDLE handle);
void fault_session_forget(struct fault_session *session);
void fault_sessions_forget(const struct fault_slot *slot);

// Unwrapping as a token without scruples does it.
void fault_unwrap_created(CK_OBJECT_HANDLE key, const CK_ATTRIBUTE *values, CK_ULONG count);
void fault_unwrap_wrapped(CK_OBJECT_HANDLE key, const unsigned char *bytes, CK_ULONG length);
CK_RV fault_unwrap_key(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE root,
                       unsigned char *bytes, CK_ULONG length, CK_ATTRIBUTE *values, CK_ULONG count,
                       CK_OBJECT_HANDLE *key);
CK_RV fault_unwrap_attributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_ATTRIBUTE *values, CK_ULONG count);
void fault_unwrap_forget(void);

// Fills the list that the wrappers make up.
void fault_fill(CK_FUNCTION_LIST *list);

#pragma GCC visibility pop

#endif
