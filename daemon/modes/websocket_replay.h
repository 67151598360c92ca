// Replay of a WebSocket: the handshake answered as the origin answered it, and a recorded conversation played
// (websocket_script.h) to a client that may read, write, ping and close as it likes.
//
// A message that is not the recorded one ends the connection with Close 1008 and says which message and what differed.
// Pings are answered; a Close is answered with the code the origin used. Thread: the worker's.
#pragma once

#include <chrono>
#include <memory>

#include "daemon/base/metrics.h"
#include "daemon/config/config.h"
#include "daemon/exchange/exchange.h"
#include "daemon/modes/replay_item.h"
#include "daemon/net/thread_pool.h"
#include "store/exchange_store.h"

namespace tapdeck::modes {

// Both bodies of a recording together: each connection that plays it holds them.
inline constexpr uint64_t kMaxPlayed = 64 << 20;

struct WebSocketStage {
  const store::ExchangeStore* store = nullptr;
  net::ThreadPool* readers = nullptr;
  Metrics* metrics = nullptr;
  std::chrono::milliseconds idle_timeout{300'000};  // without a byte either way
};

// The recording is of a WebSocket that opened.
[[nodiscard]] bool is_websocket_recording(const store::Recording& recording);

// Plays `item` to the client; the exchange asked for a WebSocket. `route` may be null: the defaults.
net::Task<Result<void>> play_websocket(exchange::Exchange& exchange, std::shared_ptr<const ReplayItem> item,
                                       const config::Route* route, WebSocketStage stage);

}  // namespace tapdeck::modes
