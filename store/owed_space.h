// Whether files of a store still hold what was removed, and prune() has to be called soon, once a second, to go on with
// taking it back; without that it is enough every ten seconds. For the writer, in place of waking it. Internal to
// store/. Thread: any; a flag is read.
#pragma once

#include "store/exchange_store.h"

namespace tapdeck::store {

[[nodiscard]] bool owes_space(const ExchangeStore& store);

}  // namespace tapdeck::store
