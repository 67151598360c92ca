// DNS messages, as far as a server of names that are on tape needs them: a query is read, an answer is written or given
// again, and what a resolver answered is told apart and read for people (RFC 1035; EDNS: RFC 6891).
//
// Sans-IO and without an opinion: who answers what is tape_answers.h. Thread: any. Pure.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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
// The four bits in the header of an answer. FormErr: it has no header.
[[nodiscard]] Rcode rcode_of(std::string_view reply);
// SERVFAIL or REFUSED: this resolver does not answer, another may.
[[nodiscard]] bool is_failure(std::string_view reply);
// There is more than UDP could carry: who asked asks again, over TCP (RFC 1035 4.2.1).
[[nodiscard]] bool is_truncated(std::string_view reply);

// `recorded`, what a resolver once sent to a question of the same name and type, whole, as an answer to this query:
// with its id, its spelling of the name, its RD and CD. The recorded OPT record is left out, with what stands behind
// it; one of ours is added if the query has one. Longer than the asker takes over UDP: no records, TC is set. nullopt:
// no readable answer to such a question, or one that is about EDNS (an rcode above 15).
[[nodiscard]] std::optional<std::string> answer_again(const Query& query, std::string_view recorded);

// What an answer says, for people.
struct Answer {
  Rcode rcode = Rcode::NoError;
  // The answer section, sorted, without owners and TTLs; so two that say the same are equal, whatever their order.
  // "A 192.0.2.1", "AAAA 2001:db8::1", "CNAME x.example", "NS ...", "PTR ...", "MX 10 mail.example",
  // "SRV 10 5 443 host.example", "TXT \"one\" \"two\"" (at most kMostText bytes of it, then how many there are); what
  // else there is, of another class than IN or does not read as its type says, by its size alone: "TYPE65 (23 bytes)".
  // Names as Query::name, the root is "."; all is printable ASCII.
  std::vector<std::string> records;
  friend bool operator==(const Answer&, const Answer&) = default;
};
inline constexpr size_t kMostText = 1024;
// Of a whole reply. nullopt: no answer to a query, or its records do not end where it does.
[[nodiscard]] std::optional<Answer> read_answer(std::string_view reply);

// "A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"; "TYPE65" of others (RFC 3597 5).
[[nodiscard]] std::string type_name(uint16_t type);
// What type_name() says, in any case; "TYPE1" too. nullopt: another word, or a number above 65535.
[[nodiscard]] std::optional<uint16_t> type_of(std::string_view name);

}  // namespace tapdeck::names
