// TapeAnswers: what a name server says of which names, from what a session has on tape of them.
//
// Sans-IO; where the names come from is the caller's. Owner: a View. Thread: a NameServer's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "daemon/base/endpoint.h"
#include "daemon/names/dns_message.h"
#include "daemon/names/lookup.h"

namespace tapdeck::names {

struct Asker;  // view.h; here only handed on

// What resolvers answered when the session was recorded, of a name as Query::name says it. nullopt: nobody asked.
using Recorded = std::function<std::optional<Lookup>(std::string_view name, uint16_t type)>;
// What is known of a name (lower case, no trailing dot): its addresses (port 0), maybe none. nullopt: never recorded.
using Tape = std::function<std::optional<std::vector<Endpoint>>(std::string_view name)>;

// Both are asked on the caller's thread and may block; each may be empty.
struct TapeSources {
  Recorded recorded;  // comes first
  Tape addresses;     // that its exchanges went to
  // Is told each name that is not known, once, up to TapeAnswers::kMostReported, and who asked. May be empty.
  std::function<void(const Asker&, const std::string& name)> on_unknown;
  std::vector<std::string> search;  // the domains that resolvers try behind a name: lower case, without dots around
};

// 198.18.0.0/15 (RFC 2544, routed nowhere): for a name of which only that it was recorded is known. The same each time.
[[nodiscard]] Endpoint synthetic_address(std::string_view name);

class TapeAnswers {
 public:
  explicit TapeAnswers(TapeSources sources) : sources_(std::move(sources)) {}
  static constexpr size_t kMostReported = 4096;

  // What the resolver said, where this name and type were asked for when it was recorded; SERVFAIL where none answered,
  // which is the same to clients, without the wait; where it was truncated, it is again, and the client turns to TCP,
  // but for addresses, if the name has any on tape: rather these. Else, for a name with addresses on tape, and for
  // localhost and what is below it (RFC 6761 6.3): those of the type asked for, and nothing of any other type. Else as
  // another type of the name went: nothing if it was there, NXDOMAIN, SERVFAIL. Of HTTPS and SVCB it is said that there
  // are none: what they lead to (h3, ECH) is not on tape. nullopt: the name is not known.
  [[nodiscard]] std::optional<std::string> of_known(const Query& query);
  // Of a name of which of_known() knows nothing: NXDOMAIN. Reported is who is asked for an address, but not reverse
  // names, nor a name that is known or reported with a further suffix: a resolver tries its search domains.
  [[nodiscard]] std::string of_unknown(const Query& query, const Asker& asker);
  // The one or the other.
  [[nodiscard]] std::string of(const Query& query, const Asker& asker);

 private:
  [[nodiscard]] std::optional<Lookup> recorded(std::string_view name, uint16_t type) const;
  [[nodiscard]] std::optional<std::vector<Endpoint>> addresses(std::string_view name) const;
  // What another type says of this one; nullopt: none was recorded.
  [[nodiscard]] std::optional<Rcode> rcode_of_others(const Query& query) const;
  [[nodiscard]] bool is_known(std::string_view name) const;
  // Without the search domain behind it, if there is one.
  [[nodiscard]] std::string_view without_search(std::string_view name) const;
  [[nodiscard]] bool is_searched(std::string_view name) const;
  void report(const std::string& name, const Asker& asker);

  const TapeSources sources_;
  std::unordered_set<std::string> reported_;
};

}  // namespace tapdeck::names
