// H2HeadReader: one decoded HTTP/2 header block (HPACK is behind us) -> RequestHead, ResponseHead or trailers.
//
// nghttp2 has judged names, values, order and repeats of pseudo-header fields, connection-specific fields, TE and
// Content-Length (its HTTP messaging rules, RFC 9113 8.1 to 8.3). Judged here is what it leaves open: :authority
// against Host, userinfo, bytes of the path that HTTP/1 cannot carry, CONNECT's target, framing fields in trailers, and
// the limits. Owner: H2Codec. Thread: its Worker's.
#pragma once

#include <optional>
#include <string_view>

#include "daemon/http/codec.h"
#include "daemon/http/message.h"

namespace tapdeck::http {

class H2HeadReader {
 public:
  enum class Block { Request, Response, Trailers };
  enum class Fit {
    Fits,
    TooLarge,  // over Limits.head_bytes, or too many fields; what follows is counted but not kept
    Hopeless,  // four times over: not worth decoding the rest
  };

  explicit H2HeadReader(Limits limits) : limits_(limits) {}

  // Clears the head or trailers that the block will fill; they outlive it.
  void begin(Block block, RequestHead& request, ResponseHead& response, Headers& trailers);
  Fit add(std::string_view name, std::string_view value);
  // The block is whole: nullopt, or why the message is malformed.
  std::optional<std::string_view> finish();

  [[nodiscard]] bool too_large() const { return too_large_; }
  // Which limit: the number of fields, or their bytes.
  [[nodiscard]] bool too_many() const { return too_many_; }

 private:
  void pseudo(std::string_view name, std::string_view value);
  std::optional<std::string_view> finish_request();

  Limits limits_;
  Block block_ = Block::Request;
  RequestHead* request_ = nullptr;
  ResponseHead* response_ = nullptr;
  Headers* fields_ = nullptr;
  size_t bytes_ = 0;  // RFC 9113 6.5.2: name, value and 32 a field
  size_t count_ = 0;
  bool too_large_ = false;
  bool too_many_ = false;
  bool framing_field_ = false;
};

}  // namespace tapdeck::http
