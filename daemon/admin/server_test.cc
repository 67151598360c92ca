#include "daemon/admin/server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <future>
#include <stdexcept>
#include <thread>

#include "daemon/admin/fake_control.h"
#include "daemon/admin/token.h"
#include "daemon/base/test_descriptors.h"
#include "daemon/base/test_directory.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::admin {
namespace {

class ServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    options_ = {.listen = Endpoint::parse("127.0.0.1:0"),
                .socket = directory_ / "s",
                .token_file = directory_ / "t",
                .allowed_hosts = {}};
  }
  void start() {
    auto server = AdminServer::start(options_, control_, metrics_);
    ASSERT_TRUE(server) << server.error().message();
    server_ = std::move(*server);
  }
  UniqueFd connect_tcp() {
    sockaddr_storage address{};
    const socklen_t length = server_->endpoint()->to_sockaddr(address);
    return connected(AF_INET, reinterpret_cast<sockaddr*>(&address), length);
  }
  UniqueFd connect_unix() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, options_.socket.c_str());
    return connected(AF_UNIX, reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  static UniqueFd connected(int family, const sockaddr* address, socklen_t length) {
    UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval patience{.tv_sec = 20, .tv_usec = 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    EXPECT_EQ(::connect(fd.get(), address, length), 0) << std::strerror(errno);
    return fd;
  }
  static void put(const UniqueFd& fd, std::string_view text) {
    EXPECT_EQ(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // Everything until the server closes.
  static std::string rest(const UniqueFd& fd) {
    std::string out;
    char buffer[4096];
    for (ssize_t n; (n = ::recv(fd.get(), buffer, sizeof buffer, 0)) > 0;) out.append(buffer, static_cast<size_t>(n));
    return out;
  }
  TestDirectory directory_;
  ServerOptions options_;
  FakeControl control_;
  MetricsRegistry metrics_;
  std::unique_ptr<AdminServer> server_;
};

TEST_F(ServerTest, EndsWhileATickIsDue) {
  start();
  std::atomic<int> ticks = 0;
  server_->every(std::chrono::milliseconds(0), [&ticks] { ++ticks; });  // always due: no wait of it is ever cancelled
  while (ticks < 100) std::this_thread::yield();
  server_.reset();
}

TEST_F(ServerTest, MetricsAreServedOverTcpAndUnix) {
  start();
  for (const UniqueFd& fd : {connect_tcp(), connect_unix()}) {
    put(fd, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    const std::string answer = rest(fd);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer.substr(0, 100);
    EXPECT_NE(answer.find("# TYPE tapdeck_active_connections gauge"), std::string::npos);
  }
}

TEST_F(ServerTest, SeveralRequestsShareAConnection) {
  start();
  const UniqueFd fd = connect_tcp();
  put(fd,
      "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nHEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
      "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  const std::string answer = rest(fd);
  size_t count = 0;
  for (size_t at = 0; (at = answer.find("HTTP/1.1 200", at)) != std::string::npos; ++at) ++count;
  EXPECT_EQ(count, 3u);
  EXPECT_TRUE(answer.ends_with("\r\n\r\nok\n")) << answer;
}

TEST_F(ServerTest, TokenOfTheFileAllowsAChange) {
  start();
  struct stat info{};
  ASSERT_EQ(::stat(options_.token_file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(::stat(options_.socket.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const std::string token = read_token(options_.token_file).value();
  const UniqueFd fd = connect_tcp();
  put(fd,
      "POST /api/v1/sessions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 12\r\nAuthorization: "
      "Bearer " +
          token + "\r\n\r\n{\"name\":\"n\"}");
  EXPECT_TRUE(rest(fd).starts_with("HTTP/1.1 201 Created\r\n"));
  EXPECT_EQ(control_.last, "create n");
}

TEST_F(ServerTest, MalformedAndOversizeRequestsAreAnsweredAndClosed) {
  options_.max_body = 8;
  start();
  const struct {
    const char *request, *status;
  } cases[] = {
      {"nonsense\r\n\r\n", "HTTP/1.1 400"},
      {"GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 400"},
      {"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 400"},
      {"POST /api/v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n123456789", "HTTP/1.1 413"},
  };
  for (const auto& c : cases) {
    const UniqueFd fd = connect_tcp();
    put(fd, c.request);
    const std::string answer = rest(fd);
    EXPECT_TRUE(answer.starts_with(c.status)) << c.request << answer;
  }
}

TEST_F(ServerTest, ABodyAnnouncedTooLongIsNotAskedFor) {
  options_.max_body = 8;
  start();
  const UniqueFd fd = connect_tcp();
  put(fd, "POST /api/v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n");
  const std::string answer = rest(fd);
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 413")) << answer;
  EXPECT_NE(answer.find("at most 8 bytes"), std::string::npos) << answer;
}

TEST_F(ServerTest, SlowRequestIsClosedByItsDeadline) {
  options_.request_timeout = std::chrono::milliseconds(50);
  start();
  const UniqueFd fd = connect_tcp();
  put(fd, "GET /healthz HT");
  EXPECT_EQ(rest(fd), "");
}

TEST_F(ServerTest, IdleConnectionIsClosedByItsDeadline) {
  options_.idle_timeout = std::chrono::milliseconds(50);
  start();
  EXPECT_EQ(rest(connect_tcp()), "");
}

TEST_F(ServerTest, PastTheLimitTheOldestThatSaysNothingMakesRoom) {
  options_.max_connections = 2;
  start();
  const UniqueFd silent = connect_tcp();
  const UniqueFd partial = connect_tcp();
  put(partial, "GET /healthz HTTP/1.1\r\nHo");
  for (int i = 0; i < 5; ++i) {
    const UniqueFd fd = connect_tcp();
    put(fd, "GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n");
    EXPECT_NE(rest(fd).find("200 OK"), std::string::npos);
  }
  EXPECT_EQ(rest(silent), "");
}

// Its place among the connections is free again, and nothing that makes room later meets what is left of it.
TEST_F(ServerTest, AConnectionThatEndsByAnExceptionLeavesNothing) {
  struct Broken final : GaugeSource {
    void read(MetricsSnapshot&) override { throw std::runtime_error("no memory for it"); }
  } broken;
  metrics_.add_source(broken);
  options_.max_connections = 1;
  start();
  for (int i = 0; i < 3; ++i) {
    const UniqueFd fd = connect_tcp();
    put(fd, "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n");
    EXPECT_EQ(rest(fd), "");
  }
  metrics_.remove_source(broken);
  const UniqueFd fd = connect_tcp();
  put(fd, "GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n");
  EXPECT_NE(rest(fd).find("200 OK"), std::string::npos);
}

TEST_F(ServerTest, ASearchDoesNotHoldUpADetach) {
  std::promise<void> begun, end;
  control_.search = [&] {
    begun.set_value();
    end.get_future().wait();
  };
  start();
  const UniqueFd searcher = connect_unix();
  put(searcher, "GET /api/v1/recordings?text=body:x HTTP/1.0\r\nHost: x\r\n\r\n");
  begun.get_future().wait();
  const UniqueFd fd = connect_unix();
  put(fd, "DELETE /api/v1/targets/web HTTP/1.0\r\nHost: x\r\n\r\n");
  EXPECT_NE(rest(fd).find("200 OK"), std::string::npos);
  EXPECT_EQ(control_.last, "detach web");
  end.set_value();
  EXPECT_NE(rest(searcher).find("200 OK"), std::string::npos);
}

TEST_F(ServerTest, ABodyIsReadNoFasterThanItIsTaken) {
  constexpr size_t kPiece = 1 << 20, kPieces = 64;
  std::atomic<size_t> asked = 0;
  control_.body = [&] {
    return Pieces{.bytes = kPiece * kPieces, .next = [&asked]() -> Result<std::string> {
                    return ++asked > kPieces ? std::string() : std::string(kPiece, 'x');
                  }};
  };
  start();
  const UniqueFd fd = connect_unix();
  put(fd, "GET /api/v1/recordings/1/body HTTP/1.0\r\nHost: x\r\n\r\n");
  char byte = 0;
  ASSERT_EQ(::recv(fd.get(), &byte, 1, 0), 1) << "it is being sent";
  {  // which holds up nobody
    const UniqueFd other = connect_unix();
    put(other, "GET /api/v1/recordings HTTP/1.0\r\nHost: x\r\n\r\n");
    EXPECT_NE(rest(other).find("200 OK"), std::string::npos);
  }
  EXPECT_LE(asked, 2U) << "a socket takes less than a piece";
  const std::string answer = rest(fd);
  EXPECT_GT(answer.size(), kPiece * kPieces);
  EXPECT_EQ(asked, kPieces + 1);
}

TEST_F(ServerTest, ABodyThatCannotBeReadToItsEndEndsTooEarly) {
  control_.body = [] {
    return Pieces{.bytes = 10, .next = [calls = 0]() mutable -> Result<std::string> {
                    if (calls++ > 0) return fail(Code::Corrupt, "the store is damaged");
                    return std::string("begin");
                  }};
  };
  start();
  const UniqueFd fd = connect_unix();
  put(fd, "GET /api/v1/recordings/1/body HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::string answer = rest(fd);
  EXPECT_NE(answer.find("Content-Length: 10\r\n"), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\nbegin")) << answer;
}

TEST_F(ServerTest, OverTcpOnlySoManyAnswersWithRecordingsAreUnderWay) {
  std::promise<void> begun, end;
  control_.search = [&] {
    begun.set_value();
    end.get_future().wait();
  };
  options_.max_readings = 1;
  start();
  const std::string head =
      " HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer " + read_token(options_.token_file).value() + "\r\n\r\n";
  const UniqueFd first = connect_tcp();
  put(first, "GET /api/v1/recordings" + head);
  begun.get_future().wait();
  const UniqueFd second = connect_tcp();
  put(second, "GET /api/v1/recordings/1/body" + head);
  const std::string answer = rest(second);
  EXPECT_NE(answer.find(" 503 "), std::string::npos) << answer;
  EXPECT_NE(answer.find("Retry-After: 1\r\n"), std::string::npos) << answer;
  end.set_value();
  EXPECT_NE(rest(first).find("200 OK"), std::string::npos);
  control_.search = nullptr;
  const UniqueFd third = connect_tcp();
  put(third, "HEAD /api/v1/recordings/1/body" + head);
  EXPECT_NE(rest(third).find("200 OK"), std::string::npos) << "there is room again";
}

TEST_F(ServerTest, TakenPortAndLiveSocketAreBusyAndADeadSocketIsReplaced) {
  start();
  ServerOptions same_port{
      .listen = server_->endpoint(), .socket = {}, .token_file = {}, .allowed_hosts = {}, .protect_recordings = false};
  EXPECT_EQ(AdminServer::start(same_port, control_, metrics_).error().code, Code::Busy);
  ServerOptions same_socket{.listen = std::nullopt,
                            .socket = options_.socket,
                            .token_file = {},
                            .allowed_hosts = {},
                            .protect_recordings = false};
  EXPECT_EQ(AdminServer::start(same_socket, control_, metrics_).error().code, Code::Busy);
  server_.reset();
  EXPECT_FALSE(std::filesystem::exists(options_.socket));
  {  // a crashed daemon's leftover
    const UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, options_.socket.c_str());
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  start();
  const UniqueFd fd = connect_unix();
  put(fd, "GET /healthz HTTP/1.0\r\nHost: x\r\n\r\n");
  EXPECT_NE(rest(fd).find("200 OK"), std::string::npos);
}

TEST_F(ServerTest, WithoutADescriptorToWaitForClientsItDoesNotStart) {
  options_.socket.clear();
  options_.token_file.clear();
  const DescriptorLimit limit(descriptor_after(1));  // one, which listens
  const auto server = AdminServer::start(options_, control_, metrics_);
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().sys_errno, EMFILE);
}

TEST_F(ServerTest, TicksComeFromTheAdminLoop) {
  start();
  std::promise<void> third;
  int ticks = 0;
  server_->every(std::chrono::milliseconds(1), [&] {
    if (++ticks == 3) third.set_value();
  });
  EXPECT_EQ(third.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
}

}  // namespace
}  // namespace tapdeck::admin
