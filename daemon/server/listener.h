// Listener: accepts on one socket and hands each connection to a callback. Where descriptors are kept for others, and
// at their limit, it stops, counts and tries again later; it never spins.
//
// Owner: the worker. Thread: its own.
#pragma once

#include <functional>

#include "daemon/base/metrics.h"
#include "daemon/net/stream.h"
#include "daemon/server/worker.h"

namespace tapdeck::server {

class Listener {
 public:
  using OnAccept = std::function<void(const ListenerTag&, UniqueFd, const Endpoint& client)>;
  Listener(const asio::any_io_executor& executor, UniqueFd fd, ListenerTag tag, Metrics& metrics, OnAccept on_accept);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  net::Task<> run();
  // What waits to be accepted is reset.
  void close() { stream_.close(); }
  // What waits to be accepted is, as far as there are descriptors; then it closes.
  void finish();
  [[nodiscard]] const ListenerTag& tag() const { return tag_; }

 private:
  enum class Accepted { All, Some, OutOfDescriptors };
  // A batch of those that wait.
  Accepted accept_waiting();
  net::Stream stream_;  // used for waiting only
  ListenerTag tag_;
  Metrics& metrics_;
  OnAccept on_accept_;
};

}  // namespace tapdeck::server
