// SessionNames: which names a session has on tape, and the addresses that their clients went to. What a name server
// answers from where nothing else does (daemon/names).
//
// Reads the whole session at the first question, and again where it has changed since. Owner: a run, or a View of
// names. Thread: one caller at a time; may take long.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/endpoint.h"
#include "store/exchange_store.h"

namespace tapdeck::app {

class SessionNames {
 public:
  // `store` outlives this. A session that is not there has no names.
  SessionNames(const store::ExchangeStore& store, std::string session) : store_(store), session_(std::move(session)) {}
  static constexpr size_t kMostAddresses = 8;  // of a name

  // Of a name in lower case, without a dot at its end, that a recording's authority or SNI is: addresses (port 0) of
  // either family, the one that was recorded last first. None: only an explicit proxy's clients went there, which do
  // not say where that is. nullopt: never recorded.
  [[nodiscard]] std::optional<std::vector<Endpoint>> addresses_of(std::string_view name);
  // Where connections went that are on tape, at most kMostDestinations.
  [[nodiscard]] std::vector<Endpoint> destinations();
  static constexpr size_t kMostDestinations = 4096;

 private:
  struct Table {
    std::map<std::string, std::vector<Endpoint>, std::less<>> names;
    std::set<Endpoint> destinations;
  };
  static void add(Table& table, const store::Recording& recording);
  void look_again();

  const store::ExchangeStore& store_;
  const std::string session_;
  Table table_;
  std::optional<store::SessionInfo> seen_;            // when table_ was read; none: it was not
  std::chrono::steady_clock::time_point not_before_;  // of the next walk
};

}  // namespace tapdeck::app
