#include "daemon/names/dns_wire.h"

#include "daemon/base/ascii.h"

namespace tapdeck::names {
namespace {

constexpr size_t kMostLabel = 63, kMostName = 255;  // RFC 1035 2.3.4
constexpr uint8_t kPointer = 0xC0;
constexpr int kMostPointers = 127;  // one a label, of which a name has no more

// Of `length` bytes. False: the name is longer than a name can be.
bool append_label(std::string& name, Reader& in, size_t length, size_t& octets) {
  octets += 1 + length;
  if (length > kMostLabel || octets > kMostName) return false;
  if (!name.empty()) name += '.';
  for (size_t i = 0; i < length; ++i) append_escaped(name, in.byte());
  return true;
}

bool skip_name(Reader& in) {
  while (const size_t length = in.byte()) {
    if (length > kMostLabel) {
      in.skip(1);
      return length >= kPointer && in.ok();
    }
    in.skip(length);
  }
  return in.ok();
}

}  // namespace

void put(std::string& out, uint32_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xFF);
}

void append_escaped(std::string& out, uint8_t byte) {
  const char c = lowered(static_cast<char>(byte));
  if (byte <= ' ' || byte > '~') {
    out += '\\';
    for (const int digit : {byte / 100, byte / 10 % 10, byte % 10}) out += static_cast<char>('0' + digit);
    return;
  }
  if (c == '.' || c == '\\') out += '\\';
  out += c;
}

std::optional<std::string> read_name(Reader& in) {
  std::string name;
  size_t octets = 1;
  while (const size_t length = in.byte()) {
    if (!append_label(name, in, length, octets)) return std::nullopt;
  }
  return in.ok() ? std::optional(std::move(name)) : std::nullopt;
}

std::optional<std::string> read_compressed_name(Reader& in) {
  std::string name;
  size_t octets = 1, before = in.at();
  std::optional<Reader> behind;  // the first pointer, where what follows the name begins
  Reader part = in;
  for (int pointers = 0; const size_t length = part.byte();) {
    if (length < kPointer) {
      if (!append_label(name, part, length, octets)) return std::nullopt;
      continue;
    }
    const size_t to = (length & ~size_t{kPointer}) << 8 | part.byte();
    if (!part.ok() || to < kHeaderBytes || to >= before || ++pointers > kMostPointers) return std::nullopt;
    if (!behind) behind = part;
    part = Reader(in.message().substr(0, before), to);  // which ends before what points there
    before = to;
  }
  if (!part.ok()) return std::nullopt;
  in = behind.value_or(part);
  return name;
}

std::optional<Record> read_record(Reader& in) {
  Record record;
  record.begin = in.at();
  if (!skip_name(in)) return std::nullopt;
  record.type = in.word();
  record.record_class = in.word();
  record.ttl = uint32_t{in.word()} << 16;
  record.ttl |= in.word();
  record.length = in.word();
  record.data = in.at();
  in.skip(record.length);
  return in.ok() ? std::optional(record) : std::nullopt;
}

}  // namespace tapdeck::names
