// A binding that mounts nothing: tests say what its undo answers, and count how often it was asked.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "daemon/trust/bind.h"

namespace tapdeck::trust {

class FakeBinding : public Binding {
 public:
  FakeBinding(int pid, std::function<Result<void>()> undo) : pid_(pid), undo_(std::move(undo)) {
    report_.mounted = {TrustStore{StoreKind::Bundle, "/ca.pem", "/ca.pem"}};
  }
  [[nodiscard]] bool covers(int pid) const override { return pid == pid_; }
  Result<void> complete(int) override { return {}; }
  Result<void> undo() override { return undo_(); }

 private:
  int pid_;
  std::function<Result<void>()> undo_;
};

}  // namespace tapdeck::trust
