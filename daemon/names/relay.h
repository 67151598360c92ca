// Relay: asks the resolver that a client asked, from outside of the client's namespace or where the program's rules do
// not lead back, and hands its answer over.
//
// Does not wait itself: its owner polls the sockets it adds. Bounded: kMostPending questions, each with a socket of its
// own, so that an answer cannot be that to another question. Owner and thread: a NameServer's.
#pragma once

#include <poll.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "daemon/base/clock.h"
#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/names/dns_message.h"
#include "daemon/names/view.h"

namespace tapdeck::names {

// A question, and where its answer goes: through `door` to `client`, from the address that this one sent it to.
struct Asked {
  uint64_t door = 0;
  Endpoint client;
  Endpoint local;
  Asker asker;
  std::optional<Query> query;  // nullopt: none that we read; the next datagram of the resolver is its answer
  SteadyTime at{};             // when the resolver was asked; set by Relay
  bool is_answered = false;    // its owner's: the client has its answer, from elsewhere
};

// A connected UDP socket to asker.resolver that does not block.
using Connect = std::function<Result<UniqueFd>(const Asker& asker)>;

class Relay {
 public:
  static constexpr size_t kMostPending = 1024;
  // How long an answer is waited for, from the question on.
  struct Wait {
    std::chrono::milliseconds whole{};               // then it is given up
    std::optional<std::chrono::milliseconds> early;  // then NotYet is told, once
  };
  enum class End {
    NotYet,       // no end: nothing has come early, it is still waited for
    Answered,     // `reply` is the resolver's answer, whatever it says
    Unreachable,  // nobody is there (ICMP), or no way leads there
    Silent,       // nothing came in time
    Displaced,    // others have asked since
    NotAsked,     // by our own fault: no descriptor is left to ask with
  };
  // Must not ask.
  using Ended = std::function<void(Asked& asked, End end, std::string_view reply)>;

  Relay(Connect connect, Ended ended) : connect_(std::move(connect)), ended_(std::move(ended)) {}

  // Sends `datagram` as it is.
  void ask(Asked asked, std::string_view datagram, const Wait& wait);
  // Nobody waits behind this door any more. Not between add_to() and look().
  void forget(uint64_t door);
  void add_to(std::vector<pollfd>& polled) const;
  // What poll() has seen of the sockets added.
  void look(std::span<const pollfd> polled);
  // And tells of those of which nothing has come early.
  void give_up_late_ones();
  // For poll(); -1: nobody waits.
  [[nodiscard]] int wait_ms() const;

 private:
  struct Pending {
    Asked asked;
    UniqueFd socket;
    SteadyTime deadline;
    SteadyTime early;  // max(): NotYet is not told, or was
  };
  // False: it is still waited for.
  [[nodiscard]] bool take_answer(Pending& pending);
  void erase_ended();

  const Connect connect_;
  const Ended ended_;
  std::deque<Pending> pending_;  // the oldest first
};

}  // namespace tapdeck::names
