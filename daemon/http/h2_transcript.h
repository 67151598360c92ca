// Test support: what an H2Codec tells its owner, as text (H2Log), frames written by hand (frame, block ...), and frames
// read back (frames_of). Not part of the daemon: included by tests and fuzz targets only.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "daemon/http/h2_codec.h"

namespace tapdeck::http {

// Runs next() to its end and writes events down. Body bytes are joined and consumed at once, unless told otherwise.
class H2Log {
 public:
  H2Log(Codec& codec, Role role) : codec_(codec), role_(role) {}

  bool consume = true;

  void drive() {
    while (!error_) {
      auto event = codec_.next();
      if (!event) {
        error_ = event.error();
        line("error " + std::string(to_string(error_->code)));
        return;
      }
      if (!*event) return;
      std::visit([this](const auto& e) { show(e); }, **event);
    }
  }
  // What was said since the last call.
  std::string take() {
    flush();
    return std::exchange(text_, {});
  }
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }
  // Body bytes not given back yet, by stream.
  std::map<StreamId, size_t> held;
  std::vector<StreamId> complete;  // server: requests to answer

 private:
  void line(const std::string& text) {
    flush();
    text_ += text + "\n";
  }
  void flush() {
    for (const auto& [stream, bytes] : body_) {
      const std::string shown = bytes.size() <= 64 ? bytes : std::to_string(bytes.size()) + " bytes";
      text_ += "body " + std::to_string(stream) + " " + shown + "\n";
    }
    body_.clear();
  }
  void fields(const Headers& headers) {
    for (size_t i = 0; i < headers.size(); ++i) {
      text_ += "  " + std::string(headers[i].name) + ": " + std::string(headers[i].value) + "\n";
    }
  }
  void show(const HeadReceived& e) {
    const std::string tail = e.end == EndStream::Yes ? " end" : "";
    if (role_ == Role::Server) {
      const RequestHead& head = codec_.request_head();
      line("head " + std::to_string(e.stream) + " " + head.method + " " + head.target + " " + head.scheme + " " +
           head.authority + (head.protocol.empty() ? "" : " " + head.protocol) + tail);
      fields(head.headers);
    } else {
      const ResponseHead& head = codec_.response_head();
      line("head " + std::to_string(e.stream) + " " + std::to_string(head.status) + tail);
      fields(head.headers);
    }
  }
  void show(const InformationalReceived& e) {
    line("info " + std::to_string(e.stream) + " " + std::to_string(codec_.response_head().status));
    fields(codec_.response_head().headers);
  }
  void show(const BodyReceived& e) {
    body_[e.stream].append(e.bytes);
    if (consume) {
      codec_.consumed(e.stream, e.bytes.size());
    } else {
      held[e.stream] += e.bytes.size();
    }
  }
  void show(const TrailersReceived& e) {
    line("trailers " + std::to_string(e.stream));
    fields(codec_.trailers());
  }
  void show(const MessageComplete& e) {
    line("complete " + std::to_string(e.stream));
    complete.push_back(e.stream);
  }
  void show(const Upgraded& e) { line("upgraded " + std::to_string(e.stream)); }
  void show(const StreamReset& e) {
    line("reset " + std::to_string(e.stream) + " " + std::to_string(static_cast<uint32_t>(e.code)));
  }
  void show(const GoingAway& e) {
    line("going-away " + std::to_string(e.last_stream) + " " + std::to_string(static_cast<uint32_t>(e.code)));
  }

  Codec& codec_;
  Role role_;
  std::string text_;
  std::map<StreamId, std::string> body_;
  std::optional<Error> error_;
};

// ---- frames by hand

inline constexpr std::string_view kH2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
enum : uint8_t { kEndStreamFlag = 1, kAckFlag = 1, kEndHeadersFlag = 4, kPaddedFlag = 8, kPriorityFlag = 32 };

inline std::string big_endian(uint32_t value, size_t bytes = 4) {
  std::string out;
  for (size_t i = bytes; i-- > 0;) out += static_cast<char>(value >> (8 * i) & 0xff);
  return out;
}
inline std::string frame(uint8_t type, uint8_t flags, StreamId stream, std::string_view payload = {}) {
  return big_endian(static_cast<uint32_t>(payload.size()), 3) + static_cast<char>(type) + static_cast<char>(flags) +
         big_endian(stream) + std::string(payload);
}
inline std::string settings(std::initializer_list<std::pair<uint16_t, uint32_t>> entries = {}) {
  std::string payload;
  for (const auto& [id, value] : entries) payload += big_endian(id, 2) + big_endian(value);
  return frame(NGHTTP2_SETTINGS, 0, 0, payload);
}
inline std::string settings_ack() {
  return frame(NGHTTP2_SETTINGS, kAckFlag, 0);
}
// An HPACK integer with a 7-bit prefix and no flag: the length of a string without Huffman coding.
inline std::string hpack_length(size_t n) {
  if (n < 127) return std::string(1, static_cast<char>(n));
  std::string out(1, '\x7f');
  for (n -= 127; n >= 128; n >>= 7) out += static_cast<char>((n & 127) | 128);
  return out + static_cast<char>(n);
}
// Literals without indexing: every byte is what the test wrote.
using FieldList = std::vector<std::pair<std::string, std::string>>;
inline std::string block(const FieldList& fields) {
  std::string out;
  for (const auto& [name, value] : fields) {
    out += '\0' + hpack_length(name.size()) + name + hpack_length(value.size()) + value;
  }
  return out;
}
inline std::string headers(StreamId stream, const FieldList& fields, uint8_t flags = kEndStreamFlag | kEndHeadersFlag) {
  return frame(NGHTTP2_HEADERS, flags, stream, block(fields));
}
inline std::string data(StreamId stream, std::string_view bytes, uint8_t flags = 0) {
  return frame(NGHTTP2_DATA, flags, stream, bytes);
}
inline std::string rst_stream(StreamId stream, ResetCode code) {
  return frame(NGHTTP2_RST_STREAM, 0, stream, big_endian(static_cast<uint32_t>(code)));
}
inline std::string goaway(StreamId last, ResetCode code) {
  return frame(NGHTTP2_GOAWAY, 0, 0, big_endian(last) + big_endian(static_cast<uint32_t>(code)));
}
inline std::string window_update(StreamId stream, uint32_t n) {
  return frame(NGHTTP2_WINDOW_UPDATE, 0, stream, big_endian(n));
}
inline std::string ping(uint8_t flags = 0) {
  return frame(NGHTTP2_PING, flags, 0, "12345678");
}
inline FieldList get(std::string_view path = "/") {
  return {{":method", "GET"}, {":scheme", "https"}, {":path", std::string(path)}, {":authority", "a.test"}};
}
inline FieldList operator+(FieldList a, const FieldList& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// ---- frames read back: "HEADERS 1 end", "DATA 1 5", "RST_STREAM 3 1", "GOAWAY last code", "WINDOW_UPDATE 0 n" ...
inline std::string frames_of(std::string_view bytes) {
  static constexpr std::string_view kNames[] = {"DATA",         "HEADERS", "PRIORITY", "RST_STREAM",    "SETTINGS",
                                                "PUSH_PROMISE", "PING",    "GOAWAY",   "WINDOW_UPDATE", "CONTINUATION"};
  const auto number = [](std::string_view four) {
    uint32_t value = 0;
    for (const char c : four) value = value << 8 | static_cast<uint8_t>(c);
    return value;
  };
  if (bytes.starts_with(kH2Preface)) bytes.remove_prefix(kH2Preface.size());
  std::string out;
  while (bytes.size() >= H2FrameHeader::kBytes) {
    const auto header = H2FrameHeader::parse(bytes);
    const std::string_view payload = bytes.substr(H2FrameHeader::kBytes, header.length);
    bytes.remove_prefix(H2FrameHeader::kBytes + payload.size());
    const bool flag = (header.flags & kEndStreamFlag) != 0;
    out += std::string(header.type < std::size(kNames) ? kNames[header.type] : "?");
    switch (header.type) {
      case NGHTTP2_DATA:
        out += " " + std::to_string(header.stream) + " " + std::to_string(header.length) + (flag ? " end" : "");
        break;
      case NGHTTP2_HEADERS:
        out += " " + std::to_string(header.stream) + (flag ? " end" : "");
        break;
      case NGHTTP2_RST_STREAM:
      case NGHTTP2_WINDOW_UPDATE:
        out += " " + std::to_string(header.stream) + " " + std::to_string(number(payload));
        break;
      case NGHTTP2_SETTINGS:
      case NGHTTP2_PING:
        out += flag ? " ack" : "";
        break;
      case NGHTTP2_GOAWAY:
        out += " " + std::to_string(number(payload.substr(0, 4))) + " " + std::to_string(number(payload.substr(4, 4)));
        break;
      default:
        break;
    }
    out += "\n";
  }
  return out;
}

}  // namespace tapdeck::http
