// Misses: which requests no recording answered, for a `run` to tell at its end. Not the metric, which counts them all.
//
// Owner: the Engine. Thread: any; workers add.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace tapdeck::server {

struct MissedRequest {
  std::string method;  // empty: a connection that cannot be on tape
  std::string url;     // redacted as in the access log; of a connection its destination
  std::string reason;  // what came nearest, or went wrong; for people
  uint64_t count = 1;
};

class Misses {
 public:
  // Of a longer url the beginning is kept.
  static constexpr size_t kUrlBytes = 2000;
  // Different ones; what comes behind them is not kept.
  static constexpr size_t kKept = 100;
  // Equal ones are counted.
  void add(MissedRequest missed);
  // In the order in which they came first.
  [[nodiscard]] std::vector<MissedRequest> list() const;

 private:
  mutable std::mutex mutex_;
  std::vector<MissedRequest> kept_;
};

}  // namespace tapdeck::server
