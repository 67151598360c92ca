#include "daemon/server/dead_clients.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <chrono>

#include "daemon/server/connection.h"

namespace tapdeck::server {
namespace {

constexpr std::chrono::milliseconds kLastWords{1000};
constexpr std::chrono::milliseconds kLookEvery{250};
constexpr int kLooks = 20;  // the kernel's second question goes unanswered after two seconds
constexpr int kQuestionEverySeconds = 1;
constexpr int kQuestions = 10;  // then the kernel gives the connection up; we did before
constexpr int kUnanswered = 2;

void drop_those_marked(std::list<Connection>& connections, net::TaskGroup& group) {
  for (auto entry = connections.begin(); entry != connections.end();) {
    const auto current = entry++;
    if (current->is_client_dead() && current->drop_dead()) group.cancel(current->task());
  }
}

}  // namespace

void ask_whether_it_is_there(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &kQuestionEverySeconds, sizeof kQuestionEverySeconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &kQuestionEverySeconds, sizeof kQuestionEverySeconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &kQuestions, sizeof kQuestions);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

bool is_out_of_reach(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
  return info.tcpi_retransmits >= kUnanswered || info.tcpi_probes >= kUnanswered;
}

net::Task<> drop_dead_clients(std::list<Connection>& connections, net::TaskGroup& group, TargetSlot target,
                              uint64_t tenant) {
  for (Connection& connection : connections) {
    if (connection.is_of(target, tenant)) connection.mark_client_dead();
  }
  asio::steady_timer timer(co_await asio::this_coro::executor, kLastWords);
  for (int look = 0; look < kLooks; ++look) {
    auto [error] = co_await timer.async_wait(net::kToken);
    const bool wanted = co_await net::is_wanted();
    if (error || !wanted) co_return;
    drop_those_marked(connections, group);
    timer.expires_after(kLookEvery);
  }
}

}  // namespace tapdeck::server
