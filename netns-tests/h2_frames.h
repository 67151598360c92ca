// HTTP/2 frames by hand (RFC 9113 sections 4 and 6), for peers that say exactly what a test wants. Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "netns-tests/stream.h"

namespace tapdeck::lab {

[[nodiscard]] std::string h2_frame(uint8_t type, uint8_t flags, uint32_t stream, const std::string& payload = "");
// What an origin says first: SETTINGS, and the acknowledgement of the client's.
[[nodiscard]] std::string h2_greeting();
// HEADERS of ":status: 200" and "content-length: 10".
[[nodiscard]] std::string h2_head(uint32_t stream);
// What a client says first: the preface, and SETTINGS with this window of its streams.
[[nodiscard]] std::string h2_client_greeting(uint32_t window = 65535);
// HEADERS of "GET http://origin.test/", which end the stream.
[[nodiscard]] std::string h2_get(uint32_t stream);
// HEADERS of "POST http://origin.test/" and "content-length: 10".
[[nodiscard]] std::string h2_post(uint32_t stream);
[[nodiscard]] std::string h2_reset(uint32_t stream, uint32_t code);
[[nodiscard]] std::string h2_goaway(uint32_t last_stream, uint32_t code);
// DATA with the ten bytes of the body, which end the stream.
[[nodiscard]] std::string h2_body(uint32_t stream);
// DATA with the first five of them.
[[nodiscard]] std::string h2_half_body(uint32_t stream);
inline const std::string kH2Body = "0123456789";

struct H2Frame {
  uint8_t type = 0;
  uint8_t flags = 0;
  uint32_t stream = 0;
  [[nodiscard]] bool is_headers() const { return type == 1; }
  [[nodiscard]] bool is_reset() const { return type == 3; }
  [[nodiscard]] bool ends_stream() const { return type <= 1 && (flags & 1) != 0; }  // DATA or HEADERS
};
// What an origin reads first; false: the client left.
[[nodiscard]] bool read_h2_preface(Stream& stream);
// The next frame, its payload skipped; nothing: the client left.
[[nodiscard]] std::optional<H2Frame> read_h2_frame(Stream& stream);
// Reads on until the HEADERS of a request have come. Its stream; 0: the client left.
[[nodiscard]] uint32_t read_h2_request(Stream& stream);
// The same of a connection's first request: the preface comes before it.
[[nodiscard]] uint32_t read_first_h2_request(Stream& stream);

}  // namespace tapdeck::lab
