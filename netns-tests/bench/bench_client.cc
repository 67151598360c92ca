// The client half.
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "netns-tests/bench/bench_probe.h"

namespace tapdeck::bench {
namespace {

using Clock = std::chrono::steady_clock;

double microseconds(Clock::duration time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
struct FreeSession {
  void operator()(SSL* session) const { SSL_free(session); }
};
using Session = std::unique_ptr<SSL, FreeSession>;

// Certificates are not verified: the servers are compared, not this client.
std::unique_ptr<SSL_CTX, FreeContext> make_context() {
  std::unique_ptr<SSL_CTX, FreeContext> context(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
  return context;
}

Session handshake(SSL_CTX* context, int fd, const std::string& name) {
  Session session(SSL_new(context));
  SSL_set_fd(session.get(), fd);
  SSL_set_tlsext_host_name(session.get(), name.c_str());
  if (SSL_connect(session.get()) != 1) die("TLS handshake for " + name);
  return session;
}

// One GET; reads the whole answer by its Content-Length.
void get(SSL* session, const std::string& name, std::string_view connection, int status) {
  const std::string request =
      "GET /2k.bin HTTP/1.1\r\nHost: " + name + "\r\nConnection: " + std::string(connection) + "\r\n\r\n";
  if (SSL_write(session, request.data(), static_cast<int>(request.size())) <= 0) die("TLS write");
  std::string answer;
  while (true) {
    const auto head = answer.find("\r\n\r\n");
    const auto length = answer.find("ength: ");  // Content-Length, or content-length as HTTP/2 had it
    if (head != std::string::npos && length < head &&
        answer.size() >= head + 4 + std::stoul(answer.substr(length + 7))) {
      break;
    }
    char bytes[8192];
    const int got = SSL_read(session, bytes, sizeof bytes);
    if (got <= 0) die("TLS read after " + std::to_string(answer.size()) + " bytes");
    answer.append(bytes, static_cast<size_t>(got));
  }
  if (!answer.starts_with("HTTP/1.1 " + std::to_string(status))) die("answered " + answer.substr(0, answer.find('\r')));
}

std::string numbered(std::string name, int number) {
  const auto at = name.find('%');
  return at == std::string::npos ? name : name.replace(at, 1, std::to_string(number));
}

}  // namespace

void print_times(std::vector<double> times) {
  std::ranges::sort(times);
  const auto at = [&](double share) {
    return times[static_cast<size_t>(share * static_cast<double>(times.size() - 1))];
  };
  std::cout << "{\"count\":" << times.size() << ",\"median_us\":" << at(0.5) << ",\"p99_us\":" << at(0.99)
            << ",\"max_us\":" << times.back() << "}" << std::endl;
}

int ping_pong(const Address& address, int count) {
  const auto fd = connect_to(address);
  std::vector<double> times;
  for (int i = 0; i < count; ++i) {
    unsigned char byte = kOpaque;
    const auto begin = Clock::now();
    send_all(fd.get(), &byte, 1);
    if (!read_exactly(fd.get(), &byte, 1)) die("the origin left");
    if (i >= count / 10) times.push_back(microseconds(Clock::now() - begin));  // the first tenth warms up
  }
  print_times(std::move(times));
  return 0;
}

int bulk(const Address& address, uint64_t bytes) {
  const auto fd = connect_to(address);
  unsigned char request[kBulkRequest] = {kOpaque};
  for (size_t i = 1; i < kBulkRequest; ++i)
    request[i] = static_cast<unsigned char>(bytes >> (8 * (kBulkRequest - 1 - i)));
  std::vector<char> buffer(256 << 10);
  const auto begin = Clock::now();
  send_all(fd.get(), request, sizeof request);
  uint64_t total = 0;
  while (total < bytes) {
    const auto got = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (got <= 0) die("bulk ended after " + std::to_string(total) + " bytes");
    total += static_cast<uint64_t>(got);
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  std::cout << "{\"bytes\":" << total << ",\"bytes_per_s\":" << static_cast<double>(total) / seconds << "}"
            << std::endl;
  return 0;
}

int first_byte(const Address& address, int count) {
  const auto fd = connect_to(address);
  const std::string request = "GET /stream HTTP/1.1\r\nHost: stream.bench\r\n\r\n";
  std::vector<double> times;
  for (int i = 0; i < count; ++i) {
    std::string answer;
    const auto begin = Clock::now();
    send_all(fd.get(), request.data(), request.size());
    bool seen = false;
    while (!answer.ends_with("0\r\n\r\n")) {
      char bytes[4096];
      const auto got = ::recv(fd.get(), bytes, sizeof bytes, 0);
      if (got <= 0) die("the stream ended early");
      answer.append(bytes, static_cast<size_t>(got));
      if (!seen && answer.contains("first\n")) {
        seen = true;
        if (i >= count / 10) times.push_back(microseconds(Clock::now() - begin));
      }
    }
  }
  print_times(std::move(times));
  return 0;
}

int handshakes(const Address& address, const std::string& name, int count, int parallel, int first, int status) {
  const auto context = make_context();
  std::atomic<int> next{0};
  std::mutex mutex;
  std::vector<double> times;
  const auto work = [&] {
    for (int number = next++; number < count; number = next++) {
      const auto host = numbered(name, first + number);
      const auto begin = Clock::now();
      const auto fd = connect_to(address);
      const auto session = handshake(context.get(), fd.get(), host);
      const double took = microseconds(Clock::now() - begin);
      get(session.get(), host, "close", status);
      const std::scoped_lock lock(mutex);
      times.push_back(took);
    }
  };
  std::vector<std::thread> threads;
  const auto begin = Clock::now();
  for (int i = 0; i < parallel; ++i) threads.emplace_back(work);
  for (auto& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  std::ranges::sort(times);
  std::cout << "{\"count\":" << count << ",\"per_s\":" << count / seconds
            << ",\"median_us\":" << times[times.size() / 2] << "}" << std::endl;
  return 0;
}

int idle(const Address& address, const std::string& name, int count) {
  const auto context = make_context();
  std::vector<UniqueFd> sockets;
  std::vector<Session> sessions;
  for (int i = 0; i < count; ++i) {
    sockets.push_back(connect_to(address));
    sessions.push_back(handshake(context.get(), sockets.back().get(), name));
    get(sessions.back().get(), name, "keep-alive", 200);
  }
  std::cout << "{\"open\":" << count << "}" << std::endl;
  char byte;
  while (::read(STDIN_FILENO, &byte, 1) > 0) {
  }
  return 0;
}

}  // namespace tapdeck::bench
