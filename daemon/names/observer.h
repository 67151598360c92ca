// Observer: pairs questions and answers that are seen in passing, between clients and their resolvers, to lookups.
//
// Sans-IO, in nobody's way: what it does not understand is only counted. Owner: who sees them. Thread: one at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/base/clock.h"
#include "daemon/base/endpoint.h"
#include "daemon/names/dns_message.h"
#include "daemon/names/lookup.h"

namespace tapdeck::names {

// A datagram between a client and port 53 of a resolver.
struct Sighting {
  enum class Way : uint8_t { Question, Answer };
  uint32_t target = 0;
  uint64_t netns_cookie = 0;  // of the client; the same in both ways
  Endpoint client;
  Endpoint resolver;
  Way way = Way::Question;
  std::string_view bytes;  // of the datagram: all, or its beginning
  size_t length = 0;       // of the whole datagram, as sent; 0: of `bytes`
};

// A lookup is one question (id, name, type) of a client, to one resolver or several, as often as it asks: it ends with
// the first answer that is neither SERVFAIL nor REFUSED, whoever gives it, since that is what the client goes by. Such
// a failure ends it once every resolver that was asked has answered so, or when patience ends; with nothing at all it
// is Silent. A truncated answer (TC) ends it like others: over UDP no other comes. Of the same name there may be other
// lookups at the same time, which end otherwise. What was not seen is not made up: a lookup whose answer may have been
// missed, or of whose answer only the beginning is there, ends unreported, and is counted.
class Observer {
 public:
  using Ended = std::function<void(uint32_t target, Lookup lookup)>;
  static constexpr size_t kMostPending = 4096;  // then the oldest gives way, unreported

  // `patience`: from the first question on. A client may ask again for longer than the 5 s that one try takes.
  explicit Observer(Ended ended, std::chrono::milliseconds patience = std::chrono::seconds(15))
      : ended_(std::move(ended)), patience_(patience) {}

  void saw(const Sighting& sighting, SteadyTime now);
  void give_up_late_ones(SteadyTime now);
  // Datagrams may have passed that were not seen: of the lookups that are pending now it is not known that they are
  // Silent, or failed.
  void missed_some();
  // Nobody is to be told what becomes of this target's lookups.
  void forget(uint32_t target);
  // Lookups that ended unreported: forgotten, too many at once, or their answer was cut, or may have been missed.
  [[nodiscard]] uint64_t lost() const { return lost_; }
  // Sightings that came to nothing: no query or answer that we read, of another class than IN, or an answer that nobody
  // waited for (any more).
  [[nodiscard]] uint64_t malformed() const { return malformed_; }

 private:
  struct Pending {
    uint32_t target = 0;
    uint64_t netns_cookie = 0;
    Endpoint client;  // without its port: to ask the next resolver, glibc takes another socket, with the same id
    Query query;
    SteadyTime deadline;
    std::vector<Endpoint> asked;   // at most kMostResolvers
    std::vector<Endpoint> failed;  // of them; or others: NAT may show a resolver by two addresses
    std::string failure;           // what came last, whole
    bool is_uncertain = false;     // an answer may have been missed
    bool was_cut = false;          // there is a failure of which only the beginning was seen
  };
  static constexpr size_t kMostResolvers = 16;

  void saw_question(const Sighting& sighting, SteadyTime now);
  void saw_answer(const Sighting& sighting);
  [[nodiscard]] static bool is_of(const Pending& pending, const Sighting& sighting);
  // Answered by `reply`; "": silent, if that is certain.
  void end(const Pending& pending, std::string reply);

  const Ended ended_;
  const std::chrono::milliseconds patience_;
  std::deque<Pending> pending_;  // the oldest first
  uint64_t malformed_ = 0;
  uint64_t lost_ = 0;
};

}  // namespace tapdeck::names
