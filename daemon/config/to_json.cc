#include "daemon/config/to_json.h"

#include <sstream>

#include "daemon/config/toml.h"

namespace tapdeck::config {

std::string to_json(const Config& config) {
  const toml::parse_result parsed = toml::parse(to_toml(config));
  if (!parsed) return "{}";  // never: what is printed reads back
  std::ostringstream out;
  out << toml::json_formatter(parsed.table());
  return out.str();
}

}  // namespace tapdeck::config
