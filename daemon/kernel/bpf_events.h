// BpfEvents: the reading end of the ring buffer in which programs report. Thread: control thread.
#pragma once

#include <functional>
#include <memory>

#include "bpf/shared.h"
#include "daemon/base/result.h"

struct ring_buffer;

namespace tapdeck::kernel {

class BpfEvents {
 public:
  using Callback = std::function<void(const tapdeck_event&)>;
  [[nodiscard]] static Result<std::unique_ptr<BpfEvents>> open(int ring_fd, Callback callback);
  ~BpfEvents();
  BpfEvents(const BpfEvents&) = delete;
  BpfEvents& operator=(const BpfEvents&) = delete;

  // Readable when consume() has something to do.
  [[nodiscard]] int poll_fd() const;
  // Calls back for everything that is there.
  void consume();

 private:
  explicit BpfEvents(Callback callback) : callback_(std::move(callback)) {}
  Callback callback_;
  ring_buffer* ring_ = nullptr;
};

}  // namespace tapdeck::kernel
