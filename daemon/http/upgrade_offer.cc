#include "daemon/http/upgrade_offer.h"

#include <algorithm>

namespace tapdeck::http {

namespace {

// Each name of one list is compared with each of the other, and both are a peer's: whole heads of names would take
// seconds. Nobody has more than a few.
constexpr std::ptrdiff_t kMaxNames = 16;
constexpr size_t kMaxBytes = 1024;

bool is_short(std::string_view list) {
  return list.size() <= kMaxBytes && std::ranges::count(list, ',') < kMaxNames;
}

// "websocket" of "websocket/13, other"; `list` goes on behind it.
std::string_view take_name(std::string_view& list) {
  const size_t comma = list.find(',');
  const std::string_view protocol = list.substr(0, comma);
  list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
  return trim_ows(protocol.substr(0, protocol.find('/')));
}

bool names(std::string_view list, std::string_view wanted) {
  while (!list.empty()) {
    if (iequals(take_name(list), wanted)) return true;
  }
  return false;
}

}  // namespace

std::string upgrade_offer(const Headers& request) {
  std::string offer;
  for (size_t i = 0; i < request.size(); ++i) {
    const auto [name, value] = request[i];
    if (!iequals(name, "upgrade")) continue;
    if (!offer.empty()) offer += ',';
    offer += value;
  }
  return offer;
}

bool takes_upgrade(const Headers& response, std::string_view offer) {
  const std::string taken = upgrade_offer(response);
  if (!is_short(taken) || !is_short(offer)) return false;
  while (!offer.empty()) {
    const std::string_view name = take_name(offer);
    if (!name.empty() && names(taken, name)) return true;
  }
  return false;
}

}  // namespace tapdeck::http
