// SilentResolvers: which resolvers have not answered lately, so that not each question waits for them anew.
//
// Sans-IO. A resolver is an address in the namespace of who asks it. Owner and thread: a NameServer's.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>

#include "daemon/base/clock.h"
#include "daemon/base/endpoint.h"
#include "daemon/names/view.h"

namespace tapdeck::names {

class SilentResolvers {
 public:
  // That something was last heard of; of the others nothing is known.
  static constexpr size_t kMost = 256;
  static constexpr std::chrono::seconds kRemembered{30};

  // Whatever it said, to whichever question.
  void answered(const Asker& asker, SteadyTime now);
  // To a question of then. It is taken for silent for kRemembered, or until it answers, unless it has answered another
  // question since.
  void stayed_silent(const Asker& asker, SteadyTime since, SteadyTime now);
  [[nodiscard]] bool is_silent(const Asker& asker, SteadyTime now) const;

 private:
  struct Known {
    uint64_t netns_cookie = 0;
    Endpoint resolver;
    SteadyTime answered = SteadyTime::min();
    SteadyTime silent_until = SteadyTime::min();
  };
  [[nodiscard]] static bool is_of(const Known& known, const Asker& asker);
  // The newest now, made if need be.
  Known& heard_of(const Asker& asker);

  std::deque<Known> known_;  // the oldest first
};

}  // namespace tapdeck::names
