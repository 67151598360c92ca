#include "daemon/app/tapes.h"

#include <utility>

namespace tapdeck::app {

Result<std::shared_ptr<const modes::Tape>> Tapes::open(const Assignment& assignment) {
  const bool routes_record = routes_record_ == RoutesRecord::Yes;
  if (assignment.mode == Mode::Passthrough && !routes_record) return std::shared_ptr<const modes::Tape>();
  store::Take take;
  // Also where a route adds to it.
  if (assignment.mode == Mode::Replay) TRY_VOID(store_.need_session(assignment.session));
  if (assignment.mode == Mode::Replay && !routes_record) {
    TRY(info, store_.session(assignment.session));
    take.session = info.name;
    take.session_number = info.number;
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
