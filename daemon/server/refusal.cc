#include "daemon/server/refusal.h"

#include "daemon/exchange/error_response.h"
#include "daemon/http/message.h"

namespace tapdeck::server {

std::string refusal(const Error& error, const Endpoint& destination) {
  const int status = exchange::status_of(error);
  const std::string body = exchange::json_of(error, destination.to_string());
  return "HTTP/1.1 " + std::to_string(status) + ' ' + std::string(http::reason_phrase(status)) +
         "\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

}  // namespace tapdeck::server
