#include "daemon/transport/stall_watch.h"

#include <utility>

namespace tapdeck::transport {

StallWatch::StallWatch(Transport& transport, std::function<void()> on_stalled)
    : transport_(transport),
      on_stalled_(std::move(on_stalled)),
      deadline_(transport.stream().executor(), [this] { on_due(); }) {}

void StallWatch::set(net::Deadline::Clock::duration patience, Counts counts) {
  patience_ = patience;
  counts_ = counts;
  const net::Stream& stream = transport_.stream();
  mark_ = counts == Counts::All ? stream.bytes_acknowledged() : stream.bytes_written();
  deadline_.set(patience);
}

void StallWatch::on_due() {
  if (transport_.stream().bytes_acknowledged() > mark_) return set(patience_, counts_);
  stalled_ = true;
  on_stalled_();
}

}  // namespace tapdeck::transport
