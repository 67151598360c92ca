// H1Guard: our own strict reading of HTTP/1 lines, in front of llhttp. It refuses what Debian's llhttp 8.1 lets
// through (line ends, obs-fold, Host, HTTP/0.9, TE and CL in any doubtful shape, control bytes) and decides the
// framing of each message; llhttp then has to agree (h1_witness.h). It refuses and never repairs, but for blanks that
// old origins put behind a field's name or a chunk's size.
//
// Line based and incremental: H1LineReader cuts CRLF lines out of a ByteQueue, the guard judges one line at a time,
// so an error comes at the same byte however the input was split. Owner: H1Codec. Thread: its Worker's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/base/byte_queue.h"
#include "daemon/http/codec.h"
#include "daemon/http/message.h"

namespace tapdeck::http {

class H1LineReader {
 public:
  // The next line without its CRLF, nullopt while it is incomplete. Bare LF or lone CR: Error Protocol; more than
  // `limit` bytes including CRLF: TooLarge. The view is valid until release(), which must come before the next line;
  // its CRLF lies right behind it.
  Result<std::optional<std::string_view>> next(ByteQueue& in, size_t limit, Origin origin);
  void release(ByteQueue& in);
  // A line was returned and not released.
  [[nodiscard]] bool whole() const { return whole_; }
  // A line is begun but not complete.
  [[nodiscard]] bool partial() const { return !held_.empty() && !whole_; }

 private:
  std::string held_;  // pieces of a line that is not contiguous in the queue
  size_t consume_ = 0;
  bool whole_ = false;
};

class H1Guard {
 public:
  enum class Framing : uint8_t { None, Length, Chunked, UntilClose };

  // Bytes of one chunk-size line, and of all chunk extensions of a message: extensions are overhead that nobody pays
  // for (the amplification class of CVE-2023-39326).
  static constexpr size_t kChunkLineBytes = 1024;
  static constexpr size_t kExtensionBytes = 16384;

  H1Guard(Role role, Limits limits);

  // ---- one message, in this order; every Error is Protocol, TooLarge (a limit of heads) or
  // Unsupported (method)
  void begin();
  Result<void> request_line(std::string_view line, RequestHead& head);
  Result<void> status_line(std::string_view line, ResponseHead& head);
  Result<void> field(std::string_view line, Headers& headers);
  // After the empty line: Host, target form and framing rules. `scheme` is what origin-form requests get.
  Result<void> finish_request(RequestHead& head, std::string_view scheme);
  // Body::None: the answer to HEAD, or 2xx to CONNECT.
  enum class Body : uint8_t { AsFramed, None };
  Result<void> finish_response(const ResponseHead& head, Body body);
  Result<ChunkStart> chunk_line(std::string_view line);
  Result<void> trailer(std::string_view line, Headers& trailers);

  // ---- what the second parser is to see of a line: its size, and of a field the name as it was stored, without the
  // blanks that some origins put behind it (RFC 9112 5.1: a proxy takes them out of a response). In a request they are
  // refused.
  [[nodiscard]] std::string_view chunk_digits(std::string_view line) const {
    return without_padding(line.substr(0, line.find(';')));
  }

  // The Error Protocol that says so.
  [[nodiscard]] std::unexpected<Error> bad(std::string_view what) const;
  // The same of what leaves open where a message ends.
  [[nodiscard]] std::unexpected<Error> ambiguous(std::string_view what);
  void note_ambiguity() { is_ambiguous_ = true; }
  [[nodiscard]] bool is_ambiguous() const { return is_ambiguous_; }

  // ---- facts of the head, valid after finish_*
  [[nodiscard]] Framing framing() const { return framing_; }
  [[nodiscard]] uint64_t length() const { return length_.value_or(0); }
  // The sender will not, or must not, use the connection again after this message.
  [[nodiscard]] bool closes() const { return close_ || (version_ == Version::Http10 && !keep_alive_); }
  [[nodiscard]] bool asks_upgrade() const { return upgrade_token_ && upgrade_field_; }
  [[nodiscard]] bool expects_continue() const { return expect_continue_; }
  // How many more bytes this head or trailer section may have.
  [[nodiscard]] size_t room() const { return limits_.head_bytes - used_; }

 private:
  [[nodiscard]] std::string complaint(std::string_view what) const;
  [[nodiscard]] std::string_view without_padding(std::string_view text) const;
  Result<void> add_field(std::string_view line, Headers& to);
  Result<void> framing_field(std::string_view name, std::string_view value);
  Result<void> content_length(std::string_view value);
  Result<void> transfer_encoding(std::string_view value);
  void connection(std::string_view value);
  Result<void> check_target(RequestHead& head, std::string_view scheme);
  Result<void> absolute_target(RequestHead& head);

  Role role_;
  Limits limits_;
  Origin origin_;
  size_t used_ = 0;
  size_t extension_bytes_ = 0;
  Version version_ = Version::Http11;
  Framing framing_ = Framing::None;
  std::optional<uint64_t> length_;
  uint8_t hosts_ = 0;
  bool chunked_ = false;
  bool close_ = false;
  bool keep_alive_ = false;
  bool upgrade_token_ = false;
  bool upgrade_field_ = false;
  bool expect_continue_ = false;
  bool is_ambiguous_ = false;
};

}  // namespace tapdeck::http
