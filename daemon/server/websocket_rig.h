// Test support: WebSockets over a WorkerRig: an origin that speaks by a script of frames, a client that reads messages.
#pragma once

#include "daemon/server/worker_rig.h"
#include "daemon/ws/handshake.h"
#include "daemon/ws/transcript.h"

namespace tapdeck::server {

inline constexpr std::string_view kKey = "dGhlIHNhbXBsZSBub25jZQ==";

inline std::string upgrade_request(const std::string& path, const std::string& more = "") {
  return "GET " + path + " HTTP/1.1\r\nHost: " + std::string(kHost) +
         "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " +
         std::string(kKey) + "\r\n" + more + "\r\n";
}
inline std::string upgrade_response(const std::string& more = "") {
  return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
         ws::accept_of(kKey) + "\r\n" + more + "\r\n";
}

inline std::string text(const std::string& payload) {
  return ws::frame(0x81, payload, false);
}
inline std::string client_text(const std::string& payload) {
  return ws::frame(0x81, payload);
}
inline std::string close_of(unsigned code, const std::string& reason = "", bool masked = false) {
  return ws::frame(0x88, ws::close_payload(static_cast<uint16_t>(code), reason), masked);
}

// Reads one message of the peer, as ws::line_of() prints it; "<EOF>" or "<RST>" or "violation" when there is none.
class MessageWire {
 public:
  MessageWire(Wire wire, ws::ReaderOptions options) : wire_(std::move(wire)), reader_(options) {}
  explicit MessageWire(Wire wire) : MessageWire(std::move(wire), {ws::From::Server, std::nullopt}) {}
  [[nodiscard]] Wire& wire() { return wire_; }
  std::string next() {
    while (read_.empty()) {
      const std::string byte = wire_.read_n(1);
      if (byte.size() != 1) return byte;
      const auto fed = reader_.feed(byte, read_);
      if (!fed) return "violation " + fed.error().detail;
    }
    std::string line = ws::line_of(read_.front());
    read_.erase(read_.begin());
    return line;
  }

 private:
  Wire wire_;
  ws::MessageReader reader_;
  std::vector<ws::Message> read_;
};

// The handshake done: what follows on the wire are frames.
inline MessageWire open_websocket(WorkerRig& rig, const std::string& path, const std::string& more = "") {
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(upgrade_request(path, more)));
  const std::string head = wire.read_until("\r\n\r\n");
  EXPECT_TRUE(head.starts_with("HTTP/1.1 101 ")) << head;
  EXPECT_TRUE(head.contains(ws::accept_of(kKey))) << head;
  ws::ReaderOptions options{ws::From::Server, std::nullopt};
  if (head.contains("permessage-deflate")) options.deflate = ws::Context::Kept;
  return {std::move(wire), options};
}

// Recorded messages as lines: "> text hi" from the client, "< close 1000 bye" from the origin.
inline std::vector<std::string> lines_of(const store::ExchangeStore& store, const store::Recording& recording) {
  std::vector<std::string> lines;
  for (const store::Message& message : recording.messages) {
    const bool request = message.side == store::BodySide::Request;
    const auto body = store.read_body(request ? recording.request_body : recording.response_body);
    if (!body) continue;
    std::string line = std::string(request ? "> " : "< ") + std::string(store::to_string(message.kind));
    line += message.compressed ? "* " : " ";
    if (message.kind == store::Message::Kind::Close) line += std::to_string(message.code) + ' ';
    lines.push_back(line + body->substr(message.offset, message.length));
  }
  return lines;
}

inline store::Recording only_recording(WorkerRig& rig) {
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  return tls::testing::must(rig.store->get(tls::testing::must(rig.store->list_recordings({})).items.front().id));
}

}  // namespace tapdeck::server
