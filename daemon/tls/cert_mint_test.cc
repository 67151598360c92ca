#include "daemon/tls/cert_mint.h"

#include <gtest/gtest.h>
#include <openssl/bn.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <set>

#include "daemon/tls/leaf_cache.h"
#include "daemon/tls/openssl_util.h"
#include "daemon/tls/test_support.h"

namespace tapdeck::tls {
namespace {

using testing::must;

std::string bytes_of(const ASN1_OCTET_STRING* text) {
  if (text == nullptr) return {};
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)), static_cast<size_t>(ASN1_STRING_length(text))};
}

// The strictest reading OpenSSL has, which is Python 3.13's default.
int strict_verdict(const CertificateAuthority& ca, X509* leaf) {
  const Owned<X509_STORE, X509_STORE_free> store(X509_STORE_new());
  X509_STORE_add_cert(store.get(), ca.certificate());
  const Owned<X509_STORE_CTX, X509_STORE_CTX_free> chain(X509_STORE_CTX_new());
  X509_STORE_CTX_init(chain.get(), store.get(), leaf, nullptr);
  X509_STORE_CTX_set_flags(chain.get(), X509_V_FLAG_X509_STRICT);
  X509_STORE_CTX_set_purpose(chain.get(), X509_PURPOSE_SSL_SERVER);
  X509_verify_cert(chain.get());
  return X509_STORE_CTX_get_error(chain.get());
}

struct Mint : ::testing::Test {
  std::unique_ptr<CertificateAuthority> ca = must(CertificateAuthority::create_in_memory({}));
};

TEST_F(Mint, LeavesPassTheStrictProfile) {
  const std::string long_name = std::string(60, 'a') + "." + std::string(60, 'b') + ".test";
  for (const std::string& name : {std::string("api.test"), std::string("192.0.2.1"), std::string("2001:db8::1"),
                                  std::string("localhost"), std::string("*.api.test"), long_name}) {
    const Leaf leaf = must(mint(*ca, leaf_for(name)));
    EXPECT_EQ(X509_verify_cert_error_string(strict_verdict(*ca, leaf.certificate.get())), std::string("ok")) << name;
    EXPECT_EQ(X509_check_private_key(leaf.certificate.get(), leaf.key.get()), 1);
  }
}

TEST_F(Mint, LeavesCarryWhatClientsDemand) {
  const Leaf leaf = must(mint(*ca, LeafSpec{{"api.test", "b.test"}, {"192.0.2.1"}, LeafShape::Good, {}}));
  X509* raw = leaf.certificate.get();
  EXPECT_EQ(X509_get_version(raw), X509_VERSION_3);
  EXPECT_EQ(X509_get_key_usage(raw), static_cast<uint32_t>(KU_DIGITAL_SIGNATURE));
  EXPECT_EQ(X509_get_extended_key_usage(raw), static_cast<uint32_t>(XKU_SSL_SERVER));
  EXPECT_EQ(X509_check_ca(raw), 0);
  EXPECT_EQ(bytes_of(X509_get0_authority_key_id(raw)), bytes_of(X509_get0_subject_key_id(ca->certificate())));
  EXPECT_EQ(bytes_of(X509_get0_subject_key_id(raw)).size(), 20U);
  EXPECT_EQ(X509_check_host(raw, "b.test", 6, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, nullptr), 1);
  EXPECT_EQ(X509_check_ip_asc(raw, "192.0.2.1", 0), 1);
  const Time now = system_now();
  EXPECT_LE(leaf.not_before, now - std::chrono::days(2) + std::chrono::minutes(1));
  EXPECT_EQ(leaf.not_after - leaf.not_before, std::chrono::days(7));
  EXPECT_EQ(from_asn1(X509_get0_notAfter(raw)), leaf.not_after);
}

TEST_F(Mint, AnIpv6AddressIsOneHoweverItIsSpelled) {
  for (const char* spelling : {"fd81::2", "FD81:0::2", "fd81:0:0:0:0:0:0:2"}) {
    const Leaf leaf = must(mint(*ca, leaf_for(spelling)));
    EXPECT_EQ(X509_check_ip_asc(leaf.certificate.get(), "fd81::2", 0), 1) << spelling;
    EXPECT_EQ(X509_check_host(leaf.certificate.get(), spelling, 0, 0, nullptr), 0) << "an address, and no name";
  }
}

TEST_F(Mint, SerialsArePositiveLongAndDifferent) {
  std::set<std::string> seen;
  for (int i = 0; i < 50; ++i) {
    const Leaf leaf = must(mint(*ca, leaf_for("api.test")));
    const ASN1_INTEGER* serial = X509_get0_serialNumber(leaf.certificate.get());
    const Owned<BIGNUM, BN_free> number(ASN1_INTEGER_to_BN(serial, nullptr));
    EXPECT_EQ(BN_is_negative(number.get()), 0);
    EXPECT_EQ(BN_num_bits(number.get()), 127);
    EXPECT_TRUE(seen.insert(bytes_of(serial)).second);
  }
}

TEST_F(Mint, NamesThatAreNoneAreRefused) {
  for (const std::string& name :
       {std::string("a\0b", 3), std::string("a,DNS:b"), std::string("a b"), std::string(), std::string("a..b"),
        std::string("*"), std::string("a.*.b"), std::string(64, 'a'), std::string("a\nb")}) {
    const auto result = mint(*ca, LeafSpec{{name}, {}, LeafShape::Good, {}});
    ASSERT_FALSE(result) << name;
    EXPECT_EQ(result.error().code, Code::InvalidArgument);
  }
  EXPECT_FALSE(mint(*ca, LeafSpec{{}, {"fe80::1%eth0"}, LeafShape::Good, {}}));
  EXPECT_FALSE(mint(*ca, LeafSpec{}));
  EXPECT_FALSE(mint(*ca, LeafSpec{std::vector<std::string>(101, "a.test"), {}, LeafShape::Good, {}}));
}

TEST_F(Mint, ALeafIsValidForTheDaysThatWereAskedForAndNow) {
  for (const int days : {1, 2, 7, 397}) {
    MintOptions options;
    options.lifetime = std::chrono::days(days);
    const Leaf leaf = must(mint(*ca, leaf_for("api.test"), options));
    EXPECT_EQ(leaf.not_after - leaf.not_before, options.lifetime);
    EXPECT_LE(leaf.not_before, options.now - std::chrono::hours(12));
    EXPECT_GE(leaf.not_after, options.now + std::chrono::hours(12));
  }
}

TEST_F(Mint, ALeafDoesNotOutliveItsIssuer) {
  MintOptions options;
  options.now = ca->not_after() - std::chrono::days(1);
  EXPECT_EQ(must(mint(*ca, leaf_for("api.test"), options)).not_after, ca->not_after());
}

}  // namespace
}  // namespace tapdeck::tls
