#include "daemon/app/session_names.h"

#include <algorithm>
#include <utility>

#include "daemon/app/session_walk.h"
#include "daemon/base/ascii.h"
#include "daemon/base/log.h"

namespace tapdeck::app {
namespace {

using Clock = std::chrono::steady_clock;
using Names = std::map<std::string, std::vector<Endpoint>, std::less<>>;

// `address` None: the name is known, but not where it is.
void add_name(Names& names, std::string_view host, const Endpoint& address) {
  if (host.ends_with('.')) host.remove_suffix(1);
  if (host.empty() || Endpoint::parse(host)) return;
  std::vector<Endpoint>& of_name = names[lowered(host)];
  if (address.is_unspecified()) return;
  std::erase(of_name, address);
  of_name.insert(of_name.begin(), address);
  if (of_name.size() > SessionNames::kMostAddresses) of_name.pop_back();
}

}  // namespace

void SessionNames::add(Table& table, const store::Recording& recording) {
  const store::Provenance& from = recording.provenance;
  Endpoint address;
  if (from.capture_path != "explicit") address = from.original_destination;
  address.scope_id = 0;  // an answer has no room for it
  if (!address.is_unspecified() && table.destinations.size() < kMostDestinations) table.destinations.insert(address);
  address.port = 0;
  add_name(table.names, recording.host, address);
  if (from.sni != recording.host) add_name(table.names, from.sni, address);
}

std::optional<std::vector<Endpoint>> SessionNames::addresses_of(std::string_view name) {
  look_again();
  const auto found = table_.names.find(name);
  return found == table_.names.end() ? std::nullopt : std::optional(found->second);
}

std::vector<Endpoint> SessionNames::destinations() {
  look_again();
  return {table_.destinations.begin(), table_.destinations.end()};
}

void SessionNames::look_again() {
  const auto began = Clock::now();
  if (began < not_before_) return;
  auto info = store_.session(session_);  // first: what is recorded during the walk is news again
  if (!info || (seen_ && holds_the_same(*info, *seen_))) return;
  Table table;
  const auto walked = each_recording(store_, session_, [&table](const auto& recording) { add(table, recording); });
  not_before_ = Clock::now() + kRestOfWalks * (Clock::now() - began);
  if (!walked) {
    log::warn("dns.session", "names of the session could not be read: those read before are answered",
              {{"session", session_}, {"error", walked.error().message()}});
    return;
  }
  table_ = std::move(table);
  seen_ = std::move(*info);
}

}  // namespace tapdeck::app
