// TunnelIdle: ends a tunnel in which nothing moves. What moves is a byte that comes from either side, and one that
// either takes of what waits for it in our kernel, however slowly: what its own kernel acknowledges.
//
// The kernel is asked only when no byte has come for the timeout, and again each time it passes after that, so that it
// costs nothing before. A side that takes nothing of what waits for it is therefore given up after twice the timeout.
// Owner: the tunnel, dies before its streams. Thread: its worker's.
#pragma once

#include "daemon/base/metrics.h"
#include "daemon/net/deadline.h"
#include "daemon/net/stream.h"

namespace tapdeck::server {

class TunnelIdle {
 public:
  // Closes both, and counts it, when nothing has moved for `timeout`; begins now.
  TunnelIdle(net::Stream& client, net::Stream& origin, std::chrono::milliseconds timeout, Metrics& metrics);

  // A byte has come.
  void note() {
    is_asking_ = false;
    deadline_.set(timeout_);
  }

 private:
  void on_due();

  net::Stream& client_;
  net::Stream& origin_;
  const std::chrono::milliseconds timeout_;
  Metrics& metrics_;
  uint64_t taken_ = 0;      // by both, when the kernel was asked
  bool is_asking_ = false;  // it was, since the last byte came
  net::Deadline deadline_;
};

}  // namespace tapdeck::server
