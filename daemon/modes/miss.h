// The 502 that explains a replay miss: what was asked, what came nearest, and what would have matched. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/config/config.h"
#include "store/exchange_store.h"

namespace tapdeck::modes {

struct Miss {
  std::string_view session;
  std::string_view route;
  const store::Key* key = nullptr;
  const store::KeyParts* parts = nullptr;  // redacted
  std::vector<store::Nearest> nearest = {};
  bool exhausted = false;
  bool has_placeholder = false;         // see below
  std::string_view target = {};         // whose mode is in force; config::kRunTarget: a `run`
  const config::Route* rule = nullptr;  // the route; null: none
  // The origin would be asked, but for what the client sends there in place of a secret: as placeholder_in(). Else
  // empty.
  std::string_view withheld = {};
  bool asks_for_certificates = false;                       // its origin does, of clients (store/client_certificates.h)
  std::vector<std::vector<store::Difference>> bodies = {};  // of each of `nearest`, as NearMisses has them; or none
};

// The request, before redaction, carries what recordings show in place of a secret ("[redacted:...]"): that stands for
// a value which is not on tape, and matches nothing.
[[nodiscard]] bool has_placeholder(const store::KeyParts& asked);

// Where a gRPC call that is found by nothing differs: what stands in the place of its body.
inline constexpr std::string_view kFirstGrpcMessage = "grpc message 1";

// {error:"not_recorded", session, route, key, request:{method,url}, nearest:[{id, differs:[{where, recorded,
// requested}]}], hint}; an id is a string, as everywhere in the admin API. What differs inside the body comes behind
// "body" in `differs`.
[[nodiscard]] std::string miss_json(const Miss& miss);
// Of a request, or a CONNECT, for a host in `bypass`.
inline constexpr std::string_view kBypassedMiss =
    "{\"error\":\"not_recorded\",\"hint\":\"the host is bypassed, so nothing of it is ever recorded\"}";
// "nearest 24: differs in query, body $.user.id", for a log line or the end of a run: names, no values. Of what only
// one of the bodies has "a field" or "a member".
[[nodiscard]] std::string miss_reason(const Miss& miss);

}  // namespace tapdeck::modes
