#include "daemon/transport/stall_watch.h"

#include <utility>

namespace tapdeck::transport {

StallWatch::StallWatch(Transport& transport, std::function<void()> on_stalled)
    : transport_(transport),
      on_stalled_(std::move(on_stalled)),
      deadline_(transport.stream().executor(), [this] { on_due(); }) {}

void StallWatch::set(net::Deadline::Clock::duration patience) {
  patience_ = patience;
  acknowledged_ = transport_.stream().bytes_acknowledged();
  deadline_.set(patience);
}

void StallWatch::on_due() {
  if (transport_.stream().bytes_acknowledged() != acknowledged_) return set(patience_);
  stalled_ = true;
  on_stalled_();
}

}  // namespace tapdeck::transport
