#include "daemon/names/tape_answers.h"

#include <utility>

namespace tapdeck::names {
namespace {

// `name` is `domain` or below it.
bool is_within(std::string_view name, std::string_view domain) {
  return name.ends_with(domain) && (name.size() == domain.size() || name[name.size() - domain.size() - 1] == '.');
}

std::string answer_with(const Query& query, std::vector<Endpoint> addresses) {
  std::erase_if(addresses, [&query](const Endpoint& address) {
    return query.type != (address.family == Endpoint::Family::V6 ? kAaaa : kA);
  });
  return answer_to(query, Rcode::NoError, addresses);
}

bool is_service(const Query& query) {
  return query.type == kHttps || query.type == kSvcb;
}

Endpoint v4(uint32_t address) {
  Endpoint endpoint;
  endpoint.family = Endpoint::Family::V4;
  for (size_t i = 0; i < 4; ++i) endpoint.address[i] = static_cast<uint8_t>(address >> (24 - 8 * i));
  return endpoint;
}

Endpoint v6_loopback() {
  Endpoint endpoint;
  endpoint.family = Endpoint::Family::V6;
  endpoint.address[15] = 1;
  return endpoint;
}

}  // namespace

Endpoint synthetic_address(std::string_view name) {
  uint32_t hash = 2166136261;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619;
  constexpr uint32_t kNetwork = 198u << 24 | 18u << 16, kHosts = (1u << 17) - 1;
  return v4(kNetwork | ((hash ^ hash >> 17) & kHosts));
}

std::optional<std::string> TapeAnswers::of_known(const Query& query) {
  if (query.record_class != kInternet) return std::nullopt;
  if (is_within(query.name, "localhost")) return answer_with(query, {v4(0x7F000001), v6_loopback()});
  const auto lookup = is_service(query) ? std::nullopt : recorded(query.name, query.type);
  // The client would turn to TCP, which is refused in replay.
  const bool is_cut = lookup && is_truncated(lookup->reply) && (query.type == kA || query.type == kAaaa);
  auto known = !lookup || is_cut ? addresses(query.name) : std::nullopt;
  if (lookup && !known) {
    auto again = lookup->end == LookupEnd::Answered ? answer_again(query, lookup->reply) : std::nullopt;
    return again ? std::move(*again) : answer_to(query, Rcode::ServFail);
  }
  if (known) {
    if (known->empty()) known->push_back(synthetic_address(query.name));
    return answer_with(query, std::move(*known));
  }
  const auto rcode = rcode_of_others(query);
  return rcode ? std::optional(answer_to(query, *rcode)) : std::nullopt;
}

std::string TapeAnswers::of_unknown(const Query& query, const Asker& asker) {
  if (query.record_class != kInternet) return answer_to(query, Rcode::Refused);
  if (query.name.empty()) return answer_to(query, Rcode::NoError);  // there is a root
  const bool is_address = query.type == kA || query.type == kAaaa;  // else a service that clients look for beside
  const bool is_reverse = is_within(query.name, "in-addr.arpa") || is_within(query.name, "ip6.arpa");
  if (is_address && !is_reverse && !is_searched(query.name)) report(query.name, asker);
  return answer_to(query, Rcode::NxDomain);
}

std::string TapeAnswers::of(const Query& query, const Asker& asker) {
  auto known = of_known(query);
  return known ? std::move(*known) : of_unknown(query, asker);
}

std::optional<Lookup> TapeAnswers::recorded(std::string_view name, uint16_t type) const {
  return sources_.recorded ? sources_.recorded(name, type) : std::nullopt;
}

std::optional<std::vector<Endpoint>> TapeAnswers::addresses(std::string_view name) const {
  return sources_.addresses ? sources_.addresses(name) : std::nullopt;
}

std::optional<Rcode> TapeAnswers::rcode_of_others(const Query& query) const {
  std::optional<Rcode> out;
  for (const uint16_t type : {kA, kAaaa, query.type}) {
    if (type == query.type && !is_service(query)) continue;  // looked up before
    const auto lookup = recorded(query.name, type);
    if (!lookup) continue;
    const Rcode rcode = lookup->end == LookupEnd::Answered ? rcode_of(lookup->reply) : Rcode::ServFail;
    if (rcode == Rcode::NoError) return rcode;
    if (rcode == Rcode::NxDomain || !out) out = rcode == Rcode::NxDomain ? rcode : Rcode::ServFail;
  }
  return out == Rcode::ServFail && is_service(query) ? Rcode::NoError : out;
}

bool TapeAnswers::is_known(std::string_view name) const {
  return is_within(name, "localhost") || addresses(name) || recorded(name, kA) || recorded(name, kAaaa);
}

std::string_view TapeAnswers::without_search(std::string_view name) const {
  for (const std::string& domain : sources_.search) {
    if (name.size() > domain.size() && is_within(name, domain)) return name.substr(0, name.size() - domain.size() - 1);
  }
  return name;
}

bool TapeAnswers::is_searched(std::string_view name) const {
  const std::string_view asked = without_search(name);
  if (asked.size() == name.size()) return false;
  return reported_.contains(std::string(asked)) || is_known(asked);
}

void TapeAnswers::report(const std::string& name, const Asker& asker) {
  if (reported_.size() >= kMostReported || !reported_.insert(name).second) return;
  reported_.insert(std::string(without_search(name)));  // asked for next
  if (sources_.on_unknown) sources_.on_unknown(asker, name);
}

}  // namespace tapdeck::names
