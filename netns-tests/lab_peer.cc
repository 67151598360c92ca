#include "netns-tests/lab_peer.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cstring>
#include <iostream>
#include <iterator>
#include <thread>

#include "netns-tests/stream.h"

namespace tapdeck::lab {

std::string PeerArguments::text(const std::string& name, const std::string& otherwise) const {
  const auto found = flags.find(name);
  return found == flags.end() ? otherwise : found->second;
}

long PeerArguments::number(const std::string& name, long otherwise) const {
  const auto found = flags.find(name);
  return found == flags.end() ? otherwise : std::stol(found->second);
}

Endpoint PeerArguments::destination() const {
  return Endpoint::parse(words.at(1), static_cast<uint16_t>(std::stoi(words.at(2)))).value_or(Endpoint{});
}

UniqueFd dial(const Endpoint& destination, uint16_t local_port, long deadline_ms) {
  sockaddr_storage address{};
  const auto length = destination.to_sockaddr(address);
  UniqueFd fd(::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  // The send timeout is also that of connect().
  const timeval time{deadline_ms / 1000, deadline_ms % 1000 * 1000};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
  if (local_port != 0) {
    const int on = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_storage local{};
    local.ss_family = address.ss_family;
    // sin_port and sin6_port lie at the same place.
    reinterpret_cast<sockaddr_in&>(local).sin_port = htons(local_port);
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&local), length) != 0) return {};
  }
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), length) != 0) return {};
  return fd;
}

int peer_bytes(const PeerArguments& arguments) {
  const long deadline_ms = arguments.number("--deadline-ms", 20000);
  auto fd = dial(arguments.destination(), static_cast<uint16_t>(arguments.number("--from", 0)), deadline_ms);
  if (!fd) {
    std::cerr << "connect: " << std::strerror(errno) << "\n";  // NOLINT(concurrency-mt-unsafe)
    return 7;
  }
  for (const bool peer : {true, false}) {
    sockaddr_storage name{};
    socklen_t length = sizeof name;
    auto* raw = reinterpret_cast<sockaddr*>(&name);
    peer ? ::getpeername(fd.get(), raw, &length) : ::getsockname(fd.get(), raw, &length);
    std::cerr << (peer ? "peer " : "local ") << Endpoint::from_sockaddr(raw).to_string() << "\n";
  }
  Stream stream(std::move(fd), std::chrono::milliseconds(deadline_ms));
  if (arguments.has("--tls") &&
      !stream.connect_tls(TlsContext::client(arguments.text("--ca")), arguments.text("--tls"))) {
    std::cerr << stream.error() << "\n";
    return 35;
  }
  const auto talk = [&] {
    stream.send(std::string(std::istreambuf_iterator<char>(std::cin), {}));
    if (arguments.has("--half-close")) stream.half_close();
  };
  // Plain bytes are sent while the answer is read: with a long pipeline either side may wait for the other. An SSL
  // object has one user at a time; TLS requests are short.
  std::thread sender;
  if (arguments.has("--tls")) {
    talk();
  } else {
    sender = std::thread(talk);
  }
  std::cout << stream.read_to_end() << std::flush;
  // A peer that has ended may still read: what is to be said is said first (each send has the stream's deadline).
  if (sender.joinable()) sender.join();
  if (!stream.error().empty()) std::cerr << stream.error() << "\n";
  return stream.error().empty() ? 0 : 56;
}

int lab_peer(const std::vector<std::string>& arguments) {
  PeerArguments parsed;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (!arguments[i].starts_with("--")) {
      parsed.words.push_back(arguments[i]);
    } else if (i + 1 < arguments.size() && !arguments[i + 1].starts_with("--")) {
      parsed.flags[arguments[i]] = arguments[i + 1];
      ++i;
    } else {
      parsed.flags[arguments[i]] = "";
    }
  }
  if (parsed.words.size() == 3 && parsed.words[0] == "bytes") return peer_bytes(parsed);
  if (parsed.words.size() == 3 && parsed.words[0] == "load") return peer_load(parsed);
  std::cerr << "usage: lab_peer bytes|load ADDR PORT [flags]\n";
  return 2;
}

}  // namespace tapdeck::lab
