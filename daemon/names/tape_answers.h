// TapeAnswers: what a name server says of which names, from what a session has on tape of them.
//
// Sans-IO; where the names come from is the caller's (app/session_names.h). Owner and thread: a NameServer's; the
// counts may be read by any.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "daemon/base/endpoint.h"
#include "daemon/names/dns_message.h"

namespace tapdeck::names {

// What is known of a name (lower case, no trailing dot): its addresses (port 0), maybe none. nullopt: never recorded.
using Tape = std::function<std::optional<std::vector<Endpoint>>(std::string_view name)>;

// 198.18.0.0/15 (RFC 2544, routed nowhere): for a name of which only that it was recorded is known. The same each time.
[[nodiscard]] Endpoint synthetic_address(std::string_view name);

class TapeAnswers {
 public:
  // `on_unknown` is told each name that was never recorded, once, up to kMostReported; may be empty. `search`: the
  // domains that resolvers try behind a name, lower case, without dots around.
  TapeAnswers(Tape tape, std::function<void(const std::string& name)> on_unknown, std::vector<std::string> search)
      : tape_(std::move(tape)), on_unknown_(std::move(on_unknown)), search_(std::move(search)) {}
  static constexpr size_t kMostReported = 4096;

  // For a name on tape, and for localhost and what is below it (RFC 6761 6.3): its addresses of the type asked for;
  // nothing of any other type. nullopt: the name is not known.
  [[nodiscard]] std::optional<std::string> of_known(const Query& query);
  // The same, and NXDOMAIN for a name that is not known. Reported is who is asked for an address, but not reverse
  // names, nor a name that is known or reported with a further suffix: a resolver tries its search domains.
  [[nodiscard]] std::string of(const Query& query);

  [[nodiscard]] uint64_t answered() const { return answered_.load(std::memory_order_relaxed); }  // from tape
  // Questions about names that are reported, and those about them again.
  [[nodiscard]] uint64_t unknown() const { return unknown_.load(std::memory_order_relaxed); }

 private:
  // Without the search domain behind it, if there is one.
  [[nodiscard]] std::string_view without_search(std::string_view name) const;
  [[nodiscard]] bool is_searched(std::string_view name) const;
  void report(const std::string& name);

  const Tape tape_;
  const std::function<void(const std::string& name)> on_unknown_;
  const std::vector<std::string> search_;
  std::unordered_set<std::string> reported_;
  std::atomic<uint64_t> answered_{0}, unknown_{0};
};

}  // namespace tapdeck::names
