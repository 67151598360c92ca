// Test support: a client and a server H2Codec joined by memory, and what each of them was told, as text, one event a
// line. Bytes of one body are joined, so the text does not depend on how input was cut.
//
// Not part of the daemon: included by *_test.cc only.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "daemon/http/h2_codec.h"
#include "daemon/http/h2_transcript.h"

namespace tapdeck::http {

// Bytes move only in exchange(), at most `piece` at a time: each cut of the stream of bytes can be tried.
class H2Loopback {
 public:
  explicit H2Loopback(size_t piece = SIZE_MAX, const H2Options& server_options = {},
                      const H2Options& client_options = {}, const Limits& limits = {})
      : piece_(piece),
        client_codec_(make_h2_codec(Role::Client, limits, "https", client_options)),
        server_codec_(make_h2_codec(Role::Server, limits, "https", server_options)),
        client_log_(*client_codec_, Role::Client),
        server_log_(*server_codec_, Role::Server) {}

  [[nodiscard]] Codec& client() { return *client_codec_; }
  [[nodiscard]] Codec& server() { return *server_codec_; }
  [[nodiscard]] H2Log& client_log() { return client_log_; }
  [[nodiscard]] H2Log& server_log() { return server_log_; }

  // Until neither has anything to say.
  void exchange() {
    bool moved = true;
    while (moved) {
      moved = move(*client_codec_, *server_codec_, server_log_);
      moved |= move(*server_codec_, *client_codec_, client_log_);
    }
  }
  bool move(Codec& from, Codec& to, H2Log& log) {
    bool moved = false;
    while (!from.output().empty()) {
      const std::string_view bytes = from.output().front().substr(0, piece_);
      to.input().append(bytes);
      from.output().consume(bytes.size());
      log.drive();
      moved = true;
    }
    return moved;
  }

 private:
  size_t piece_;
  std::unique_ptr<Codec> client_codec_, server_codec_;
  H2Log client_log_, server_log_;
};

inline RequestHead h2_request(std::string_view method, std::string_view target,
                              std::initializer_list<std::pair<std::string_view, std::string_view>> fields = {}) {
  RequestHead head;
  head.version = Version::Http2;
  head.method = method;
  head.target = target;
  head.scheme = "https";
  head.authority = "example.test";
  for (const auto& [name, value] : fields) head.headers.add(name, value);
  return head;
}

inline ResponseHead h2_response(int status,
                                std::initializer_list<std::pair<std::string_view, std::string_view>> fields = {}) {
  ResponseHead head;
  head.version = Version::Http2;
  head.status = status;
  for (const auto& [name, value] : fields) head.headers.add(name, value);
  return head;
}

}  // namespace tapdeck::http
