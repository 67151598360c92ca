// Structured log lines on stderr: a stable event id, a sentence, and fields. spdlog is hidden behind this header.
//
//   log::warn("store.slow", "the store is behind; bytes flow unrecorded", {{"queued", n}, {"session", name}});
//
// Formats: pretty (key=value), json (one object a line), journal ("<4>" priority prefix + key=value). Values are
// escaped, so a peer cannot forge a line. Values of fields whose key names a credential are never printed.
// No bodies, no header values. Thread: any. A disabled level costs one branch on an atomic.
#pragma once

#include <atomic>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

namespace tapdeck::log {

enum class Level : int { Trace = 0, Debug, Info, Warn, Error, Off };
enum class Format { Pretty, Json, Journal };
enum class AccessLines { Off, On };

// A key and a value that must outlive the call only.
struct Field {
  template <std::same_as<bool> T>
  Field(std::string_view k, T v) : key(k), value(v) {}
  template <std::signed_integral T>
  Field(std::string_view k, T v) : key(k), value(static_cast<int64_t>(v)) {}
  template <std::unsigned_integral T>
    requires(!std::same_as<T, bool>)
  Field(std::string_view k, T v) : key(k), value(static_cast<uint64_t>(v)) {}
  Field(std::string_view k, double v) : key(k), value(v) {}
  Field(std::string_view k, std::string_view v) : key(k), value(v) {}
  Field(std::string_view k, const std::string& v) : key(k), value(std::string_view(v)) {}
  Field(std::string_view k, const char* v) : key(k), value(std::string_view(v)) {}

  std::string_view key;
  std::variant<int64_t, uint64_t, double, bool, std::string_view> value;
};
using Fields = std::initializer_list<Field>;

struct Options {
  Level level = Level::Info;
  Format format = Format::Pretty;
  AccessLines access = AccessLines::Off;
  int fd = 2;  // written with one write(2) a line; not owned
  // 0: the calling thread writes. Else a thread writes, and when the reader of `fd` blocks and so many lines wait, the
  // oldest are dropped: a stuck log must not stop traffic. Start it only after signal masks are set (it is a thread).
  uint32_t queue_lines = 0;
};

// May be called again (reload). Lines written meanwhile use either setting.
void configure(const Options& options);
// Writes what is queued and ends the log's thread. Call when the other threads are gone; later lines go to stderr.
void shutdown();

namespace detail {
extern std::atomic<int> threshold;
extern std::atomic<bool> access;
void write(Level level, std::string_view event, std::string_view message, Fields fields);
void write_limited(Level level, std::string_view event, std::string_view message, Fields fields);
void write_access(std::string_view message, Fields fields);
void forget_limits();  // of write_limited(); for tests
}  // namespace detail

[[nodiscard]] inline bool enabled(Level level) {
  return static_cast<int>(level) >= detail::threshold.load(std::memory_order_relaxed);
}
// One line an exchange is wanted (log.access). Test it before gathering the fields.
[[nodiscard]] inline bool access_enabled() {
  return detail::access.load(std::memory_order_relaxed);
}

// `event` is a stable dotted id ("tls.client_rejected"); `message` a constant sentence, the variable part is fields.
inline void line(Level level, std::string_view event, std::string_view message, Fields fields = {}) {
  if (enabled(level)) detail::write(level, event, message, fields);
}
inline void debug(std::string_view event, std::string_view message, Fields fields = {}) {
  line(Level::Debug, event, message, fields);
}
inline void info(std::string_view event, std::string_view message, Fields fields = {}) {
  line(Level::Info, event, message, fields);
}
inline void warn(std::string_view event, std::string_view message, Fields fields = {}) {
  line(Level::Warn, event, message, fields);
}
inline void error(std::string_view event, std::string_view message, Fields fields = {}) {
  line(Level::Error, event, message, fields);
}
// For what a peer can cause at will: at most kLimitedBurst lines an event id and kLimitedWindow; the next line that
// passes says how many were suppressed.
inline void peer(Level level, std::string_view event, std::string_view message, Fields fields = {}) {
  if (enabled(level)) detail::write_limited(level, event, message, fields);
}
inline constexpr unsigned kLimitedBurst = 5;
inline constexpr unsigned kLimitedWindowSeconds = 10;
// The one line of a finished exchange; event id "exchange".
inline void access(std::string_view message, Fields fields) {
  if (access_enabled()) detail::write_access(message, fields);
}

// Lines that the rate limit kept back since the start (tapdeck_log_suppressed_total).
[[nodiscard]] uint64_t suppressed();

// Names a thread in its lines ("worker-0"); the pointer must stay valid. Optional.
void set_thread_name(const char* name);

[[nodiscard]] std::string_view to_string(Level level);

}  // namespace tapdeck::log
