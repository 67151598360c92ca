// WebSocketPart: a recorded WebSocket, loaded, with the script that plays it.
//
// Neither copied nor moved: the script looks into the rest. Owner: the player. Thread: any, one at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/modes/replay_item.h"
#include "daemon/modes/websocket_script.h"
#include "daemon/ws/handshake.h"
#include "store/exchange_store.h"

namespace tapdeck::modes {

// Both bodies of a recording together: each connection that plays it holds them.
inline constexpr uint64_t kMaxPlayed = 64 << 20;

// The recording is of a WebSocket that opened.
[[nodiscard]] bool is_websocket_recording(const store::Recording& recording);

struct WebSocketPart {
  // `playing_options` outlive it.
  WebSocketPart(std::shared_ptr<const ReplayItem> recorded, std::string request_body, std::string response_body,
                const config::WebSocket& playing_options);
  WebSocketPart(const WebSocketPart&) = delete;
  WebSocketPart& operator=(const WebSocketPart&) = delete;
  [[nodiscard]] const store::Recording& recording() const { return item->recording; }

  const std::shared_ptr<const ReplayItem> item;
  const std::string request, response;
  const config::WebSocket& options;
  WebSocketScript script;
};

// Reads the bodies from disk: for the reader pool. Errors: TooLarge, origin Store, over kMaxPlayed; as read_body().
[[nodiscard]] Result<std::unique_ptr<WebSocketPart>> load_part(const store::ExchangeStore& store,
                                                               std::shared_ptr<const ReplayItem> item,
                                                               const config::WebSocket& options);
// The recording `id`, for the reader pool, if it is a WebSocket that can be read and agrees with all that was said;
// else null.
[[nodiscard]] std::unique_ptr<WebSocketPart> load_part_that_agrees(const store::ExchangeStore& store,
                                                                   std::string_view session, uint64_t id,
                                                                   const config::WebSocket& options,
                                                                   const std::vector<WebSocketScript::Spoken>& spoken);

// What client and origin agree on in a handshake.
struct WebSocketAgreement {
  std::optional<ws::DeflateParams> deflate;
  std::string protocol;  // Sec-WebSocket-Protocol; empty: none
  friend bool operator==(const WebSocketAgreement&, const WebSocketAgreement&) = default;
};
// What this client can have of what the origin agreed to when it was recorded.
[[nodiscard]] WebSocketAgreement agreement_with(const http::RequestHead& request, const http::ResponseHead& recorded);

}  // namespace tapdeck::modes
