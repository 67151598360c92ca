#include "daemon/trust/mounts.h"

#include <charconv>

#include "daemon/base/mount_path.h"

namespace tapdeck::trust {
namespace {

uint64_t number(std::string_view text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> fields;
  while (!line.empty()) {
    const size_t space = line.find(' ');
    fields.push_back(line.substr(0, space));
    if (space == std::string_view::npos) break;
    line.remove_prefix(space + 1);
  }
  return fields;
}

}  // namespace

std::vector<MountEntry> parse_mountinfo(std::string_view text) {
  std::vector<MountEntry> entries;
  while (!text.empty()) {
    const size_t newline = text.find('\n');
    const std::vector<std::string_view> fields = split(text.substr(0, newline));
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    // id parent dev root point options [optional...] - type source superoptions
    if (fields.size() < 10) continue;
    MountEntry entry;
    entry.id = number(fields[0]);
    entry.parent = number(fields[1]);
    entry.point = unescape_mount_path(fields[4]);
    size_t at = 6;
    for (; at < fields.size() && fields[at] != "-"; ++at) {
      if (fields[at].starts_with("shared:")) entry.shared_group = number(fields[at].substr(7));
    }
    if (at + 2 >= fields.size()) continue;
    entry.source = unescape_mount_path(fields[at + 2]);
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace tapdeck::trust
