// Relay: asks the resolver that a client asked, from outside of the client's namespace, and hands its answer over.
//
// Does not wait itself: its owner polls the sockets it adds. Bounded: kMostPending questions, each with a socket of its
// own, so that an answer cannot be that to another question. Owner and thread: a NameServer's.
#pragma once

#include <poll.h>

#include <chrono>
#include <deque>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "daemon/base/clock.h"
#include "daemon/base/endpoint.h"
#include "daemon/base/unique_fd.h"
#include "daemon/names/dns_message.h"

namespace tapdeck::names {

// A question, and where its answer goes: to `client`, from `resolver`, by socket `by`.
struct Asked {
  int by = -1;
  Endpoint client;
  Endpoint resolver;
  Query query;
};

class Relay {
 public:
  static constexpr size_t kMostPending = 256;
  enum class End {
    Answered,  // `reply` is the resolver's answer, whatever it says
    Refused,   // nobody is there (ICMP), no way leads there, or we have no descriptor to ask with
    Silent,    // nothing came in time, or others have asked since
  };
  using Ended = std::function<void(const Asked& asked, End end, std::string_view reply)>;

  Relay(std::chrono::milliseconds patience, Ended ended) : patience_(patience), ended_(std::move(ended)) {}

  // Sends `datagram` as it is.
  void ask(Asked asked, std::string_view datagram);
  void add_to(std::vector<pollfd>& polled) const;
  // What poll() has seen of the sockets added.
  void look(std::span<const pollfd> polled);
  void give_up_late_ones();
  // For poll(); -1: nobody waits.
  [[nodiscard]] int wait_ms() const;

 private:
  struct Pending {
    Asked asked;
    UniqueFd socket;
    SteadyTime deadline;
  };
  // False: it is still waited for.
  [[nodiscard]] bool take_answer(const Pending& pending);
  void give_up_first();

  const std::chrono::milliseconds patience_;
  const Ended ended_;
  std::deque<Pending> pending_;  // the oldest first
};

}  // namespace tapdeck::names
