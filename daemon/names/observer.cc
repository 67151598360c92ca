#include "daemon/names/observer.h"

#include <algorithm>

namespace tapdeck::names {
namespace {

Endpoint without_port(Endpoint endpoint) {
  endpoint.port = 0;
  return endpoint;
}

// Each once.
void remember(std::vector<Endpoint>& resolvers, const Endpoint& one, size_t most) {
  if (resolvers.size() < most && std::ranges::find(resolvers, one) == resolvers.end()) resolvers.push_back(one);
}

}  // namespace

void Observer::saw(const Sighting& sighting, SteadyTime now) {
  give_up_late_ones(now);
  if (sighting.way == Sighting::Way::Question) {
    saw_question(sighting, now);
  } else {
    saw_answer(sighting);
  }
}

void Observer::saw_question(const Sighting& sighting, SteadyTime now) {
  auto query = read_query(sighting.bytes);
  if (!query || query->record_class != kInternet) {
    ++malformed_;
    return;
  }
  const auto same = std::ranges::find_if(pending_, [&](const Pending& pending) {
    return is_of(pending, sighting) && pending.query.id == query->id && pending.query.type == query->type &&
           pending.query.name == query->name;
  });
  if (same != pending_.end()) return remember(same->asked, sighting.resolver, kMostResolvers);
  if (pending_.size() >= kMostPending) {
    pending_.pop_front();
    ++lost_;
  }
  Pending pending;
  pending.target = sighting.target;
  pending.netns_cookie = sighting.netns_cookie;
  pending.client = without_port(sighting.client);
  pending.query = std::move(*query);
  pending.deadline = now + patience_;
  pending.asked.push_back(sighting.resolver);
  pending_.push_back(std::move(pending));
}

void Observer::saw_answer(const Sighting& sighting) {
  const auto found = std::ranges::find_if(pending_, [&](const Pending& pending) {
    return is_of(pending, sighting) && is_answer_to(pending.query, sighting.bytes);
  });
  if (found == pending_.end()) {
    ++malformed_;
    return;
  }
  const bool is_cut = sighting.length > sighting.bytes.size();
  if (is_failure(sighting.bytes)) {
    if (is_cut) {
      found->was_cut = true;
    } else {
      found->failure = sighting.bytes;
    }
    remember(found->failed, sighting.resolver, kMostResolvers);
    if (found->failed.size() < found->asked.size()) return;
  }
  const Pending pending = std::move(*found);
  pending_.erase(found);
  if (is_failure(sighting.bytes)) {
    end(pending, pending.failure);
  } else if (is_cut) {
    ++lost_;
  } else {
    end(pending, std::string(sighting.bytes));
  }
}

void Observer::give_up_late_ones(SteadyTime now) {
  while (!pending_.empty() && pending_.front().deadline <= now) {
    const Pending pending = std::move(pending_.front());
    pending_.pop_front();
    end(pending, pending.failure);
  }
}

void Observer::missed_some() {
  for (Pending& pending : pending_) pending.is_uncertain = true;
}

void Observer::forget(uint32_t target) {
  lost_ += std::erase_if(pending_, [target](const Pending& pending) { return pending.target == target; });
}

bool Observer::is_of(const Pending& pending, const Sighting& sighting) {
  return pending.target == sighting.target && pending.netns_cookie == sighting.netns_cookie &&
         pending.client == without_port(sighting.client);
}

void Observer::end(const Pending& pending, std::string reply) {
  const bool may_be_better = pending.is_uncertain && (reply.empty() || is_failure(reply));
  if (may_be_better || (reply.empty() && pending.was_cut)) {
    ++lost_;
    return;
  }
  const LookupEnd became = reply.empty() ? LookupEnd::Silent : LookupEnd::Answered;
  ended_(pending.target, {pending.query.name, pending.query.type, became, std::move(reply)});
}

}  // namespace tapdeck::names
