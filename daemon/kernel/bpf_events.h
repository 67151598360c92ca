// BpfEvents: the reading end of the ring buffers in which programs report. Thread: control thread.
#pragma once

#include <functional>
#include <memory>

#include "bpf/shared.h"
#include "daemon/base/result.h"

struct ring_buffer;

namespace tapdeck::kernel {

class BpfEvents {
 public:
  template <class Sample>
  struct Ring {
    int fd = -1;
    std::function<void(const Sample&)> callback;
  };
  struct Sightings {
    Ring<tapdeck_sighting> ring;
    size_t handed_over = 0;  // this turn
  };
  [[nodiscard]] static Result<std::unique_ptr<BpfEvents>> open(Ring<tapdeck_event> events,
                                                               Ring<tapdeck_sighting> sightings);
  ~BpfEvents();
  BpfEvents(const BpfEvents&) = delete;
  BpfEvents& operator=(const BpfEvents&) = delete;

  // Readable when consume() has something to do.
  [[nodiscard]] int poll_fd() const;
  // Calls back for what is there: all events, and of sightings as many as a turn has. Is there more, poll_fd() stays
  // readable.
  void consume();

 private:
  BpfEvents(Ring<tapdeck_event> events, Ring<tapdeck_sighting> sightings)
      : events_(std::move(events)), sightings_{std::move(sightings), 0} {}
  Ring<tapdeck_event> events_;
  Sightings sightings_;
  ring_buffer* ring_ = nullptr;
};

}  // namespace tapdeck::kernel
