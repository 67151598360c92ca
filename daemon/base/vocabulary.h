// The closed words that every layer shares: mode, capture path, outcome. Plain enums with their one spelling, so that
// config, metrics, store, log and admin API cannot drift apart. Not a place for anything that has behaviour.
// Thread: any.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tapdeck {

// What is done with an exchange.
enum class Mode : uint8_t {
  Record,       // always forward, always store
  Replay,       // never forward; what is not recorded is an error
  Hybrid,       // answer if recorded, else forward and store (alias "passthrough-cache")
  Passthrough,  // forward, store nothing; TLS is still terminated
};
inline constexpr size_t kModeCount = 4;

// How a flow came to us: docs/ARCHITECTURE.md, "Capture".
enum class CapturePath : uint8_t { Cgroup, Tc, Explicit, Netns };
// Without Netns, which a `run` alone has: who serves a page of metrics never does.
inline constexpr size_t kCapturePathCount = 3;

// How an exchange ended, as metrics, log and summary count it. Every exchange has exactly one.
enum class Outcome : uint8_t {
  Recorded,   // forwarded and stored
  Replayed,   // answered from the store
  Forwarded,  // forwarded and not stored (passthrough, or the recording was lost; the loss is counted apart)
  Missed,     // nothing recorded fits, nor did an origin answer it whole where one was asked
  Failed,     // refused by us, upstream failure, or the client left
};
inline constexpr size_t kOutcomeCount = 5;

// Canonical lower-case spelling ("record", "cgroup", "recorded").
[[nodiscard]] std::string_view to_string(Mode mode);
[[nodiscard]] std::string_view to_string(CapturePath path);
[[nodiscard]] std::string_view to_string(Outcome outcome);
// nullopt when it is not a mode; accepts the alias "passthrough-cache" for Hybrid.
[[nodiscard]] std::optional<Mode> parse_mode(std::string_view text);
// True for the pairs that the modes can produce (replay never records, passthrough never misses, ...).
[[nodiscard]] bool can_produce(Mode mode, Outcome outcome);

}  // namespace tapdeck
