#include "daemon/modes/excerpt.h"

#include <algorithm>
#include <cstdint>
#include <span>

#include "daemon/base/hex.h"
#include "daemon/ws/utf8.h"

namespace tapdeck::modes {
namespace {

constexpr std::string_view kLeftOut = "...";

// How much is shown, and how much of that is what both begin with.
struct Window {
  size_t size, before;
};
constexpr Window kTextWindow{40, 16};
constexpr Window kHexWindow{16, 4};

bool is_inside_character(std::string_view text, size_t at) {
  return at < text.size() && (static_cast<uint8_t>(text[at]) & 0xc0) == 0x80;
}

// Of the characters that are cut at `at`, the first byte; of bytes that are no UTF-8, any.
size_t character_at(std::string_view text, size_t at) {
  for (int i = 0; i < 3 && at > 0 && is_inside_character(text, at); ++i) --at;
  return at;
}

bool is_plain_text(std::string_view piece) {
  ws::Utf8 utf8;
  const auto is_control = [](char c) {
    return (static_cast<uint8_t>(c) < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == '\x7f';
  };
  return std::ranges::none_of(piece, is_control) && utf8.feed(piece) && utf8.is_complete();
}

struct Piece {
  size_t begin, end;  // in the text
};

// `parted`: where the text and the other one part.
Piece piece_of(std::string_view text, size_t parted, size_t longest, const Window& window) {
  if (longest <= window.size) return {0, text.size()};
  const size_t begin = character_at(text, parted > window.before ? parted - window.before : 0);
  return {begin, character_at(text, std::min(begin + window.size, text.size()))};
}

std::string hex_of(std::string_view bytes) {
  return to_hex(std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
}

std::string marked(std::string_view text, const Piece& piece, std::string shown) {
  if (piece.begin > 0) shown.insert(0, kLeftOut);
  if (piece.end < text.size()) shown += kLeftOut;
  return shown;
}

}  // namespace

size_t common_beginning(std::string_view a, std::string_view b) {
  return static_cast<size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

Excerpts excerpts_of(std::string_view recorded, std::string_view requested) {
  const size_t parted = common_beginning(recorded, requested);
  const size_t longest = std::max(recorded.size(), requested.size());
  const Piece ours = piece_of(recorded, parted, longest, kTextWindow);
  const Piece theirs = piece_of(requested, parted, longest, kTextWindow);
  const auto bytes = [](std::string_view text, const Piece& piece) {
    return text.substr(piece.begin, piece.end - piece.begin);
  };
  if (is_plain_text(bytes(recorded, ours)) && is_plain_text(bytes(requested, theirs))) {
    return {marked(recorded, ours, std::string(bytes(recorded, ours))),
            marked(requested, theirs, std::string(bytes(requested, theirs)))};
  }
  const auto as_hex = [&](std::string_view text) {
    const Piece piece = piece_of(text, parted, longest, kHexWindow);
    return "hex " + marked(text, piece, hex_of(bytes(text, piece)));
  };
  return {as_hex(recorded), as_hex(requested)};
}

std::string cut_short(std::string_view text, size_t most) {
  if (text.size() <= most) return std::string(text);
  return std::string(text.substr(0, character_at(text, most - kLeftOut.size()))) + std::string(kLeftOut);
}

}  // namespace tapdeck::modes
