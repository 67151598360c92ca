// Whom a listing command asks: the daemon that owns the state directory, or the store itself when nobody does.
// Thread: the main one.
#pragma once

#include <memory>

#include "daemon/app/commands.h"
#include "daemon/app/control.h"
#include "daemon/app/paths.h"

namespace tapdeck::app {

// ReadDirect: from the store itself even when a daemon has it (export: the daemon may not be allowed to write there).
// Daemon: what only a daemon can do; where nothing is recorded yet, the answer is that none runs.
enum class Need { Read, Write, ReadDirect, Daemon };

class ControlHandle {
 public:
  // A configuration that is wrong is no error where a daemon answers that is found without it. Errors: InvalidConfig,
  // NotFound (nothing recorded yet in the state directory; the detail says how to), Busy (a process without an admin
  // socket records there), Permission, and those of the store.
  [[nodiscard]] static Result<ControlHandle> open(const Common& common, Need need);
  ControlHandle(ControlHandle&&) noexcept;
  ControlHandle& operator=(ControlHandle&&) noexcept;
  ~ControlHandle();

  // A daemon answers, in its own mount namespace: paths mean something else to it than to us.
  [[nodiscard]] bool is_remote() const { return is_remote_; }
  // What is to be said of the configuration, for people; empty: nothing.
  [[nodiscard]] const std::string& warning() const { return warning_; }
  // Null when a daemon answers, or nothing is recorded yet.
  [[nodiscard]] const store::ExchangeStore* store() const { return store_.get(); }
  [[nodiscard]] const std::filesystem::path& state_dir() const { return state_dir_; }
  [[nodiscard]] admin::Control& operator*() const { return *control_; }
  [[nodiscard]] admin::Control* operator->() const { return control_.get(); }

 private:
  ControlHandle();
  std::filesystem::path state_dir_;
  bool is_remote_ = false;
  std::string warning_;
  std::unique_ptr<config::Config> config_;
  std::unique_ptr<store::ExchangeStore> store_;
  std::unique_ptr<admin::Control> control_;  // after what it uses: it goes first
};

}  // namespace tapdeck::app
