// What replaying needs beside the exchange. All outlive the handlers. Thread: the worker's.
#pragma once

#include <chrono>
#include <cstddef>

#include "daemon/base/metrics.h"
#include "daemon/config/config.h"
#include "daemon/modes/cursors.h"
#include "daemon/net/thread_pool.h"
#include "store/exchange_store.h"
#include "store/redact.h"

namespace tapdeck::modes {

struct ReplayContext {
  const store::ExchangeStore* store = nullptr;
  const store::Redactor* redactor = nullptr;
  net::ThreadPool* readers = nullptr;
  Cursors* cursors = nullptr;
  Metrics* metrics = nullptr;
  size_t hot_bytes = 64ULL << 20;
  std::chrono::milliseconds idle_timeout{300'000};  // of a replayed WebSocket, or of one that waits to be left
  config::ReplayRefused refused = config::ReplayRefused::Answer;
};

}  // namespace tapdeck::modes
