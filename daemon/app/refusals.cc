#include "daemon/app/refusals.h"

#include <utility>

#include "daemon/app/session_walk.h"
#include "daemon/base/log.h"
#include "daemon/config/bypass.h"
#include "daemon/modes/refused.h"

namespace tapdeck::app {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

bool Refusals::concerns(const Assignment& assignment) const {
  return config_.proxy.replay_refused == config::ReplayRefused::Refuse && assignment.mode == Mode::Replay &&
         modes::only_replays(config_.routes, assignment.name);
}

Result<std::vector<Endpoint>> Refusals::find(const Assignment& assignment) const {
  modes::RefusedDestinations destinations;
  TRY_VOID(each_recording(store_, assignment.session, [&](const auto& recording) { destinations.look(recording); }));
  if (destinations.none()) return std::vector<Endpoint>();
  const config::BypassRules of_target(assignment.bypass), of_all(config_.tls.bypass);
  TRY_VOID(each_recording(store_, assignment.session, [&](const store::Recording& recording) {
    destinations.judge(recording);
    const Endpoint& to = recording.provenance.original_destination;
    const bool bypassed = of_target.match(recording.host, to) || of_all.match(recording.host, to);
    if (bypassed) destinations.spare(to);  // it is tunnelled now, whatever was recorded
  }));
  return destinations.found();
}

uint64_t Refusals::begin(Followed& followed) {
  followed.not_before = Clock::time_point::max();  // until this one has ended
  followed.walk = ++walks_;
  return followed.walk;
}

void Refusals::walk(uint32_t slot, const Assignment& assignment, uint64_t number) {
  const auto began = Clock::now();
  auto info = store_.session(assignment.session);  // first: what is recorded during the walk is news again
  const auto found = find(assignment);
  const std::scoped_lock lock(mutex_);
  const auto entry = followed_.find(slot);
  if (entry == followed_.end() || entry->second.walk != number) return;  // followed again, or forgotten
  Followed& followed = entry->second;
  followed.not_before = Clock::now() + kRestOfWalks * (Clock::now() - began);
  const auto tell = [&](const Error& error) {
    log::warn("replay.refusals", "refused connects are replayed as resets: their destinations could not be handed on",
              {{"target", slot}, {"session", assignment.session}, {"error", error.message()}});
  };
  if (!found) return tell(found.error());
  if (!found->empty()) {
    auto refused = publish_(slot, *found);
    if (!refused) return tell(refused.error());
    log::info(
        "replay.refusals", "destinations are refused as recorded",
        {{"target", slot}, {"session", assignment.session}, {"destinations", found->size()}, {"by_connect", *refused}});
  }
  if (info) followed.seen = std::move(*info);
}

void Refusals::follow(uint32_t slot, const Assignment& assignment) {
  forget(slot);
  if (!concerns(assignment)) return;
  uint64_t number = 0;
  {
    const std::scoped_lock lock(mutex_);
    Followed& followed = followed_[slot];
    followed.assignment = assignment;
    number = begin(followed);
  }
  walk(slot, assignment, number);
}

void Refusals::look_again(uint32_t slot) {
  Assignment assignment;
  uint64_t number = 0;
  {
    const std::scoped_lock lock(mutex_);
    const auto found = followed_.find(slot);
    if (found == followed_.end() || Clock::now() < found->second.not_before) return;
    const auto info = store_.session(found->second.assignment.session);
    if (info && holds_the_same(*info, found->second.seen)) return;
    ignore(publish_(slot, {}), "what is not attached refuses nothing");
    if (!info) return;
    assignment = found->second.assignment;
    number = begin(found->second);
  }
  walk(slot, assignment, number);
}

void Refusals::forget(uint32_t slot) {
  const std::scoped_lock lock(mutex_);
  if (followed_.erase(slot) > 0) ignore(publish_(slot, {}), "what is not attached refuses nothing");
}

}  // namespace tapdeck::app
