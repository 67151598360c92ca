#include "daemon/http/h2c_offer.h"

#include <string>
#include <utility>

namespace tapdeck::http {

namespace {

// The list without the members that `drops` names; the same bytes when there are none.
template <class Drops>
std::string without(std::string_view list, const Drops& drops) {
  std::string kept;
  bool dropped = false;
  for (std::string_view rest = list; true;) {
    const size_t comma = rest.find(',');
    const std::string_view member = trim_ows(rest.substr(0, comma));
    if (drops(member)) {
      dropped = true;
    } else if (!member.empty()) {
      kept.append(kept.empty() ? "" : ", ").append(member);
    }
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  return dropped ? kept : std::string(list);
}

bool is_h2c(std::string_view protocol) {
  return iequals(protocol, "h2c");
}

// Some protocol beside h2c.
bool offers_another(const Headers& headers) {
  for (size_t i = 0; i < headers.size(); ++i) {
    if (iequals(headers[i].name, "upgrade") && !without(headers[i].value, is_h2c).empty()) return true;
  }
  return false;
}

}  // namespace

void drop_h2c_offer(Headers& headers) {
  if (!headers.has_token("upgrade", "h2c")) return;
  const bool still_offers = offers_another(headers);
  const auto stands_for_nothing = [still_offers](std::string_view option) {
    return iequals(option, "http2-settings") || (!still_offers && iequals(option, "upgrade"));
  };
  Headers kept;
  for (size_t i = 0; i < headers.size(); ++i) {
    const auto [name, value] = headers[i];
    const bool is_upgrade = iequals(name, "upgrade");
    if (iequals(name, "http2-settings")) continue;
    if (!is_upgrade && !iequals(name, "connection")) {
      kept.add(name, value);
      continue;
    }
    const std::string left = is_upgrade ? without(value, is_h2c) : without(value, stands_for_nothing);
    if (!left.empty()) kept.add(name, left);
  }
  headers = std::move(kept);
}

}  // namespace tapdeck::http
