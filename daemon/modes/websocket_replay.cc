#include "daemon/modes/websocket_replay.h"

#include <utility>

#include "daemon/exchange/error_response.h"
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

// The origin's answer, made one to this request: its key, its extensions, its version of HTTP.
http::ResponseHead answer_to(const http::RequestHead& request, const http::ResponseHead& recorded,
                             const std::optional<ws::DeflateParams>& agreed) {
  http::ResponseHead head = recorded;
  http::Headers& headers = head.headers;
  headers.remove("sec-websocket-extensions");
  if (agreed) headers.add("Sec-WebSocket-Extensions", ws::to_header(*agreed));
  // A protocol the client did not offer would make it give up.
  const auto protocol = headers.find("sec-websocket-protocol");
  if (protocol && !request.headers.has_token("sec-websocket-protocol", *protocol)) {
    headers.remove("sec-websocket-protocol");
  }
  if (request.method == "CONNECT") {
    for (const char* name : {"upgrade", "connection", "sec-websocket-accept"}) headers.remove(name);
    head.status = 200;
    head.reason.clear();
    head.version = http::Version::Http2;
    return head;
  }
  head.status = 101;
  if (head.reason.empty() || recorded.status != 101) head.reason = "Switching Protocols";
  head.version = http::Version::Http11;
  headers.set("Upgrade", "websocket");
  headers.set("Connection", "Upgrade");
  headers.set("Sec-WebSocket-Accept", ws::accept_of(request.headers.find("sec-websocket-key").value_or("")));
  return head;
}

struct Bodies {
  std::string request, response;
};

net::Task<Result<Bodies>> load_bodies(const ReplayItem& item, const WebSocketStage& stage) {
  const store::Recording& recording = item.recording;
  if (recording.request_body.size + recording.response_body.size > kMaxPlayed) {
    co_return fail(Code::TooLarge, "the recorded WebSocket is longer than the 64 MiB that can be replayed",
                   Origin::Store);
  }
  const store::ExchangeStore* store = stage.store;
  auto read = [store, recording]() -> Result<Bodies> {
    TRY(request, store->read_body(recording.request_body, kMaxPlayed));
    TRY(response, store->read_body(recording.response_body, kMaxPlayed));
    return Bodies{std::move(request), std::move(response)};
  };
  co_return co_await net::offload(*stage.readers, read);
}

}  // namespace

bool is_websocket_recording(const store::Recording& recording) {
  return ws::is_opened(recording.request, recording.response);
}

net::Task<Result<void>> play_websocket(Exchange& exchange, std::shared_ptr<const ReplayItem> item,
                                       const config::Route* route, WebSocketStage stage) {
  const http::RequestHead& request = exchange.request();
  if (const char* flaw = flaw_of(request)) {
    const Error error{Code::Protocol, flaw, Origin::Downstream, Retry::No, 0};
    co_return co_await exchange::respond_json(exchange, 400, exchange::json_of(error, "-"));
  }
  auto bodies = co_await load_bodies(*item, stage);
  if (!bodies) {
    exchange.facts().error = "store_error";
    co_return co_await exchange::respond_json(exchange, 500, exchange::json_of(bodies.error(), "-"));
  }
  const store::Recording& recording = item->recording;
  const ws::AgreedExtensions once = ws::agreed_extensions(recording.response.headers);
  std::optional<ws::DeflateParams> agreed;
  if (once.deflate) agreed = ws::accept_offer(request.headers, *once.deflate);
  const http::ResponseHead head = answer_to(request, recording.response, agreed);
  CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
  exchange.become_tunnel();
  auto flushed = co_await exchange.flush();
  if (!flushed) co_return flushed;
  WebSocketScript script(recording, bodies->request, bodies->response, options_of(route));
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  WebSocketPlayer player(exchange, script, recording, agreed, stage, executor);
  co_return co_await player.run();
}

}  // namespace tapdeck::modes
