// read_turns(): reads which recordings of a key have a turn, and for whom.
//
// Reads the store: for the reader pool. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "daemon/modes/hot_cache.h"

namespace tapdeck::modes {

// What becomes of recordings without a turn.
enum class Others : uint8_t { Dropped, Kept };

// What a client left has a turn where it was left by itself (store::ReplayRank), and where an origin cannot be asked
// instead (Answers::All). Where each address is a client (CursorKey::client) it has one for that address alone: the
// exchanges of all are in one take, and that one of them left is no reason to leave another without an answer.
// All but `cursor` and `take` of the entry; without ids: nothing is recorded. `known` and `unreadable` as
// keep_complete() has them. Errors: those of ExchangeStore::lookup_all().
[[nodiscard]] Result<HotEntry> read_turns(const store::ExchangeStore& store, std::string_view session,
                                          const CursorKey& key, Answers answers, Others others,
                                          const std::vector<uint64_t>& known, size_t& unreadable);

}  // namespace tapdeck::modes
