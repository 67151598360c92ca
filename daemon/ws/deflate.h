// Inflater and Deflater: the compression of one direction of a connection with permessage-deflate (RFC 7692).
//
// Sans-IO over zlib, bounded: an inflated message never grows past its limit. Owner: a reader or writer of messages.
// Thread: any, one at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/ws/violation.h"

struct z_stream_s;

namespace tapdeck::ws {

// Whether a message may refer to bytes of those before it.
enum class Context : uint8_t { Kept, Dropped };

class Inflater {
 public:
  // Takes any window size: its own is the largest.
  explicit Inflater(Context context);
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater();

  // Appends to `out`, which must not become longer than `limit`. Violation kInvalidData: not deflate; kTooBig.
  [[nodiscard]] Checked<void> feed(std::string_view bytes, std::string& out, size_t limit);
  // The message ends here: what the sender cut off its end is put back and inflated.
  [[nodiscard]] Checked<void> finish(std::string& out, size_t limit);

 private:
  std::unique_ptr<z_stream_s> stream_;
  Context context_;
  bool ended_ = false;  // the sender's block was its last (BFINAL); another stream may follow in the same message
};

class Deflater {
 public:
  // `window_bits` 9..15.
  Deflater(Context context, int window_bits);
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;
  ~Deflater();

  // One whole message. Nullopt, always: there was no memory to begin with. It may be sent as it is (RFC 7692 6.1).
  [[nodiscard]] std::optional<std::string> message(std::string_view payload);

 private:
  std::unique_ptr<z_stream_s> stream_;
  Context context_;
};

}  // namespace tapdeck::ws
