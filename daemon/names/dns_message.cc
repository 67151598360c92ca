#include "daemon/names/dns_message.h"

#include <algorithm>

#include "daemon/base/ascii.h"

namespace tapdeck::names {
namespace {

constexpr size_t kHeaderBytes = 12, kLeastPayload = 512, kMostPayload = 4096, kOptBytes = 11;
constexpr size_t kMostLabel = 63, kMostName = 255;  // RFC 1035 2.3.4
constexpr uint16_t kResponse = 0x8000, kOpcode = 0x7800, kTruncated = 0x0200, kRecursionDesired = 0x0100,
                   kRecursionAvailable = 0x0080, kCheckingDisabled = 0x0010;
constexpr uint16_t kOpt = 41, kDnssecOk = 0x8000;
constexpr uint32_t kTtlSeconds = 60;

// Reads forward; past the end everything is 0 and ok() is false.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  uint8_t byte() {
    skip(1);
    return ok() ? static_cast<uint8_t>(bytes_[at_ - 1]) : uint8_t{0};
  }
  uint16_t word() {
    const unsigned high = byte();
    return static_cast<uint16_t>(high << 8 | byte());
  }
  void skip(size_t count) { at_ += count; }
  [[nodiscard]] bool ok() const { return at_ <= bytes_.size(); }
  [[nodiscard]] size_t at() const { return at_; }

 private:
  std::string_view bytes_;
  size_t at_ = 0;
};

void put(std::string& out, uint32_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xFF);
}

std::string header(uint16_t id, uint16_t flags, uint16_t questions, uint16_t answers, uint16_t additional) {
  std::string out;
  for (const uint16_t word : {id, flags, questions, answers, uint16_t{0}, additional}) put(out, word, 2);
  return out;
}

void append_escaped(std::string& name, uint8_t byte) {
  const char c = lowered(static_cast<char>(byte));
  if (byte <= ' ' || byte > '~') {
    name += '\\';
    for (const int digit : {byte / 100, byte / 10 % 10, byte % 10}) name += static_cast<char>('0' + digit);
    return;
  }
  if (c == '.' || c == '\\') name += '\\';
  name += c;
}

std::optional<std::string> read_name(Reader& in) {
  std::string name;
  size_t octets = 1;
  while (const size_t length = in.byte()) {
    octets += 1 + length;
    if (length > kMostLabel || octets > kMostName) return std::nullopt;
    if (!name.empty()) name += '.';
    for (size_t i = 0; i < length; ++i) append_escaped(name, in.byte());
  }
  return in.ok() ? std::optional(std::move(name)) : std::nullopt;
}

// Of a record: where it points to does not matter. False: it is not a name.
bool skip_name(Reader& in) {
  while (const size_t length = in.byte()) {
    if (length > kMostLabel) {
      in.skip(1);
      return length >= 0xC0 && in.ok();
    }
    in.skip(length);
  }
  return in.ok();
}

// The asker's OPT record, or the error to answer with.
std::expected<std::optional<Edns>, Rcode> read_records(Reader& in, size_t before_additional, size_t additional) {
  std::optional<Edns> edns;
  for (size_t i = 0; i < before_additional + additional; ++i) {
    if (!skip_name(in)) return std::unexpected(Rcode::FormErr);
    const uint16_t type = in.word(), payload = in.word();
    const uint8_t version = (in.skip(1), in.byte());
    const uint16_t flags = in.word();
    in.skip(in.word());
    if (!in.ok()) return std::unexpected(Rcode::FormErr);
    if (type != kOpt || i < before_additional) continue;
    if (edns) return std::unexpected(Rcode::FormErr);
    if (version != 0) return std::unexpected(Rcode::BadVers);
    edns = Edns{payload, (flags & kDnssecOk) != 0};
  }
  return edns;
}

}  // namespace

std::expected<Query, Unreadable> read_query(std::string_view datagram) {
  Reader in(datagram);
  Query query;
  query.id = in.word();
  query.flags = in.word();
  const uint16_t questions = in.word();
  const size_t others = size_t{in.word()} + in.word();
  const uint16_t additional = in.word();
  if (!in.ok() || (query.flags & kResponse) != 0) return std::unexpected(Unreadable());
  const auto refuse = [&query](Rcode rcode) {
    const int flags = kResponse | (query.flags & (kOpcode | kRecursionDesired)) | static_cast<int>(rcode);
    return std::unexpected(Unreadable{header(query.id, static_cast<uint16_t>(flags), 0, 0, 0)});
  };
  if ((query.flags & kOpcode) != 0) return refuse(Rcode::NotImp);
  if (questions != 1) return refuse(Rcode::FormErr);
  auto name = read_name(in);
  query.type = in.word();
  query.record_class = in.word();
  if (!name || !in.ok()) return refuse(Rcode::FormErr);
  query.name = std::move(*name);
  query.question = datagram.substr(kHeaderBytes, in.at() - kHeaderBytes);
  const auto edns = read_records(in, others, additional);
  if (edns) {
    query.edns = *edns;
    return query;
  }
  if (edns.error() != Rcode::BadVers) return refuse(edns.error());
  query.edns = Edns();
  return std::unexpected(Unreadable{answer_to(query, Rcode::BadVers)});
}

std::string answer_to(const Query& query, Rcode rcode, std::span<const Endpoint> addresses) {
  const size_t room = std::clamp<size_t>(query.edns ? query.edns->payload : 0, kLeastPayload, kMostPayload) -
                      (query.edns ? kOptBytes : 0);
  std::string records;
  uint16_t count = 0, truncated = 0;
  for (const Endpoint& address : addresses) {
    const bool is_v6 = address.family == Endpoint::Family::V6;
    const uint16_t bytes = is_v6 ? 16 : 4;
    if (kHeaderBytes + query.question.size() + records.size() + 12 + bytes > room) {
      truncated = kTruncated;
      break;
    }
    put(records, 0xC000 | kHeaderBytes, 2);  // the name of the question
    put(records, is_v6 ? kAaaa : kA, 2);
    put(records, kInternet, 2);
    put(records, kTtlSeconds, 4);
    put(records, bytes, 2);
    records.append(reinterpret_cast<const char*>(address.address.data()), bytes);
    ++count;
  }
  const unsigned code = static_cast<unsigned>(rcode);
  const unsigned flags = kResponse | (query.flags & (kRecursionDesired | kCheckingDisabled)) | kRecursionAvailable |
                         truncated | (code & 0xF);
  std::string out = header(query.id, static_cast<uint16_t>(flags), 1, count, query.edns ? 1 : 0);
  out += query.question;
  out += records;
  if (!query.edns) return out;
  put(out, 0, 1);  // the root
  put(out, kOpt, 2);
  put(out, kMostPayload, 2);
  put(out, code >> 4, 1);
  put(out, 0, 1);                                      // version
  put(out, query.edns->dnssec_ok ? kDnssecOk : 0, 2);  // RFC 3225 3
  put(out, 0, 2);
  return out;
}

bool is_answer_to(const Query& query, std::string_view reply) {
  Reader in(reply);
  const uint16_t id = in.word(), flags = in.word(), questions = in.word();
  if (reply.size() < kHeaderBytes || id != query.id || (flags & kResponse) == 0 || (flags & kOpcode) != 0) return false;
  if (questions == 0) return rcode_of(reply) != Rcode::NoError;
  const std::string_view question = reply.substr(kHeaderBytes, query.question.size());
  const size_t name_bytes = query.question.size() - 4;  // no length of a label is a letter
  return questions == 1 && question.size() == query.question.size() &&
         question.substr(name_bytes) == std::string_view(query.question).substr(name_bytes) &&
         lowered(question) == lowered(query.question);
}

Rcode rcode_of(std::string_view reply) {
  return reply.size() < kHeaderBytes ? Rcode::FormErr : static_cast<Rcode>(reply[3] & 0xF);
}

}  // namespace tapdeck::names
