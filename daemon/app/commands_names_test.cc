// The names of a session as the control and the command line list and count them, with a daemon and without.
#include "daemon/admin/server.h"
#include "daemon/app/cli_rig.h"
#include "daemon/app/control_rig.h"
#include "daemon/app/dns_reply_rig.h"
#include "store/name_answers.h"
#include "store/test_support.h"

namespace tapdeck::app {
namespace {

using ::testing::HasSubstr;

void write_names(store::ExchangeStore& store, const store::Take& take, const std::vector<store::NameAnswer>& answers) {
  std::vector<store::PendingWrite> writes;
  for (const store::NameAnswer& answer : answers) writes.push_back(store::name_write(take, answer));
  ASSERT_TRUE(store.write(writes, store::Durability::Wal));
}

const std::vector<store::NameAnswer> kThreeAnswers = {
    dns::answered(dns::kA, dns::reply(dns::kA, 0, {{dns::kA, dns::kTwo}, {dns::kA, dns::kOne}})),
    dns::answered(dns::kAaaa, dns::reply(dns::kAaaa, 3)),
    {.name = "gone.test", .type = dns::kA, .end = "silent", .reply = ""},
};

using NamesInControl = ControlTest;

TEST_F(NamesInControl, ComeInPagesThatEnd) {
  write_names(*store_, *store_->open_take("shop", store::Append::No), kThreeAnswers);
  const Json first = parsed(control_->names("shop", {.cursor = "", .limit = 2}));
  ASSERT_EQ(first["items"].size(), 2U);
  EXPECT_EQ(first["items"][0]["name"], "gone.test");
  EXPECT_EQ(first["next"], "www.test,1");
  const Json second = parsed(control_->names("shop", {.cursor = "www.test,1", .limit = 2}));
  ASSERT_EQ(second["items"].size(), 1U);
  EXPECT_EQ(second["items"][0]["status"], "NXDOMAIN");
  EXPECT_TRUE(second["next"].is_null());
  EXPECT_TRUE(parsed(control_->names("shop", {.cursor = "", .limit = 3}))["next"].is_null());
  EXPECT_EQ(control_->names("shop", {.cursor = "x", .limit = 2}).error().code, Code::InvalidArgument);
  EXPECT_EQ(control_->names("shpo", {}).error().code, Code::NotFound);
}

TEST_F(NamesInControl, AreCountedWhereTheirSessionIsShown) {
  const auto take = *store_->open_take("shop", store::Append::No);
  ASSERT_TRUE(control_->create_session("other"));
  EXPECT_EQ(parsed(control_->session("other"))["names"], 0);
  std::vector<store::NameAnswer> many;
  for (int i = 0; i < 10'000; ++i)
    many.push_back({.name = std::to_string(i) + ".test", .type = dns::kA, .end = "silent", .reply = ""});
  write_names(*store_, take, many);
  Json shown = parsed(control_->session("shop"));
  EXPECT_EQ(shown["names"], 10'000);
  EXPECT_FALSE(shown.contains("more_names"));
  EXPECT_EQ(shown["recordings"], 0);
  write_names(*store_, take, kThreeAnswers);
  shown = parsed(control_->session("shop"));
  EXPECT_EQ(shown["names"], 10'000);
  EXPECT_EQ(shown["more_names"], true);
}

class NamesCommand : public CliTest {
 protected:
  std::unique_ptr<store::ExchangeStore> recorded(const std::string& session) {
    auto store = app::open_store(directory_ / "state" / "store");
    EXPECT_TRUE(store) << store.error().message();
    write_names(**store, *(*store)->open_take(session, store::Append::No), kThreeAnswers);
    return std::move(*store);
  }
};

TEST_F(NamesCommand, ListsWhatResolversAnswered) {
  recorded("shop").reset();
  ASSERT_EQ(here({"session", "names", "shop"}), kExitOk) << err_.str();
  EXPECT_EQ(out_.str(),
            "gone.test\tA\tno answer\n"
            "www.test\tA\t192.0.2.1, 192.0.2.2\n"
            "www.test\tAAAA\tno such name (NXDOMAIN)\n");
  ASSERT_EQ(here({"session", "names", "shop", "--json"}), kExitOk) << err_.str();
  const Json list = Json::parse(out_.str());
  ASSERT_EQ(list["items"].size(), 3U);
  EXPECT_EQ(list["items"][1]["answer"], Json::parse(R"(["A 192.0.2.1","A 192.0.2.2"])"));
  EXPECT_FALSE(list["items"][1].contains("text")) << "as the API has it";
  EXPECT_TRUE(list["next"].is_null());
  ASSERT_EQ(here({"session", "show", "shop"}), kExitOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("names          3\n"));
}

TEST_F(NamesCommand, GoesOnWhereAPageEnded) {
  recorded("shop").reset();
  ASSERT_EQ(here({"session", "names", "shop", "--limit", "1"}), kExitOk) << err_.str();
  EXPECT_EQ(out_.str(), "gone.test\tA\tno answer\n");
  EXPECT_THAT(err_.str(), HasSubstr("more: add --cursor gone.test,1\n"));
  ASSERT_EQ(here({"session", "names", "shop", "--cursor", "gone.test,1", "--json"}), kExitOk) << err_.str();
  EXPECT_EQ(Json::parse(out_.str())["items"].size(), 2U);
  EXPECT_EQ(here({"session", "names", "shop", "--cursor", "nowhere"}), kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("'nowhere' is no cursor"));
}

TEST_F(NamesCommand, IsOfTheActiveSessionUnlessOneIsNamed) {
  EXPECT_EQ(here({"session", "names", "--json"}), kExitOk) << err_.str();
  EXPECT_EQ(out_.str(), "{\"items\":[],\"next\":null}\n") << "nothing is recorded yet";
  recorded("shop").reset();
  EXPECT_EQ(here({"session", "names"}), kExitFailure) << "that is 'default'";
  EXPECT_THAT(err_.str(), HasSubstr("no session 'default'"));
  ASSERT_EQ(here({"session", "activate", "shop"}), kExitOk) << err_.str();
  ASSERT_EQ(here({"session", "names"}), kExitOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("www.test\tA\t192.0.2.1, 192.0.2.2\n"));
  EXPECT_EQ(here({"session", "names", "shpo"}), kExitFailure);
  EXPECT_THAT(err_.str(), HasSubstr("did you mean 'shop'?"));
}

// The owner of the store is this process, and so is the daemon.
TEST_F(NamesCommand, AsksTheDaemonThatOwnsTheStore) {
  const std::filesystem::path socket = directory_ / "s";
  store::StoreOptions options;
  options.path = (directory_ / "state" / "store").string();
  options.admin_socket = socket.string();
  const auto store = store::open_store(options);
  write_names(*store, *store->open_take("shop", store::Append::No), kThreeAnswers);
  FakeRuntime runtime;
  runtime.now.session = "shop";
  MetricsRegistry metrics;
  const auto control = control_of(*store, runtime, metrics, directory_.path());
  admin::ServerOptions listening;
  listening.socket = socket;
  const auto server = admin::AdminServer::start(listening, *control, metrics);
  ASSERT_TRUE(server) << server.error().message();
  ASSERT_EQ(here({"session", "names"}), kExitOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("www.test\tA\t192.0.2.1, 192.0.2.2\n"));
  ASSERT_EQ(here({"session", "show", "shop", "--json"}), kExitOk) << err_.str();
  EXPECT_EQ(Json::parse(out_.str())["names"], 3);
}

}  // namespace
}  // namespace tapdeck::app
