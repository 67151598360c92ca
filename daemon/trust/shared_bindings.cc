#include "daemon/trust/shared_bindings.h"

#include <algorithm>
#include <utility>

namespace tapdeck::trust {

SharedBindings::Share::~Share() {
  ignore(undo(), "a destructor cannot report; it is tried again later");
}

Result<void> SharedBindings::Share::undo() {
  SharedBindings* const owner = std::exchange(owner_, nullptr);
  if (owner == nullptr) return {};
  return owner->leave(held_);
}

void SharedBindings::Share::leave_undone() {
  if (std::exchange(owner_, nullptr) != nullptr) --held_->users;
}

Result<std::unique_ptr<SharedBindings::Share>> SharedBindings::join(int pid, const Binder& bind) {
  auto held = std::ranges::find_if(held_, [&](const Held& one) { return one.binding->covers(pid); });
  if (held == held_.end()) {
    undo_unused();
    TRY(binding, bind(pid));
    held = held_.insert(held_.end(), Held{std::move(binding), 0});
  }
  ++held->users;
  return std::unique_ptr<Share>(new Share(*this, held));
}

Result<void> SharedBindings::leave(std::list<Held>::iterator held) {
  if (--held->users > 0) return {};
  Result<void> undone = undo(*held);
  if (!undone) return undone;  // not tried twice in a row: a file system that hangs would hold everybody up twice
  held_.erase(held);
  // What lay on this one's mounts may come off now.
  undo_unused();
  return undone;
}

Result<void> SharedBindings::undo(Held& held) {
  Result<void> undone = held.binding->undo();
  if (!undone && undone.error().code == Code::Timeout) hung_until_ = clock_() + kHungPause;
  return undone;
}

void SharedBindings::undo_unused() {
  held_.remove_if([&](Held& one) {
    if (one.users > 0 || clock_() < hung_until_) return false;
    return undo(one).has_value();
  });
}

}  // namespace tapdeck::trust
