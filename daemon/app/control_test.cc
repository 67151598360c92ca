// AppControl on a real store and run-time defaults of the test's own.
#include "daemon/app/control.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <optional>
#include <vector>

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
  void rewind(std::optional<uint32_t> target) override { rewound.push_back(target); }
  admin::Readiness readiness() override { return {.ready = true, .reason = ""}; }

  Defaults now;
  bool refuse = false;
  std::vector<std::optional<uint32_t>> rewound;
};

class IdleBackend final : public TargetBackend {
 public:
  Result<void> attach(uint32_t, const TargetSettings&, const ResolvedTarget&, Why) override { return {}; }
  Result<void> update(uint32_t, const TargetSettings&) override { return {}; }
  Result<void> detach(uint32_t) override { return {}; }
  std::map<std::string, uint64_t> uncaptured(uint32_t) override { return {}; }
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

// With a registry of targets, of which "lo" can be attached.
class TargetsControlTest : public ControlTest {
 protected:
  void SetUp() override {
    ControlTest::SetUp();
    TargetRegistry::Options options;
    options.file = directory_ / "targets.json";
    auto targets = TargetRegistry::open(std::move(options), backend_);
    ASSERT_TRUE(targets) << targets.error().message();
    targets_ = std::move(*targets);
    control_ = std::make_unique<AppControl>(AppControl::Parts{.store = store_.get(),
                                                              .targets = targets_.get(),
                                                              .runtime = &runtime_,
                                                              .metrics = &metrics_,
                                                              .state_dir = directory_,
                                                              .targets_file = {}});
  }
  static admin::AttachRequest loopback(const std::string& name, std::optional<std::string> session = {},
                                       std::optional<Mode> mode = {}) {
    return {.kind = "interface", .selector = "lo", .name = name, .session = std::move(session), .mode = mode};
  }

  IdleBackend backend_;
  std::unique_ptr<TargetRegistry> targets_;
};

TEST_F(TargetsControlTest, SessionOfATargetIsNotDeleted) {
  ASSERT_TRUE(control_->create_session("shop"));
  ASSERT_TRUE(control_->create_session("other"));
  ASSERT_TRUE(control_->attach(loopback("web", "shop")));
  const auto refused = control_->delete_session("shop");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::Busy);
  EXPECT_NE(refused.error().detail.find("target 'web'"), std::string::npos) << refused.error().detail;
  ASSERT_TRUE(control_->activate_session("other", "web"));
  EXPECT_TRUE(control_->delete_session("shop"));
}

TEST_F(TargetsControlTest, AttachingAgainChangesOnlyWhatIsSaid) {
  ASSERT_TRUE(control_->attach(loopback("web", "shop", Mode::Replay)));
  const Json again = parsed(control_->attach(loopback("")));
  EXPECT_EQ(again["session"], "shop");
  EXPECT_EQ(again["mode"], "replay");
  EXPECT_EQ(again["name"], "web");
  const Json changed = parsed(control_->attach(loopback("", {}, Mode::Hybrid)));
  EXPECT_EQ(changed["session"], "shop");
  EXPECT_EQ(changed["mode"], "hybrid");
}

TEST_F(TargetsControlTest, NamesThatWouldMislead) {
  for (const std::string name : {"a b", "new\nline", "\xc3\xbc", "12", "explicit"}) {
    const auto refused = control_->attach(loopback(name));
    ASSERT_FALSE(refused) << name;
    EXPECT_EQ(refused.error().code, Code::InvalidArgument) << name;
  }
  EXPECT_FALSE(control_->attach(loopback(std::string(65, 'x'))));
  const auto by_default =
      control_->attach({.kind = "interface", .selector = "explicit", .name = "", .session = {}, .mode = {}});
  ASSERT_FALSE(by_default);
  EXPECT_EQ(by_default.error().code, Code::InvalidArgument) << by_default.error().detail;
  TargetSettings other;
  other.spec = {TargetKind::Interface, "no-such-if0"};
  other.title = "web";
  ASSERT_TRUE(targets_->attach(other, IfMissing::Wait));
  EXPECT_EQ(control_->attach(loopback("web")).error().code, Code::AlreadyExists);
}

TEST_F(TargetsControlTest, AnEmptySelectorIsSaidToBeEmpty) {
  const auto refused = control_->attach({.kind = "unit", .selector = "", .name = "", .session = {}, .mode = {}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().detail, "which unit to attach is empty");
}

TEST_F(ControlTest, ModeIsSetAndShown) {
  EXPECT_EQ(parsed(control_->set_mode(Mode::Replay, ""))["mode"], "replay");
  EXPECT_EQ(runtime_.now.mode, Mode::Replay);
  EXPECT_EQ(parsed(control_->mode())["session"], "default");
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

TEST_F(ControlTest, RewindOfOneTargetReachesOnlyItsCursors) {
  ASSERT_TRUE(control_->create_session("shop"));
  IdleBackend backend;
  TargetRegistry::Options options;
  options.file = directory_ / "targets.json";
  auto targets = TargetRegistry::open(std::move(options), backend);
  ASSERT_TRUE(targets) << targets.error().message();
  TargetSettings absent;
  absent.spec = {TargetKind::Interface, "no-such-if0"};
  const auto attached = (*targets)->attach(absent, IfMissing::Wait);
  ASSERT_TRUE(attached) << attached.error().message();
  AppControl control({.store = store_.get(),
                      .targets = targets->get(),
                      .runtime = &runtime_,
                      .metrics = &metrics_,
                      .state_dir = {},
                      .targets_file = {}});
  ASSERT_TRUE(control.rewind_session("shop", "no-such-if0"));
  EXPECT_FALSE(control.rewind_session("shop", "nobody"));
  EXPECT_EQ(runtime_.rewound, (std::vector<std::optional<uint32_t>>{attached->id}));
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
