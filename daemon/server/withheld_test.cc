// What replay gave out in place of a secret, and a client gives back, never reaches an origin: neither in hybrid mode,
// where its refusal would be recorded, nor with on_miss = "forward".
#include <gmock/gmock.h>

#include "daemon/server/grpc_rig.h"

namespace tapdeck::server {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string request_for(const std::string& target, const std::string& fields = {}) {
  return "GET " + target + " HTTP/1.1\r\nHost: api.test\r\n" + fields + "\r\n";
}

// Gives out a cookie at /login, and wants it everywhere else.
struct LoginRig {
  explicit LoginRig(RigOptions options = {})
      : rig(std::move(options)), origin(http_origin([this](const std::string& request) {
          ++served;
          if (request.contains("/login")) {
            return "HTTP/1.1 200 OK\r\nSet-Cookie: sid=s3cret; Path=/\r\nContent-Length: 0\r\n\r\n"s;
          }
          const bool is_known = request.contains("s3cret");
          return is_known ? with_length("yours") : "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"s;
        })) {
    rig.go_to(origin.endpoint());
    EXPECT_THAT(rig.ask(request_for("/login")), HasSubstr("s3cret"));
    EXPECT_THAT(rig.ask(request_for("/known", "Cookie: sid=s3cret\r\n")), HasSubstr("yours"));
  }
  // The cookie that replay gives out at /login.
  std::string log_in() {
    const std::string answer = rig.ask(request_for("/login"));
    const size_t begin = answer.find("[redacted:");
    EXPECT_NE(begin, std::string::npos) << answer;
    return "Cookie: a=1; sid=" + answer.substr(begin, 19) + "\r\n";
  }
  void expect_withheld(const std::string& answer) const {
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 502 "));
    EXPECT_THAT(answer, HasSubstr("\"error\":\"not_recorded\""));
    EXPECT_THAT(answer, HasSubstr("what redaction put in place of a secret"));
    EXPECT_EQ(served, 2) << "what is on tape";
    EXPECT_EQ(rig.store->stored_recordings(), 2U);
  }
  std::atomic<int> served{0};
  WorkerRig rig;
  ScriptedOrigin origin;
};

TEST(Withheld, InHybridModeWhatIsNotOnTapeIsExplainedAndNotRecorded) {
  LoginRig logged;
  logged.rig.set_mode(Mode::Hybrid);
  const std::string cookie = logged.log_in();
  EXPECT_THAT(logged.rig.ask(request_for("/known", cookie)), HasSubstr("yours")) << "on tape";
  const std::string answer = logged.rig.ask(request_for("/new", cookie));
  logged.expect_withheld(answer);
  EXPECT_THAT(answer, AllOf(HasSubstr("in Cookie"), Not(HasSubstr("[redact]")))) << "which no [redact] leaves";
  logged.expect_withheld(
      logged.rig.ask("POST /new HTTP/1.1\r\nHost: api.test\r\n" + cookie + "Content-Length: 4\r\n\r\nbody"));
  const std::string of_url = logged.rig.ask(request_for("/cb?token=[redacted:0123abcd]"));
  logged.expect_withheld(of_url);
  EXPECT_THAT(of_url, HasSubstr("[redact] that leaves this field"));
  EXPECT_EQ(logged.rig.outcomes(Mode::Hybrid, Outcome::Missed), 3U);
  EXPECT_THAT(logged.rig.ask(request_for("/new", "Cookie: sid=s3cret\r\n")), HasSubstr("yours")) << "as ever";
}

TEST(Withheld, ABodyThatIsTooLongToBeMatchedDoesNotChangeThat) {
  RigOptions options;
  options.config.limits.body_buffer = 8;
  LoginRig logged(std::move(options));
  logged.rig.set_mode(Mode::Hybrid);
  const std::string cookie = logged.log_in();
  logged.expect_withheld(
      logged.rig.ask("POST /new HTTP/1.1\r\nHost: api.test\r\n" + cookie + "Content-Length: 10\r\n\r\n0123456789"));
}

TEST(Withheld, WithOnMissForwardToo) {
  RigOptions options;
  options.config.routes.emplace_back().on_miss = config::OnMiss::Forward;
  LoginRig logged(std::move(options));
  logged.rig.set_mode(Mode::Replay);
  logged.expect_withheld(logged.rig.ask(request_for("/new", logged.log_in())));
}

class GrpcWithheld : public GrpcReplay {};

TEST_F(GrpcWithheld, ACallIsToldSoByItsStatus) {
  const std::string cookie = "Cookie: sid=[redacted:0123abcd]\r\n";
  EXPECT_THAT(talk({"a"}, "Cookie: sid=s3cret\r\n"), HasSubstr("re:a"));
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  rig.set_mode(Mode::Hybrid);
  EXPECT_THAT(talk({"a"}, cookie), HasSubstr("re:a")) << "on tape";
  const std::string answer = rig.ask(call("Talk", cookie) + message("b") + kEnd);
  EXPECT_THAT(answer, HasSubstr("grpc-status: 9\r\n"));
  EXPECT_THAT(answer, HasSubstr("in place of a secret"));
  EXPECT_EQ(rig.store->stored_recordings(), 1U);
}

}  // namespace
}  // namespace tapdeck::server
