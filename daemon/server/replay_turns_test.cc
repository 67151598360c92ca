// Whose turn it is in replay: requests that only look at a recording leave its turn to those it was recorded for.
#include <gmock/gmock.h>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

const std::string kGet = "GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n";
const std::string kAskHead = "HEAD /a HTTP/1.1\r\nHost: api.test\r\n\r\n";
const std::string kBare = "POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 0\r\n\r\n";

RigOptions repeating(config::Repeat repeat) {
  RigOptions options;
  options.config.routes.emplace_back().repeat = repeat;
  return options;
}

// Answers the n-th request "answer n".
ScriptedOrigin::Script counting(std::atomic<int>& asked) {
  return http_origin([&asked](const std::string& request) {
    const std::string answer = with_length("answer " + std::to_string(++asked));
    return request.starts_with("HEAD") ? answer.substr(0, answer.find("\r\n\r\n") + 4) : answer;
  });
}

TEST(ReplayTurns, AHeadThatItsGetAnswersTakesNoTurnOfIt) {
  WorkerRig rig(repeating(config::Repeat::Once));
  std::atomic<int> asked{0};
  ScriptedOrigin origin(counting(asked));
  rig.go_to(origin.endpoint());
  rig.ask(kGet);
  origin.stop();
  rig.set_mode(Mode::Replay);
  for (int i = 0; i < 2; ++i) EXPECT_THAT(rig.ask(kAskHead), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(rig.ask(kGet), EndsWith("answer 1<EOF>"));
  EXPECT_THAT(rig.ask(kGet), HasSubstr("not_recorded"));
  EXPECT_THAT(rig.ask(kAskHead), StartsWith("HTTP/1.1 200")) << "the GET's turns are not its own";
}

TEST(ReplayTurns, AHeadWithRecordingsOfItsOwnHasNoMoreThanThose) {
  WorkerRig rig(repeating(config::Repeat::Once));
  std::atomic<int> asked{0};
  ScriptedOrigin origin(counting(asked));
  rig.go_to(origin.endpoint());
  rig.ask(kGet);
  rig.ask(kAskHead);
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_THAT(rig.ask(kAskHead), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(rig.ask(kAskHead), StartsWith("HTTP/1.1 502"));
  EXPECT_THAT(rig.ask(kGet), EndsWith("answer 1<EOF>"));
}

TEST(ReplayTurns, AClientThatWaitsForContinueTakesNoTurnOfTheRequestWithoutABody) {
  WorkerRig rig;
  std::atomic<int> asked{0};
  ScriptedOrigin origin(counting(asked));
  rig.go_to(origin.endpoint());
  rig.ask(kBare);
  rig.ask(kBare);
  rig.ask("POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 3\r\n\r\nabc");
  origin.stop();
  rig.set_mode(Mode::Replay);
  {
    Wire wire = rig.connect();
    EXPECT_TRUE(wire.write("POST /a HTTP/1.1\r\nHost: api.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"));
    EXPECT_THAT(wire.read_until("\r\n\r\n"), StartsWith("HTTP/1.1 100"));
    EXPECT_TRUE(wire.write("abc"));
    wire.half_close();
    EXPECT_THAT(wire.rest(), EndsWith("answer 3<EOF>"));
  }
  EXPECT_THAT(rig.ask(kBare), EndsWith("answer 1<EOF>"));
  EXPECT_THAT(rig.ask(kBare), EndsWith("answer 2<EOF>"));
}

// What a client at `source` (of 127/8) is given at `listener`.
std::string ask_from(const char* source, const Endpoint& listener) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage address{};
  socklen_t size = Endpoint::parse(source)->to_sockaddr(address);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
  size = listener.to_sockaddr(address);
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
  Wire wire(std::move(fd));
  EXPECT_TRUE(wire.write(kGet));
  wire.half_close();
  const std::string answer = wire.rest();
  return answer.substr(answer.find("answer"));
}

TEST(ReplayTurns, EachClientBehindAnInterfaceBeginsAtTheFirst) {
  WorkerRig rig;
  std::atomic<int> asked{0};
  ScriptedOrigin origin(counting(asked));
  rig.go_to(origin.endpoint());
  for (int i = 0; i < 3; ++i) rig.ask(kGet);
  origin.stop();
  rig.set_mode(Mode::Replay);
  for (const auto path : {CapturePath::Tc, CapturePath::Cgroup}) {
    UniqueFd fd = listen_on_loopback();
    const Endpoint listener = local_endpoint(fd.get());
    rig.worker->add_listener(std::move(fd), {path, 2, 0, kSlot});
    std::string heard;
    for (const char* source : {"127.0.0.2", "127.0.0.3", "127.0.0.2"}) heard += ask_from(source, listener);
    const bool is_one_client = path == CapturePath::Cgroup;
    EXPECT_EQ(heard,
              is_one_client ? "answer 1<EOF>answer 2<EOF>answer 3<EOF>" : "answer 1<EOF>answer 1<EOF>answer 2<EOF>");
  }
}

}  // namespace
}  // namespace tapdeck::server
