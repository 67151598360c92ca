#include "daemon/names/dns_message.h"

#include <algorithm>

#include "daemon/base/ascii.h"
#include "daemon/names/dns_wire.h"

namespace tapdeck::names {
namespace {

constexpr size_t kLeastPayload = 512, kMostPayload = 4096, kMostSent = 65507, kOptBytes = 11;
constexpr uint32_t kTtlSeconds = 60, kDnssecOk = 0x8000;

// Records of each section.
struct Counts {
  size_t questions = 0, answers = 0, authorities = 0, additional = 0;
};

std::string header(uint16_t id, unsigned flags, const Counts& counts) {
  std::string out;
  put(out, id, 2);
  put(out, flags, 2);
  for (const size_t count : {counts.questions, counts.answers, counts.authorities, counts.additional}) {
    put(out, static_cast<uint32_t>(count), 2);
  }
  return out;
}

// Ours, if the query has one. `rcode`: of which it has the upper bits (RFC 6891 6.1.3).
void put_opt(std::string& out, const Query& query, unsigned rcode) {
  if (!query.edns) return;
  put(out, 0, 1);  // the root
  put(out, kOpt, 2);
  put(out, kMostPayload, 2);
  put(out, rcode >> 4, 1);
  put(out, query.edns->dnssec_ok ? kDnssecOk : 0, 3);  // version 0, flags (RFC 3225 3)
  put(out, 0, 2);
}

// Bytes that the asker takes over UDP, but for our OPT record.
size_t room_for(const Query& query, size_t most) {
  if (!query.edns) return kLeastPayload;
  return std::clamp<size_t>(query.edns->payload, kLeastPayload, most) - kOptBytes;
}

// The asker's OPT record, or the error to answer with.
std::expected<std::optional<Edns>, Rcode> read_edns(Reader& in, size_t before_additional, size_t additional) {
  std::optional<Edns> edns;
  for (size_t i = 0; i < before_additional + additional; ++i) {
    const auto record = read_record(in);
    if (!record) return std::unexpected(Rcode::FormErr);
    if (record->type != kOpt || i < before_additional) continue;
    if (edns) return std::unexpected(Rcode::FormErr);
    if ((record->ttl >> 16 & 0xFF) != 0) return std::unexpected(Rcode::BadVers);
    edns = Edns{record->record_class, (record->ttl & kDnssecOk) != 0};
  }
  return edns;
}

// Whether an answer's one question is this, in any case. No length of a label is a letter.
bool has_question(const Query& query, std::string_view reply) {
  const std::string_view question = reply.substr(kHeaderBytes, query.question.size());
  const size_t name_bytes = query.question.size() - 4;
  return question.size() == query.question.size() &&
         question.substr(name_bytes) == std::string_view(query.question).substr(name_bytes) &&
         lowered(question) == lowered(query.question);
}

struct AnswerHeader {
  uint16_t id = 0, flags = 0;
  Counts counts;
};

// nullopt: no answer to a query.
std::optional<AnswerHeader> read_answer_header(std::string_view reply) {
  Reader in(reply);
  const AnswerHeader read{in.word(), in.word(), {in.word(), in.word(), in.word(), in.word()}};
  if (!in.ok() || (read.flags & kResponse) == 0 || (read.flags & kOpcode) != 0) return std::nullopt;
  return read;
}

// Up to the OPT record; that, and what stands behind it, is left out. nullopt: not readable, or it is about EDNS.
struct Kept {
  size_t end = 0;  // of their bytes
  Counts counts;
};
std::optional<Kept> without_opt(std::string_view reply, size_t begin, const Counts& counts) {
  Reader in(reply, begin);
  const size_t before = counts.answers + counts.authorities;
  for (size_t i = 0; i < before + counts.additional; ++i) {
    const size_t end = in.at();
    const auto record = read_record(in);
    if (!record || (record->type == kOpt && i >= before && record->ttl >> 24 != 0)) return std::nullopt;
    if (record->type == kOpt && i >= before) return Kept{end, {1, counts.answers, counts.authorities, i - before}};
  }
  return Kept{in.at(), counts};
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
    const unsigned flags = kResponse | (query.flags & (kOpcode | kRecursionDesired)) | static_cast<unsigned>(rcode);
    return std::unexpected(Unreadable{header(query.id, flags, {})});
  };
  if ((query.flags & kOpcode) != 0) return refuse(Rcode::NotImp);
  if (questions != 1) return refuse(Rcode::FormErr);
  auto name = read_name(in);
  query.type = in.word();
  query.record_class = in.word();
  if (!name || !in.ok()) return refuse(Rcode::FormErr);
  query.name = std::move(*name);
  query.question = datagram.substr(kHeaderBytes, in.at() - kHeaderBytes);
  const auto edns = read_edns(in, others, additional);
  if (edns) {
    query.edns = *edns;
    return query;
  }
  if (edns.error() != Rcode::BadVers) return refuse(edns.error());
  query.edns = Edns();
  return std::unexpected(Unreadable{answer_to(query, Rcode::BadVers)});
}

std::string answer_to(const Query& query, Rcode rcode, std::span<const Endpoint> addresses) {
  const size_t room = room_for(query, kMostPayload);
  std::string records;
  size_t count = 0;
  unsigned truncated = 0;
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
  std::string out = header(query.id, flags, {1, count, 0, query.edns ? 1U : 0U});
  out += query.question;
  out += records;
  put_opt(out, query, code);
  return out;
}

bool is_answer_to(const Query& query, std::string_view reply) {
  const auto read = read_answer_header(reply);
  if (!read || read->id != query.id) return false;
  if (read->counts.questions == 0) return rcode_of(reply) != Rcode::NoError;
  return read->counts.questions == 1 && has_question(query, reply);
}

Rcode rcode_of(std::string_view reply) {
  return reply.size() < kHeaderBytes ? Rcode::FormErr : static_cast<Rcode>(reply[3] & 0xF);
}

bool is_failure(std::string_view reply) {
  return rcode_of(reply) == Rcode::ServFail || rcode_of(reply) == Rcode::Refused;
}

bool is_truncated(std::string_view reply) {
  return reply.size() >= kHeaderBytes && (static_cast<uint8_t>(reply[2]) & kTruncated >> 8) != 0;
}

std::optional<std::string> answer_again(const Query& query, std::string_view recorded) {
  const auto read = read_answer_header(recorded);
  if (!read) return std::nullopt;
  if (read->counts.questions == 0 && rcode_of(recorded) != Rcode::NoError) return answer_to(query, rcode_of(recorded));
  if (read->counts.questions != 1 || !has_question(query, recorded)) return std::nullopt;
  const size_t begin = kHeaderBytes + query.question.size();
  auto kept = without_opt(recorded, begin, read->counts);
  if (!kept) return std::nullopt;
  constexpr unsigned kAskers = kRecursionDesired | kCheckingDisabled;
  unsigned flags = (read->flags & ~kAskers) | (query.flags & kAskers);
  if (kept->end > room_for(query, kMostSent)) {
    kept = Kept{begin, {1, 0, 0, 0}};
    flags |= kTruncated;
  }
  if (query.edns) ++kept->counts.additional;
  std::string out = header(query.id, flags, kept->counts);
  out += query.question;
  out += recorded.substr(begin, kept->end - begin);
  put_opt(out, query, 0);
  return out;
}

}  // namespace tapdeck::names
