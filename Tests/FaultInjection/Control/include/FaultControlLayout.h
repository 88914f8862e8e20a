// The file that the commanding process and the module share. Not part of the Clang module: Swift sees none of it.
#ifndef FAULT_CONTROL_LAYOUT_H
#define FAULT_CONTROL_LAYOUT_H

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "CFaultControl.h"

enum { FAULT_RULES = 64, FAULT_SLOTS = 64, FAULT_SESSIONS = 4096 };

#define FAULT_MAGIC UINT64_C(0x746661756c743031)

struct fault_rule {
  // Odd while the rule stands. Futex: those that it holds wait for a change.
  _Atomic uint32_t word;
  // Futex: the commanding process waits for a change.
  _Atomic uint32_t held;
  _Atomic uint32_t action, function;
  _Atomic uint64_t slot, session, skip, times, code;
  // Calls that reached it.
  _Atomic uint64_t seen;
};

enum { FAULT_PENDING_CLOSE = 1, FAULT_PENDING_LOGOUT = 2 };

struct fault_slot {
  // CK_SLOT_ID + 1; 0 is a free row.
  _Atomic uint64_t id;
  // While the token is out, what the slot answers; 0 otherwise.
  _Atomic uint64_t slot_code;
  _Atomic uint64_t session_code;
  // Counts removals, so that a session opened across one is found.
  _Atomic uint32_t removals;
  // What the module has yet to do to the real token, which it does before the next call of the slot.
  _Atomic uint32_t pending;
  // Logins hold while the second equals the first.
  _Atomic uint32_t expiries, login;
  _Atomic uint32_t full;
  // As C_GetTokenInfo told it last: 32 bytes, blanks at the end.
  _Atomic uint64_t label[4];
  _Atomic uint64_t calls[FAULT_FUNCTION_COUNT];
};

enum { FAULT_SESSION_ALIVE = 1, FAULT_SESSION_DEAD = 2 };
// Handles of rows without a session: never used, used before, being written.
#define FAULT_FREE UINT64_C(0)
#define FAULT_USED UINT64_MAX
#define FAULT_BUSY (UINT64_MAX - 1)

struct fault_session {
  _Atomic uint64_t handle;
  _Atomic uint32_t slot, state;
};

struct fault_control {
  _Atomic uint64_t magic;
  _Atomic uint32_t rules_end;
  struct fault_rule rules[FAULT_RULES];
  _Atomic uint64_t session_limit;
  _Atomic uint64_t reset_code;
  _Atomic uint32_t reset_finalized;
  _Atomic uint32_t unwrap;
  _Atomic uint32_t full;
  _Atomic uint64_t calls[FAULT_FUNCTION_COUNT], errors[FAULT_FUNCTION_COUNT];
  _Atomic uint64_t figures[FAULT_FIGURE_COUNT];
  struct fault_slot slots[FAULT_SLOTS];
  struct fault_session sessions[FAULT_SESSIONS];
};

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2, "processes share no lock of the library's");

// Not FUTEX_PRIVATE: the other side may be another process.
static inline int fault_futex_wait(_Atomic uint32_t *word, uint32_t value, const struct timespec *limit) {
  return (int)syscall(SYS_futex, (uint32_t *)word, FUTEX_WAIT, value, limit, NULL, 0);
}

static inline void fault_futex_wake(_Atomic uint32_t *word) {
  syscall(SYS_futex, (uint32_t *)word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

// The row of a slot; NULL when it has none, or when `make` finds no free one.
static inline struct fault_slot *fault_slot_row(fault_control *control, uint64_t slot, bool make) {
  for (int i = 0; i < FAULT_SLOTS; i++) {
    struct fault_slot *row = &control->slots[i];
    uint64_t id = atomic_load(&row->id);
    if (id == 0 && !make) return NULL;
    if (id == 0 && atomic_compare_exchange_strong(&row->id, &id, slot + 1)) return row;
    if (id == slot + 1) return row;
  }
  return NULL;
}

// Ends a session's life, once.
static inline void fault_session_kill(fault_control *control, struct fault_session *session) {
  uint32_t alive = FAULT_SESSION_ALIVE;
  if (atomic_compare_exchange_strong(&session->state, &alive, FAULT_SESSION_DEAD))
    atomic_fetch_sub(&control->figures[FAULT_SESSIONS_NOW], 1);
}

static inline void fault_raise(_Atomic uint64_t *most, uint64_t value) {
  uint64_t old = atomic_load_explicit(most, memory_order_relaxed);
  while (old < value && !atomic_compare_exchange_weak(most, &old, value)) {
  }
}

#endif
