// CAs that somebody else made: kinds of keys, intermediates and what stands behind them, restrictions.
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "daemon/tls/openssl_util.h"
#include "daemon/tls/test_support.h"
#include "daemon/tls/x509_build.h"

namespace tapdeck::tls {
namespace {

using testing::must;
using testing::Pump;
using testing::World;

struct Given {
  CertPtr certificate;
  KeyPtr key;
};

// Signed by `issuer`, null: by itself.
Given given_ca(const std::string& name, const Given* issuer, KeyPtr key, const std::string& purpose = {}) {
  Given made;
  const Time now = system_now();
  made.certificate = must(begin_certificate(key.get(), now - std::chrono::hours(1), now + std::chrono::days(30)));
  X509* raw = made.certificate.get();
  X509* parent = issuer != nullptr ? issuer->certificate.get() : raw;
  EXPECT_TRUE(set_common_name(raw, name));
  EXPECT_EQ(X509_set_issuer_name(raw, X509_get_subject_name(parent)), 1);
  EXPECT_TRUE(add_extension(raw, parent, NID_basic_constraints, "critical,CA:TRUE"));
  EXPECT_TRUE(add_extension(raw, parent, NID_key_usage, "critical,keyCertSign"));
  EXPECT_TRUE(add_extension(raw, parent, NID_subject_key_identifier, "hash"));
  if (!purpose.empty()) EXPECT_TRUE(add_extension(raw, parent, NID_ext_key_usage, purpose));
  EXPECT_TRUE(sign_certificate(raw, issuer != nullptr ? issuer->key.get() : key.get()));
  made.key = std::move(key);
  return made;
}

struct GivenFiles {
  TestDirectory folder;
  std::string cert = folder.path() + "/ca.pem";
  std::string key = folder.path() + "/ca.key";

  GivenFiles(const Given& ca, const std::vector<const Given*>& above) {
    std::string pem = certificate_to_pem(ca.certificate.get());
    for (const Given* given : above) pem += certificate_to_pem(given->certificate.get());
    folder.write("ca.pem", pem);
    const Owned<BIO, BIO_free_all> bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_PKCS8PrivateKey(bio.get(), ca.key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    folder.write("ca.key", std::string(data, static_cast<size_t>(size)));
    EXPECT_EQ(::chmod(key.c_str(), 0600), 0);
  }
  [[nodiscard]] Result<std::unique_ptr<CertificateAuthority>> load(const CaOptions& options = {}) const {
    return CertificateAuthority::load_or_create(cert, key, options);
  }
};

// A client that trusts `anchor`, by full chains alone, is shown a leaf of `ca`.
bool is_accepted(std::unique_ptr<CertificateAuthority> ca, x509_st* anchor) {
  World world;
  world.trust =
      must(UpstreamTrust::create(SystemRoots::Ignore, {world.folder.write("anchor.pem", certificate_to_pem(anchor))}));
  LeafCache leaves(*ca, *world.untrusted);
  auto client = world.connect();
  auto server = must(
      TlsSession::accept({world.server.get(), must(leaves.get(leaf_for("api.test"))), "api.test", "http/1.1", ""}));
  Pump pump{*client, *server};
  return pump.run();
}

TEST(GivenCa, MaySignWithEd25519AndEd448) {
  for (const char* kind : {"ED25519", "ED448"}) {
    const Given root = given_ca("root", nullptr, KeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, kind)));
    EXPECT_TRUE(is_accepted(must(GivenFiles(root, {}).load()), root.certificate.get())) << kind;
  }
}

TEST(GivenCa, SendsTheChainBehindAnIntermediate) {
  const Given root = given_ca("root", nullptr, must(make_p256_key()));
  const Given middle = given_ca("middle", &root, must(make_p256_key()));
  const Given lower = given_ca("lower", &middle, must(make_p256_key()));
  EXPECT_TRUE(is_accepted(must(GivenFiles(middle, {}).load()), root.certificate.get()));
  EXPECT_TRUE(is_accepted(must(GivenFiles(lower, {&middle, &root}).load()), root.certificate.get()));
  EXPECT_FALSE(is_accepted(must(GivenFiles(lower, {}).load()), root.certificate.get()))
      << "nobody knows the one between";
}

TEST(GivenCa, ThatIsNotForServersIsRefused) {
  const Given email = given_ca("root", nullptr, must(make_p256_key()), "emailProtection");
  const auto refused = GivenFiles(email, {}).load();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::InvalidConfig);
  EXPECT_NE(refused.error().detail.find("extended key usage"), std::string::npos) << refused.error().detail;
  for (const char* purpose : {"serverAuth,clientAuth", "anyExtendedKeyUsage"}) {
    const Given good = given_ca("root", nullptr, must(make_p256_key()), purpose);
    EXPECT_TRUE(GivenFiles(good, {}).load()) << purpose;
  }
}

TEST(GivenCa, KnowsWhetherItsConstraintsAreThoseAskedFor) {
  const std::vector<std::string> names{"example.com", "192.0.2.0/24"};
  const auto bound = must(CertificateAuthority::create_in_memory({.name_constraints = names}));
  const auto free = must(CertificateAuthority::create_in_memory({}));
  EXPECT_TRUE(must(bound->has_constraints(names)));
  EXPECT_FALSE(must(bound->has_constraints({"example.com"})));
  EXPECT_FALSE(must(bound->has_constraints({})));
  EXPECT_TRUE(must(free->has_constraints({})));
  EXPECT_FALSE(must(free->has_constraints(names)));
}

}  // namespace
}  // namespace tapdeck::tls
