#include "Faults.h"

#include <pthread.h>

CK_FUNCTION_LIST *fault_real;
fault_control *fault_state;

enum { NEEDS_LOGIN = 1, MAKES_OBJECT = 2, WITHOUT_TOKEN = 4, ALWAYS = 8 };

static const unsigned char traits[FAULT_FUNCTION_COUNT] = {
    [FAULT_Initialize] = ALWAYS,
    [FAULT_Finalize] = ALWAYS,
    [FAULT_GetFunctionList] = ALWAYS,
    [FAULT_GetSlotInfo] = WITHOUT_TOKEN,
    [FAULT_CreateObject] = NEEDS_LOGIN | MAKES_OBJECT,
    [FAULT_CopyObject] = NEEDS_LOGIN | MAKES_OBJECT,
    [FAULT_DestroyObject] = NEEDS_LOGIN,
    [FAULT_SetAttributeValue] = NEEDS_LOGIN,
    [FAULT_EncryptInit] = NEEDS_LOGIN,
    [FAULT_Encrypt] = NEEDS_LOGIN,
    [FAULT_EncryptUpdate] = NEEDS_LOGIN,
    [FAULT_EncryptFinal] = NEEDS_LOGIN,
    [FAULT_DecryptInit] = NEEDS_LOGIN,
    [FAULT_Decrypt] = NEEDS_LOGIN,
    [FAULT_DecryptUpdate] = NEEDS_LOGIN,
    [FAULT_DecryptFinal] = NEEDS_LOGIN,
    [FAULT_SignInit] = NEEDS_LOGIN,
    [FAULT_Sign] = NEEDS_LOGIN,
    [FAULT_SignUpdate] = NEEDS_LOGIN,
    [FAULT_SignFinal] = NEEDS_LOGIN,
    [FAULT_SignRecoverInit] = NEEDS_LOGIN,
    [FAULT_SignRecover] = NEEDS_LOGIN,
    [FAULT_GenerateKey] = NEEDS_LOGIN | MAKES_OBJECT,
    [FAULT_GenerateKeyPair] = NEEDS_LOGIN | MAKES_OBJECT,
    [FAULT_WrapKey] = NEEDS_LOGIN,
    [FAULT_UnwrapKey] = NEEDS_LOGIN | MAKES_OBJECT,
    [FAULT_DeriveKey] = NEEDS_LOGIN | MAKES_OBJECT,
};

// MARK: - Sessions

// Handles of real modules count up: the low bits spread well.
static struct fault_session *find(uint64_t handle) {
  if (handle == FAULT_FREE || handle >= FAULT_BUSY) return NULL;
  for (uint64_t i = 0; i < FAULT_SESSIONS; i++) {
    struct fault_session *session = &fault_state->sessions[(handle + i) % FAULT_SESSIONS];
    uint64_t found = atomic_load(&session->handle);
    if (found == handle) return session;
    if (found == FAULT_FREE) return NULL;
  }
  return NULL;
}

bool fault_session_enter(struct fault_call *call, CK_SLOT_ID slot, CK_SESSION_HANDLE handle) {
  struct fault_slot *row = fault_slot_row(fault_state, slot, true);
  if (!row) return false;
  for (uint64_t i = 0; i < FAULT_SESSIONS; i++) {
    struct fault_session *session = &fault_state->sessions[(handle + i) % FAULT_SESSIONS];
    uint64_t found = atomic_load(&session->handle);
    if (found != FAULT_FREE && found != FAULT_USED) continue;
    if (!atomic_compare_exchange_strong(&session->handle, &found, FAULT_BUSY)) continue;
    atomic_store(&session->slot, (uint32_t)(row - fault_state->slots));
    atomic_store(&session->state, FAULT_SESSION_ALIVE);
    atomic_store(&session->handle, handle);
    // The sweep of a removal may have passed before the handle stood there.
    if (atomic_load(&row->removals) != call->removals) fault_session_kill(fault_state, session);
    return true;
  }
  return false;
}

void fault_session_forget(struct fault_session *session) {
  fault_session_kill(fault_state, session);
  atomic_store(&session->handle, FAULT_USED);
}

// Those of a slot, or all of them.
void fault_sessions_forget(const struct fault_slot *slot) {
  for (int i = 0; i < FAULT_SESSIONS; i++) {
    struct fault_session *session = &fault_state->sessions[i];
    uint64_t handle = atomic_load(&session->handle);
    if (handle == FAULT_FREE || handle >= FAULT_BUSY) continue;
    if (!slot || &fault_state->slots[atomic_load(&session->slot)] == slot) fault_session_forget(session);
  }
}

// MARK: - What the real token has yet to suffer

// SoftHSM frees sessions that other threads use, so that a removal or a logout waits until no call is inside, and calls
// wait meanwhile.
static _Atomic uint32_t inside[FAULT_SLOTS], draining[FAULT_SLOTS];
static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;

static void nap(void) { nanosleep(&(struct timespec){0, 100000}, NULL); }

static void log_out(const struct fault_slot *slot) {
  for (int i = 0; i < FAULT_SESSIONS; i++) {
    struct fault_session *session = &fault_state->sessions[i];
    uint64_t handle = atomic_load(&session->handle);
    if (handle == FAULT_FREE || handle >= FAULT_BUSY) continue;
    if (&fault_state->slots[atomic_load(&session->slot)] != slot) continue;
    if (atomic_load(&session->state) != FAULT_SESSION_ALIVE) continue;
    fault_real->C_Logout(handle);
    return;
  }
}

static void settle(struct fault_slot *slot) {
  ptrdiff_t index = slot - fault_state->slots;
  pthread_mutex_lock(&one);
  if (atomic_load(&slot->pending)) {
    atomic_store(&draining[index], 1);
    while (atomic_load(&inside[index])) nap();
    uint32_t pending = atomic_exchange(&slot->pending, 0);
    if (pending & FAULT_PENDING_LOGOUT) log_out(slot);
    if (pending & FAULT_PENDING_CLOSE) fault_real->C_CloseAllSessions(atomic_load(&slot->id) - 1);
    atomic_store(&draining[index], 0);
  }
  pthread_mutex_unlock(&one);
}

static void admit(struct fault_call *call) {
  if (!call->slot) return;
  ptrdiff_t index = call->slot - fault_state->slots;
  for (;;) {
    while (atomic_load(&call->slot->pending)) settle(call->slot);
    atomic_fetch_add(&inside[index], 1);
    if (!atomic_load(&draining[index]) && !atomic_load(&call->slot->pending)) break;
    atomic_fetch_sub(&inside[index], 1);
    nap();
  }
  call->removals = atomic_load(&call->slot->removals);
  call->admitted = true;
}

static void dismiss(struct fault_call *call) {
  if (call->admitted) atomic_fetch_sub(&inside[call->slot - fault_state->slots], 1);
  call->admitted = false;
}

// MARK: - Rules

static void hold(struct fault_rule *rule, uint32_t word) {
  atomic_fetch_add(&rule->held, 1);
  fault_futex_wake(&rule->held);
  while (atomic_load(&rule->word) == word) fault_futex_wait(&rule->word, word, NULL);
  atomic_fetch_sub(&rule->held, 1);
  fault_futex_wake(&rule->held);
}

// Takes the call's number at a rule and tells whether the rule meets it.
static bool meets(struct fault_rule *rule, uint32_t word, const struct fault_call *call) {
  if (!(word & 1) || atomic_load(&rule->function) != call->function) return false;
  uint64_t slot = atomic_load(&rule->slot), session = atomic_load(&rule->session);
  if (slot != FAULT_ANY_SLOT && !(call->slot && atomic_load(&call->slot->id) == slot + 1)) return false;
  if (session && session != call->handle) return false;
  uint64_t skip = atomic_load(&rule->skip), times = atomic_load(&rule->times), seen = atomic_load(&rule->seen);
  if (seen >= skip && seen - skip >= times) return false;
  seen = atomic_fetch_add(&rule->seen, 1);
  return seen >= skip && seen - skip < times;
}

static void ask_rules(struct fault_call *call) {
  uint32_t end = atomic_load_explicit(&fault_state->rules_end, memory_order_acquire);
  for (uint32_t i = 0; i < end; i++) {
    struct fault_rule *rule = &fault_state->rules[i];
    uint32_t word = atomic_load(&rule->word), action = atomic_load(&rule->action);
    if (action == FAULT_FLIP_BIT || !meets(rule, word, call)) continue;
    switch (action) {
      case FAULT_REFUSE:
        call->refused = true;
        call->answer = atomic_load(&rule->code);
        return;
      case FAULT_LOSE_ANSWER:
        call->lost = atomic_load(&rule->code);
        return;
      case FAULT_HOLD_CALL:
        hold(rule, word);
        break;
      default:
        call->hold = rule;
        call->word = word;
    }
  }
}

// Counts outputs only: a question for the length is no output.
static void damage(struct fault_call *call, unsigned char *output) {
  uint32_t end = atomic_load_explicit(&fault_state->rules_end, memory_order_acquire);
  for (uint32_t i = 0; i < end; i++) {
    struct fault_rule *rule = &fault_state->rules[i];
    uint32_t word = atomic_load(&rule->word);
    if (atomic_load(&rule->action) == FAULT_FLIP_BIT && meets(rule, word, call)) output[0] ^= 1;
  }
}

// MARK: - Calls

// What has become of the module, the token and the session; CKR_OK when they are well.
static CK_RV fate(const struct fault_call *call) {
  if (traits[call->function] & ALWAYS) return CKR_OK;
  CK_RV code = atomic_load(&fault_state->reset_code);
  if (code != CKR_OK || !call->slot || traits[call->function] & WITHOUT_TOKEN) return code;
  bool dead = call->session && atomic_load(&call->session->state) == FAULT_SESSION_DEAD;
  if (atomic_load(&call->slot->slot_code) != CKR_OK)
    return call->session ? atomic_load(&call->slot->session_code) : atomic_load(&call->slot->slot_code);
  return dead ? CKR_SESSION_HANDLE_INVALID : CKR_OK;
}

static CK_RV refusal(const struct fault_call *call) {
  CK_RV code = fate(call);
  if (code != CKR_OK || !call->slot) return code;
  unsigned char trait = traits[call->function];
  if (trait & NEEDS_LOGIN && atomic_load(&call->slot->login) != atomic_load(&call->slot->expiries))
    return CKR_USER_NOT_LOGGED_IN;
  if (trait & MAKES_OBJECT && (atomic_load(&fault_state->full) || atomic_load(&call->slot->full)))
    return CKR_DEVICE_MEMORY;
  return CKR_OK;
}

bool fault_enter(struct fault_call *call, enum fault_function function, enum fault_kind kind, uint64_t id) {
  *call = (struct fault_call){.function = function};
  uint64_t now = atomic_fetch_add(&fault_state->figures[FAULT_CALLS_NOW], 1) + 1;
  fault_raise(&fault_state->figures[FAULT_CALLS_MOST], now);
  atomic_fetch_add_explicit(&fault_state->calls[function], 1, memory_order_relaxed);
  if (kind == FAULT_OF_SESSION) {
    call->handle = id;
    call->session = find(id);
    if (call->session) call->slot = &fault_state->slots[atomic_load(&call->session->slot)];
  } else if (kind == FAULT_OF_SLOT) {
    call->slot = fault_slot_row(fault_state, id, function == FAULT_OpenSession);
  }
  if (call->slot) atomic_fetch_add_explicit(&call->slot->calls[function], 1, memory_order_relaxed);
  ask_rules(call);
  admit(call);
  // A rule's refusal stands where the module, the token and the session are well.
  CK_RV code = refusal(call);
  if (code != CKR_OK) {
    call->refused = true;
    call->answer = code;
  }
  return !call->refused;
}

bool fault_must_end(const struct fault_call *call) {
  return call->session && atomic_load(&call->session->state) == FAULT_SESSION_ALIVE && fate(call) == CKR_OK;
}

CK_RV fault_leave(struct fault_call *call, CK_RV answer, unsigned char *output, const CK_ULONG *length) {
  dismiss(call);
  if (call->hold) hold(call->hold, call->word);
  if (call->refused) {
    answer = call->answer;
  } else if (call->lost != CKR_OK) {
    answer = call->lost;
  } else {
    // Who was inside when the token went gets no answer. A session that this call closed has no fate.
    if (call->session && atomic_load(&call->session->handle) != call->handle) call->session = NULL;
    CK_RV code = call->function == FAULT_CloseSession ? CKR_OK : fate(call);
    if (code != CKR_OK) answer = code;
    if (answer == CKR_OK && output && *length > 0) damage(call, output);
  }
  if (answer != CKR_OK) atomic_fetch_add(&fault_state->errors[call->function], 1);
  atomic_fetch_sub(&fault_state->figures[FAULT_CALLS_NOW], 1);
  return answer;
}
