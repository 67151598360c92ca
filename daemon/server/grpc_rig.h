// Test support: gRPC calls over HTTP/1.1, which no gRPC library speaks but an Exchange does, and an origin for them.
#pragma once

#include <gtest/gtest.h>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {

using namespace std::string_literals;

// A message of less than 251 bytes.
inline std::string with_prefix(const std::string& text, char compressed = '\0') {
  return compressed + "\0\0\0"s + static_cast<char>(text.size()) + text;
}
inline std::string chunk_of(const std::string& bytes) {
  char size[8];
  std::snprintf(size, sizeof size, "%zx", bytes.size());
  return size + "\r\n"s + bytes + "\r\n";
}
// In a chunk of its own.
inline std::string message(const std::string& text, char compressed = '\0') {
  return chunk_of(with_prefix(text, compressed));
}
inline std::string call(const std::string& method, const std::string& fields = {}) {
  return "POST /t.S/" + method + " HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/grpc\r\nTE: trailers\r\n" +
         fields + "Transfer-Encoding: chunked\r\n\r\n";
}
inline const std::string kEnd = "0\r\n\r\n";
inline const std::string kHead =
    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\nTrailer: "
    "grpc-status\r\n\r\n";
inline const std::string kTrailers = "0\r\ngrpc-status: 0\r\nx-rich-bin: AAEC\r\n\r\n";

// An origin that answers each client message with "re:" and it, as it comes; "quiet" is not answered; at the client's
// end it says "bye" and ends. One call a connection.
inline ScriptedOrigin::End echo_calls(Wire& wire) {
  const std::string head = wire.read_until("\r\n\r\n");
  if (!head.ends_with("\r\n\r\n")) return ScriptedOrigin::End::Close;
  bool begun = false;
  while (true) {
    const std::string size = wire.read_until("\r\n");
    if (!size.ends_with("\r\n")) return ScriptedOrigin::End::Close;
    const size_t length = std::stoul(size, nullptr, 16);
    const std::string chunk = wire.read_n(length + 2);
    const std::string text = length == 0 ? "bye" : chunk.substr(5, length - 5);
    if (length > 0 && text == "quiet") continue;
    if (!std::exchange(begun, true)) wire.write(kHead);
    wire.write(message(length == 0 ? text : "re:" + text));
    if (length == 0) break;
  }
  wire.write(kTrailers);
  return ScriptedOrigin::End::Close;
}

class GrpcReplay : public testing::Test {
 protected:
  explicit GrpcReplay(RigOptions options = {}) : rig(std::move(options)), origin_(echo_calls) {
    rig.go_to(origin_.endpoint());
  }

  // Says each of `messages` after the answer to the one before has come ("quiet" has none); then ends. What came back.
  std::string talk(const std::vector<std::string>& messages, const std::string& fields = {}) {
    Wire wire = rig.connect();
    std::string heard;
    EXPECT_TRUE(wire.write(call("Talk", fields)));
    for (const std::string& text : messages) {
      EXPECT_TRUE(wire.write(message(text)));
      if (text != "quiet") heard += wire.read_until("re:" + text + "\r\n");
      if (heard.ends_with("<EOF>")) return heard;
    }
    EXPECT_TRUE(wire.write(kEnd));
    wire.half_close();
    return heard + wire.rest();
  }
  static std::string answer(const std::vector<std::string>& messages) {
    std::string out = kHead;
    for (const std::string& text : messages) out += message("re:" + text);
    return out + message("bye") + kTrailers + "<EOF>";
  }
  void stop_origin(uint64_t recordings) {
    EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == recordings; }));
    origin_.stop();
    rig.set_mode(Mode::Replay);
  }

  WorkerRig rig;
  ScriptedOrigin origin_;
};

}  // namespace tapdeck::server
