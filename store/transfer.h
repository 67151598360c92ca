// Exports to where a path does not lead. What has a path: ExchangeStore::export_session(). transfer.cc
#pragma once

#include <string_view>

#include "daemon/base/unique_fd.h"
#include "store/exchange_store.h"

namespace tapdeck::store {

// Writes one session to `file`, which is empty and open for writing, closes it, and syncs nothing: for a file that
// nobody else can find. NotFound names the nearest session. On an error `file` holds any part of it.
[[nodiscard]] Result<SessionInfo> export_session_to(const ExchangeStore& store, std::string_view name, UniqueFd file);

}  // namespace tapdeck::store
