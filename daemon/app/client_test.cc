// The client against a real admin server: what one sends, the other understands.
#include "daemon/app/client.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "daemon/admin/fake_control.h"
#include "daemon/admin/server.h"
#include "daemon/base/test_directory.h"

namespace tapdeck::app {
namespace {

class ClientTest : public ::testing::Test {
 protected:
  void SetUp() override {
    admin::ServerOptions options;
    options.socket = directory_ / "s";
    auto server = admin::AdminServer::start(options, control_, metrics_);
    ASSERT_TRUE(server) << server.error().message();
    server_ = std::move(*server);
    auto client = RemoteControl::connect(directory_ / "s");
    ASSERT_TRUE(client) << client.error().message();
    client_ = std::move(*client);
  }
  TestDirectory directory_;
  admin::FakeControl control_;
  MetricsRegistry metrics_;
  std::unique_ptr<admin::AdminServer> server_;
  std::unique_ptr<RemoteControl> client_;
};

TEST_F(ClientTest, EveryQuestionArrivesAsItWasAsked) {
  const auto expect = [&](const auto& result, const std::string& call) {
    EXPECT_TRUE(result) << result.error().message();
    EXPECT_EQ(control_.last, call);
  };
  expect(client_->status(), "status");
  expect(client_->sessions({.cursor = "a b&c", .limit = 7}), "sessions a b&c 7");
  expect(client_->session("x/y"), "session x/y");
  expect(client_->names("x/y", {.cursor = "a\\044.test,1", .limit = 7}), "names x/y a\\044.test,1 7");
  expect(client_->create_session("n"), "create n");
  expect(client_->delete_session("n"), "delete n");
  expect(client_->activate_session("n", "t"), "activate n t");
  expect(client_->rewind_session("n", ""), "rewind n ");
  expect(client_->export_session("n", "/tmp/\"f\""), "export n /tmp/\"f\"");
  expect(client_->import_session("n", "/f"), "import n /f");
  admin::RecordingFilter filter;
  filter.session = "s";
  filter.host = "h.example";
  filter.status = 404;
  expect(client_->recordings(filter, {}), "recordings s h.example 404");
  expect(client_->recording("7"), "recording 7");
  expect(client_->recording_body("7", admin::Control::BodyOf::Request), "request body 7");
  expect(client_->recording_body("7", admin::Control::BodyOf::Response), "response body 7");
  expect(client_->delete_recording("7"), "delete recording 7");
  expect(client_->mode(), "mode");
  expect(client_->set_mode(Mode::Hybrid, "web"), "set mode hybrid web");
  expect(client_->follow_daemon(admin::Own::Mode, "a/b"), "follow the mode a/b");
  expect(client_->follow_daemon(admin::Own::Session, "web"), "follow the session web");
  expect(client_->targets(), "targets");
  admin::AttachRequest attach;
  attach.kind = "container";
  attach.selector = "web";
  attach.sealed = true;
  expect(client_->attach(attach), "attach container web sealed");
  expect(client_->detach("container:web"), "detach container:web");
  EXPECT_TRUE(client_->readiness().ready);
}

TEST_F(ClientTest, ErrorsKeepTheirCodeAndText) {
  control_.answer = fail(Code::AlreadyExists, "session 'n' exists");
  const auto result = client_->create_session("n");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::AlreadyExists);
  EXPECT_EQ(result.error().detail, "session 'n' exists");
}

TEST_F(ClientTest, BinaryBodiesOfAnySizeArriveWhole) {
  std::string body(3'000'000, '\0');
  for (size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 31 % 256);
  control_.answer = body;
  auto pieces = client_->recording_body("1", admin::Control::BodyOf::Response);
  ASSERT_TRUE(pieces) << pieces.error().message();
  EXPECT_EQ(pieces->next().value_or(""), body);
}

TEST(Client, NobodyThereIsAnError) {
  EXPECT_FALSE(RemoteControl::connect("/nonexistent/s"));
}

}  // namespace
}  // namespace tapdeck::app
