// Replay of a WebSocket: the handshake answered as the origin answered it, and a recorded conversation played
// (websocket_script.h) to a client that may read, write, ping and close as it likes.
//
// A message that is not the recorded one: another recording of the same request plays on if it agrees with all that was
// said (mode matched; websocket_casting.h); else Close 1008 says which message and what differed.
// Pings are answered; a Close is answered with the code the origin used. Thread: the worker's.
#pragma once

#include <chrono>
#include <memory>

#include "daemon/base/metrics.h"
#include "daemon/config/config.h"
#include "daemon/exchange/exchange.h"
#include "daemon/modes/replay_item.h"
#include "daemon/modes/websocket_casting.h"
#include "daemon/net/thread_pool.h"
#include "store/exchange_store.h"

namespace tapdeck::modes {

struct WebSocketStage {
  const store::ExchangeStore* store = nullptr;
  net::ThreadPool* readers = nullptr;
  Metrics* metrics = nullptr;
  std::chrono::milliseconds idle_timeout{300'000};  // without a byte either way
  std::shared_ptr<WebSocketCasting> casting;        // null: the recording alone
};

// Plays `item` to the client; the exchange asked for a WebSocket. `route` may be null: the defaults.
net::Task<Result<void>> play_websocket(exchange::Exchange& exchange, std::shared_ptr<const ReplayItem> item,
                                       const config::Route* route, WebSocketStage stage);

}  // namespace tapdeck::modes
