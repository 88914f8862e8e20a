#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "FaultControlLayout.h"

fault_control *fault_create(const char *path) {
  int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) return NULL;
  void *pages = MAP_FAILED;
  if (ftruncate(file, sizeof(fault_control)) == 0)
    pages = mmap(NULL, sizeof(fault_control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  int reason = errno;
  close(file);
  if (pages == MAP_FAILED) {
    unlink(path);
    errno = reason;
    return NULL;
  }
  fault_control *control = pages;
  atomic_store(&control->session_limit, UINT64_MAX);
  atomic_store(&control->magic, FAULT_MAGIC);
  return control;
}

void fault_unmap(fault_control *control) { munmap(control, sizeof *control); }

const char *fault_function_name(uint32_t function) {
#define FAULT_NAME(name) #name,
  static const char *const names[] = {FAULT_FUNCTIONS(FAULT_NAME)};
#undef FAULT_NAME
  return function < FAULT_FUNCTION_COUNT ? names[function] : NULL;
}

int fault_rule_add(fault_control *control, enum fault_action action, uint32_t function, uint64_t slot,
                   uint64_t session, uint64_t skip, uint64_t times, uint64_t code) {
  for (int i = 0; i < FAULT_RULES; i++) {
    struct fault_rule *rule = &control->rules[i];
    if (atomic_load(&rule->word) & 1) continue;
    atomic_store(&rule->action, action);
    atomic_store(&rule->function, function);
    atomic_store(&rule->slot, slot);
    atomic_store(&rule->session, session);
    atomic_store(&rule->skip, skip);
    atomic_store(&rule->times, times);
    atomic_store(&rule->code, code);
    atomic_store(&rule->seen, 0);
    if (atomic_load(&control->rules_end) <= (uint32_t)i) atomic_store(&control->rules_end, i + 1);
    atomic_fetch_add(&rule->word, 1);
    return i;
  }
  return -1;
}

void fault_rule_remove(fault_control *control, int rule) {
  atomic_fetch_add(&control->rules[rule].word, 1);
  fault_futex_wake(&control->rules[rule].word);
}

uint64_t fault_rule_met(const fault_control *control, int rule) {
  const struct fault_rule *it = &control->rules[rule];
  uint64_t seen = atomic_load(&it->seen), skip = atomic_load(&it->skip), times = atomic_load(&it->times);
  return seen <= skip ? 0 : seen - skip < times ? seen - skip : times;
}

uint32_t fault_rule_held(const fault_control *control, int rule) { return atomic_load(&control->rules[rule].held); }

bool fault_rule_wait(fault_control *control, int rule, uint32_t count, uint32_t seconds) {
  _Atomic uint32_t *held = &control->rules[rule].held;
  struct timespec now, end, left;
  clock_gettime(CLOCK_MONOTONIC, &end);
  end.tv_sec += seconds;
  for (;;) {
    uint32_t value = atomic_load(held);
    if (value >= count) return true;
    clock_gettime(CLOCK_MONOTONIC, &now);
    left.tv_sec = end.tv_sec - now.tv_sec;
    left.tv_nsec = end.tv_nsec - now.tv_nsec;
    if (left.tv_nsec < 0) left.tv_sec -= 1, left.tv_nsec += 1000000000;
    if (left.tv_sec < 0) return false;
    fault_futex_wait(held, value, &left);
  }
}

void fault_session_limit(fault_control *control, uint64_t limit) { atomic_store(&control->session_limit, limit); }

bool fault_token_remove(fault_control *control, uint64_t slot, uint64_t slot_code, uint64_t session_code) {
  struct fault_slot *row = fault_slot_row(control, slot, true);
  if (!row) return false;
  atomic_store(&row->session_code, session_code);
  atomic_store(&row->slot_code, slot_code);
  atomic_fetch_or(&row->pending, FAULT_PENDING_CLOSE);
  // Before the sweep: a session that is entered after it sees the new count.
  atomic_fetch_add(&row->removals, 1);
  uint32_t index = (uint32_t)(row - control->slots);
  for (int i = 0; i < FAULT_SESSIONS; i++) {
    struct fault_session *session = &control->sessions[i];
    uint64_t handle = atomic_load(&session->handle);
    if (handle == FAULT_FREE || handle >= FAULT_BUSY || atomic_load(&session->slot) != index) continue;
    fault_session_kill(control, session);
  }
  return true;
}

bool fault_token_return(fault_control *control, uint64_t slot) {
  struct fault_slot *row = fault_slot_row(control, slot, false);
  if (!row) return false;
  atomic_store(&row->slot_code, 0);
  return true;
}

void fault_expire(fault_control *control, uint64_t slot) {
  for (int i = 0; i < FAULT_SLOTS; i++) {
    struct fault_slot *row = &control->slots[i];
    uint64_t id = atomic_load(&row->id);
    if (id == 0 || (slot != FAULT_ANY_SLOT && id != slot + 1)) continue;
    atomic_fetch_or(&row->pending, FAULT_PENDING_LOGOUT);
    atomic_fetch_add(&row->expiries, 1);
  }
}

void fault_full(fault_control *control, uint64_t slot, bool full) {
  if (slot == FAULT_ANY_SLOT) {
    atomic_store(&control->full, full);
  } else {
    struct fault_slot *row = fault_slot_row(control, slot, true);
    if (row) atomic_store(&row->full, full);
  }
}

void fault_reset(fault_control *control, uint64_t code) {
  atomic_store(&control->reset_finalized, 0);
  atomic_store(&control->reset_code, code);
}

void fault_unwrap(fault_control *control, enum fault_unwrap how) { atomic_store(&control->unwrap, how); }

bool fault_slot_labelled(const fault_control *control, const char *label, uint64_t *slot) {
  uint64_t words[4];
  memcpy(words, label, sizeof words);
  // The newest row wins: SoftHSM gives a token another slot when it is initialised.
  for (int i = FAULT_SLOTS - 1; i >= 0; i--) {
    const struct fault_slot *row = &control->slots[i];
    bool same = atomic_load(&row->id) != 0;
    for (int word = 0; word < 4; word++) same = same && atomic_load(&row->label[word]) == words[word];
    if (same) {
      *slot = atomic_load(&row->id) - 1;
      return true;
    }
  }
  return false;
}

uint64_t fault_calls(const fault_control *control, uint32_t function, uint64_t slot) {
  if (slot == FAULT_ANY_SLOT) return atomic_load(&control->calls[function]);
  struct fault_slot *row = fault_slot_row((fault_control *)control, slot, false);
  return row ? atomic_load(&row->calls[function]) : 0;
}

uint64_t fault_errors(const fault_control *control, uint32_t function) {
  return atomic_load(&control->errors[function]);
}

uint64_t fault_figure(const fault_control *control, enum fault_figure figure) {
  return atomic_load(&control->figures[figure]);
}
