// Bytes of DNS messages (RFC 1035 4.1): numbers, names and records, read forward. What they mean is dns_message.h's.
// Thread: any. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tapdeck::names {

inline constexpr size_t kHeaderBytes = 12;
inline constexpr uint16_t kResponse = 0x8000, kOpcode = 0x7800, kTruncated = 0x0200, kRecursionDesired = 0x0100,
                          kRecursionAvailable = 0x0080, kCheckingDisabled = 0x0010;
inline constexpr uint16_t kOpt = 41;

// Reads forward; past the end everything is 0 and ok() is false.
class Reader {
 public:
  explicit Reader(std::string_view message, size_t at = 0) : message_(message), at_(at) {}
  uint8_t byte() {
    skip(1);
    return ok() ? static_cast<uint8_t>(message_[at_ - 1]) : uint8_t{0};
  }
  uint16_t word() {
    const unsigned high = byte();
    return static_cast<uint16_t>(high << 8 | byte());
  }
  void skip(size_t count) { at_ += count; }
  [[nodiscard]] bool ok() const { return at_ <= message_.size(); }
  [[nodiscard]] size_t at() const { return at_; }
  [[nodiscard]] std::string_view message() const { return message_; }

 private:
  std::string_view message_;
  size_t at_ = 0;
};

// Big endian.
void put(std::string& out, uint32_t value, int bytes);
// A character of a name or text: lower case; a byte that is none as \DDD (RFC 1035 5.1).
void append_escaped(std::string& out, uint8_t byte);

// A name as Query::name says it. nullopt: none, more than 255 bytes, or compressed.
[[nodiscard]] std::optional<std::string> read_name(Reader& in);
// One that may be compressed: each pointer leads to what stands whole before it, behind the header; at most 127 of
// them.
[[nodiscard]] std::optional<std::string> read_compressed_name(Reader& in);

struct Record {
  size_t begin = 0;  // of its name
  uint16_t type = 0;
  uint16_t record_class = 0;  // of OPT: the bytes of UDP payload that its sender takes
  uint32_t ttl = 0;           // of OPT: upper bits of the rcode, version, flags
  size_t data = 0;            // where it begins
  uint16_t length = 0;        // of its data
};
// nullopt: it does not end where the message does. Where its name points does not matter.
[[nodiscard]] std::optional<Record> read_record(Reader& in);

}  // namespace tapdeck::names
