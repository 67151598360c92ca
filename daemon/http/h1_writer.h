// H1Writer: serialises one message at a time into the output queue. It owns the framing of what is sent (how many body
// bytes are still promised, whether a chunk is open) and refuses anything that could split a message: CR, LF and NUL
// in names, values, reason and target, and framing headers that contradict each other.
//
// Heads are written as given: order, case, repeats and reason survive. Owner: H1Codec. Thread: its Worker's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/base/byte_queue.h"
#include "daemon/http/codec.h"
#include "daemon/http/message.h"

namespace tapdeck::http {

class H1Writer {
 public:
  // How the body of the message being written ends. Discard: the message has none (HEAD, 204, 304), bytes are dropped.
  enum class Framing : uint8_t { Closed, Discard, Length, Chunked, UntilClose };

  // What a head says about itself, and what its context makes of it.
  struct Plan {
    Framing framing = Framing::Discard;
    uint64_t length = 0;
    bool drop_transfer_encoding = false;  // the peer speaks HTTP/1.0
    std::string_view add_first;           // whole header lines with CRLF, e.g. Host
    std::string_view add_last;            // the same, behind the given fields
    std::string_view add_close;
  };
  // What the fields of a head to be sent say, read in one pass. Error Internal when a name or value could split the
  // message, or when framing headers contradict or repeat.
  struct Declared {
    std::optional<uint64_t> length;
    size_t hosts = 0;
    bool chunked = false;
    bool close = false;
    bool keep_alive = false;
    bool upgrade = false;  // both the Connection token and the field
  };
  static Result<Declared> inspect(const Headers& headers);

  [[nodiscard]] ByteQueue& output() { return out_; }
  [[nodiscard]] bool open() const { return framing_ != Framing::Closed; }

  // `headers` of both heads must have passed inspect().
  Result<void> request(const RequestHead& head, std::string_view host_line, const Plan& plan);
  Result<void> response(const ResponseHead& head, const Plan& plan);
  Result<size_t> body(std::string_view bytes, const std::optional<ChunkStart>& chunk);
  // Trailers go out only with a chunked body; other framings have no place for them.
  Result<void> end(const Headers& trailers);
  void abandon() { framing_ = Framing::Closed; }

 private:
  void head(std::string_view a, std::string_view b, std::string_view c, const Headers& headers, const Plan& plan);
  Result<void> begin_chunk(const ChunkStart& chunk);
  Result<size_t> chunked(std::string_view bytes, const std::optional<ChunkStart>& chunk);

  ByteQueue out_;
  Framing framing_ = Framing::Closed;
  uint64_t remaining_ = 0;      // of the Content-Length, or of the open chunk
  std::string last_extension_;  // of the chunk that will end the message
};

}  // namespace tapdeck::http
