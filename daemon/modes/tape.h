// Tape: the session a target works with, as the data path needs it: the open take and the hasher of its match keys.
//
// Immutable; made by the control plane at attach, run, activate and mode change. Thread: any.
#pragma once

#include "store/match_key.h"
#include "store/record.h"

namespace tapdeck::modes {

struct Tape {
  store::Take take;  // number 0: none open, replay only
  store::KeyHasher hasher;
  uint64_t id = 0;  // distinguishes tapes within this process: part of the hot cache's key
};

}  // namespace tapdeck::modes
