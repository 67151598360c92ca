#include "netns-tests/scripted_dns.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "daemon/base/endpoint.h"
#include "netns-tests/lab_error.h"

namespace tapdeck::lab {

ScriptedDns::ScriptedDns(const Namespace& where, uint16_t port, Script script) : script_(std::move(script)) {
  where.run([&] {
    fd_ = UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_port = htons(port);
    if (::bind(fd_.get(), reinterpret_cast<sockaddr*>(&any), sizeof any) != 0) raise_errno("bind the name server");
  });
  thread_ = std::thread([this] { serve(); });
}

ScriptedDns::~ScriptedDns() {
  stopping_ = true;
  thread_.join();
}

void ScriptedDns::serve() {
  while (!stopping_) {
    pollfd waiting{fd_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, 50) <= 0) continue;
    char packet[512];
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    const ssize_t n = ::recvfrom(fd_.get(), packet, sizeof packet, 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (n < 17) continue;
    ++questions_;
    const auto reply = answer({packet, static_cast<size_t>(n)});
    if (!reply.empty()) ::sendto(fd_.get(), reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
  }
}

// RFC 1035 4.1: header, the question again, answers that point back to its name (compression, offset 12).
std::string ScriptedDns::answer(const std::string& question) const {
  std::string name;
  size_t at = 12;
  while (at < question.size() && question[at] != 0) {
    const auto length = static_cast<size_t>(question[at]);
    name += (name.empty() ? "" : ".") + question.substr(at + 1, length);
    at += length + 1;
  }
  const char type = question.at(at + 2);  // 1: A, 28: AAAA
  const auto wanted = script_(name);
  if (wanted.silent) return {};
  auto reply = question.substr(0, at + 5);
  reply[2] = static_cast<char>(0x81);
  reply[3] = static_cast<char>(0x80 | wanted.code);
  reply.replace(6, 6, 6, '\0');
  for (const auto& text : wanted.addresses) {
    const auto address = Endpoint::parse(text).value_or(Endpoint{});
    const bool v6 = address.family == Endpoint::Family::V6;
    if (v6 != (type == 28)) continue;
    reply[7] = static_cast<char>(reply[7] + 1);
    reply += std::string("\xc0\x0c\0", 3) + type + std::string("\0\1\0\0\0\1\0", 7) + static_cast<char>(v6 ? 16 : 4);
    reply.append(reinterpret_cast<const char*>(address.address.data()), v6 ? 16 : 4);
  }
  return reply;
}

}  // namespace tapdeck::lab
