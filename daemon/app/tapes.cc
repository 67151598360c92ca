#include "daemon/app/tapes.h"

#include <utility>

#include "daemon/base/log.h"
#include "daemon/modes/select.h"

namespace tapdeck::app {

Tapes::Routes Tapes::routes_of(const std::vector<config::Route>& routes) {
  if (modes::may_record(Mode::Passthrough, routes)) return Routes::Record;
  return modes::may_answer_from_tape(Mode::Passthrough, routes) ? Routes::Replay : Routes::NoTape;
}

Result<std::shared_ptr<const modes::Tape>> Tapes::open(const Assignment& assignment) {
  const bool passes = assignment.mode == Mode::Passthrough;
  if (passes && routes_ == Routes::NoTape) return std::shared_ptr<const modes::Tape>();
  const bool is_read = (passes || assignment.mode == Mode::Replay) && routes_ != Routes::Record;
  // Also where a route adds to it.
  if (is_read || assignment.mode == Mode::Replay) {
    const auto known = store_.need_session(assignment.session);
    if (!known && passes && known.error().code == Code::NotFound) {  // what no route replays passes without
      log::warn("target.no_session", "what a route replays gets 503 until its session is there and activated",
                {{"name", assignment.name}, {"problem", known.error().message()}});
      return std::shared_ptr<const modes::Tape>();
    }
    TRY_VOID(known);
  }
  store::Take take;
  const auto info = store_.session(assignment.session);
  if (is_read && info) {
    take.session = info->name;
    take.session_number = info->number;
  } else {
    TRY(opened, open_take(assignment));
    take = std::move(opened);
  }
  TRY(secret, store_.key_secret(assignment.session));
  auto known = store_.key_filter(take.session_number);
  return std::make_shared<const modes::Tape>(
      modes::Tape{std::move(take), store::KeyHasher(secret), next_id_++, std::move(known)});
}

Result<store::Take> Tapes::open_take(const Assignment& assignment) {
  if (assignment.holder.empty()) return store_.open_take(assignment.session, assignment.append);
  return store_.open_take_of({assignment.holder, std::string(to_string(assignment.mode))}, assignment.session,
                             assignment.append);
}

Result<void> Tapes::assign(uint32_t slot, const Assignment& assignment) {
  if (slot >= kTargetSlots)
    return fail(Code::InvalidArgument, "target slot " + std::to_string(slot) + " does not exist");
  TRY(tape, open(assignment));
  publish(slot, assignment, std::move(tape));
  return {};
}

void Tapes::assign_without_tape(uint32_t slot, const Assignment& assignment) {
  publish(slot, assignment, nullptr);
}

void Tapes::vacate(uint32_t slot) {
  change(slot, [](modes::TargetState& state) { modes::vacate(state); });
}

void Tapes::change(uint32_t slot, const std::function<void(modes::TargetState&)>& change) {
  std::shared_ptr<const modes::Tape> before;
  runtime_.update([&](modes::RuntimeSnapshot& snapshot) {
    before = snapshot.targets[slot].tape;
    change(snapshot.targets[slot]);
  });
  if (before != nullptr) cursors_.forget(static_cast<TargetSlot>(slot), before->id);
}

void Tapes::publish(uint32_t slot, const Assignment& assignment, std::shared_ptr<const modes::Tape> tape) {
  const TargetSlot label = metrics_.target_slot(assignment.name);
  change(slot, [&](modes::TargetState& state) {
    state.name = assignment.name;
    state.label = label;
    state.mode = assignment.mode;
    state.session = assignment.session;
    state.tape = std::move(tape);
    state.strict = assignment.strict;
    state.sealed = assignment.sealed;
    state.bypass = config::BypassRules(assignment.bypass);
  });
}

uint64_t Tapes::take_of(uint32_t slot) const {
  const auto snapshot = runtime_.load();
  const auto& tape = snapshot->targets[slot].tape;
  return tape == nullptr ? 0 : tape->take.number;
}

}  // namespace tapdeck::app
