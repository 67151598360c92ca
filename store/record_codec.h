// Record codec: Recording <-> bytes. Versioned, pure, no allocation beyond the values themselves.
//
// Layout: one version byte, then fields in a fixed order; integers are varints, strings and lists carry their length.
// The row key holds id and session, so they are not encoded. Fuzzed: any bytes either decode or fail with Corrupt
// (malformed) or Unsupported (written by a newer tapdeck). Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"
#include "store/record.h"

namespace tapdeck::store {

// Appends the encoding of `recording`, in its version, to `out`.
void encode_record(const Recording& recording, std::string& out);
// The exact inverse; trailing bytes are Corrupt. What a version does not have yet is read as empty. `id` and `session`
// stay empty.
[[nodiscard]] Result<Recording> decode_record(std::string_view bytes);

// Messages alone, as the journal of an unfinished recording holds them.
void encode_messages(const std::vector<Message>& messages, std::string& out);
[[nodiscard]] Result<std::vector<Message>> decode_messages(std::string_view bytes);

}  // namespace tapdeck::store
