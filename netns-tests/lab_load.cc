// The load half of lab_peer: an epoll loop over many plain HTTP connections, because 6,000 threads are no client. One
// request a connection (--hold: the answers are read, and all connections stay open until every one has answered).
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstring>
#include <iostream>
#include <map>
#include <unordered_map>

#include "netns-tests/lab_peer.h"

namespace tapdeck::lab {
namespace {

using Clock = std::chrono::steady_clock;

class Load {
 public:
  explicit Load(const PeerArguments& arguments)
      : destination_(arguments.destination()),
        flows_(arguments.number("--flows", 1)),
        parallel_(arguments.number("--parallel", 1)),
        hold_(arguments.has("--hold")),
        numbered_(arguments.has("--numbered")),
        first_(arguments.number("--first", 0)),
        path_(arguments.text("--path", "/")),
        deadline_(Clock::now() + std::chrono::seconds(arguments.number("--deadline-s", 120))),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}

  int run() {
    const auto begin = Clock::now();
    while (ok_ + failed_ < flows_ && Clock::now() < deadline_) {
      while (static_cast<long>(active_.size()) - held_ < parallel_ && started_ < flows_) start();
      step();
    }
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
    std::cout << "{\"ok\":" << ok_ << ",\"failed\":" << failed_ << ",\"unfinished\":" << started_ - ok_ - failed_
              << ",\"held\":" << held_ << ",\"ms\":" << took << ",\"errors\":{";
    const char* comma = "";
    for (const auto& [what, count] : errors_) {
      std::cout << comma << '"' << what << "\":" << count;
      comma = ",";
    }
    std::cout << "}}\n" << std::flush;
    return ok_ == flows_ ? 0 : 1;
  }

 private:
  struct Flow {
    UniqueFd fd;
    std::string path;
    std::string answer;
    bool sent = false;
  };

  void start() {
    const auto path = numbered_ ? path_ + std::to_string(first_ + started_) : path_;
    ++started_;
    sockaddr_storage address{};
    const auto length = destination_.to_sockaddr(address);
    UniqueFd fd(::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return fail(errno);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 && errno != EINPROGRESS) {
      return fail(errno);
    }
    epoll_event event{.events = EPOLLOUT, .data = {.fd = fd.get()}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event);
    const int key = fd.get();
    active_.emplace(key, Flow{std::move(fd), path, "", false});
  }

  void fail(int number) {
    ++failed_;
    ++errors_[std::strerror(number)];  // NOLINT(concurrency-mt-unsafe): one thread
  }

  void step() {
    std::array<epoll_event, 256> events{};
    const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), 100);
    for (int i = 0; i < count; ++i) {
      const auto found = active_.find(events[static_cast<size_t>(i)].data.fd);
      if (found != active_.end()) advance(found->second);
    }
  }

  void advance(Flow& flow) {
    int error = 0;
    socklen_t length = sizeof error;
    ::getsockopt(flow.fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) return drop(flow, error);
    if (!flow.sent) return send(flow);
    char bytes[16384];
    const auto got = ::recv(flow.fd.get(), bytes, sizeof bytes, 0);
    if (got < 0) {
      if (errno != EAGAIN) drop(flow, errno);
      return;
    }
    flow.answer.append(bytes, static_cast<size_t>(got));
    if (complete(flow.answer)) return finish(flow);
    if (got == 0) drop(flow, ECONNRESET);
  }

  void send(Flow& flow) {
    const auto request = "GET " + flow.path + " HTTP/1.1\r\nHost: origin.test\r\n\r\n";
    if (::send(flow.fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return drop(flow, errno);
    flow.sent = true;
    epoll_event event{.events = EPOLLIN, .data = {.fd = flow.fd.get()}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, flow.fd.get(), &event);
  }

  // The origins of load tests answer with Content-Length.
  static bool complete(const std::string& answer) {
    const auto head = answer.find("\r\n\r\n");
    const auto at = answer.find("ontent-Length: ");
    if (head == std::string::npos || at == std::string::npos || at > head) return false;
    return answer.size() >= head + 4 + std::stoul(answer.substr(at + 15));
  }

  void finish(Flow& flow) {
    if (!flow.answer.starts_with("HTTP/1.1 200")) {
      ++errors_[flow.answer.substr(9, 3)];
      ++failed_;
      active_.erase(flow.fd.get());
      return;
    }
    ++ok_;
    if (numbered_) std::cerr << flow.path << "\n" << std::flush;
    if (!hold_) {
      active_.erase(flow.fd.get());
      return;
    }
    ++held_;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, flow.fd.get(), nullptr);
  }

  void drop(Flow& flow, int error) {
    fail(error);
    active_.erase(flow.fd.get());
  }

  Endpoint destination_;
  long flows_, parallel_;
  bool hold_, numbered_;
  long first_;
  std::string path_;
  Clock::time_point deadline_;
  UniqueFd epoll_;
  std::unordered_map<int, Flow> active_;
  std::map<std::string, long> errors_;
  long started_ = 0, ok_ = 0, failed_ = 0, held_ = 0;
};

}  // namespace

int peer_load(const PeerArguments& arguments) {
  return Load(arguments).run();
}

}  // namespace tapdeck::lab
