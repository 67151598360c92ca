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
  bool asks_for_certificates = false;  // its origin does, of clients (store/client_certificates.h)
};

// The request, before redaction, carries what recordings show in place of a secret ("[redacted:...]"): that stands for
// a value which is not on tape, and matches nothing.
[[nodiscard]] bool has_placeholder(const store::KeyParts& asked);

// {error:"not_recorded", session, route, key, request:{method,url}, nearest:[{id, differs:[{where, recorded,
// requested}]}], hint}; an id is a string, as everywhere in the admin API.
[[nodiscard]] std::string miss_json(const Miss& miss);
// "nearest 24: differs in body", for a log line or the end of a run.
[[nodiscard]] std::string miss_reason(const Miss& miss);

}  // namespace tapdeck::modes
