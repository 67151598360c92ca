#include "daemon/kernel/bpf_events.h"

#include <bpf/libbpf.h>

#include <cerrno>
#include <cstddef>

namespace tapdeck::kernel {
namespace {

// `context`: its Ring.
template <class Sample>
int hand_over(void* context, void* data, size_t size) {
  const auto& ring = *static_cast<const BpfEvents::Ring<Sample>*>(context);
  if (size >= sizeof(Sample)) ring.callback(*static_cast<const Sample*>(data));
  return 0;
}

// Then others have their turn: who floods a resolver may be quicker than we are.
constexpr size_t kSightingsATurn = 1024;

// Only as much of the bytes is there as was seen. Negative: this was the last of this turn.
int hand_over_sighting(void* context, void* data, size_t size) {
  auto& ring = *static_cast<BpfEvents::Sightings*>(context);
  const auto& seen = *static_cast<const tapdeck_sighting*>(data);
  constexpr size_t kHead = offsetof(tapdeck_sighting, bytes);
  if (size >= kHead && seen.length <= size - kHead) ring.ring.callback(seen);
  return ++ring.handed_over < kSightingsATurn ? 0 : -ECANCELED;
}

}  // namespace

Result<std::unique_ptr<BpfEvents>> BpfEvents::open(Ring<tapdeck_event> events, Ring<tapdeck_sighting> sightings) {
  std::unique_ptr<BpfEvents> out(new BpfEvents(std::move(events), std::move(sightings)));
  out->ring_ = ring_buffer__new(out->events_.fd, &hand_over<tapdeck_event>, &out->events_, nullptr);
  if (out->ring_ == nullptr) return fail_errno(errno, "open BPF ring buffer", Origin::Kernel);
  const int error = ring_buffer__add(out->ring_, out->sightings_.ring.fd, &hand_over_sighting, &out->sightings_);
  if (error != 0) return fail_errno(-error, "open BPF ring buffer of names", Origin::Kernel);
  return out;
}

BpfEvents::~BpfEvents() {
  ring_buffer__free(ring_);
}

int BpfEvents::poll_fd() const {
  return ring_buffer__epoll_fd(ring_);
}

void BpfEvents::consume() {
  sightings_.handed_over = 0;
  ring_buffer__consume(ring_);  // events first
}

}  // namespace tapdeck::kernel
