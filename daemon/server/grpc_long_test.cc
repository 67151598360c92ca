// gRPC calls with long first messages: longer than hybrid mode keeps of other bodies, and refused before they had come.
#include <gmock/gmock.h>

#include "daemon/server/grpc_rig.h"

namespace tapdeck::server {
namespace {

using testing::HasSubstr;

const std::string kTooLong =
    "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: 8\r\nContent-Length: 0\r\n\r\n";

// `sent` bytes of a message that is announced with `length`.
std::string part_of_message(size_t length, size_t sent) {
  std::string bytes(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(length >> shift & 255);
  bytes.append(sent, 'x');
  char size[20];
  std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  return size + bytes + "\r\n";
}
std::string long_message(size_t length) {
  return part_of_message(length, length);
}

TEST(GrpcLong, HybridForwardsAFirstMessageOfAnyLengthAndAnswersItAfterwards) {
  WorkerRig rig;
  rig.set_mode(Mode::Hybrid);
  ScriptedOrigin origin(http_origin([](const std::string&) {
    return "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: 0\r\nContent-Length: 0\r\n\r\n";
  }));
  rig.go_to(origin.endpoint());
  constexpr size_t kBuffered = 3 << 20;  // more than limits.body_buffer
  const std::string request = call("Put") + long_message(kBuffered) + kEnd;
  EXPECT_THAT(rig.ask(request), HasSubstr("grpc-status: 0\r\n"));
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Hybrid, Outcome::Recorded) == 1; }));
  EXPECT_THAT(rig.ask(request), HasSubstr("grpc-status: 0\r\n"));
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Hybrid, Outcome::Replayed) == 1; }));

  const std::string longest = call("Put") + long_message((17 << 20) + 1) + kEnd;
  EXPECT_THAT(rig.ask(longest), HasSubstr("grpc-status: 0\r\n")) << "forwarded without being matched";
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Hybrid, Outcome::Recorded) == 2; }));
  EXPECT_EQ(rig.count(Counter::LimitBodyBuffer), 1U);
}

TEST(GrpcLong, AMessageRefusedBeforeItHadComeIsRefusedAgain) {
  WorkerRig rig;
  ScriptedOrigin origin([](Wire& wire) {
    wire.read_until("\r\n\r\n");
    wire.read_n(1000);
    wire.write(kTooLong);
    wire.rest();
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  {
    Wire wire = rig.connect();
    EXPECT_TRUE(wire.write(call("Put") + part_of_message(8 << 20, 100000)));
    EXPECT_THAT(wire.read_until("\r\n\r\n"), HasSubstr("grpc-status: 8\r\n"));
    wire.close();
  }
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_THAT(rig.ask(call("Put") + long_message(8 << 20) + kEnd), HasSubstr("grpc-status: 8\r\n"));
  EXPECT_THAT(rig.ask(call("Put") + long_message(7 << 20) + kEnd), HasSubstr("grpc-status: 9\r\n"))
      << "another length is another call";
}

// Records a call whose client says `said` and leaves, to an origin that says nothing; then replays.
void leave_after(WorkerRig& rig, const std::string& said) {
  ScriptedOrigin origin([](Wire& wire) {
    wire.rest();
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.write(said));
  EXPECT_TRUE(eventually([&] { return origin.connections() == 1; }));
  wire.reset();
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  rig.set_mode(Mode::Replay);
}

TEST(GrpcLong, ACallItsClientLeftInsideItsMessageAnswersNoOther) {
  WorkerRig rig;
  leave_after(rig, call("Put") + part_of_message(100, 10));
  EXPECT_THAT(rig.ask(call("Put") + long_message(100) + kEnd), HasSubstr("grpc-status: 9\r\n"));
}

// Refused by its head alone, before it had said anything; in replay the message is faster.
TEST(GrpcLong, ACallRefusedInSilenceIsRefusedAgain) {
  WorkerRig rig;
  const std::string refusal =
      "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: 16\r\nContent-Length: 0\r\n\r\n";
  ScriptedOrigin origin([&](Wire& wire) {
    wire.read_until("\r\n\r\n");
    wire.write(refusal);
    wire.rest();
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  {
    Wire wire = rig.connect();
    EXPECT_TRUE(wire.write(call("Secret")));
    EXPECT_THAT(wire.read_until("\r\n\r\n"), HasSubstr("grpc-status: 16\r\n"));
    wire.close();
  }
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_THAT(rig.ask(call("Secret") + message("please") + kEnd), HasSubstr("grpc-status: 16\r\n"));
}

// The deadline passes while the recording is looked for, and the recorded client had left in silence.
TEST(GrpcLong, ADeadlineThatHasPassedBeforeAnythingIsWaitedForEndsTheCall) {
  WorkerRig rig;
  leave_after(rig, call("Talk", "grpc-timeout: 1S\r\n"));
  for (const char* timeout : {"1n", "5u", "1m"}) {
    EXPECT_THAT(rig.ask(call("Talk", std::string("grpc-timeout: ") + timeout + "\r\n") + message("x") + kEnd),
                HasSubstr("grpc-status: 4\r\n"));
  }
}

}  // namespace
}  // namespace tapdeck::server
