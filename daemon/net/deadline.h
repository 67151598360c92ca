// Deadline: the one timer of a connection. Phases (header, request, idle, tls ...) move it; when it passes, the owner's
// callback runs once and usually closes the socket, which ends every pending await of that connection.
//
// Moving it later costs one store: the Asio timer is only re-armed when it fires early or must fire sooner. Measured
// reason: re-arming a timer per request costs 7 % of a small request.
// Owner: one connection; its worker's thread. The callback never runs after the destructor.
#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/steady_timer.hpp>

#include <chrono>
#include <functional>
#include <memory>

namespace tapdeck::net {

class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  Deadline(const asio::any_io_executor& executor, std::function<void()> on_expired);
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  ~Deadline();

  // Expires `after` from now; zero or negative means "no deadline".
  void set(Clock::duration after);
  void clear();
  // The same for good: no timer is left that would keep the loop running until it is due.
  void stop();
  // True once the callback ran; stays true.
  [[nodiscard]] bool is_expired() const;

 private:
  struct State;
  static void arm(const std::shared_ptr<State>& state, Clock::time_point when);
  std::shared_ptr<State> state_;
};

}  // namespace tapdeck::net
