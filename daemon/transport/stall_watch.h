// StallWatch: a deadline for a peer that has to take what we send. It passes only when the peer's kernel has
// acknowledged nothing since it was set: a slow reader is no dead one, however long one write takes.
//
// Owner: a connection, dies before its transport. Thread: its worker's.
#pragma once

#include <functional>

#include "daemon/net/deadline.h"
#include "daemon/transport/transport.h"

namespace tapdeck::transport {

class StallWatch {
 public:
  StallWatch(Transport& transport, std::function<void()> on_stalled);

  // What counts as progress: that any byte is acknowledged, or one that was written after set() (an answer is awaited
  // and what asks for it may not have arrived yet).
  enum class Counts { All, New };
  // Stalled when `patience` passes without progress; zero or negative: never.
  void set(net::Deadline::Clock::duration patience, Counts counts = Counts::All);
  void clear() { deadline_.clear(); }
  // True once it was found stalled; stays true.
  [[nodiscard]] bool has_stalled() const { return stalled_; }

 private:
  void on_due();

  Transport& transport_;
  std::function<void()> on_stalled_;
  net::Deadline::Clock::duration patience_{};
  Counts counts_ = Counts::All;
  uint64_t mark_ = 0;  // more acknowledged bytes than these are progress
  bool stalled_ = false;
  net::Deadline deadline_;
};

}  // namespace tapdeck::transport
