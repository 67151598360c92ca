// Whom a listing command asks, of a daemon of the test's own.
#include "daemon/app/open_control.h"

#include "daemon/admin/server.h"
#include "daemon/app/cli_rig.h"
#include "daemon/app/control_rig.h"

namespace tapdeck::app {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class OpenControlTest : public CliTest {
 protected:
  // Owns the state directory and answers on its socket.
  void SetUp() override {
    std::filesystem::create_directories(directory_ / "state");
    store::StoreOptions options;
    options.path = (directory_ / "state" / "store").string();
    options.admin_socket = (directory_ / "s").string();
    auto store = store::ExchangeStore::open(options, store::Access::ReadWrite);
    ASSERT_TRUE(store) << store.error().message();
    store_ = std::move(*store);
    control_ = control_of(*store_, runtime_, metrics_, directory_ / "state");
    admin::ServerOptions serving;
    serving.socket = directory_ / "s";
    auto server = admin::AdminServer::start(serving, *control_, metrics_);
    ASSERT_TRUE(server) << server.error().message();
    server_ = std::move(*server);
  }
  FakeRuntime runtime_;
  MetricsRegistry metrics_;
  std::unique_ptr<store::ExchangeStore> store_;
  std::unique_ptr<AppControl> control_;
  std::unique_ptr<admin::AdminServer> server_;
};

TEST_F(OpenControlTest, AConfigurationThatIsWrongDoesNotStandBeforeADaemonThatRuns) {
  std::ofstream(config_) << "x =\n";
  for (const std::vector<std::string>& asked :
       std::vector<std::vector<std::string>>{{"status"}, {"targets"}, {"session", "list"}, {"mode", "show"}}) {
    EXPECT_EQ(here(asked), kExitOk) << asked[0];
    EXPECT_THAT(err_.str(), AllOf(HasSubstr("empty.toml:1"), HasSubstr("answers"))) << asked[0];
  }
  server_.reset();
  EXPECT_EQ(here({"session", "list"}), kExitFailure) << "nobody answers: it decides";
  EXPECT_THAT(err_.str(), HasSubstr("empty.toml:1"));
}

// Its disk was full, or it is only beginning.
TEST_F(OpenControlTest, ADaemonThatHasNotWrittenItselfDownKeepsItsTargets) {
  const auto file = directory_ / "state" / "targets.json";
  TargetSettings settings;
  settings.spec = {TargetKind::Interface, "br0"};
  ASSERT_TRUE(save_targets(file, {{1, settings}}));
  std::filesystem::remove(directory_ / "state" / "store" / "owner");
  EXPECT_EQ(here({"detach", "br0"}), kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("its admin socket is not known"));
  EXPECT_EQ(load_targets(file)->size(), 1U);
  server_.reset();
  store_.reset();
  EXPECT_EQ(here({"detach", "br0"}), kExitOk);
  EXPECT_TRUE(load_targets(file)->empty());
}

}  // namespace
}  // namespace tapdeck::app
