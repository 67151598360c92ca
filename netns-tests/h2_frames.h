// HTTP/2 frames by hand (RFC 9113 sections 4 and 6), for origins that say exactly what a test wants. Thread: any.
#pragma once

#include <cstdint>
#include <string>

#include "netns-tests/stream.h"

namespace tapdeck::lab {

[[nodiscard]] std::string h2_frame(uint8_t type, uint8_t flags, uint32_t stream, const std::string& payload = "");
// What an origin says first: SETTINGS, and the acknowledgement of the client's.
[[nodiscard]] std::string h2_greeting();
// HEADERS of ":status: 200" and "content-length: 10".
[[nodiscard]] std::string h2_head(uint32_t stream);
[[nodiscard]] std::string h2_reset(uint32_t stream, uint32_t code);
[[nodiscard]] std::string h2_goaway(uint32_t last_stream, uint32_t code);
// DATA with the ten bytes of the body, which end the stream.
[[nodiscard]] std::string h2_body(uint32_t stream);
inline const std::string kH2Body = "0123456789";

// Reads on until the HEADERS of a request have come; the connection's preface first when `greets`. Its stream; 0: the
// client left.
[[nodiscard]] uint32_t read_h2_request(Stream& stream, bool greets);

}  // namespace tapdeck::lab
