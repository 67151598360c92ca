#include "daemon/tls/ca.h"

#include <gtest/gtest.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <sstream>
#include <thread>

#include "daemon/tls/cert_mint.h"
#include "daemon/tls/openssl_util.h"
#include "daemon/tls/test_support.h"

namespace tapdeck::tls {
namespace {

using testing::must;

std::string content_of(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

struct Files {
  TestDirectory folder;
  std::string cert = folder.path() + "/ca.pem";
  std::string key = folder.path() + "/ca.key";
  Result<std::unique_ptr<CertificateAuthority>> load(const CaOptions& options = {}) const {
    return CertificateAuthority::load_or_create(cert, key, options);
  }
  Error error(const CaOptions& options = {}) const {
    const auto result = load(options);
    return result ? Error{Code::Internal, "no error"} : result.error();
  }
};

TEST(CertificateAuthority, IsMadeOnceAndLoadedAfterwards) {
  Files files;
  const auto made = must(files.load());
  const auto loaded = must(files.load());
  EXPECT_EQ(made->fingerprint(), loaded->fingerprint());
  EXPECT_EQ(made->fingerprint().size(), 64U);
  EXPECT_EQ(made->certificate_pem(), content_of(files.cert));
  struct stat info{};
  ASSERT_EQ(::stat(files.key.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  ASSERT_EQ(::stat(files.cert.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0644U);
  size_t entries = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(files.folder.path())) ++entries;
  EXPECT_EQ(entries, 2U);
}

TEST(CertificateAuthority, TwoInstallsShareNothing) {
  Files here;
  Files there;
  EXPECT_NE(must(here.load())->fingerprint(), must(there.load())->fingerprint());
  EXPECT_NE(content_of(here.key), content_of(there.key));
}

TEST(CertificateAuthority, ManyStartingAtOnceAgreeOnOne) {
  Files files;
  std::string prints[8];
  {
    std::vector<std::jthread> threads;
    for (std::string& print : prints) threads.emplace_back([&] { print = must(files.load())->fingerprint(); });
  }
  for (const std::string& print : prints) EXPECT_EQ(print, prints[0]);
}

TEST(CertificateAuthority, HasTheShapeThatStrictClientsWant) {
  const auto ca = must(CertificateAuthority::create_in_memory({}));
  X509* raw = ca->certificate();
  EXPECT_EQ(X509_check_ca(raw), 1);
  EXPECT_EQ(X509_get_pathlen(raw), 0);
  EXPECT_EQ(X509_get_key_usage(raw), static_cast<uint32_t>(KU_KEY_CERT_SIGN | KU_CRL_SIGN));
  EXPECT_NE(X509_get0_subject_key_id(raw), nullptr);
  for (const int nid : {NID_basic_constraints, NID_key_usage}) {
    const X509_EXTENSION* extension = X509_get_ext(raw, X509_get_ext_by_NID(raw, nid, -1));
    EXPECT_EQ(X509_EXTENSION_get_critical(extension), 1);
  }
  EXPECT_LE(ca->not_after() - ca->not_before(), std::chrono::days(730));
}

TEST(CertificateAuthority, RefusesHalfAPair) {
  Files files;
  must(files.load());
  std::filesystem::rename(files.cert, files.cert + ".away");
  EXPECT_EQ(files.error().code, Code::NotFound);
  EXPECT_NE(files.error().detail.find(files.cert + ": missing"), std::string::npos);
  std::filesystem::rename(files.cert + ".away", files.cert);
  std::filesystem::remove(files.key);
  EXPECT_NE(files.error().detail.find(files.key + ": missing"), std::string::npos);
}

TEST(CertificateAuthority, RefusesAKeyThatOthersCanRead) {
  Files files;
  must(files.load());
  ::chmod(files.key.c_str(), 0640);
  EXPECT_EQ(files.error().code, Code::Permission);
  EXPECT_NE(files.error().detail.find(files.key), std::string::npos);
}

TEST(CertificateAuthority, RefusesTheKeyOfAnother) {
  Files files;
  Files other;
  must(files.load());
  must(other.load());
  std::filesystem::copy_file(other.cert, files.cert, std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(files.error().code, Code::InvalidConfig);
  EXPECT_NE(files.error().detail.find("not the key of the certificate"), std::string::npos);
}

TEST(CertificateAuthority, RefusesWhatIsNoCaInOneClearLine) {
  Files files;
  const auto ca = must(files.load());
  const auto expect = [&](const std::string& words) {
    const Error error = files.error();
    EXPECT_EQ(error.code, Code::InvalidConfig);
    EXPECT_NE(error.detail.find(words), std::string::npos) << error.detail;
    EXPECT_EQ(error.detail.find('\n'), std::string::npos);
  };
  const Leaf leaf = must(mint(*ca, leaf_for("api.test")));
  files.folder.write("ca.pem", certificate_to_pem(leaf.certificate.get()));
  expect("not a CA certificate");
  files.folder.write("ca.pem", "garbage");
  expect("not a PEM certificate");
  files.folder.write("ca.pem", ca->certificate_pem());
  files.folder.write("ca.key", "garbage");
  expect("not an unencrypted PEM private key");
}

TEST(CertificateAuthority, RefusesAnExpiredOne) {
  Files files;
  must(files.load());
  CaOptions options;
  options.clock = [] { return system_now() + std::chrono::days(800); };
  EXPECT_NE(files.error(options).detail.find("expired"), std::string::npos);
}

TEST(CertificateAuthority, RefusesOneThatIsNotValidYet) {
  Files files;
  const auto made = must(files.load());
  CaOptions options;
  options.clock = [&made] { return made->not_before(); };
  EXPECT_TRUE(files.load(options)) << "its first second";
  options.clock = [&made] { return made->not_before() - std::chrono::seconds(1); };
  const Error error = files.error(options);
  EXPECT_EQ(error.code, Code::InvalidConfig);
  const auto day = std::chrono::year_month_day(std::chrono::floor<std::chrono::days>(made->not_before()));
  EXPECT_NE(error.detail.find("is valid only from " + std::to_string(static_cast<int>(day.year())) + '-'),
            std::string::npos)
      << error.detail;
  EXPECT_NE(error.detail.find("is this host's clock right?"), std::string::npos) << error.detail;
}

TEST(CertificateAuthority, NamesAFolderThatIsNotThere) {
  const auto result = CertificateAuthority::load_or_create("/nonexistent/ca.pem", "/nonexistent/ca.key", {});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::NotFound);
  EXPECT_NE(result.error().detail.find("/nonexistent"), std::string::npos);
}

TEST(CertificateAuthority, NameConstraintsBindItsLeaves) {
  CaOptions options;
  options.name_constraints = {"example.com", "192.0.2.0/24"};
  const auto constrained = must(CertificateAuthority::create_in_memory(options));
  options.name_constraints = {"example.com"};
  const auto names_only = must(CertificateAuthority::create_in_memory(options));
  const auto accepted = [](const CertificateAuthority& ca, const std::string& name) {
    const Leaf leaf = must(mint(ca, leaf_for(name)));
    const Owned<X509_STORE, X509_STORE_free> store(X509_STORE_new());
    X509_STORE_add_cert(store.get(), ca.certificate());
    const Owned<X509_STORE_CTX, X509_STORE_CTX_free> chain(X509_STORE_CTX_new());
    X509_STORE_CTX_init(chain.get(), store.get(), leaf.certificate.get(), nullptr);
    return X509_verify_cert(chain.get()) == 1;
  };
  EXPECT_TRUE(accepted(*constrained, "api.example.com"));
  EXPECT_FALSE(accepted(*constrained, "api.example.org"));
  EXPECT_TRUE(accepted(*constrained, "192.0.2.9"));
  EXPECT_FALSE(accepted(*constrained, "198.51.100.1"));
  EXPECT_TRUE(accepted(*names_only, "example.com"));
  EXPECT_FALSE(accepted(*names_only, "192.0.2.9"));
  EXPECT_FALSE(accepted(*names_only, "2001:db8::1"));
  options.name_constraints = {"a b"};
  EXPECT_FALSE(CertificateAuthority::create_in_memory(options));
  options.name_constraints = {"192.0.2.0/33"};
  EXPECT_FALSE(CertificateAuthority::create_in_memory(options));
}

}  // namespace
}  // namespace tapdeck::tls
