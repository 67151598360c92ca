#include "daemon/modes/websocket_replay.h"

#include <utility>

#include "daemon/exchange/error_response.h"
#include "daemon/modes/pace.h"
#include "daemon/modes/websocket_heads.h"
#include "daemon/modes/websocket_part.h"
#include "daemon/modes/websocket_player.h"
#include "daemon/net/offload.h"
#include "daemon/ws/handshake.h"

namespace tapdeck::modes {

using exchange::Exchange;

namespace {

const config::WebSocket& options_of(const config::Route* route) {
  static const config::WebSocket kDefaults;
  return route != nullptr && route->websocket ? *route->websocket : kDefaults;
}

// What an h1 client got wrong about its own handshake; the origin would have refused it.
const char* flaw_of(const http::RequestHead& request) {
  if (request.method == "CONNECT") return nullptr;
  const auto version = request.headers.find("sec-websocket-version");
  if (!version || *version != "13") return "Sec-WebSocket-Version is not 13";
  const auto key = request.headers.find("sec-websocket-key");
  if (!key || !ws::is_key(*key)) return "Sec-WebSocket-Key is not 16 bytes in base64";
  return nullptr;
}

// What this client can have of what was agreed then. What the recorded client had not asked for stays: it gave the
// handshake up for that, and this one will.
void agree(http::Headers& headers, const store::Recording& recorded, const WebSocketAgreement& agreed) {
  const http::Headers& asked = recorded.request.headers;
  const auto once = ws::agreed_extensions(headers).deflate;
  if (agreed.deflate && agreed.deflate != once) {
    headers.set("Sec-WebSocket-Extensions", ws::to_header(*agreed.deflate));
  } else if (!agreed.deflate && !ws::has_unoffered_extension(asked, headers)) {
    headers.remove("sec-websocket-extensions");
  }
  const auto protocol = headers.find("sec-websocket-protocol");
  if (agreed.protocol.empty() && protocol && asked.has_token("sec-websocket-protocol", *protocol)) {
    headers.remove("sec-websocket-protocol");
  }
}

// The origin's answer, made one to this request: its key, its extensions, its version of HTTP.
http::ResponseHead answer_to(const http::RequestHead& request, const store::Recording& recorded,
                             const WebSocketAgreement& agreed) {
  http::ResponseHead head = recorded.response;
  http::Headers& headers = head.headers;
  agree(headers, recorded, agreed);
  if (request.method == "CONNECT") {
    for (const char* name : {"upgrade", "connection", "sec-websocket-accept"}) headers.remove(name);
    head.status = 200;
    head.reason.clear();
    head.version = http::Version::Http2;
    return head;
  }
  if (head.status != 101) {
    head.status = 101;
    head.reason = "Switching Protocols";
    head.version = http::Version::Http11;
    headers.set("Upgrade", "websocket");
    headers.set("Connection", "Upgrade");
  }
  const std::string_view key_then = handshake_key(recorded.request);
  const bool was_wrong = recorded.response.status == 101 && !key_then.empty() && !ws::accepts(head, key_then);
  if (was_wrong) return head;
  headers.set("Sec-WebSocket-Accept", ws::accept_of(request.headers.find("sec-websocket-key").value_or("")));
  return head;
}

// Of the handshake's answer: where only the messages are paced it is too, as what they count from.
double pace_of_head(const config::Route* route, const config::WebSocket& options) {
  const double pace = pace_of(route);
  return pace == 0 && options.pace == config::WebSocketPace::Recorded ? 1 : pace;
}

// Instead of `item`, whose turn it is, that which no other connection has begun with; its own where all are taken.
net::Task<std::shared_ptr<const ReplayItem>> cast(std::shared_ptr<const ReplayItem> item, const WebSocketStage& stage) {
  while (const auto id = stage.casting->begin()) {
    const store::ExchangeStore* store = stage.store;
    auto read = [store, session = stage.casting->session(), id = *id] { return load_item(*store, session, id); };
    auto other = co_await net::offload(*stage.readers, read);
    if (other && is_websocket_recording((*other)->recording)) co_return *other;
  }
  co_return item;
}

}  // namespace

net::Task<Result<void>> play_websocket(Exchange& exchange, std::shared_ptr<const ReplayItem> item,
                                       const config::Route* route, WebSocketStage stage) {
  const http::RequestHead& request = exchange.request();
  if (const char* flaw = flaw_of(request)) {
    const Error error{Code::Protocol, flaw, Origin::Downstream, Retry::No, 0};
    co_return co_await exchange::respond_json(exchange, 400, exchange::json_of(error, "-"));
  }
  const config::WebSocket& options = options_of(route);
  if (options.mode != config::WebSocketMode::Matched) stage.casting = nullptr;
  if (stage.casting != nullptr) item = co_await cast(item, stage);
  exchange.facts().recording = item->recording.id;
  const store::ExchangeStore* store = stage.store;
  auto read = [store, item, &options] { return load_part(*store, item, options); };
  auto part = co_await net::offload(*stage.readers, read);
  if (!part) {
    exchange.facts().error = "store_error";
    co_return co_await exchange::respond_json(exchange, 500, exchange::json_of(part.error(), "-"));
  }
  const WebSocketAgreement agreed = agreement_with(request, item->recording.response);
  const http::ResponseHead head = answer_to(request, item->recording, agreed);
  Sleeper sleeper;
  Pacer pacer(pace_of_head(route, options), exchange.facts().began, sleeper);
  CO_TRY_VOID(co_await send_interim(exchange, item->recording, pacer));
  CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
  exchange.become_tunnel();
  auto flushed = co_await exchange.flush();
  if (!flushed) co_return flushed;
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  WebSocketPlayer player(exchange, std::move(*part), agreed, stage, executor);
  co_return co_await player.run();
}

}  // namespace tapdeck::modes
