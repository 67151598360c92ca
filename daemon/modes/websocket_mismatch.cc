#include "daemon/modes/websocket_mismatch.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace tapdeck::modes {

namespace {

// Comparing is done on the worker's thread.
constexpr size_t kMostCompared = 1 << 20;
// A longer list of rules is for nobody to read.
constexpr size_t kMostRule = 1000;

using WordsKind = store::Message::Kind;

std::string_view word_of(WordsKind kind) {
  return kind == WordsKind::Text ? "text" : "binary";
}

// How near a recorded message is; the greater the nearer.
struct Nearness {
  bool is_json = false;
  size_t differing = 0;  // 0 where it is no JSON
  size_t alike = 0;      // JSON: values; else bytes from the begin on
  std::string where;

  [[nodiscard]] bool is_less_than(const Nearness& other) const {
    if (is_json != other.is_json) return other.is_json;
    if (differing != other.differing) return differing > other.differing;
    return alike < other.alike;
  }
};

Nearness nearness_of(std::string_view recorded, const WebSocketWords& received, const JsonRules* rules) {
  if (rules != nullptr && received.kind == WordsKind::Text) {
    if (auto parts = rules->difference(recorded, received.payload)) {
      return {true, parts->differing, parts->alike, std::move(parts->first)};
    }
  }
  const auto [end, other] = std::ranges::mismatch(recorded, received.payload);
  ignore(other, "the same place in the other");
  const auto alike = static_cast<size_t>(end - recorded.begin());
  return {false, 0, alike, "byte " + std::to_string(alike)};
}

// As the configuration wants it; empty where a path cannot stand in quotes as it is.
std::string rule_of(const std::vector<std::string>& paths) {
  std::string list;
  for (const std::string& path : paths) {
    const auto needs_escape = [](char c) {
      return c == '"' || c == '\\' || c == '\x7f' || static_cast<unsigned char>(c) < ' ';
    };
    if (std::ranges::any_of(path, needs_escape)) return {};
    list += (list.empty() ? "\"" : ", \"") + path + '"';
    if (list.size() > kMostRule) return {};
  }
  return list.empty() ? list : "ignore = [" + list + ']';
}

}  // namespace

WebSocketMismatch mismatch_with(const std::vector<WebSocketWords>& recorded, const WebSocketWords& received,
                                const JsonRules* rules) {
  std::optional<Nearness> best;
  std::string_view nearest;
  size_t compared = 0;
  for (const WebSocketWords& one : recorded) {
    if (one.kind != received.kind) continue;
    compared += one.payload.size() + received.payload.size();
    if (best && compared > kMostCompared) break;
    Nearness nearness = nearness_of(one.payload, received, rules);
    if (best && !best->is_less_than(nearness)) continue;
    best = std::move(nearness);
    nearest = one.payload;
  }
  if (!best)
    return {
        std::string(word_of(recorded.front().kind)) + " expected, " + std::string(word_of(received.kind)) + " received",
        {}};
  const bool may_widen = best->is_json;
  return {"differs at " + best->where, may_widen ? rule_of(rules->paths_to_ignore(nearest, received.payload)) : ""};
}

}  // namespace tapdeck::modes
