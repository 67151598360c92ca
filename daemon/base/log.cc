#include "daemon/base/log.h"

#include <spdlog/async.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <vector>

#include "daemon/base/json_text.h"

namespace tapdeck::log {
namespace {

thread_local const char* thread_name = nullptr;
std::atomic<uint64_t> suppressed_lines{0};

// One write(2) a line, so that lines of two processes on one pipe do not mix (up to PIPE_BUF).
class FdSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit FdSink(int fd) : fd_(fd) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const char* data = message.payload.data();
    size_t left = message.payload.size();
    while (left > 0) {
      const ssize_t n = ::write(fd_, data, left);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return;  // nowhere to complain to
      data += n;
      left -= static_cast<size_t>(n);
    }
  }
  void flush_() override {}

 private:
  int fd_;
};

// What configure() made. Never freed: a thread may be inside write() with the one before.
struct Output {
  Format format;
  std::shared_ptr<spdlog::details::thread_pool> pool;
  std::shared_ptr<spdlog::logger> logger;
};

// Null: none is wanted, or no thread is to be had, and then who logs writes.
std::shared_ptr<spdlog::details::thread_pool> make_pool(uint32_t queue_lines) {
  if (queue_lines == 0) return nullptr;
  try {
    return std::make_shared<spdlog::details::thread_pool>(queue_lines, 1);
  } catch (const std::system_error&) {
    return nullptr;
  }
}

std::unique_ptr<Output> make_output(const Options& options) {
  auto sink = std::make_shared<FdSink>(options.fd);
  auto out = std::make_unique<Output>();
  out->format = options.format;
  out->pool = make_pool(options.queue_lines);
  if (out->pool != nullptr) {
    // A blocked log reader must not stop traffic: the oldest lines go.
    out->logger = std::make_shared<spdlog::async_logger>("tapdeck", sink, out->pool,
                                                         spdlog::async_overflow_policy::overrun_oldest);
  } else {
    out->logger = std::make_shared<spdlog::logger>("tapdeck", sink);
  }
  out->logger->set_level(spdlog::level::trace);
  return out;
}

struct State {
  std::mutex mutex;
  std::vector<std::unique_ptr<Output>> outputs;
  std::atomic<Output*> current{nullptr};

  struct Window {
    std::chrono::steady_clock::time_point start;
    unsigned passed = 0;
    uint64_t held = 0;
  };
  std::mutex limit_mutex;
  std::map<std::string, Window, std::less<>> windows;  // by event id: a closed set, so it is bounded

  Output& output() {
    Output* now = current.load(std::memory_order_acquire);
    if (now != nullptr) return *now;
    const std::lock_guard lock(mutex);
    if (outputs.empty()) {
      outputs.push_back(make_output(Options{}));
      current.store(outputs.back().get(), std::memory_order_release);
    }
    return *current.load(std::memory_order_relaxed);
  }
};

// Leaked on purpose: threads may log while static destructors run.
State& state() {
  static State* const instance = new State;
  return *instance;
}

bool names_credential(std::string_view key) {
  for (const std::string_view word : {"authorization", "cookie", "token", "password", "secret", "private_key"}) {
    if (key.find(word) != std::string_view::npos) return true;
  }
  return false;
}

void append_timestamp(std::string& out) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  const std::time_t seconds = static_cast<std::time_t>(micros / 1'000'000);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", utc.tm_year + 1900, utc.tm_mon + 1,
                utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, static_cast<int>(micros % 1'000'000));
  out += text;
}

void append_number(std::string& out, double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  out += text;
}

// Bare when it is one plain word, else a JSON string: either way one token on one line.
void append_word(std::string& out, std::string_view text) {
  const bool plain = !text.empty() && text.find_first_not_of(
                                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789-._~:/?#[]@!$&'()*+,;%") == std::string_view::npos;
  if (plain) {
    out += text;
  } else {
    append_json_string(out, text);
  }
}

void append_value(std::string& out, const Field& field, Format format) {
  if (names_credential(field.key)) {
    out += format == Format::Json ? "\"[redacted]\"" : "[redacted]";
    return;
  }
  std::visit(
      [&](const auto& value) {
        using T = std::remove_cvref_t<decltype(value)>;
        if constexpr (std::same_as<T, std::string_view>) {
          format == Format::Json ? append_json_string(out, value) : append_word(out, value);
        } else if constexpr (std::same_as<T, bool>) {
          out += value ? "true" : "false";
        } else if constexpr (std::same_as<T, double>) {
          append_number(out, value);
        } else {
          out += std::to_string(value);
        }
      },
      field.value);
}

std::string json_line(Level level, std::string_view event, std::string_view message, Fields fields, uint64_t held) {
  std::string out = "{\"ts\":\"";
  append_timestamp(out);
  out += "\",\"level\":\"";
  out += to_string(level);
  out += "\",\"event\":";
  append_json_string(out, event);
  out += ",\"msg\":";
  append_json_string(out, message);
  if (thread_name != nullptr) {
    out += ",\"thread\":";
    append_json_string(out, thread_name);
  }
  for (const Field& field : fields) {
    out += ',';
    append_json_string(out, field.key);
    out += ':';
    append_value(out, field, Format::Json);
  }
  if (held > 0) out += ",\"suppressed\":" + std::to_string(held);
  out += "}\n";
  return out;
}

// One line of what may be several.
void append_message(std::string& out, std::string_view message) {
  while (true) {
    const size_t end = message.find('\n');
    append_printable(out, message.substr(0, end));
    if (end == std::string_view::npos) return;
    out += ' ';
    message.remove_prefix(end + 1);
  }
}

// sd-daemon(3): "<N>" is the syslog priority of the line; the journal adds the time itself.
std::string_view journal_prefix(Level level) {
  switch (level) {
    case Level::Error:
      return "<3>";
    case Level::Warn:
      return "<4>";
    case Level::Info:
      return "<6>";
    default:
      return "<7>";
  }
}

std::string text_line(Format format, Level level, std::string_view event, std::string_view message, Fields fields,
                      uint64_t held) {
  std::string out;
  if (format == Format::Journal) {
    out += journal_prefix(level);
  } else {
    append_timestamp(out);
    out += ' ';
    out += to_string(level);
    out += ' ';
  }
  out += event;
  out += ": ";
  append_message(out, message);
  for (const Field& field : fields) {
    out += ' ';
    out += field.key;
    out += '=';
    append_value(out, field, format);
  }
  if (held > 0) out += " suppressed=" + std::to_string(held);
  out += '\n';
  return out;
}

void emit(Level level, std::string_view event, std::string_view message, Fields fields, uint64_t held) {
  const Output& out = state().output();
  const std::string line = out.format == Format::Json ? json_line(level, event, message, fields, held)
                                                      : text_line(out.format, level, event, message, fields, held);
  out.logger->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace

namespace detail {

std::atomic<int> threshold{static_cast<int>(Level::Info)};
std::atomic<bool> access{false};

void write(Level level, std::string_view event, std::string_view message, Fields fields) {
  emit(level, event, message, fields, 0);
}

void write_limited(Level level, std::string_view event, std::string_view message, Fields fields) {
  const auto now = std::chrono::steady_clock::now();
  uint64_t held = 0;
  {
    State& s = state();
    const std::lock_guard lock(s.limit_mutex);
    auto found = s.windows.find(event);
    if (found == s.windows.end()) found = s.windows.emplace(std::string(event), State::Window{now}).first;
    State::Window& window = found->second;
    if (now - window.start >= std::chrono::seconds(kLimitedWindowSeconds)) {
      held = std::exchange(window.held, 0);
      window.start = now;
      window.passed = 0;
    }
    if (++window.passed > kLimitedBurst) {
      ++window.held;
      suppressed_lines.fetch_add(1, std::memory_order_relaxed);
      return;
    }
  }
  emit(level, event, message, fields, held);
}

void forget_limits() {
  State& s = state();
  const std::lock_guard lock(s.limit_mutex);
  s.windows.clear();
}

void write_access(std::string_view message, Fields fields) {
  emit(Level::Info, "exchange", message, fields, 0);
}

}  // namespace detail

void configure(const Options& options) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.outputs.push_back(make_output(options));
  s.current.store(s.outputs.back().get(), std::memory_order_release);
  detail::threshold.store(static_cast<int>(options.level), std::memory_order_relaxed);
  detail::access.store(options.access == AccessLines::On, std::memory_order_relaxed);
}

void shutdown() {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.outputs.push_back(make_output(Options{}));  // later lines go straight to stderr
  Output* const last = s.current.exchange(s.outputs.back().get(), std::memory_order_acq_rel);
  if (last == nullptr || last->pool == nullptr) return;
  last->logger.reset();
  last->pool.reset();  // joins its thread after the queue is written
}

uint64_t suppressed() {
  return suppressed_lines.load(std::memory_order_relaxed);
}

void set_thread_name(const char* name) {
  thread_name = name;
}

std::string_view to_string(Level level) {
  switch (level) {
    case Level::Trace:
      return "trace";
    case Level::Debug:
      return "debug";
    case Level::Info:
      return "info";
    case Level::Warn:
      return "warn";
    case Level::Error:
      return "error";
    case Level::Off:
      return "off";
  }
  return "off";
}

}  // namespace tapdeck::log
