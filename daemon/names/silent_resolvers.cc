#include "daemon/names/silent_resolvers.h"

#include <algorithm>

namespace tapdeck::names {

void SilentResolvers::answered(const Asker& asker, SteadyTime now) {
  Known& known = heard_of(asker);
  known.answered = now;
  known.silent_until = SteadyTime::min();
}

void SilentResolvers::stayed_silent(const Asker& asker, SteadyTime since, SteadyTime now) {
  Known& known = heard_of(asker);
  if (known.answered < since) known.silent_until = now + kRemembered;
}

bool SilentResolvers::is_silent(const Asker& asker, SteadyTime now) const {
  return std::ranges::any_of(known_,
                             [&](const Known& known) { return is_of(known, asker) && now < known.silent_until; });
}

bool SilentResolvers::is_of(const Known& known, const Asker& asker) {
  return known.netns_cookie == asker.netns_cookie && known.resolver == asker.resolver;
}

SilentResolvers::Known& SilentResolvers::heard_of(const Asker& asker) {
  Known known{asker.netns_cookie, asker.resolver};
  const auto found = std::ranges::find_if(known_, [&](const Known& one) { return is_of(one, asker); });
  if (found != known_.end()) {
    known = *found;
    known_.erase(found);
  } else if (known_.size() >= kMost) {
    known_.pop_front();
  }
  return known_.emplace_back(known);
}

}  // namespace tapdeck::names
