// AppControl on targets and modes: with a registry, and on what a dead daemon left.
#include <fstream>

#include "daemon/app/control_rig.h"
#include "daemon/app/kept_mode.h"

namespace tapdeck::app {
namespace {

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
                                                              .state_dir = directory_.path(),
                                                              .targets_file = {},
                                                              .config = &config_,
                                                              .mode_file = directory_ / "mode.json"});
  }
  static admin::AttachRequest loopback(const std::string& name, std::optional<std::string> session = {},
                                       std::optional<Mode> mode = {}) {
    return {.kind = "interface", .selector = "lo", .name = name, .session = std::move(session), .mode = mode};
  }

  config::Config config_;
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

TEST_F(TargetsControlTest, ModeAndSessionOfOneThatSaysNoneAreThoseInForce) {
  runtime_.now = {.mode = Mode::Hybrid, .session = "shop"};
  const Json attached = parsed(control_->attach(loopback("web")));
  EXPECT_EQ(attached["mode"], "hybrid");
  EXPECT_EQ(attached["session"], "shop");
  runtime_.now = {.mode = Mode::Replay, .session = "other"};
  const Json listed = parsed(control_->targets())["items"].at(0);
  EXPECT_EQ(listed["mode"], "replay") << "it follows";
  EXPECT_EQ(listed["session"], "other");
}

TEST_F(TargetsControlTest, OneThatHadItsOwnFollowsTheDaemonAgainAlsoAfterARestart) {
  ASSERT_TRUE(control_->attach(loopback("web", "shop", Mode::Replay)));
  runtime_.now = {.mode = Mode::Hybrid, .session = "other"};
  const Json once = parsed(control_->follow_daemon(admin::Own::Mode, "web"));
  EXPECT_EQ(once["mode"], "hybrid");
  EXPECT_EQ(once["session"], "shop") << "that is another matter";
  EXPECT_EQ(once["kept"], true);
  EXPECT_EQ(parsed(control_->follow_daemon(admin::Own::Session, "1"))["session"], "other");
  runtime_.now = {.mode = Mode::Passthrough, .session = "third"};
  const auto kept = load_targets(directory_ / "targets.json");
  ASSERT_TRUE(kept) << kept.error().message();
  EXPECT_FALSE(kept->at(1).mode);
  EXPECT_FALSE(kept->at(1).session);
  EXPECT_EQ(parsed(control_->targets())["items"].at(0)["mode"], "passthrough");
  EXPECT_EQ(control_->follow_daemon(admin::Own::Mode, "nobody").error().code, Code::NotFound);
}

TEST_F(TargetsControlTest, TheExplicitTargetFollowsTheDaemonAgain) {
  runtime_.proxy.emplace();
  runtime_.proxy->settings.spec.name = kProxyTarget;
  ASSERT_TRUE(control_->set_mode(Mode::Replay, "explicit"));
  EXPECT_EQ(parsed(control_->follow_daemon(admin::Own::Mode, "explicit"))["mode"], "record");
  EXPECT_FALSE(runtime_.proxy->settings.mode);
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
  ASSERT_TRUE(targets_->start({other}));
  EXPECT_EQ(control_->attach(loopback("web")).error().code, Code::AlreadyExists);
}

TEST_F(TargetsControlTest, AnEmptySelectorIsSaidToBeEmpty) {
  const auto refused = control_->attach({.kind = "unit", .selector = "", .name = "", .session = {}, .mode = {}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().detail, "which unit to attach is empty");
}

TEST_F(TargetsControlTest, RewindOfOneTargetReachesOnlyItsCursors) {
  ASSERT_TRUE(control_->create_session("shop"));
  ASSERT_TRUE(control_->create_session("other"));
  TargetSettings absent;
  absent.spec = {TargetKind::Interface, "no-such-if0"};
  absent.session = "shop";
  ASSERT_TRUE(targets_->start({absent}));
  const uint32_t id = targets_->list().at(0).id;
  ASSERT_TRUE(control_->rewind_session("shop", "no-such-if0"));
  EXPECT_FALSE(control_->rewind_session("shop", "nobody"));
  const auto refused = control_->rewind_session("other", "no-such-if0");
  ASSERT_FALSE(refused) << "it replays another session";
  EXPECT_NE(refused.error().detail.find("uses session 'shop', not 'other'"), std::string::npos);
  EXPECT_EQ(runtime_.rewound, (std::vector<std::optional<uint32_t>>{id}));
}

TEST_F(TargetsControlTest, ASessionThatCannotBeStoredIsInForceAndSaidNotToBeKept) {
  ASSERT_TRUE(control_->create_session("shop"));
  store::StoreOptions options;
  options.path = store_->options().path;
  const auto read = store::ExchangeStore::open(options, store::Access::ReadOnly);  // as on a full disk
  ASSERT_TRUE(read) << read.error().message();
  AppControl control({.store = read->get(),
                      .targets = targets_.get(),
                      .runtime = &runtime_,
                      .metrics = &metrics_,
                      .state_dir = directory_.path(),
                      .targets_file = {}});
  const auto activated = control.activate_session("shop", "");
  ASSERT_FALSE(activated);
  EXPECT_EQ(runtime_.now.session, "shop");
  EXPECT_NE(activated.error().detail.find("the session is shop now, but the daemon's next start will not know it: "),
            std::string::npos)
      << activated.error().detail;
}

TEST_F(TargetsControlTest, WhatTheConfigurationNamesSaysThatItsNextStartGoesByThat) {
  ASSERT_TRUE(control_->create_session("shop"));
  ASSERT_TRUE(control_->attach(loopback("web")));
  EXPECT_EQ(parsed(control_->set_mode(Mode::Replay, "web"))["kept"], true);
  EXPECT_EQ(parsed(control_->targets())["items"][0]["configured"], false);
  config::Target& named = config_.targets.emplace_back();
  named.kind = config::TargetKind::Interface;
  named.selector = "lo";
  for (const auto& answer : {control_->set_mode(Mode::Hybrid, "web"), control_->activate_session("shop", "web"),
                             control_->attach(loopback("web"))}) {
    const Json json = parsed(answer);
    EXPECT_EQ(json["configured"], true);
    EXPECT_EQ(json["kept"], false);
  }
  EXPECT_EQ(parsed(control_->detach("web"))["configured"], true);
}

TEST_F(TargetsControlTest, TheExplicitTargetIsNotDetachedButExplained) {
  runtime_.proxy.emplace();
  runtime_.proxy->settings.spec.name = kProxyTarget;
  runtime_.proxy->display = "clients of 127.0.0.1:8080";
  for (const char* name : {"explicit", "0"}) {
    const auto refused = control_->detach(name);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().detail.find("clients of 127.0.0.1:8080"), std::string::npos) << refused.error().detail;
    EXPECT_NE(refused.error().detail.find("proxy.listen"), std::string::npos) << refused.error().detail;
    EXPECT_EQ(parsed(control_->set_mode(Mode::Replay, name))["kept"], false) << "it ends with the daemon";
  }
  runtime_.proxy.reset();
  EXPECT_EQ(control_->detach("explicit").error().code, Code::NotFound);
}

// Without a daemon, on what one left.
TEST_F(ControlTest, ClosedTargetsOfADeadDaemonSayThatTheyAreRefused) {
  TargetSettings sealed;
  sealed.spec = {TargetKind::Interface, "br0"};
  sealed.sealed = true;
  TargetSettings open;
  open.spec = {TargetKind::Interface, "br1"};
  ASSERT_TRUE(save_targets(directory_ / "targets.json", {{1, sealed}, {2, open}}));
  config::Config config;
  AppControl control({.store = nullptr,
                      .targets = nullptr,
                      .runtime = nullptr,
                      .metrics = nullptr,
                      .state_dir = directory_.path(),
                      .targets_file = directory_ / "targets.json",
                      .config = &config,
                      .mode_file = directory_ / "mode.json",
                      .run_dir = directory_.path()});
  EXPECT_EQ(parsed(control.targets())["items"][0]["detail"], "no daemon runs") << "nothing is left in the kernel";
  std::filesystem::create_directories(directory_ / "kernel");
  std::ofstream(directory_ / "kernel" / "filter-1") << "record\n";
  const Json items = parsed(control.targets())["items"];
  EXPECT_NE(items[0]["detail"].get<std::string>().find("the kernel refuses its connections"), std::string::npos);
  EXPECT_EQ(items[1]["detail"], "no daemon runs");
  // The mode that was set decides for a target that names none.
  ASSERT_TRUE(save_mode(directory_ / "mode.json", {.mode = Mode::Replay, .configured = Mode::Record}));
  EXPECT_NE(parsed(control.targets())["items"][1]["detail"], "no daemon runs");
}

TEST_F(ControlTest, ATargetIsTakenFromTheListOfADaemonThatDoesNotRun) {
  TargetSettings sealed;
  sealed.spec = {TargetKind::Interface, "br0"};
  sealed.sealed = true;
  TargetSettings open;
  open.spec = {TargetKind::Interface, "br1"};
  const auto file = directory_ / "targets.json";
  ASSERT_TRUE(save_targets(file, {{1, sealed}, {2, open}}));
  AppControl::Parts parts{.store = nullptr,
                          .targets = nullptr,
                          .runtime = nullptr,
                          .metrics = nullptr,
                          .state_dir = directory_.path(),
                          .targets_file = file,
                          .run_dir = directory_.path()};
  AppControl control(parts);
  EXPECT_NE(control.detach("br3").error().detail.find("nearest: br0, br1"), std::string::npos);
  EXPECT_EQ(parsed(control.detach("br1"))["detail"], "no daemon runs; its next start will not know it");
  ASSERT_EQ(load_targets(file)->size(), 1U);
  parts.unreachable_pid = 1;
  EXPECT_EQ(AppControl(parts).detach("br0").error().code, Code::Unsupported) << "a daemon would write it again";
  std::filesystem::create_directories(directory_ / "kernel");
  std::ofstream(directory_ / "kernel" / "filter-1") << "record\n";
  EXPECT_NE(parsed(control.detach("1"))["detail"].get<std::string>().find("tapdeck clean"), std::string::npos);
  EXPECT_TRUE(load_targets(file)->empty());
}

TEST_F(ControlTest, WithoutAStoreOnlyADaemonIsMissing) {
  AppControl::Parts parts;
  parts.state_dir = directory_.path();
  AppControl control(parts);
  EXPECT_EQ(parsed(control.status())["reason"], "no daemon runs");
  for (const auto& answer : {control.mode(), control.set_mode(Mode::Replay, ""), control.set_mode(Mode::Replay, "web"),
                             control.rewind_session("shop", ""), control.detach("web")}) {
    ASSERT_FALSE(answer);
    EXPECT_NE(answer.error().detail.find("tapdeck serve"), std::string::npos) << answer.error().detail;
  }
}

}  // namespace
}  // namespace tapdeck::app
