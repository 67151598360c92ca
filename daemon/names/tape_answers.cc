#include "daemon/names/tape_answers.h"

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
  auto recorded = tape_(query.name);
  if (!recorded) return std::nullopt;
  answered_.fetch_add(1, std::memory_order_relaxed);
  if (recorded->empty()) recorded->push_back(synthetic_address(query.name));
  return answer_with(query, std::move(*recorded));
}

std::string TapeAnswers::of(const Query& query) {
  if (auto answer = of_known(query)) return std::move(*answer);
  if (query.record_class != kInternet) return answer_to(query, Rcode::Refused);
  if (query.name.empty()) return answer_to(query, Rcode::NoError);  // there is a root
  const bool is_address = query.type == kA || query.type == kAaaa;  // else a service that clients look for beside
  const bool is_reverse = is_within(query.name, "in-addr.arpa") || is_within(query.name, "ip6.arpa");
  if (is_address && !is_reverse && !is_searched(query.name)) report(query.name);
  return answer_to(query, Rcode::NxDomain);
}

std::string_view TapeAnswers::without_search(std::string_view name) const {
  for (const std::string& domain : search_) {
    if (name.size() > domain.size() && is_within(name, domain)) return name.substr(0, name.size() - domain.size() - 1);
  }
  return name;
}

bool TapeAnswers::is_searched(std::string_view name) const {
  const std::string_view asked = without_search(name);
  if (asked.size() == name.size()) return false;
  return is_within(asked, "localhost") || reported_.contains(std::string(asked)) || tape_(asked).has_value();
}

void TapeAnswers::report(const std::string& name) {
  unknown_.fetch_add(1, std::memory_order_relaxed);
  if (reported_.size() >= kMostReported || !reported_.insert(name).second) return;
  reported_.insert(std::string(without_search(name)));  // asked for next
  if (on_unknown_) on_unknown_(name);
}

}  // namespace tapdeck::names
