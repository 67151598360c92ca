#include "daemon/modes/websocket_heads.h"

#include <string>
#include <utility>

#include "daemon/ws/handshake.h"

namespace tapdeck::modes {

http::RequestHead for_h1_origin(const http::RequestHead& connect) {
  http::RequestHead head = connect;
  if (!head.headers.find("sec-websocket-key")) head.headers.add("sec-websocket-key", ws::random_key());
  if (!head.headers.find("sec-websocket-version")) head.headers.add("sec-websocket-version", "13");
  return head;
}

bool is_opened_by_h2(const http::RequestHead& request, const http::ResponseHead& response) {
  return request.method == "GET" && http::is_websocket(request) && response.status >= 200 && response.status < 300;
}

std::optional<Error> refusal_by_h1(const http::RequestHead& request, const http::ResponseHead& response,
                                   std::string_view key) {
  const bool to_connect = request.method == "CONNECT" && http::is_websocket(request);
  if (!to_connect || response.version == http::Version::Http2) return std::nullopt;
  const bool is_yes = response.status >= 200 && response.status < 300;
  const bool is_switch = response.status == 101;
  const bool opens = response.headers.has_token("upgrade", "websocket") && (key.empty() || ws::accepts(response, key));
  if (!is_yes && (!is_switch || opens)) return std::nullopt;
  std::string what = "the origin answered the WebSocket upgrade with " + std::to_string(response.status);
  what += is_switch ? " that does not accept it" : ", which over HTTP/2 would open it";
  return Error{Code::Protocol, std::move(what), Origin::Upstream, Retry::No, 0};
}

std::string_view handshake_key(const http::RequestHead& request) {
  const std::string_view key = request.headers.find("sec-websocket-key").value_or("");
  return ws::is_key(key) ? key : std::string_view();
}

http::ResponseHead for_h1_client(const http::RequestHead& upgrade, const http::ResponseHead& response) {
  http::ResponseHead head = response;
  head.status = 101;
  head.reason = "Switching Protocols";
  head.version = http::Version::Http11;
  head.headers.set("Upgrade", "websocket");
  head.headers.set("Connection", "Upgrade");
  head.headers.set("Sec-WebSocket-Accept", ws::accept_of(upgrade.headers.find("sec-websocket-key").value_or("")));
  return head;
}

}  // namespace tapdeck::modes
