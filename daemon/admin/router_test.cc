#include "daemon/admin/router.h"

#include <gtest/gtest.h>

#include "daemon/admin/fake_control.h"

namespace tapdeck::admin {
namespace {

class RouterTest : public ::testing::Test {
 protected:
  Request make(std::string method, std::string_view target, std::string body = "") {
    Request request{.via = Via::Tcp,
                    .method = std::move(method),
                    .path = "",
                    .query = {},
                    .host = "127.0.0.1:9909",
                    .origin = std::nullopt,
                    .authorization = "Bearer s3cret",
                    .body = std::move(body)};
    EXPECT_TRUE(parse_target(target, request)) << target;
    return request;
  }
  Response send(std::string method, std::string_view target, std::string body = "") {
    return router_.respond(make(std::move(method), target, std::move(body)));
  }
  FakeControl control_;
  MetricsRegistry metrics_;
  Router router_{
      RouterOptions{
          .token = "s3cret", .token_file = "/run/t", .allowed_hosts = {"tap.example"}, .protect_recordings = false},
      control_, metrics_};
};

TEST_F(RouterTest, EveryPathReachesItsControlCall) {
  const struct {
    const char *method, *target, *body, *call;
    int status;
  } cases[] = {
      {"GET", "/api/v1/status", "", "status", 200},
      {"GET", "/api/v1/sessions?cursor=c&limit=5", "", "sessions c 5", 200},
      {"POST", "/api/v1/sessions", R"({"name":"n"})", "create n", 201},
      {"GET", "/api/v1/sessions/a%2Fb", "", "session a/b", 200},
      {"DELETE", "/api/v1/sessions/n", "", "delete n", 200},
      {"GET", "/api/v1/sessions/a%2Fb/names", "", "names a/b  100", 200},
      {"HEAD", "/api/v1/sessions/n/names?cursor=www.test%2C28&limit=5", "", "names n www.test,28 5", 200},
      {"POST", "/api/v1/sessions/n/activate", R"({"target":"t"})", "activate n t", 200},
      {"POST", "/api/v1/sessions/n/rewind", "", "rewind n ", 200},
      {"POST", "/api/v1/sessions/n/export", R"({"path":"/f"})", "export n /f", 200},
      {"POST", "/api/v1/sessions/import", R"({"path":"/f","name":"m"})", "import m /f", 201},
      {"GET", "/api/v1/recordings?session=s&host=h&status=404", "", "recordings s h 404", 200},
      {"GET", "/api/v1/recordings/7", "", "recording 7", 200},
      {"GET", "/api/v1/recordings/7/body?of=request", "", "request body 7", 200},
      {"DELETE", "/api/v1/recordings/7", "", "delete recording 7", 200},
      {"GET", "/api/v1/mode", "", "mode", 200},
      {"PUT", "/api/v1/mode", R"({"mode":"passthrough-cache","target":"t"})", "set mode hybrid t", 200},
      {"GET", "/api/v1/targets", "", "targets", 200},
      {"POST", "/api/v1/targets", R"({"kind":"container","selector":"web","sealed":true})",
       "attach container web sealed", 201},
      {"DELETE", "/api/v1/targets/container:web", "", "detach container:web", 200},
      {"DELETE", "/api/v1/targets/web/mode", "", "follow the mode web", 200},
      {"DELETE", "/api/v1/targets/web/session", "", "follow the session web", 200},
  };
  for (const auto& c : cases) {
    const Response response = send(c.method, c.target, c.body);
    EXPECT_EQ(response.status, c.status) << c.method << " " << c.target << " " << response.body;
    EXPECT_EQ(control_.last, c.call);
  }
}

TEST_F(RouterTest, ReadingNeverChangesState) {
  for (const char* target : {"/api/v1/sessions/n/activate", "/api/v1/sessions/n/rewind", "/api/v1/sessions/n/export"}) {
    EXPECT_EQ(send("GET", target).status, 405) << target;
  }
  EXPECT_EQ(control_.last, "");
}

TEST_F(RouterTest, ChangesOverTcpNeedTheToken) {
  for (const char* given :
       {"", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cretx", "Basic s3cret", "Bearer S3cret"}) {
    Request request = make("DELETE", "/api/v1/sessions/n");
    request.authorization = given;
    EXPECT_EQ(router_.respond(request).status, 401) << given;
  }
  EXPECT_EQ(control_.last, "");
  EXPECT_EQ(metrics_.snapshot().value(Counter::AdminDenied), 7u);
}

// Recordings are the traffic itself, which no other user of the host may see.
TEST_F(RouterTest, RecordingsOverTcpNeedTheTokenWhereAskedFor) {
  const RouterOptions asked{.token = "s3cret", .token_file = "/run/t", .allowed_hosts = {}, .protect_recordings = true};
  Router router(asked, control_, metrics_);
  for (const char* target :
       {"/api/v1/recordings", "/api/v1/recordings?text=body:x", "/api/v1/recordings/7", "/api/v1/recordings/7/body",
        "/api/v1/sessions/n/names", "/api/v1/sessions/n/%6eames?limit=1", "/api/v1/%72ecordings/7/body",
        "/api/v1/recordings%2F7", "/api/v1/recordings/"}) {
    for (const char* method : {"GET", "HEAD"}) {
      Request request = make(method, target);
      request.authorization.clear();
      const Response response = router.respond(request);
      EXPECT_NE(response.status / 100, 2) << target;
      EXPECT_EQ(control_.last, "") << target;
      if (response.status != 404) EXPECT_EQ(response.status, 401) << target;
      request.via = Via::Unix;
      EXPECT_NE(router.respond(request).status, 401) << target;
      control_.last.clear();
    }
  }
  EXPECT_NE(router.respond(make("GET", "/api/v1/recordings")).status, 401);
  for (const char* open : {"/", "/metrics", "/healthz", "/readyz", "/api/v1/status", "/api/v1/sessions",
                           "/api/v1/sessions/n", "/api/v1/mode", "/api/v1/targets"}) {
    Request request = make("GET", open);
    request.authorization.clear();
    EXPECT_EQ(router.respond(request).status, 200) << open;
  }
  Request request = make("GET", "/api/v1/recordings/7");
  request.authorization.clear();
  EXPECT_EQ(router_.respond(request).status, 200) << "not asked for";
}

TEST_F(RouterTest, WhatMayTakeLongIsInALaneOfItsOwn) {
  const struct {
    const char *method, *target;
    Lane lane;
  } cases[] = {
      {"GET", "/metrics", Lane::Now},
      {"GET", "/api/v1/status", Lane::Changes},
      {"PUT", "/api/v1/mode", Lane::Changes},
      {"DELETE", "/api/v1/targets/web", Lane::Changes},
      {"POST", "/api/v1/targets", Lane::Changes},
      {"GET", "/api/v1/recordings", Lane::Recordings},
      {"GET", "/api/v1/recordings/7/body", Lane::Recordings},
      {"GET", "/api/v1/sessions/n/names", Lane::Recordings},
      {"GET", "/api/v1/sessions/names", Lane::Changes},
      {"POST", "/api/v1/sessions/import", Lane::Recordings},
      {"POST", "/api/v1/sessions/n/export", Lane::Recordings},
      {"POST", "/api/v1/sessions/import/export", Lane::Recordings},
      {"GET", "/api/v1/sessions/export", Lane::Changes},
      {"DELETE", "/api/v1/sessions/export", Lane::Changes},
      {"GET", "/api/v1/sessions/import", Lane::Changes},
      {"DELETE", "/api/v1/sessions/import", Lane::Changes},
      {"POST", "/api/v1/sessions/export/activate", Lane::Changes},
  };
  for (const auto& c : cases) {
    Request request = make(c.method, c.target);
    EXPECT_EQ(router_.lane_of(request), c.lane) << c.target;
    request.host = "evil.example";
    EXPECT_EQ(router_.lane_of(request), Lane::Now) << "what is refused waits for nobody";
  }
}

TEST_F(RouterTest, WithoutATokenTcpCannotWriteAtAll) {
  Router router({}, control_, metrics_);
  Request request = make("DELETE", "/api/v1/sessions/n");
  request.authorization = "Bearer ";
  EXPECT_EQ(router.respond(request).status, 401);
}

TEST_F(RouterTest, UnixSocketNeedsNeitherTokenNorHost) {
  Request request = make("DELETE", "/api/v1/sessions/n");
  request.via = Via::Unix;
  request.authorization.clear();
  request.host = "anything";
  EXPECT_EQ(router_.respond(request).status, 200);
}

TEST_F(RouterTest, ReboundNamesAreRefusedEvenForReading) {
  for (const char* host : {"evil.example", "evil.example:9909", "", "127.0.0.1.evil.example", "10.0.0.1:9909",
                           "[2001:db8::1]:9909", "localhost.evil",
                           "tap\x0e"
                           "example"}) {
    Request request = make("GET", "/metrics");
    request.host = host;
    EXPECT_EQ(router_.respond(request).status, 403) << host;
  }
  for (const char* host : {"127.0.0.1", "localhost:9909", "LOCALHOST", "[::1]:9909", "tap.example", "Tap.Example:80"}) {
    Request request = make("GET", "/healthz");
    request.host = host;
    EXPECT_EQ(router_.respond(request).status, 200) << host;
  }
}

TEST_F(RouterTest, PagesOfAnotherOriginAreRefused) {
  for (const char* origin : {"https://evil.example", "null", "", "http://"}) {
    Request request = make("GET", "/api/v1/status");
    request.origin = origin;
    EXPECT_EQ(router_.respond(request).status, 403) << origin;
  }
  Request request = make("GET", "/api/v1/status");
  request.origin = "http://127.0.0.1:9909";
  EXPECT_EQ(router_.respond(request).status, 200);
}

TEST_F(RouterTest, MalformedBodiesAndParametersAreNamed) {
  const std::string deep = "{\"name\":" + std::string(1000, '[') + std::string(1000, ']') + "}";
  for (const std::string& body :
       {std::string("x"), std::string("[]"), std::string(R"({"nam":"x"})"), std::string(R"({"name":1})"), deep}) {
    EXPECT_EQ(send("POST", "/api/v1/sessions", body).status, 400) << body.substr(0, 40);
  }
  EXPECT_EQ(send("PUT", "/api/v1/mode", R"({"mode":"rec"})").status, 400);
  EXPECT_EQ(send("PUT", "/api/v1/mode", "{}").status, 400);
  for (const char* limit : {"0", "1001", "x", "", "-1", "99999999999999"}) {
    EXPECT_EQ(send("GET", "/api/v1/sessions?limit=" + std::string(limit)).status, 400) << limit;
  }
  EXPECT_EQ(control_.last, "");
}

TEST_F(RouterTest, ParametersAreThoseOfTheirPath) {
  for (const char* target :
       {"/api/v1/status?limit=5", "/api/v1/sessions?status=200", "/api/v1/sessions/n?cursor=c",
        "/api/v1/sessions/n/names?session=m", "/api/v1/recordings?of=request", "/api/v1/recordings/7?of=request",
        "/api/v1/recordings/7/body?limit=1", "/api/v1/mode?x", "/api/v1/targets?limit=5"}) {
    const Response response = send("GET", target);
    EXPECT_EQ(response.status, 400) << target;
    EXPECT_NE(response.body.find("unknown query parameter"), std::string::npos) << response.body;
  }
  EXPECT_EQ(send("DELETE", "/api/v1/recordings/7?of=request").status, 400);
  EXPECT_EQ(send("POST", "/api/v1/sessions?limit=5", R"({"name":"n"})").status, 400);
  EXPECT_NE(send("GET", "/api/v1/sessions?x=1").body.find("known here: cursor, limit\""), std::string::npos);
  EXPECT_EQ(control_.last, "");
}

TEST_F(RouterTest, ParametersAreWholeAndGivenOnce) {
  for (const char* target :
       {"/api/v1/recordings/7/body?of=x", "/api/v1/recordings/7/body?of=", "/api/v1/recordings?status=99999",
        "/api/v1/recordings?status=-1", "/api/v1/recordings?status=", "/api/v1/recordings?status=20x",
        "/api/v1/recordings?host=a&host=b", "/api/v1/recordings?host=a&host=a"}) {
    EXPECT_EQ(send("GET", target).status, 400) << target;
  }
  EXPECT_EQ(control_.last, "");
  EXPECT_EQ(send("GET", "/api/v1/recordings/7/body?of=response").status, 200);
  EXPECT_EQ(control_.last, "response body 7");
  EXPECT_EQ(send("GET", "/api/v1/recordings?status=0").status, 200) << "what failed without an answer";
}

TEST_F(RouterTest, ASessionThatIsInUseSaysWhatToDoFirst) {
  control_.answer = fail(Code::Busy, "session 'n' is in use");
  const Response response = send("DELETE", "/api/v1/sessions/n");
  EXPECT_EQ(response.status, 409);
  EXPECT_NE(response.body.find(R"("next":"activate another one first: POST /api/v1/sessions/NAME/activate)"),
            std::string::npos)
      << response.body;
}

TEST_F(RouterTest, ErrorsOfControlKeepTheirCodeAndNameANextStep) {
  control_.answer = fail(Code::NotFound, "session 'x'; did you mean 'y'?");
  const Response response = send("GET", "/api/v1/sessions/x");
  EXPECT_EQ(response.status, 404);
  EXPECT_NE(response.body.find(R"("error":"not_found","detail":"session 'x'; did you mean 'y'?","next":")"),
            std::string::npos)
      << response.body;
}

TEST_F(RouterTest, AMemberGivenTwiceIsRefused) {
  const Response response = send("POST", "/api/v1/sessions", R"({"name":"a","name":"b"})");
  EXPECT_EQ(response.status, 400);
  EXPECT_NE(response.body.find("'name' is given more than once"), std::string::npos) << response.body;
  EXPECT_EQ(control_.last, "");
}

TEST_F(RouterTest, AnEmptyMemberStandsForNothing) {
  const struct {
    const char *method, *target, *body;
  } cases[] = {{"PUT", "/api/v1/mode", R"({"mode":"replay","target":""})"},
               {"PUT", "/api/v1/mode", R"({"mode":""})"},
               {"POST", "/api/v1/sessions/n/activate", R"({"target":""})"},
               {"POST", "/api/v1/sessions/n/rewind", R"({"target":""})"},
               {"POST", "/api/v1/sessions/import", R"({"path":"/f","name":""})"},
               {"POST", "/api/v1/targets", R"({"kind":"pid","selector":"1","session":""})"},
               {"POST", "/api/v1/targets", R"({"kind":"pid","selector":"1","name":""})"}};
  for (const auto& c : cases) {
    const Response response = send(c.method, c.target, c.body);
    EXPECT_EQ(response.status, 400) << c.body;
    EXPECT_NE(response.body.find("must not be empty"), std::string::npos) << response.body;
  }
  EXPECT_EQ(control_.last, "");
}

TEST_F(RouterTest, FilesAreNamedByAbsolutePaths) {
  for (const char* target : {"/api/v1/sessions/n/export", "/api/v1/sessions/import"}) {
    const Response response = send("POST", target, R"({"path":"x.tapdeck"})");
    EXPECT_EQ(response.status, 400) << target;
    EXPECT_NE(response.body.find("must be absolute, not 'x.tapdeck'"), std::string::npos) << response.body;
  }
  EXPECT_EQ(control_.last, "");
}

TEST_F(RouterTest, AFileThatIsNoExportIsTheClientsMistake) {
  control_.answer = fail(Code::Corrupt, "/f is no export");
  EXPECT_EQ(send("POST", "/api/v1/sessions/import", R"({"path":"/f"})").status, 422);
  EXPECT_EQ(send("GET", "/api/v1/sessions/n").status, 500) << "of the store, that is ours";
}

TEST_F(RouterTest, UnknownPathsAndMethodsAreTold) {
  EXPECT_EQ(send("GET", "/nope").status, 404);
  EXPECT_EQ(send("GET", "/api/v1/nope").status, 404);
  EXPECT_EQ(send("GET", "/api/v1/sessions/a/b/c").status, 404);
  EXPECT_EQ(send("GET", "/api/v1/sessions/a/names/b").status, 404);
  EXPECT_EQ(send("POST", "/metrics").status, 405);
  EXPECT_EQ(send("POST", "/api/v1/sessions/n/names").allow, "GET, HEAD");
  EXPECT_EQ(send("PATCH", "/api/v1/sessions").allow, "GET, HEAD, POST");
}

TEST_F(RouterTest, AnswersAreCountedByTheClassOfTheirStatus) {
  const auto counted = [&] {
    const MetricsSnapshot now = metrics_.snapshot();
    return std::vector<uint64_t>{now.value(Counter::Admin2xx), now.value(Counter::Admin3xx),
                                 now.value(Counter::Admin4xx), now.value(Counter::Admin5xx)};
  };
  send("GET", "/healthz");
  send("POST", "/api/v1/sessions", R"({"name":"n"})");
  send("GET", "/nope");
  EXPECT_EQ(counted(), (std::vector<uint64_t>{2, 0, 1, 0}));
  control_.answer = fail(Code::Io, "disk");
  send("GET", "/api/v1/sessions/n");
  EXPECT_EQ(router_.too_many().status, 503);
  EXPECT_EQ(counted(), (std::vector<uint64_t>{2, 0, 1, 2}));
}

TEST_F(RouterTest, ReadinessIsTold) {
  EXPECT_EQ(send("GET", "/readyz").status, 200);
  control_.ready = {.ready = false, .reason = "the store is locked"};
  const Response response = send("GET", "/readyz");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.body, "not ready: the store is locked\n");
}

TEST_F(RouterTest, ABodyOfWhichNothingCanBeReadIsAnError) {
  control_.body = [] {
    return Pieces{.bytes = 9, .next = []() -> Result<std::string> { return fail(Code::Corrupt, "damaged"); }};
  };
  EXPECT_EQ(send("GET", "/api/v1/recordings/1/body").status, 500);
}

TEST_F(RouterTest, RecordedBodiesAreNeverServedAsTheirOwnType) {
  control_.answer = "<script>";
  EXPECT_EQ(send("GET", "/api/v1/recordings/1/body").content_type, "application/octet-stream");
}

}  // namespace
}  // namespace tapdeck::admin
