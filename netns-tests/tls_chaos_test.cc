// Chaos: clients that leave before their TLS handshake ends, at each of its flights, by FIN and by RST, captured and
// inside CONNECT, with TLS 1.2 and 1.3. Nothing of theirs reaches the origin as a request, nothing is left, and the
// next client is served.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <functional>

#include "netns-tests/captured.h"
#include "netns-tests/chaos.h"
#include "netns-tests/proxied.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

// A client's half of a handshake in memory: what it would send.
class Hello {
 public:
  Hello(const std::filesystem::path& ca, int version)
      : context_(TlsContext::client(ca)), ssl_(SSL_new(context_.get())) {
    SSL_set_min_proto_version(ssl_, version);
    SSL_set_max_proto_version(ssl_, version);
    SSL_set_bio(ssl_, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_tlsext_host_name(ssl_, "origin.test");
    SSL_set_connect_state(ssl_);
  }
  Hello(const Hello&) = delete;
  Hello& operator=(const Hello&) = delete;
  ~Hello() { SSL_free(ssl_); }

  // Takes what came and returns what is to be sent next.
  std::string step(const std::string& came = "") {
    if (!came.empty()) BIO_write(SSL_get_rbio(ssl_), came.data(), static_cast<int>(came.size()));
    SSL_do_handshake(ssl_);
    std::string out(BIO_ctrl_pending(SSL_get_wbio(ssl_)), '\0');
    if (!out.empty()) BIO_read(SSL_get_wbio(ssl_), out.data(), static_cast<int>(out.size()));
    return out;
  }
  [[nodiscard]] int version() const { return SSL_version(ssl_); }

 private:
  TlsContext context_;
  SSL* ssl_;
};

enum class Leave { AfterConnect, InHello, AfterHello, AfterServersFlight, InFinished, AfterFinished };
constexpr Leave kLeaves[] = {Leave::AfterConnect,       Leave::InHello,    Leave::AfterHello,
                             Leave::AfterServersFlight, Leave::InFinished, Leave::AfterFinished};

// Goes as far as that; the caller ends the connection.
void shake_hands_until(Stream& stream, const std::filesystem::path& ca, int version, Leave leave) {
  if (leave == Leave::AfterConnect) return;
  Hello hello(ca, version);
  const std::string first = hello.step();
  stream.send(leave == Leave::InHello ? first.substr(0, first.size() / 2) : first);
  if (leave <= Leave::AfterHello) return;
  std::string finished;  // the client's second flight, which ends with its Finished
  while (finished.empty()) {
    const std::string came = stream.read_some();
    ASSERT_FALSE(came.empty()) << "the server's flight did not come";
    finished = hello.step(came);
  }
  ASSERT_EQ(hello.version(), version);
  if (leave == Leave::InFinished) stream.send(std::string_view(finished).substr(0, finished.size() / 2));
  if (leave == Leave::AfterFinished) stream.send(finished);
}

void leave_everywhere(const std::function<Stream()>& connect, const std::filesystem::path& ca, int version) {
  for (int i = 0; i < chaos_repeats(); ++i) {
    for (const Leave leave : kLeaves) {
      Stream orderly = connect();
      shake_hands_until(orderly, ca, version, leave);
      Stream abrupt = connect();
      shake_hands_until(abrupt, ca, version, leave);
      abrupt.reset();
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

class TlsChaos : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Version, TlsChaos, ::testing::Values(TLS1_2_VERSION, TLS1_3_VERSION), [](const auto& info) {
  return std::string(info.param == TLS1_2_VERSION ? "Tls12" : "Tls13");
});

TEST_P(TlsChaos, CapturedClientsMayLeaveAtAnyFlight) {
  Captured captured(CaptureBy::Interface);
  ScriptedOrigin origin(captured.lab().origin(), 443, captured.lab().leaf(), answers({{"/", ok_response("mine")}}));
  leave_everywhere([&] { return captured.connect(kOriginV4, 443); }, captured.daemon().client_ca(), GetParam());
  expect_no_connection_left(captured.daemon());
  EXPECT_EQ(origin.heads(), 0U);
  Stream good = captured.connect(kOriginV4, 443);
  ASSERT_TRUE(good.connect_tls(TlsContext::client(captured.daemon().client_ca()), "origin.test")) << good.error();
  good.send(get_request("/"));
  EXPECT_THAT(good.read_to_end(), ::testing::EndsWith("mine"));
}

TEST_P(TlsChaos, ClientsInsideConnectMayLeaveAtAnyFlight) {
  Proxied proxied;
  ScriptedOrigin origin(proxied.lab().origin(), 443, proxied.lab().leaf(), answers({{"/", ok_response("mine")}}));
  leave_everywhere([&] { return proxied.tunnel("origin.test:443"); }, proxied.daemon().client_ca(), GetParam());
  proxied.expect_no_connection_left();
  EXPECT_EQ(origin.heads(), 0U);
  const auto answer = proxied.ask_tls("origin.test:443", "origin.test", get_request("/"), proxied.daemon().client_ca());
  EXPECT_THAT(answer, ::testing::EndsWith("mine"));
}

}  // namespace
}  // namespace tapdeck::lab
