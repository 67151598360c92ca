#include "daemon/modes/refused.h"

#include <algorithm>
#include <cerrno>
#include <iterator>

namespace tapdeck::modes {

using Kind = store::Outcome::Kind;

namespace {

// Where the client itself wanted to go. Clients of the explicit listener name a host, and each look-up may find another
// address.
bool has_destination(const store::Recording& recording) {
  return recording.provenance.original_destination.family != Endpoint::Family::None;
}

}  // namespace

bool was_refused(const store::Recording& recording) {
  const store::Outcome& outcome = recording.outcome;
  return outcome.kind == Kind::Failed && outcome.code == ECONNREFUSED && outcome.reason == "upstream_connect";
}

bool refuses_again(const ReplayContext& context, exchange::Exchange& exchange, const store::Recording& recording) {
  return context.refused == config::ReplayRefused::Refuse && exchange.facts().mode == Mode::Replay &&
         exchange.flow().path != CapturePath::Explicit && was_refused(recording);
}

void refuse_again(const ReplayContext& context, exchange::Exchange& exchange) {
  context.metrics->add(Counter::ReplayRefusedReset);
  exchange.reset_connection();
}

bool only_replays(const std::vector<config::Route>& routes, std::string_view target_name) {
  return std::ranges::none_of(routes, [&](const config::Route& route) {
    if (route.upstream || (route.target && *route.target != target_name)) return false;
    return route.mode.value_or(Mode::Replay) != Mode::Replay || route.on_miss == config::OnMiss::Forward ||
           route.repeat == config::Repeat::Once;
  });
}

void RefusedDestinations::look(const store::Recording& recording) {
  if (!was_refused(recording)) return;
  refused_keys_.insert(recording.key);
  if (has_destination(recording)) refused_.insert(recording.provenance.original_destination);
}

void RefusedDestinations::judge(const store::Recording& recording) {
  const Endpoint& destination = recording.provenance.original_destination;
  if (!refused_.contains(destination) && !refused_keys_.contains(recording.key)) return;
  Requests& requests = requests_[recording.key];
  if (store::is_last_resort(recording)) {
    uint64_t& last = requests.unfinished_at[destination];
    last = std::max(last, recording.take);
    return;
  }
  if (recording.take < requests.take) return;
  if (recording.take > requests.take) {
    requests.take = recording.take;
    requests.answered = false;
    requests.refused_at.clear();
    requests.answered_at.clear();
  }
  const bool refused = was_refused(recording);
  requests.answered |= !refused;
  if (has_destination(recording)) (refused ? requests.refused_at : requests.answered_at).insert(destination);
}

std::vector<Endpoint> RefusedDestinations::found() const {
  std::set<Endpoint> good, bad = spared_;
  for (const auto& [key, requests] : requests_) {
    bool answered = requests.answered;
    for (const auto& [destination, take] : requests.unfinished_at) {
      if (take < requests.take) continue;
      answered = true;  // somebody was there: none of these is a refused connect
      bad.insert(destination);
    }
    bad.insert(requests.answered_at.begin(), requests.answered_at.end());
    (answered ? bad : good).insert(requests.refused_at.begin(), requests.refused_at.end());
  }
  std::vector<Endpoint> out;
  std::ranges::set_difference(good, bad, std::back_inserter(out));
  return out;
}

}  // namespace tapdeck::modes
