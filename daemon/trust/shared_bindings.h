// SharedBindings: one binding for each mount namespace, whoever of several needs it there. Mounts of a second binding
// would lie on those of the first, which then could not be taken from under them: what shares a namespace (a container
// and the cgroup above it) shares the binding, and the last to leave undoes it.
// Not the binding itself (bind.h). Owner: the target registry, which outlives the shares. Thread: one at a time; join
// and undo block as a binding does.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <utility>

#include "daemon/base/result.h"
#include "daemon/trust/bind.h"

namespace tapdeck::trust {

// Binds trust into the mount namespace of a process.
using Binder = std::function<Result<std::unique_ptr<Binding>>(int pid)>;

class SharedBindings {
 private:
  struct Held {
    std::unique_ptr<Binding> binding;
    size_t users = 0;  // 0: undoing it failed, and is tried again at every join and undo, unless kHungPause
  };

 public:
  class Share {
   public:
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share();

    [[nodiscard]] const BindReport& report() const { return held_->binding->report(); }
    [[nodiscard]] bool covers(int pid) const { return held_->binding->covers(pid); }
    // Binding::complete(), for all that share it.
    Result<void> complete(int pid) { return held_->binding->complete(pid); }
    // Leaves. The last one's errors are those of Binding::undo; a second call does nothing.
    Result<void> undo();
    // Leaves; if it is the last one, undoing is tried when somebody joins or undoes.
    void leave_undone();

   private:
    friend class SharedBindings;
    Share(SharedBindings& owner, std::list<Held>::iterator held) : owner_(&owner), held_(held) {}
    SharedBindings* owner_;  // null: has left
    std::list<Held>::iterator held_;
  };

  using Clock = std::chrono::steady_clock;

  explicit SharedBindings(std::function<Clock::time_point()> clock = Clock::now) : clock_(std::move(clock)) {}
  SharedBindings(const SharedBindings&) = delete;
  SharedBindings& operator=(const SharedBindings&) = delete;

  // The binding that `pid` sees already, or what `bind` makes of it.
  [[nodiscard]] Result<std::unique_ptr<Share>> join(int pid, const Binder& bind);

  // After one that hung until its deadline, so long none that failed is tried again: everybody waits meanwhile.
  static constexpr std::chrono::seconds kHungPause{60};

 private:
  Result<void> leave(std::list<Held>::iterator held);
  Result<void> undo(Held& held);
  void undo_unused();

  std::list<Held> held_;
  std::function<Clock::time_point()> clock_;
  Clock::time_point hung_until_{};
};

}  // namespace tapdeck::trust
