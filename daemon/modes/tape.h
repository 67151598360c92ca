// Tape: the session a target works with, as the data path needs it: the open take and the hasher of its match keys.
//
// Immutable; made by the control plane at attach, run, activate and mode change. Thread: any.
#pragma once

#include <memory>

#include "store/key_filter.h"
#include "store/match_key.h"
#include "store/record.h"

namespace tapdeck::modes {

struct Tape {
  store::Take take;  // number 0: none open, replay only
  store::KeyHasher hasher;
  uint64_t id = 0;  // distinguishes tapes within this process: part of the hot cache's key
  std::shared_ptr<const store::KeyFilter> known;  // of the session's keys; null: ask the store each time
};

// A take that holds recordings of a key.
struct KeyTake {
  store::Key key;
  uint64_t take = 0;
};

}  // namespace tapdeck::modes
