#include "daemon/kernel/bpf_events.h"

#include <bpf/libbpf.h>

#include <cerrno>

namespace tapdeck::kernel {

Result<std::unique_ptr<BpfEvents>> BpfEvents::open(int ring_fd, Callback callback) {
  std::unique_ptr<BpfEvents> out(new BpfEvents(std::move(callback)));
  const auto on_sample = [](void* context, void* data, size_t size) {
    if (size >= sizeof(tapdeck_event)) {
      static_cast<BpfEvents*>(context)->callback_(*static_cast<const tapdeck_event*>(data));
    }
    return 0;
  };
  out->ring_ = ring_buffer__new(ring_fd, on_sample, out.get(), nullptr);
  if (out->ring_ == nullptr) return fail_errno(errno, "open BPF ring buffer", Origin::Kernel);
  return out;
}

BpfEvents::~BpfEvents() {
  ring_buffer__free(ring_);
}

int BpfEvents::poll_fd() const {
  return ring_buffer__epoll_fd(ring_);
}

void BpfEvents::consume() {
  ring_buffer__consume(ring_);
}

}  // namespace tapdeck::kernel
