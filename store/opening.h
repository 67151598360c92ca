// Opening: who speaks first at a place, as far as a session shows. For clients that say nothing in replay, where no
// origin can be heard. Pure but for ExchangeStore::opening(). Thread: any.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/base/endpoint.h"
#include "store/recording_builder.h"

namespace tapdeck::store {

enum class Opening : uint8_t {
  Unknown,  // nothing on tape could answer there
  Client,   // requests were recorded there, or elsewhere on this port where this origin was not heard to speak first
  Origin,   // the origin was heard first, and no request was recorded
};

// Where a client wants to go.
struct Place {
  std::string scheme;  // "http", "https": in clear, in TLS
  std::string host;    // as it names it: by SNI or CONNECT; else the IP
  uint16_t port = 0;
  Endpoint address;  // Family::None: it named it
};

// That the origin spoke first, so that its connection was passed on as bytes. Kept where its facts are.
[[nodiscard]] PendingWrite greeting_write(const Take& take, const Place& place);

}  // namespace tapdeck::store
