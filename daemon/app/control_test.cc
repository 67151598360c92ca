// AppControl on a real store and run-time defaults of the test's own.
#include "daemon/app/control.h"

#include "daemon/app/control_rig.h"
#include "daemon/app/json_view.h"
#include "daemon/app/kept_mode.h"
#include "store/test_support.h"

namespace tapdeck::app {
namespace {

TEST_F(ControlTest, ListsComeInPagesThatEnd) {
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(control_->create_session(name));
  const Json first = parsed(control_->sessions({.cursor = "", .limit = 2}));
  ASSERT_EQ(first["items"].size(), 2u);
  EXPECT_EQ(first["next"], "b");
  const Json second = parsed(control_->sessions({.cursor = "b", .limit = 2}));
  ASSERT_EQ(second["items"].size(), 1u);
  EXPECT_EQ(second["items"][0]["name"], "c");
  EXPECT_TRUE(second["next"].is_null());
}

TEST_F(ControlTest, ABodyComesInTheSegmentsItIsStoredIn) {
  store::Recorder recorder(*store_, "shop");
  std::string body;
  for (uint64_t i = 0; i < 3; ++i) body += store::body_of(i, store::kSegmentBytes);
  const std::string id = std::to_string(recorder.record("/long", body, "asked"));
  auto pieces = control_->recording_body(id, admin::Control::BodyOf::Response);
  ASSERT_TRUE(pieces) << pieces.error().message();
  EXPECT_EQ(pieces->bytes, body.size());
  ASSERT_TRUE(control_->delete_recording(id));
  std::string read;
  for (int i = 0; i < 3; ++i) {
    const auto piece = pieces->next();
    ASSERT_TRUE(piece) << "it was held when it was deleted: " << piece.error().message();
    EXPECT_EQ(piece->size(), store::kSegmentBytes);
    read += *piece;
  }
  EXPECT_EQ(pieces->next().value_or("more"), "");
  EXPECT_TRUE(read == body);
}

TEST_F(ControlTest, ASearchOfBodiesFindsAllAndGoesOnWhereItStopped) {
  store::Recorder recorder(*store_, "shop");
  for (int i = 0; i < 40; ++i)
    ignore(recorder.record("/" + std::to_string(i), i % 2 == 0 ? "a needle" : "hay"), "looked for below");
  admin::RecordingFilter filter;
  filter.session = "shop";
  filter.text = "body:needle";
  const Json all = parsed(control_->recordings(filter, {.cursor = "", .limit = 100}));
  EXPECT_EQ(all["items"].size(), 20U);
  EXPECT_TRUE(all["next"].is_null());
  size_t found = 0;
  std::string cursor;
  do {
    const Json page = parsed(control_->recordings(filter, {.cursor = cursor, .limit = 3}));
    EXPECT_LE(page["items"].size(), 3U);
    found += page["items"].size();
    cursor = page["next"].is_string() ? page["next"].get<std::string>() : "";
  } while (!cursor.empty());
  EXPECT_EQ(found, 20U);
}

TEST_F(ControlTest, ASearchOfLongBodiesAnswersBetweenTwoOfThem) {
  store::Recorder recorder(*store_, "shop");
  const std::string hay(64 << 20, 'h');
  for (int i = 0; i < 5; ++i) ignore(recorder.record("/" + std::to_string(i), hay), "looked through below");
  ignore(recorder.record("/last", "a needle"), "looked for below");
  admin::RecordingFilter filter;
  filter.session = "shop";
  filter.text = "body:needle";
  const Json first = parsed(control_->recordings(filter, {.cursor = "", .limit = 100}));
  EXPECT_TRUE(first["items"].empty());
  ASSERT_TRUE(first["next"].is_string()) << "after 256 MiB";
  const std::string cursor = first["next"].get<std::string>();
  EXPECT_TRUE(cursor.ends_with(".5")) << cursor;
  const Json rest = parsed(control_->recordings(filter, {.cursor = cursor, .limit = 100}));
  EXPECT_EQ(rest["items"].size(), 1U);
  EXPECT_TRUE(rest["next"].is_null());
}

TEST_F(ControlTest, ActivatingChangesTheDaemonAndTheStore) {
  ASSERT_TRUE(control_->create_session("shop"));
  ASSERT_TRUE(control_->activate_session("shop", ""));
  EXPECT_EQ(runtime_.now.session, "shop");
  EXPECT_EQ(store_->active_session().value(), "shop");
}

TEST_F(ControlTest, RefusedActivationChangesNothing) {
  ASSERT_TRUE(control_->create_session("shop"));
  runtime_.refuse = true;
  EXPECT_FALSE(control_->activate_session("shop", ""));
  EXPECT_EQ(store_->active_session().value(), "default");
}

TEST_F(ControlTest, UnknownSessionNamesTheNearest) {
  ASSERT_TRUE(control_->create_session("shop"));
  const auto result = control_->activate_session("shpo", "");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::NotFound);
  EXPECT_NE(result.error().detail.find("shop"), std::string::npos);
  EXPECT_EQ(
      control_
          ->recordings({.session = "shpo", .host = {}, .method = {}, .path_contains = {}, .status = {}, .text = {}}, {})
          .error()
          .code,
      Code::NotFound);
}

TEST_F(ControlTest, SessionInUseIsNotDeleted) {
  ASSERT_TRUE(control_->create_session("shop"));
  runtime_.now.session = "shop";
  EXPECT_EQ(control_->delete_session("shop").error().code, Code::Busy);
  runtime_.now.session = "default";
  EXPECT_TRUE(control_->delete_session("shop"));
}

TEST_F(ControlTest, WhoIsNotRootIsToldHowToReachTheDaemonOfTheHost) {
  AppControl::Parts parts;
  parts.state_dir = "/mine";
  AppControl alone(std::move(parts));
  const auto refusal = [&] { return alone.attach({}).error().detail; };
  if (::geteuid() == 0) {
    EXPECT_EQ(refusal().find("sudo tapdeck"), std::string::npos) << refusal();
    ASSERT_EQ(::seteuid(65534), 0);
  }
  const std::string said = refusal();
  if (::getuid() == 0) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  EXPECT_NE(said.find("for the one of this host: sudo tapdeck"), std::string::npos) << said;
}

TEST_F(ControlTest, ModeIsSetAndShown) {
  EXPECT_EQ(parsed(control_->set_mode(Mode::Replay, ""))["mode"], "replay");
  EXPECT_EQ(runtime_.now.mode, Mode::Replay);
  EXPECT_EQ(parsed(control_->mode())["session"], "default");
}

TEST_F(ControlTest, ModeOfTheDaemonIsKept) {
  config::Config config;
  AppControl control({.store = store_.get(),
                      .targets = nullptr,
                      .runtime = &runtime_,
                      .metrics = nullptr,
                      .state_dir = directory_.path(),
                      .targets_file = {},
                      .config = &config,
                      .mode_file = directory_ / "mode.json"});
  const Json set = parsed(control.set_mode(Mode::Replay, ""));
  EXPECT_EQ(set["configured"], "record");
  EXPECT_EQ(set["kept"], true);
  EXPECT_EQ(mode_at_start(directory_ / "mode.json", Mode::Record).value(), Mode::Replay);
}

TEST_F(ControlTest, AModeThatCannotBeKeptIsInForceAndSaysSo) {
  config::Config config;
  AppControl control({.store = store_.get(),
                      .targets = nullptr,
                      .runtime = &runtime_,
                      .metrics = nullptr,
                      .state_dir = directory_.path(),
                      .targets_file = {},
                      .config = &config,
                      .mode_file = directory_ / "none" / "mode.json"});
  const auto set = control.set_mode(Mode::Replay, "");
  ASSERT_FALSE(set);
  EXPECT_NE(set.error().detail.find("the mode is replay now"), std::string::npos) << set.error().detail;
  EXPECT_EQ(runtime_.now.mode, Mode::Replay);
  EXPECT_EQ(parsed(control.mode())["kept"], false);
  runtime_.now.mode = Mode::Record;
  EXPECT_EQ(parsed(control.mode())["kept"], true) << "the configured one, as the next start has it";
}

TEST_F(ControlTest, RewindReachesTheCursors) {
  ASSERT_TRUE(control_->create_session("shop"));
  ASSERT_TRUE(control_->rewind_session("shop", ""));
  EXPECT_EQ(runtime_.rewound, (std::vector<std::optional<uint32_t>>{std::nullopt}));
}

TEST_F(ControlTest, WithoutADaemonThereIsNothingToRewind) {
  ASSERT_TRUE(control_->create_session("shop"));
  AppControl::Parts parts;
  parts.store = store_.get();
  AppControl control(parts);
  EXPECT_EQ(parsed(control.rewind_session("shop", ""))["done"], "nothing");
  EXPECT_EQ(control.rewind_session("shpo", "").error().code, Code::NotFound);
}

TEST_F(ControlTest, StatusCountsWhatTheMetricsSay) {
  Metrics& metrics = metrics_.create();
  metrics.count_request(0, Mode::Replay, Outcome::Missed, 502);
  metrics.connection_opened(CapturePath::Cgroup);
  const Json status = parsed(control_->status());
  EXPECT_EQ(status["requests"]["missed"], 1);
  EXPECT_EQ(status["active_connections"], 1);
  EXPECT_EQ(status["mode"], "record");
}

TEST_F(ControlTest, UnknownRecordingsAndIdsAreTold) {
  EXPECT_EQ(control_->recording("99").error().code, Code::NotFound);
  EXPECT_EQ(control_->recording("9x").error().code, Code::InvalidArgument);
  EXPECT_EQ(control_->recording("0").error().code, Code::InvalidArgument);
  EXPECT_FALSE(control_->delete_recording("99"));
}

}  // namespace
}  // namespace tapdeck::app
