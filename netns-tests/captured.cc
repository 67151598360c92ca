#include "netns-tests/captured.h"

#include <nlohmann/json.hpp>

namespace tapdeck::lab {

size_t Captured::recordings() const {
  const auto list = nlohmann::json::parse(daemon_.must_cli({"recording", "list", "--json"}), nullptr, false);
  return list.is_object() && list.contains("items") ? list["items"].size() : 0;
}

std::string get_request(const std::string& path, const std::string& more_headers) {
  return "GET " + path + " HTTP/1.1\r\nHost: origin.test\r\n" + more_headers + "Connection: close\r\n\r\n";
}

std::string ok_response(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

}  // namespace tapdeck::lab
