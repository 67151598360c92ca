// H2Client: one HTTP/2 connection of a test client, on nghttp2: it asks, one request after the other, and tells how
// each ended, exactly. Thread: one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "netns-tests/stream.h"

struct nghttp2_session;

namespace tapdeck::lab {

struct H2Answer {
  int status = 0;  // 0: no head came
  std::string body;
  bool complete = false;          // the stream ended as a whole message
  std::optional<uint32_t> reset;  // the code of RST_STREAM
  bool lost = false;              // the connection ended first
};
std::ostream& operator<<(std::ostream& out, const H2Answer& answer);

class H2Client {
 public:
  // On a connection in clear (prior knowledge), or on one whose TLS handshake is done.
  explicit H2Client(Stream stream, std::string scheme = "http");
  H2Client(const H2Client&) = delete;
  H2Client& operator=(const H2Client&) = delete;
  ~H2Client();

  [[nodiscard]] H2Answer get(const std::string& authority, const std::string& path);
  [[nodiscard]] Stream& stream() { return stream_; }

 private:
  struct Callbacks;
  void send_all();

  Stream stream_;
  std::string scheme_;
  nghttp2_session* session_ = nullptr;
  int32_t current_ = 0;
  H2Answer answer_;
  bool over_ = false;  // of the current stream
};

}  // namespace tapdeck::lab
