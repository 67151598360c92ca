// Test support: a name server on a loopback UDP port that answers by script. Thread: one of its own.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "daemon/base/endpoint.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::upstream {

// What to say about a name and record type (1 = A, 28 = AAAA).
struct DnsAnswer {
  int code = 0;  // RCODE: 0 no error, 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED
  std::vector<std::string> addresses = {};
  uint32_t ttl = 30;
  bool silent = false;
};

class ScriptedDns {
 public:
  using Script = std::function<DnsAnswer(const std::string& name, int type)>;

  explicit ScriptedDns(Script script)
      : script_(std::move(script)), fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&any), sizeof any), 0);
    socklen_t size = sizeof any;
    EXPECT_EQ(::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&any), &size), 0);
    server_ = "127.0.0.1:" + std::to_string(ntohs(any.sin_port));
    thread_ = std::thread([this] { run(); });
  }
  ~ScriptedDns() {
    stopping_ = true;
    thread_.join();
  }
  ScriptedDns(const ScriptedDns&) = delete;
  ScriptedDns& operator=(const ScriptedDns&) = delete;

  [[nodiscard]] const std::string& server() const { return server_; }
  [[nodiscard]] int questions() const { return questions_; }

 private:
  void run() {
    while (!stopping_) {
      pollfd waiting{fd_.get(), POLLIN, 0};
      if (::poll(&waiting, 1, 20) <= 0) continue;
      char packet[512];
      sockaddr_in from{};
      socklen_t size = sizeof from;
      const ssize_t n = ::recvfrom(fd_.get(), packet, sizeof packet, 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (n < 17) continue;
      ++questions_;
      const std::string reply = answer({packet, static_cast<size_t>(n)});
      if (!reply.empty()) ::sendto(fd_.get(), reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    }
  }

  // RFC 1035 4.1: header, the question again, answers that point back to its name.
  std::string answer(const std::string& question) {
    std::string name;
    size_t at = 12;
    while (at < question.size() && question[at] != 0) {
      const auto length = static_cast<size_t>(question[at]);
      name += (name.empty() ? "" : ".") + question.substr(at + 1, length);
      at += length + 1;
    }
    const int type = static_cast<unsigned char>(question[at + 2]);
    const DnsAnswer wanted = script_(name, type);
    if (wanted.silent) return {};
    std::string reply = question.substr(0, at + 5);
    reply[2] = static_cast<char>(0x81);
    reply[3] = static_cast<char>(0x80 | wanted.code);
    reply.replace(6, 6, std::string("\0\0\0\0\0\0", 6));
    for (const std::string& text : wanted.addresses) {
      const auto address = Endpoint::parse(text);
      const bool v6 = address->family == Endpoint::Family::V6;
      if (v6 != (type == 28)) continue;
      reply[7] = static_cast<char>(reply[7] + 1);
      reply += std::string("\xc0\x0c\0", 3) + static_cast<char>(type) + std::string("\0\1", 2);
      for (int shift = 24; shift >= 0; shift -= 8) reply += static_cast<char>(wanted.ttl >> shift);
      reply += '\0';
      reply += static_cast<char>(v6 ? 16 : 4);
      reply.append(reinterpret_cast<const char*>(address->address.data()), v6 ? 16 : 4);
    }
    return reply;
  }

  Script script_;
  UniqueFd fd_;
  std::string server_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> questions_{0};
  std::thread thread_;
};

}  // namespace tapdeck::upstream
