// DNS messages, as far as a server of names that are on tape needs them: a query is read, an answer is written, and
// what a resolver answered is told apart (RFC 1035; EDNS: RFC 6891).
//
// Sans-IO and without an opinion: who answers what is tape_answers.h. Thread: any. Pure.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "daemon/base/endpoint.h"

namespace tapdeck::names {

// Types of records, and the class of the Internet.
inline constexpr uint16_t kA = 1, kAaaa = 28, kSvcb = 64, kHttps = 65;
inline constexpr uint16_t kInternet = 1;

enum class Rcode : uint16_t {
  NoError = 0,
  FormErr = 1,
  ServFail = 2,
  NxDomain = 3,
  NotImp = 4,
  Refused = 5,
  BadVers = 16,  // its upper bits are in the OPT record (RFC 6891 6.1.3)
};

// What the asker's OPT record says.
struct Edns {
  uint16_t payload = 0;  // bytes of UDP payload that it takes
  bool dnssec_ok = false;
  friend bool operator==(const Edns&, const Edns&) = default;
};

struct Query {
  uint16_t id = 0;
  uint16_t flags = 0;    // the second word of the header
  std::string question;  // as sent: the name in the case it was asked in, type, class
  std::string name;      // lower case, no trailing dot; "" is the root. Other than printable: as RFC 1035 5.1 escapes
  uint16_t type = 0;
  uint16_t record_class = 0;
  std::optional<Edns> edns;
};

// No query, and what to say to it: FORMERR, NOTIMP or BADVERS. Empty: nothing, it has no header or is an answer.
struct Unreadable {
  std::string answer;
};

// Of one datagram. Unreadable: no whole header, another operation than a query, other than one question, a compressed
// name in it (there is nothing before it to point at), two OPT records, or records that do not end where the datagram
// does. Bytes behind the last record are left alone.
[[nodiscard]] std::expected<Query, Unreadable> read_query(std::string_view datagram);

// With an A or AAAA record for each of the addresses; as many as go into 512 bytes, or what the asker takes, else TC is
// set. To a query with an OPT record the answer has one.
[[nodiscard]] std::string answer_to(const Query& query, Rcode rcode, std::span<const Endpoint> addresses = {});

// `reply` is an answer to this query: its id and question (in any case). Without a question if it says only an error.
[[nodiscard]] bool is_answer_to(const Query& query, std::string_view reply);
// The four bits in the header of an answer.
[[nodiscard]] Rcode rcode_of(std::string_view reply);

}  // namespace tapdeck::names
