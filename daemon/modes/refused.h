// Refused connects on tape: which recordings are such, when replay refuses again instead of answering
// (proxy.replay_refused), and which destinations were never anything but refused.
//
// Not the refusing itself: the kernel does it for those destinations (kernel/capture.h), the exchange for the rest.
// Thread: any; values.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string_view>
#include <vector>

#include "daemon/exchange/exchange.h"
#include "daemon/modes/replay_context.h"
#include "store/record.h"

namespace tapdeck::modes {

// The origin's connect() said ECONNREFUSED.
[[nodiscard]] bool was_refused(const store::Recording& recording);

// Replay breaks the client's connection off where this recording would be played. Clients of the explicit listener are
// answered: what they are connected to is a proxy.
[[nodiscard]] bool refuses_again(const ReplayContext& context, exchange::Exchange& exchange,
                                 const store::Recording& recording);
// Does it, and counts it.
void refuse_again(const ReplayContext& context, exchange::Exchange& exchange);

// No request of this target's is sent on to an origin or finds its recordings used up: what the tape says of a
// destination holds for all that goes there. False: some route sees to that.
[[nodiscard]] bool only_replays(const std::vector<config::Route>& routes, std::string_view target_name);

// Finds the destinations for which every recording that replay may play is a refused connect: two walks over all
// recordings of a session, first look() at each, then judge() each, in any order.
//
// A key's recordings count as ExchangeStore::lookup_all() gives them: those of its newest take with a finished one, and
// unfinished ones since. A destination does not qualify either when one of its requests was answered elsewhere: a
// connect that the kernel refuses takes no turn, and that answer would never have its own.
class RefusedDestinations {
 public:
  void look(const store::Recording& recording);
  // After look() at all: there is nothing to judge.
  [[nodiscard]] bool none() const { return refused_.empty(); }
  void judge(const store::Recording& recording);
  // Does not qualify, whatever the tape says.
  void spare(const Endpoint& destination) { spared_.insert(destination); }
  [[nodiscard]] std::vector<Endpoint> found() const;

 private:
  struct Requests {     // of one key
    uint64_t take = 0;  // the newest with a finished one; of it are the next three
    bool answered = false;
    std::set<Endpoint> refused_at, answered_at;
    std::map<Endpoint, uint64_t> unfinished_at;  // in which take last
  };
  std::set<Endpoint> refused_;         // at some time
  std::set<store::Key> refused_keys_;  // likewise
  std::map<store::Key, Requests> requests_;
  std::set<Endpoint> spared_;
};

}  // namespace tapdeck::modes
