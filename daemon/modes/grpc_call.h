// GrpcCall: the client's side of a gRPC exchange that is replayed: what it has said, when it must be answered.
//
// In hybrid mode, and before the first byte of an answer, what was read is also kept, so that a call that no recording
// answers can still be forwarded whole. Owner: the replaying coroutine. Thread: the worker's.
#pragma once

#include <chrono>
#include <optional>

#include "daemon/config/config.h"
#include "daemon/modes/grpc_digest.h"
#include "daemon/modes/grpc_script.h"
#include "daemon/modes/replayed_request.h"

namespace tapdeck::modes {

class GrpcCall {
 public:
  // The first message is kept beyond `keep`, up to this: four times what gRPC implementations accept by default.
  static constexpr size_t kFirstMessage = 16 << 20;
  // How much longer than its deadline a client has that is to leave at it: its own word for that is in its language,
  // and comes when its timers run, which a busy client's do late.
  static constexpr std::chrono::milliseconds kFarewell{500};

  // `keep`: bytes of the request kept for forwarding, 0 for replay mode. All must outlive it.
  GrpcCall(ReplayedRequest& request, const config::Route* route, Metrics& metrics, size_t keep);

  // The next piece of the request, into `said`. Not after said.client_ended. Protocol: no gRPC messages.
  net::Task<Result<void>> read();
  // Reads until the first message is whole or the client has ended, at most for `patience`. No error when that passes.
  net::Task<Result<void>> read_first(std::chrono::milliseconds patience);
  // Says nothing more: until the client leaves (the task is cancelled then) or its deadline and kFarewell have passed,
  // or, when it has no deadline, until `patience` has passed, which is an error.
  net::Task<Result<void>> wait_to_be_left(std::chrono::milliseconds patience);
  // Says nothing for `patience`. True: the client is still there, and may be told something else. Returns at once where
  // it is to leave at its deadline before that.
  net::Task<bool> stays_for(std::chrono::microseconds patience);
  // Something was sent: what was kept is of no use any more.
  void commit();
  // Nothing was sent and nothing was lost: the request can be forwarded.
  [[nodiscard]] bool is_kept() const { return keeps_; }
  // Its first message is longer than may be kept until it is known: to be forwarded without being matched.
  [[nodiscard]] bool is_too_long() const { return too_long_; }
  [[nodiscard]] std::optional<uint32_t> first_length() const { return digests_.first_length(); }
  [[nodiscard]] ReplayedRequest& exchange() { return request_; }
  // What is left of grpc-timeout; nullopt: no deadline.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> time_left();
  [[nodiscard]] bool is_late() { return time_left() == std::chrono::nanoseconds(1); }

  GrpcSaid said;
  uint64_t request_bytes = 0;
  bool is_waiting = false;  // for the client: here the deadline may break in

 private:
  net::Task<bool> wait_in_silence(std::chrono::nanoseconds patience);
  net::Task<> read_on(Result<void>& heard);
  // More was read than may be kept.
  void overflow();

  ReplayedRequest& request_;
  MessageDigests digests_;
  std::optional<std::chrono::nanoseconds> timeout_;
  size_t keep_;
  bool keeps_;
  bool first_is_kept_ = false;  // and keep_ is long enough for it
  bool too_long_ = false;
};

}  // namespace tapdeck::modes
