// What a client finds wrong with the certificate of an origin, live and from the tape.
#include <gmock/gmock.h>
#include <openssl/x509v3.h>
#include <sys/mman.h>

#include <set>

#include "daemon/base/log.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

constexpr std::string_view kGetSecret = "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n";

std::set<int>& found() {
  static std::set<int> errors;
  return errors;
}

struct Shown : testing::Test {
  explicit Shown(RigOptions options = {}) : rig(std::move(options)) {}
  void show(const tls::LeafSpec& leaf) { show(*rig.origin_ca, leaf); }
  void show(const tls::CertificateAuthority& issuer, const tls::LeafSpec& leaf) {
    context = origin_context(issuer, leaf);
    origin.emplace(http_origin([](const std::string&) { return with_length("secret"); }), context.get());
    rig.go_to(origin->endpoint());
  }
  // All that is wrong, by a client that goes on nevertheless.
  std::set<int> faults() {
    found().clear();
    Wire wire = rig.connect();
    SslOwned ssl = rig.client_ssl(WorkerRig::Trust::OurCa);
    SSL_set_verify(ssl.get(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX* chain) {
      found().insert(X509_STORE_CTX_get_error(chain));
      return 1;
    });
    EXPECT_TRUE(wire.start_tls(std::move(ssl)));
    wire.close();
    found().erase(X509_V_OK);
    return found();
  }
  bool is_accepted(unsigned int name_flags) {
    Wire wire = rig.connect();
    SslOwned ssl = rig.client_ssl(WorkerRig::Trust::OurCa);
    SSL_set_hostflags(ssl.get(), name_flags);
    if (!wire.start_tls(std::move(ssl))) {
      wire.close();
      return false;
    }
    EXPECT_TRUE(wire.write(kGetSecret));
    EXPECT_THAT(wire.read_until("secret"), testing::EndsWith("secret"));
    wire.close();
    return true;
  }
  [[nodiscard]] std::string recorded() {
    const auto facts = rig.store->origin_facts("default", kHost, origin->endpoint().port);
    return facts && *facts ? (*facts)->verify_failure : "";
  }

  WorkerRig rig;
  SslContext context;
  std::optional<ScriptedOrigin> origin;
};

TEST_F(Shown, AnExpiredCertificateForAnotherNameIsBothInReplayToo) {
  tls::LeafSpec leaf = tls::leaf_for("other.test");
  const tls::Time now = tls::system_now();
  leaf.validity = tls::LeafSpec::Validity{now - std::chrono::days(9), now - std::chrono::days(2)};
  show(leaf);
  const std::set<int> both{X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_HOSTNAME_MISMATCH};
  EXPECT_EQ(faults(), both);
  EXPECT_TRUE(eventually([&] { return recorded() == "wrong_name+expired"; }));
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(faults(), both);
}

// Its client goes on and looks later, if at all, as curl does at names.
struct Warned : Shown {
  explicit Warned(RigOptions options = {}) : Shown(std::move(options)) {
    log::detail::forget_limits();  // other tests of this process have written the same events
    log::configure({.level = log::Level::Warn, .fd = file.get()});
  }
  ~Warned() override { log::configure(log::Options{}); }
  [[nodiscard]] std::string warnings() const {
    std::string all(1 << 16, '\0');
    const ssize_t n = ::pread(file.get(), all.data(), all.size(), 0);
    all.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return all;
  }
  void expect_warning(std::string_view failure) {
    EXPECT_THAT(faults(), testing::Not(testing::IsEmpty()));
    EXPECT_TRUE(eventually([&] { return warnings().contains(failure); })) << warnings();
    EXPECT_THAT(warnings(), testing::HasSubstr("warn tls.origin_unverified:"));
    EXPECT_THAT(warnings(), testing::HasSubstr("sni=api.test"));
  }

  UniqueFd file{::memfd_create("log", MFD_CLOEXEC)};
};

TEST_F(Warned, OfANameThatIsNotTheClients) {
  show(tls::leaf_for("other.test"));
  expect_warning("failure=\"hostname mismatch");
}

TEST_F(Warned, OfDatesThatArePast) {
  tls::LeafSpec leaf = tls::leaf_for(kHost);
  leaf.shape = tls::LeafShape::Expired;
  show(leaf);
  expect_warning("expired");
}

TEST_F(Warned, OfAnIssuerThatNobodyKnows) {
  const auto stranger = tls::testing::must(tls::CertificateAuthority::create_in_memory({}));
  show(*stranger, tls::leaf_for(kHost));
  expect_warning("issuer");
}

RigOptions answering_502() {
  RigOptions options;
  options.config.tls.on_bad_upstream = config::OnBadUpstream::BadGateway;
  return options;
}

struct WarnedBehindAGoodHandshake : Warned {
  WarnedBehindAGoodHandshake() : Warned(answering_502()) {}
};

TEST_F(WarnedBehindAGoodHandshake, OfDatesThatArePast) {
  tls::LeafSpec leaf = tls::leaf_for(kHost);
  leaf.shape = tls::LeafShape::Expired;
  show(leaf);
  EXPECT_THAT(faults(), testing::IsEmpty());
  EXPECT_THAT(warnings(), testing::HasSubstr("warn tls.origin_unverified:"));
  EXPECT_THAT(warnings(), testing::HasSubstr("expired"));
}

TEST_F(Warned, InReplayOfWhatWasRecorded) {
  show(tls::leaf_for("other.test"));
  EXPECT_THAT(faults(), testing::SizeIs(1));
  EXPECT_TRUE(eventually([&] { return recorded() == "wrong_name"; }));
  rig.set_mode(Mode::Replay);
  expect_warning("wrong_name, as recorded");
}

TEST_F(Warned, NotOfACertificateThatOnlyLacksASan) {
  show(tls::leaf_without_san(kHost));
  EXPECT_TRUE(is_accepted(0));
  EXPECT_TRUE(eventually([&] { return rig.active() == 0; }));
  EXPECT_EQ(warnings(), "");
}

// Go and the browsers refuse it, OpenSSL takes it.
TEST_F(Shown, ACertificateWithoutSanIsJudgedByEachClientAsItWouldBe) {
  show(tls::leaf_without_san(kHost));
  EXPECT_FALSE(is_accepted(X509_CHECK_FLAG_NEVER_CHECK_SUBJECT));
  EXPECT_TRUE(is_accepted(0));
  EXPECT_TRUE(eventually([&] { return recorded() == "no_san" && rig.store->stored_recordings() == 1; }));
  EXPECT_EQ(rig.count(Counter::TlsDownRejectedCa), 0U) << "it is not our CA that it refuses";
  rig.set_mode(Mode::Replay);
  EXPECT_FALSE(is_accepted(X509_CHECK_FLAG_NEVER_CHECK_SUBJECT));
  EXPECT_TRUE(is_accepted(0));
}

}  // namespace
}  // namespace tapdeck::server
