// LateAnswer: what came of a gRPC call's answer when the call's deadline had passed, for the moment in which it is not
// known whether its client is still there. One that has left has not seen it, and its recording has nothing of it.
//
// Owner: a RecordingExchange. Thread: the worker's.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/exchange/exchange.h"

namespace tapdeck::modes {

struct LateAnswer {
  // What a client says when it leaves at its deadline, crosses the answer, and is there within this.
  static constexpr std::chrono::milliseconds kFarewell{20};
  // More than this is recorded at once.
  static constexpr size_t kMostBytes = 256 * 1024;

  struct Head {
    http::ResponseHead head;
    http::EndStream end = http::EndStream::No;
    uint64_t microseconds = 0;  // since the exchange began
  };
  struct Piece {
    std::string bytes;
    std::optional<std::string> extension;  // of the chunk that it begins
    uint64_t microseconds = 0;
  };

  exchange::Clock::time_point since;
  std::optional<Head> head;
  std::vector<Piece> pieces;
  size_t bytes = 0;  // of `pieces`
  bool ended = false;

  [[nodiscard]] bool is_seen(exchange::Clock::time_point now) const {
    return bytes > kMostBytes || now - since >= kFarewell;
  }
};

}  // namespace tapdeck::modes
