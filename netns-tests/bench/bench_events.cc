// Server-sent events at a steady rate: the origin writes into each when it sent it, the client says how old they are.
// Both run on this machine, so they have one clock.
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "netns-tests/bench/bench_probe.h"

namespace tapdeck::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::string_view kField = "data: ";

int64_t nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count();
}

// The whole number that `text` has at `from`; 0 where there is none.
int64_t number_at(std::string_view text, size_t from) {
  int64_t number = 0;
  if (from < text.size()) std::from_chars(text.data() + from, text.data() + text.size(), number);
  return number;
}

std::string chunk(const std::string& event) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const char size[] = {kDigits[event.size() >> 4], kDigits[event.size() & 0xF]};
  return std::string(size, 2) + "\r\n" + event + "\r\n";
}

// An event a pause. A moment that was missed is not made up for: a burst would not be a steady rate.
bool send_events(int fd, int64_t count, std::chrono::microseconds pause) {
  auto moment = Clock::now();
  for (int64_t i = 0; i < count; ++i) {
    moment = std::max(moment + pause, Clock::now());
    std::this_thread::sleep_until(moment);
    const auto event = chunk(std::string(kField) + std::to_string(nanoseconds()) + "\n\n");
    if (!send_or_leave(fd, event.data(), event.size())) return false;
  }
  return send_or_leave(fd, "0\r\n\r\n", 5);
}

}  // namespace

void serve_events(int fd) {
  constexpr std::string_view kHead =
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
      "Transfer-Encoding: chunked\r\n\r\n";
  std::string received;
  while (true) {
    const auto end = received.find("\r\n\r\n");
    if (end == std::string::npos) {
      char bytes[4096];
      const auto got = ::recv(fd, bytes, sizeof bytes, 0);
      if (got <= 0) return;
      received.append(bytes, static_cast<size_t>(got));
      continue;
    }
    const auto count = number_at(received, received.find("count=") + 6);
    const auto pause = number_at(received, received.find("pause=") + 6);
    received.erase(0, end + 4);
    if (!send_or_leave(fd, kHead.data(), kHead.size())) return;
    if (!send_events(fd, count, std::chrono::microseconds(pause))) return;
  }
}

int events(const Address& address, int count, int pause_us) {
  const auto fd = connect_to(address);
  const std::string request = "GET /events?count=" + std::to_string(count) + "&pause=" + std::to_string(pause_us) +
                              " HTTP/1.1\r\nHost: events.bench\r\nAccept: text/event-stream\r\n\r\n";
  send_all(fd.get(), request.data(), request.size());
  std::string answer;
  std::vector<double> times;
  int seen = 0;
  while (!answer.ends_with("\r\n0\r\n\r\n")) {
    char bytes[4096];
    const auto got = ::recv(fd.get(), bytes, sizeof bytes, 0);
    const auto now = nanoseconds();
    if (got <= 0) die("the events ended after " + std::to_string(seen));
    answer.append(bytes, static_cast<size_t>(got));
    size_t field = 0, end = 0;
    while ((field = answer.find(kField)) != std::string::npos &&
           (end = answer.find("\n\n", field)) != std::string::npos) {
      const auto age = static_cast<double>(now - number_at(answer, field + kField.size())) / 1000;
      if (seen++ >= count / 10) times.push_back(age);  // the first tenth warms up
      answer.erase(0, end + 2);
    }
  }
  if (seen != count) die(std::to_string(seen) + " events of " + std::to_string(count));
  print_times(std::move(times));
  return 0;
}

}  // namespace tapdeck::bench
