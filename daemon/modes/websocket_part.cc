#include "daemon/modes/websocket_part.h"

#include <utility>

namespace tapdeck::modes {

bool is_websocket_recording(const store::Recording& recording) {
  return ws::is_opened(recording.request, recording.response);
}

WebSocketPart::WebSocketPart(std::shared_ptr<const ReplayItem> recorded, std::string request_body,
                             std::string response_body, const config::WebSocket& playing_options)
    : item(std::move(recorded)),
      request(std::move(request_body)),
      response(std::move(response_body)),
      options(playing_options),
      script(item->recording, request, response, options) {}

Result<std::unique_ptr<WebSocketPart>> load_part(const store::ExchangeStore& store,
                                                 std::shared_ptr<const ReplayItem> item,
                                                 const config::WebSocket& options) {
  const store::Recording& recording = item->recording;
  if (recording.request_body.size + recording.response_body.size > kMaxPlayed) {
    return fail(Code::TooLarge, "the recorded WebSocket is longer than the 64 MiB that can be replayed", Origin::Store);
  }
  TRY(request, store.read_body(recording.request_body, kMaxPlayed));
  TRY(response, store.read_body(recording.response_body, kMaxPlayed));
  return std::make_unique<WebSocketPart>(std::move(item), std::move(request), std::move(response), options);
}

std::unique_ptr<WebSocketPart> load_part_that_agrees(const store::ExchangeStore& store, std::string_view session,
                                                     uint64_t id, const config::WebSocket& options,
                                                     const std::vector<WebSocketScript::Spoken>& spoken) {
  auto item = load_item(store, session, id);
  if (!item || !is_websocket_recording((*item)->recording)) return nullptr;
  auto part = load_part(store, std::move(*item), options);
  if (!part || !(*part)->script.catches_up(spoken)) return nullptr;
  return std::move(*part);
}

WebSocketAgreement agreement_with(const http::RequestHead& request, const http::ResponseHead& recorded) {
  WebSocketAgreement out;
  const ws::AgreedExtensions once = ws::agreed_extensions(recorded.headers);
  if (once.deflate) out.deflate = ws::accept_offer(request.headers, *once.deflate);
  // A protocol the client did not offer would make it give up.
  const auto protocol = recorded.headers.find("sec-websocket-protocol");
  if (protocol && request.headers.has_token("sec-websocket-protocol", *protocol)) out.protocol = *protocol;
  return out;
}

}  // namespace tapdeck::modes
