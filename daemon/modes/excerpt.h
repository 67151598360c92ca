// Two texts cut short around where they part, for people who are to see what differs. Pure. Thread: any.
#pragma once

#include <string>
#include <string_view>

namespace tapdeck::modes {

// A piece of each.
struct Excerpts {
  std::string recorded, requested;
  friend bool operator==(const Excerpts&, const Excerpts&) = default;
};

// At most 40 bytes of each, "..." where something was left out. Where either piece is no text (not UTF-8, or with
// control bytes other than tabs and line ends), "hex " and at most 16 bytes.
[[nodiscard]] Excerpts excerpts_of(std::string_view recorded, std::string_view requested);

// The beginning, for names: at most `most` bytes, of which the last three are "..." where something was left out.
[[nodiscard]] std::string cut_short(std::string_view text, size_t most);

// How many bytes both begin with.
[[nodiscard]] size_t common_beginning(std::string_view a, std::string_view b);

}  // namespace tapdeck::modes
