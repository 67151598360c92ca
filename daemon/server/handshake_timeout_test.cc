// TLS handshakes that stall, on either side of the proxy: limits.tls_timeout ends them and is counted.
#include <gmock/gmock.h>

#include "daemon/server/h2_wire.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kAsked = "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n";

RigOptions patience(std::chrono::milliseconds tls_timeout) {
  RigOptions options;
  options.config.limits.tls_timeout = tls_timeout;
  return options;
}

// Accepts TCP and never says a word of TLS.
ScriptedOrigin::End stay_mute(Wire& wire) {
  wire.rest();
  return ScriptedOrigin::End::Close;
}

TEST(HandshakeTimeout, AMuteOriginIsNotDialledAgainForTheFirstRequest) {
  WorkerRig rig(patience(std::chrono::milliseconds(400)));
  ScriptedOrigin origin(stay_mute);
  rig.go_to(origin.endpoint());
  Wire client = rig.connect_tls();
  client.write(kAsked);
  const std::string first = client.read_until("}\n");
  EXPECT_THAT(first, StartsWith("HTTP/1.1 504 Gateway Timeout\r\n"));
  EXPECT_THAT(first, HasSubstr("\"error\":\"upstream_timeout\""));
  EXPECT_THAT(first, HasSubstr("TLS handshake with " + origin.endpoint().to_string() + " timed out"));
  EXPECT_EQ(origin.connections(), 1U);
  EXPECT_EQ(rig.count(Counter::LimitTlsTimeout), 1U);
  client.write(kAsked);
  EXPECT_THAT(client.read_until("}\n"), StartsWith("HTTP/1.1 504 Gateway Timeout\r\n"));
  EXPECT_EQ(origin.connections(), 2U) << "the next one asks anew";
  EXPECT_EQ(rig.count(Counter::LimitTlsTimeout), 2U);
  client.close();
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 2; })) << "recorded like any other failure";
}

TEST(HandshakeTimeout, AMuteOriginIsNotDialledAgainForAClientWithoutAlpn) {
  WorkerRig rig(patience(std::chrono::milliseconds(400)));
  ScriptedOrigin origin(stay_mute);
  rig.go_to(origin.endpoint());
  Wire client = rig.connect();
  ASSERT_TRUE(client.start_tls(rig.client_ssl(WorkerRig::Trust::OurCa, "")));
  client.write(kAsked);
  EXPECT_THAT(client.read_until("}\n"), StartsWith("HTTP/1.1 504 Gateway Timeout\r\n"));
  EXPECT_EQ(origin.connections(), 1U);
  client.close();
}

TEST(HandshakeTimeout, AMuteOriginIsNotDialledAgainForAClientThatWasSilentFirst) {
  WorkerRig rig(patience(std::chrono::milliseconds(400)));
  ScriptedOrigin origin(stay_mute);
  rig.go_to(origin.endpoint());
  Wire client = rig.connect();
  ASSERT_TRUE(client.start_tls(rig.client_ssl(WorkerRig::Trust::OurCa, "")));
  ASSERT_TRUE(eventually([&] { return rig.count(Counter::UpstreamTimeout) == 1; })) << "whether it speaks first";
  client.write(kAsked);
  EXPECT_THAT(client.read_until("}\n"), StartsWith("HTTP/1.1 504 Gateway Timeout\r\n"));
  EXPECT_EQ(origin.connections(), 1U);
  client.close();
}

TEST(HandshakeTimeout, AMuteOriginIsNotDialledAgainForTheFirstStreams) {
  for (const Mode mode : {Mode::Record, Mode::Hybrid}) {
    RigOptions options = patience(std::chrono::milliseconds(400));
    options.mode = mode;
    WorkerRig rig(std::move(options));
    ScriptedOrigin origin(stay_mute);
    rig.go_to(origin.endpoint());
    Wire raw = rig.connect();
    ASSERT_TRUE(raw.start_tls(rig.client_ssl(WorkerRig::Trust::OurCa, "\x02h2")));
    H2Wire client(raw, http::Role::Client);
    const auto ask = [&client](int number) {
      http::RequestHead head;
      head.method = "GET";
      head.target = "/" + std::to_string(number);
      head.scheme = "https";
      head.authority = kHost;
      head.version = http::Version::Http2;
      EXPECT_TRUE(client.codec().send_request(head, http::EndStream::Yes));
    };
    for (int i = 0; i < 5; ++i) ask(i);
    client.flush();
    std::string all;
    for (int i = 0; i < 5; ++i) all += client.until("END") + '\n';
    for (const int stream : {1, 3, 5, 7, 9}) EXPECT_THAT(all, HasSubstr("HEAD " + std::to_string(stream) + " 504"));
    EXPECT_EQ(origin.connections(), 1U) << to_string(mode);
    ask(5);
    client.flush();
    EXPECT_THAT(client.until("END 11"), HasSubstr("HEAD 11 504"));
    EXPECT_EQ(origin.connections(), 2U) << "who comes later asks anew";
    raw.close();
  }
}

TEST(HandshakeTimeout, AnOriginThatIsBackIsReachedByTheNextRequest) {
  WorkerRig rig(patience(std::chrono::seconds(2)));
  const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  std::atomic<int> begun{0};
  ScriptedOrigin origin([&](Wire& wire) {
    if (++begun == 1) return stay_mute(wire);
    SslOwned ssl(SSL_new(context.get()));
    SSL_set_accept_state(ssl.get());
    if (!wire.start_tls(std::move(ssl))) return ScriptedOrigin::End::Close;
    return http_origin([](const std::string&) { return with_length("back!"); })(wire);
  });
  rig.go_to(origin.endpoint());
  Wire client = rig.connect_tls();
  client.write(kAsked);
  EXPECT_THAT(client.read_until("}\n"), StartsWith("HTTP/1.1 504 "));
  client.write(kAsked);
  EXPECT_THAT(client.read_until("!"), HasSubstr("back!"));
  EXPECT_EQ(begun, 2);
  client.close();
}

TEST(HandshakeTimeout, AClientThatStallsInsideItsHelloPassesTheHeaderTimeout) {
  RigOptions options;
  options.config.limits.header_timeout = std::chrono::milliseconds(50);
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(stay_mute);
  rig.go_to(origin.endpoint());
  Wire client = rig.connect();
  client.write(std::string_view("\x16\x03\x01\x01\x00\x01", 6));
  client.rest();
  EXPECT_TRUE(eventually([&] { return rig.active() == 0; }));
  EXPECT_EQ(rig.count(Counter::LimitHeaderTimeout), 1U);
  EXPECT_EQ(origin.connections(), 0U);
  Wire left = rig.connect();
  left.write(std::string_view("\x16\x03\x01\x01\x00\x01", 6));
  left.close();
  EXPECT_TRUE(eventually([&] { return rig.active() == 0; }));
  EXPECT_EQ(rig.count(Counter::LimitHeaderTimeout), 1U) << "who leaves has passed nothing";
}

TEST(HandshakeTimeout, AClientThatStallsIsClosed) {
  RigOptions options = patience(std::chrono::milliseconds(50));
  options.mode = Mode::Replay;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(stay_mute);
  rig.go_to(origin.endpoint());
  Wire client = rig.connect();
  const SslOwned ssl = rig.client_ssl(WorkerRig::Trust::OurCa);
  BIO* const hello = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), hello);
  ASSERT_EQ(SSL_do_handshake(ssl.get()), -1) << "its ClientHello is all it says";
  const char* bytes = nullptr;
  const long size = BIO_get_mem_data(hello, &bytes);
  client.write({bytes, static_cast<size_t>(size)});
  client.rest();
  EXPECT_TRUE(eventually([&] { return rig.active() == 0; }));
  EXPECT_EQ(rig.count(Counter::LimitTlsTimeout), 1U);
  EXPECT_EQ(rig.count(Counter::TlsDownError), 1U);
  EXPECT_EQ(origin.connections(), 0U);
}

}  // namespace
}  // namespace tapdeck::server
