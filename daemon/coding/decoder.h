// Decoder: takes content codings off a body as it streams. Sans-IO; memory is bounded whatever the bytes say: a 16 KiB
// buffer and the coding's window (deflate 32 KiB, brotli 16 MiB, zstd 8 MiB as RFC 9659 asks) a coding.
//
// Owner: one exchange, or one search. Thread: any, one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/coding/coding.h"

namespace tapdeck::coding {

// What a body may become. Honest text reaches 20:1; deflate ends at 1032:1, brotli and zstd have no end. The ratio is
// asked only beyond `free_output`, so that a short run of zeros is not taken for a bomb.
struct Bounds {
  uint64_t max_output = 256ULL << 20;
  uint64_t max_ratio = 100;
  uint64_t free_output = 1ULL << 20;
};

using Sink = std::function<void(std::string_view)>;

// One coding, one direction. Internal to coding/: the libraries behind one shape.
class Stage {
 public:
  Stage() = default;
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;
  virtual ~Stage() = default;
  // Takes from the front of `in`, writes to `out`, returns how much it wrote; 0 with `in` empty: wants more. Errors:
  // Protocol (not this coding), Exhausted (no memory).
  virtual Result<size_t> step(std::string_view& in, std::span<char> out) = 0;
  // Decoding: the bytes so far are whole.
  [[nodiscard]] virtual bool is_whole() const = 0;
  // Encoding: no more input comes; writes until it returns 0.
  virtual Result<size_t> finish(std::span<char> /*out*/) { return size_t{0}; }
};

class Decoder {
 public:
  // `codings` as codings_of() gives them, in the order they were applied. None: bytes pass as they are.
  Decoder(std::span<const Coding> codings, const Bounds& bounds);

  // Hands what `bytes` decode to on to `sink`, in pieces. Error Protocol: malformed; TooLarge: beyond the bounds;
  // Exhausted. An error is final, what was handed on before stays.
  Result<void> feed(std::string_view bytes, const Sink& sink);
  // The same at the caller's pace: decodes what fits `out` (not empty), takes what it used from the front of `bytes`,
  // and returns how much it wrote; 0: `bytes` are used up. What one call leaves of them comes first in the next.
  Result<size_t> read(std::string_view& bytes, std::span<char> out);
  // Error Truncated: the body ended in the middle.
  [[nodiscard]] Result<void> finish() const;
  [[nodiscard]] uint64_t output_bytes() const { return output_; }

 private:
  // A stage and what it has written that the next has not read.
  struct Link {
    std::unique_ptr<Stage> stage;
    std::unique_ptr<char[]> buffer;
    std::string_view unread;
    bool may_hold = false;  // the last step filled its buffer: more may come without further input
  };
  // What `link` makes of `bytes`, which are given to the first.
  Result<size_t> pull(size_t link, std::string_view& bytes, std::span<char> out);
  [[nodiscard]] Result<void> count(size_t written);

  std::vector<Link> links_;  // the last applied coding first
  Bounds bounds_;
  uint64_t input_ = 0;
  uint64_t output_ = 0;
};

// A whole body at once.
[[nodiscard]] Result<std::string> decode(std::span<const Coding> codings, std::string_view bytes,
                                         const Bounds& bounds = {});

// Puts one coding onto a body as it streams: for clients that take neither what was recorded nor plain bytes.
class Encoder {
 public:
  explicit Encoder(Coding coding);
  // Appends to `out`; with a coding the output lags behind.
  Result<void> feed(std::string_view bytes, std::string& out);
  Result<void> finish(std::string& out);

 private:
  std::unique_ptr<Stage> stage_;  // null: identity
};

}  // namespace tapdeck::coding
