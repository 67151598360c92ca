// What an answer says, for people: read_answer() of dns_message.h, and the names of types.
#include <algorithm>
#include <array>
#include <charconv>

#include "daemon/base/ascii.h"
#include "daemon/names/dns_message.h"
#include "daemon/names/dns_wire.h"

namespace tapdeck::names {
namespace {

constexpr uint16_t kNs = 2, kCname = 5, kSoa = 6, kPtr = 12, kMx = 15, kTxt = 16, kSrv = 33;

struct TypeName {
  uint16_t type;
  std::string_view name;
};
constexpr std::array<TypeName, 9> kTypes{{{kA, "A"},
                                          {kNs, "NS"},
                                          {kCname, "CNAME"},
                                          {kSoa, "SOA"},
                                          {kPtr, "PTR"},
                                          {kMx, "MX"},
                                          {kTxt, "TXT"},
                                          {kAaaa, "AAAA"},
                                          {kSrv, "SRV"}}};

std::optional<std::string> address(Reader& in, Endpoint::Family family, size_t length) {
  Endpoint endpoint;
  endpoint.family = family;
  for (size_t i = 0; i < length; ++i) endpoint.address[i] = in.byte();
  return endpoint.ip();
}

// Numbers, and the name that they belong to.
std::optional<std::string> numbers_and_name(Reader& in, int numbers) {
  std::string out;
  for (int i = 0; i < numbers; ++i) out += std::to_string(in.word()) + " ";
  const auto name = read_compressed_name(in);
  if (!name) return std::nullopt;
  return out + (name->empty() ? "." : *name);
}

// Case is kept, other than in names.
void append_text(std::string& out, uint8_t byte) {
  if (byte == ' ') {
    out += ' ';
  } else if (byte == '"' || byte == '\\') {
    (out += '\\') += static_cast<char>(byte);
  } else if (byte > ' ' && byte <= '~') {
    out += static_cast<char>(byte);
  } else {
    append_escaped(out, byte);
  }
}

// RFC 1035 3.3.14: a length and as many bytes, again and again. Of long data the beginning.
std::optional<std::string> strings(Reader& in, size_t end) {
  std::string out;
  const size_t bytes = end - in.at(), shown_end = in.at() + std::min(bytes, kMostText);
  while (in.at() < end) {
    const bool is_shown = in.at() < shown_end;
    const size_t length = in.byte();
    if (in.at() + length > end) return std::nullopt;
    if (is_shown) out += out.empty() ? "\"" : " \"";
    for (size_t i = 0; i < length; ++i) {
      const uint8_t byte = in.byte();
      if (in.at() <= shown_end) append_text(out, byte);
    }
    if (is_shown) out += '"';
  }
  if (bytes > kMostText) out += " ... (" + std::to_string(bytes) + " bytes)";
  return out.empty() ? std::nullopt : std::optional(out);
}

// nullopt: it is not known how to read it, or it does not end where its length says.
std::optional<std::string> read_data(std::string_view reply, const Record& record) {
  Reader in(reply, record.data);
  const size_t end = record.data + record.length;
  const auto read = [&]() -> std::optional<std::string> {
    switch (record.type) {
      case kA:
        return address(in, Endpoint::Family::V4, 4);
      case kAaaa:
        return address(in, Endpoint::Family::V6, 16);
      case kNs:
      case kCname:
      case kPtr:
        return numbers_and_name(in, 0);
      case kMx:
        return numbers_and_name(in, 1);
      case kSrv:
        return numbers_and_name(in, 3);
      case kTxt:
        return strings(in, end);
      default:
        return std::nullopt;
    }
  };
  auto text = read();
  return in.at() == end ? std::move(text) : std::nullopt;
}

std::string for_people(std::string_view reply, const Record& record) {
  if (record.record_class == kInternet) {
    if (const auto data = read_data(reply, record)) return type_name(record.type) + " " + *data;
  }
  const std::string size = " (" + std::to_string(record.length) + " bytes)";
  const bool is_ours = record.record_class == kInternet;
  return (is_ours ? "" : "CLASS" + std::to_string(record.record_class) + " ") + type_name(record.type) + size;
}

}  // namespace

std::optional<Answer> read_answer(std::string_view reply) {
  Reader in(reply);
  in.skip(2);
  const uint16_t flags = in.word(), questions = in.word(), answers = in.word();
  const size_t before = size_t{answers} + in.word(), all = before + in.word();
  if (!in.ok() || (flags & kResponse) == 0 || (flags & kOpcode) != 0) return std::nullopt;
  for (unsigned i = 0; i < questions; ++i) {
    if (!read_compressed_name(in)) return std::nullopt;
    in.skip(4);
  }
  if (!in.ok()) return std::nullopt;
  Answer answer;
  unsigned rcode = flags & 0xF;
  for (size_t i = 0; i < all; ++i) {
    const auto record = read_record(in);
    if (!record) return std::nullopt;
    if (i < answers) answer.records.push_back(for_people(reply, *record));
    if (i >= before && record->type == kOpt) rcode |= record->ttl >> 24 << 4;
  }
  answer.rcode = static_cast<Rcode>(rcode);
  std::ranges::sort(answer.records);
  return answer;
}

std::string type_name(uint16_t type) {
  const auto* found = std::ranges::find(kTypes, type, &TypeName::type);
  return found == kTypes.end() ? "TYPE" + std::to_string(type) : std::string(found->name);
}

std::optional<uint16_t> type_of(std::string_view name) {
  const std::string asked = lowered(name);
  for (const TypeName& known : kTypes) {
    if (lowered(known.name) == asked) return known.type;
  }
  constexpr std::string_view kPrefix = "type";
  if (!asked.starts_with(kPrefix)) return std::nullopt;
  uint16_t type = 0;
  const char* end = asked.data() + asked.size();
  const auto read = std::from_chars(asked.data() + kPrefix.size(), end, type);
  return read.ec == std::errc() && read.ptr == end ? std::optional(type) : std::nullopt;
}

}  // namespace tapdeck::names
