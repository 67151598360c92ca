// AppControl on a real store and run-time defaults of the test's own.
#include "daemon/app/control.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "daemon/app/json_view.h"
#include "store/exchange_store.h"

namespace tapdeck::app {
namespace {

Result<std::unique_ptr<store::ExchangeStore>> open_store(const std::filesystem::path& path) {
  store::StoreOptions options;
  options.path = path.string();
  return store::ExchangeStore::open(options, store::Access::ReadWrite);
}

class FakeRuntime final : public Runtime {
 public:
  Defaults defaults() override { return now; }
  Result<void> set_defaults(const Defaults& defaults) override {
    if (refuse) return fail(Code::NoSpace, "no take can be opened");
    now = defaults;
    return {};
  }
  void rewind() override { ++rewound; }
  admin::Readiness readiness() override { return {.ready = true, .reason = ""}; }

  Defaults now;
  bool refuse = false;
  int rewound = 0;
};

class ControlTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/tapdeck-control-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
    auto store = open_store(directory_ / "store");
    ASSERT_TRUE(store) << store.error().message();
    store_ = std::move(*store);
    control_ = std::make_unique<AppControl>(AppControl::Parts{.store = store_.get(),
                                                              .targets = nullptr,
                                                              .runtime = &runtime_,
                                                              .metrics = &metrics_,
                                                              .state_dir = directory_,
                                                              .targets_file = directory_ / "targets.json"});
  }
  void TearDown() override {
    control_.reset();
    store_.reset();
    std::filesystem::remove_all(directory_);
  }
  static Json parsed(const Result<admin::Json>& result) {
    EXPECT_TRUE(result) << result.error().message();
    return Json::parse(result.value_or("null"));
  }
  std::filesystem::path directory_;
  std::unique_ptr<store::ExchangeStore> store_;
  FakeRuntime runtime_;
  MetricsRegistry metrics_;
  std::unique_ptr<AppControl> control_;
};

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

TEST_F(ControlTest, ModeIsSetAndShown) {
  EXPECT_EQ(parsed(control_->set_mode(Mode::Replay, ""))["mode"], "replay");
  EXPECT_EQ(runtime_.now.mode, Mode::Replay);
  EXPECT_EQ(parsed(control_->mode())["session"], "default");
}

TEST_F(ControlTest, RewindReachesTheCursors) {
  ASSERT_TRUE(control_->create_session("shop"));
  ASSERT_TRUE(control_->rewind_session("shop", ""));
  EXPECT_EQ(runtime_.rewound, 1);
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
