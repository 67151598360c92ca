#include "daemon/modes/operation_fields.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "daemon/base/ascii.h"

namespace tapdeck::modes {
namespace {

constexpr std::array<std::string_view, 11> kNames = {
    "X-Amz-Target",                                  // DynamoDB, Kinesis and others of AWS
    "X-Amz-Copy-Source", "X-Amz-Copy-Source-Range",  // S3
    "X-Ms-Copy-Source",  "X-Goog-Copy-Source",       // Azure, Google
    "SOAPAction",                                    // SOAP 1.1
    "Destination",       "Depth",                    // WebDAV (RFC 4918)
    "X-HTTP-Method",     "X-HTTP-Method-Override",
    "X-Method-Override",  // of a POST
};
// Mercurial's arguments, cut into X-HgArg-1, X-HgArg-2 and so on.
constexpr std::string_view kNumbered = "X-HgArg-";

// Most fields are told apart by their first letter or their length.
bool names_operation(std::string_view name) {
  const char first = name.empty() ? '\0' : lowered(name.front());
  if (first != 'x' && first != 's' && first != 'd') return false;
  if (http::iequals(name.substr(0, kNumbered.size()), kNumbered)) return true;
  return std::ranges::any_of(kNames, [name](std::string_view known) { return http::iequals(known, name); });
}

}  // namespace

void add_operation_fields(store::KeyBuilder& key, const http::Headers& headers) {
  std::vector<std::pair<std::string, std::string_view>> found;
  for (size_t i = 0; i < headers.size(); ++i) {
    const http::Headers::Field field = headers[i];
    if (names_operation(field.name)) found.emplace_back(lowered(field.name), field.value);
  }
  std::ranges::sort(found);
  for (const auto& [name, value] : found) key.field(name, value);
}

}  // namespace tapdeck::modes
