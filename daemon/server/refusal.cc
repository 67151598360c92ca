#include "daemon/server/refusal.h"

#include <string_view>

#include "daemon/exchange/error_response.h"

namespace tapdeck::server {

namespace {

std::string_view reason_of(int status) {
  switch (status) {
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    default:
      return "Bad Request";
  }
}

}  // namespace

std::string refusal(const Error& error, const Endpoint& destination) {
  const int status = exchange::status_of(error);
  const std::string body = exchange::json_of(error, destination.to_string());
  return "HTTP/1.1 " + std::to_string(status) + ' ' + std::string(reason_of(status)) +
         "\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

}  // namespace tapdeck::server
