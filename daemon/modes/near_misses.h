// The recordings nearest to a request that missed, and what differs inside their bodies. Reads the store: for the
// reader pool. Costs a scan of keys (ExchangeStore::nearest), and of each recording found at most kSeenBody of body.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/http/message.h"
#include "store/exchange_store.h"
#include "store/redact.h"

namespace tapdeck::modes {

// What is needed of the request beside its KeyParts.
struct AskedBody {
  http::Headers fields;
  std::string begin;  // of the bytes as they were sent, the first kSeenBody; fewer: not all are known
};

struct NearMisses {
  std::vector<store::Nearest> nearest;                 // where both bodies could be decoded, sizes of what was compared
  std::vector<std::vector<store::Difference>> bodies;  // of each of those body_differences(); empty for another URL
};

// `parts` redacted. Errors: as ExchangeStore::nearest; of a body that cannot be read nothing more is told.
[[nodiscard]] Result<NearMisses> near_misses(const store::ExchangeStore& store, std::string_view session,
                                             const store::KeyParts& parts, const AskedBody& asked,
                                             const store::Redactor& redactor, size_t limit);

}  // namespace tapdeck::modes
