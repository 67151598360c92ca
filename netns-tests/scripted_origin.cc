#include "netns-tests/scripted_origin.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>

#include "netns-tests/lab_error.h"

namespace tapdeck::lab {
namespace {

// The value of a header in a raw head, or nothing. Enough for requests that the daemon has already cleaned.
std::optional<std::string> header(const std::string& head, const char* name) {
  const auto length = std::strlen(name);
  for (size_t at = head.find("\r\n"); at != std::string::npos; at = head.find("\r\n", at + 2)) {
    if (::strncasecmp(head.c_str() + at + 2, name, length) != 0 || head[at + 2 + length] != ':') continue;
    auto from = at + 3 + length;
    while (head[from] == ' ') ++from;
    return head.substr(from, head.find("\r\n", from) - from);
  }
  return std::nullopt;
}

std::string read_chunks(Stream& stream) {
  std::string all;
  for (;;) {
    const auto size_line = stream.read_until("\r\n");
    all += size_line;
    const auto size = std::strtoul(size_line.c_str(), nullptr, 16);
    if (size == 0) break;
    all += stream.read_exactly(size + 2);
  }
  for (;;) {  // trailers, to the empty line
    const auto line = stream.read_until("\r\n");
    all += line;
    if (line.size() <= 2) return all;
  }
}

}  // namespace

std::string target_of(const std::string& request) {
  const auto from = request.find(' ') + 1;
  return request.substr(from, request.find(' ', from) - from);
}

std::string Peer::read_request() {
  auto request = stream_.read_until("\r\n\r\n");
  if (!request.ends_with("\r\n\r\n")) return {};
  ++heads_;
  if (const auto coding = header(request, "transfer-encoding")) {
    const auto chunks = read_chunks(stream_);
    if (!chunks.ends_with("\r\n")) return {};
    request += chunks;
  } else if (const auto length = header(request, "content-length")) {
    const auto body = stream_.read_exactly(std::stoul(*length));
    if (body.size() != std::stoul(*length)) return {};
    request += body;
  }
  ++requests_;
  return request;
}

Script answers(std::map<std::string, std::string> by_target) {
  return [table = std::move(by_target)](Peer& peer) {
    for (auto request = peer.read_request(); !request.empty(); request = peer.read_request()) {
      const auto found = table.find(target_of(request));
      const auto& answer =
          found != table.end() ? found->second : "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot here\n";
      if (!peer.stream().send(answer)) return;
      if (const auto wish = header(request, "connection"); wish && *wish == "close") return;
      // Neither a length nor chunks: the body ends with the connection.
      if (!header(answer, "content-length") && !header(answer, "transfer-encoding") &&
          answer.find(" 204 ") == std::string::npos && answer.find(" 304 ") == std::string::npos) {
        return;
      }
    }
  };
}

ScriptedOrigin::ScriptedOrigin(const Namespace& where, uint16_t port, std::optional<Leaf> tls, Script script, Alpn alpn)
    : script_(std::move(script)) {
  if (tls) tls_.emplace(TlsContext::server(*tls, alpn));
  where.run([&] {
    listen(AF_INET, port);
    listen(AF_INET6, port);
  });
  for (const auto& listener : listeners_) threads_.emplace_back([this, fd = listener.get()] { accept_loop(fd); });
}

void ScriptedOrigin::listen(int family, uint16_t port) {
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_storage address{};
  if (family == AF_INET) {
    reinterpret_cast<sockaddr_in&>(address).sin_port = htons(port);
  } else {
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    reinterpret_cast<sockaddr_in6&>(address).sin6_port = htons(port);
  }
  address.ss_family = static_cast<sa_family_t>(family);
  const socklen_t length = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 || ::listen(fd.get(), 4096) != 0) {
    raise_errno("listen on port " + std::to_string(port));
  }
  listeners_.push_back(std::move(fd));
}

void ScriptedOrigin::accept_loop(int listener) {
  while (!stopping_) {
    pollfd waiting{listener, POLLIN, 0};
    if (::poll(&waiting, 1, 50) <= 0) continue;
    UniqueFd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd) continue;
    ++connections_;
    const std::lock_guard lock(mutex_);
    for (auto it = list_.begin(); it != list_.end();) {
      if (it->done) {
        it->thread.join();
        it = list_.erase(it);
      } else {
        ++it;
      }
    }
    auto& connection = list_.emplace_back();
    connection.fd = fd.get();
    ++open_;
    connection.thread = std::thread([this, &connection, raw = fd.release()] { play(connection, UniqueFd(raw)); });
  }
}

void ScriptedOrigin::play(Connection& connection, UniqueFd fd) {
  {
    Stream stream(std::move(fd), std::chrono::minutes(5));
    if (!tls_ || stream.accept_tls(*tls_)) {
      Peer peer(std::move(stream), requests_, heads_);
      script_(peer);
      if (peer.stream().fd() >= 0) peer.stream().half_close();
    }
    const std::lock_guard lock(mutex_);  // stop() must not shut down a number that was given to somebody else
    connection.fd = -1;
  }
  --open_;
  connection.done = true;
}

void ScriptedOrigin::stop() {
  if (stopping_.exchange(true)) return;
  for (auto& thread : threads_) thread.join();
  listeners_.clear();
  {
    const std::lock_guard lock(mutex_);
    for (auto& connection : list_) {
      if (connection.fd >= 0) ::shutdown(connection.fd, SHUT_RDWR);
    }
  }
  for (auto& connection : list_) connection.thread.join();
  list_.clear();
}

ScriptedOrigin::~ScriptedOrigin() {
  stop();
}

}  // namespace tapdeck::lab
