// What a connection comes to when something is wrong: origins that fail, clients that do not trust us, limits. After
// each the next request works and nothing is left open (WorkerRig checks the gauge).
#include <gmock/gmock.h>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

const std::string kGet = "GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n";

void expect_failure(const std::string& answer, int status, const std::string& name, const Endpoint& destination) {
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 " + std::to_string(status) + ' '));
  EXPECT_THAT(answer, HasSubstr("{\"error\":\"" + name + "\",\"detail\":\""));
  EXPECT_THAT(answer, HasSubstr("\"destination\":\"" + destination.to_string() + '"'));
}

TEST(UpstreamFailure, ARefusedOriginIsA502AndTheNextRequestWorks) {
  WorkerRig rig;
  ScriptedOrigin gone(http_origin([](const std::string&) { return with_length("x"); }));
  ScriptedOrigin alive(http_origin([](const std::string&) { return with_length("alive"); }));
  rig.go_to(gone.endpoint());
  gone.stop();
  expect_failure(rig.ask(kGet), 502, "upstream_connect", gone.endpoint());
  EXPECT_EQ(rig.count(Counter::UpstreamRefused), 1U);
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Failed) == 1; }));
  rig.go_to(alive.endpoint());
  EXPECT_EQ(rig.ask(kGet), with_length("alive") + "<EOF>");
}

// Its silence is how clients are known that wait for the origin to speak first; this one only takes its time.
TEST(UpstreamFailure, AClientThatIsSlowToSpeakIsAnsweredThoughItsOriginIsGone) {
  RigOptions options;
  options.config.limits.sniff_timeout = std::chrono::milliseconds(20);
  options.config.limits.header_timeout = std::chrono::milliseconds(400);
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }));
  rig.go_to(origin.endpoint());
  const std::string recorded = rig.ask(kGet);
  origin.stop();
  const auto ask_late = [&](std::string_view request) {
    const uint64_t refused = rig.count(Counter::UpstreamRefused);
    Wire wire = rig.connect();
    EXPECT_TRUE(eventually([&] { return rig.count(Counter::UpstreamRefused) > refused; }));
    EXPECT_TRUE(wire.write(request));
    wire.half_close();
    return wire.rest();
  };
  expect_failure(ask_late("GET /never HTTP/1.1\r\nHost: api.test\r\n\r\n"), 502, "upstream_connect", origin.endpoint());
  rig.set_mode(Mode::Hybrid);
  EXPECT_EQ(ask_late(kGet), recorded);
  Wire silent = rig.connect();
  EXPECT_EQ(silent.rest(), "<RST>") << "as without us, only later";
}

TEST(UpstreamFailure, ARefusedPostIsFoundInReplayThoughNobodyReadItsBody) {
  WorkerRig rig;
  {
    ScriptedOrigin gone(http_origin([](const std::string&) { return with_length("x"); }));
    rig.go_to(gone.endpoint());
  }
  const std::string head = "POST /order HTTP/1.1\r\nHost: api.test\r\nContent-Length: 6\r\n";
  const auto ask = [&rig, &head](const std::string& body) { return rig.ask(head + "\r\n" + body); };
  const std::string refused = ask("coffee");
  EXPECT_THAT(refused, HasSubstr("\"upstream_connect\""));
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::RecordingFailed) == 1; }));
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(ask("coffee"), refused);
  EXPECT_THAT(ask("potion"), HasSubstr("\"not_recorded\""));
}

TEST(UpstreamFailure, AClientThatNeverSendsItsBodyIsNotWaitedForLong) {
  WorkerRig rig;
  {
    ScriptedOrigin gone(http_origin([](const std::string&) { return with_length("x"); }));
    rig.go_to(gone.endpoint());
  }
  Wire wire = rig.connect();
  wire.write("POST /order HTTP/1.1\r\nHost: api.test\r\nContent-Length: 6\r\n\r\ncof");
  EXPECT_THAT(wire.read_until("}\n"), HasSubstr("\"upstream_connect\""));
}

struct Breaks {
  const char* name;
  std::string bytes;  // what the origin says before it ends so
  int status;
  std::string error;
};
void PrintTo(const Breaks& breaks, std::ostream* out) {
  *out << breaks.name;
}

class OriginBreaks : public testing::TestWithParam<Breaks> {};

TEST_P(OriginBreaks, IsToldByNameAndOnTheSameConnectionTheNextRequestWorks) {
  const Breaks& breaks = GetParam();
  WorkerRig rig;
  std::atomic<int> requests{0};
  ScriptedOrigin origin(
      http_origin([&](const std::string&) { return requests++ == 0 ? breaks.bytes : with_length("well"); }));
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  wire.write(kGet);
  expect_failure(wire.read_until("}\n"), breaks.status, breaks.error, origin.endpoint());
  wire.write(kGet);
  wire.half_close();
  EXPECT_EQ(wire.rest(), with_length("well") + "<EOF>");
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Failed) == 1; }));
}

INSTANTIATE_TEST_SUITE_P(
    , OriginBreaks,
    testing::Values(Breaks{"Reset", "<RST>", 502, "upstream_reset"},
                    Breaks{"ClosedWithoutAnswer", "<FIN>", 502, "upstream_truncated"},
                    Breaks{"TruncatedHead", "HTTP/1.1 200 OK\r\nConte<FIN>", 502, "upstream_truncated"},
                    Breaks{"NotHttp", "SSH-2.0-OpenSSH\r\n\r\n", 502, "upstream_protocol"},
                    Breaks{"Smuggling", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 502,
                           "upstream_protocol"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(UpstreamFailure, AnOriginThatNeverAnswersIsA504) {
  RigOptions options;
  options.config.limits.idle_timeout = 100ms;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin([](Wire& wire) {
    wire.rest();  // listens and says nothing
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  expect_failure(rig.ask(kGet), 504, "upstream_timeout", origin.endpoint());
  EXPECT_EQ(rig.count(Counter::UpstreamTimeout), 1U);
}

TEST(UpstreamFailure, ASilentOriginIsNotAskedTwiceThoughItsConnectionWasReused) {
  RigOptions options;
  options.config.limits.idle_timeout = 200ms;
  WorkerRig rig(std::move(options));
  std::atomic<int> asked{0};
  ScriptedOrigin origin([&asked](Wire& wire) {
    while (wire.read_until("\r\n\r\n").ends_with("\r\n\r\n")) {
      if (asked++ == 0) wire.write(with_length("well"));
    }
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  EXPECT_EQ(rig.ask(kGet), with_length("well") + "<EOF>");
  expect_failure(rig.ask(kGet), 504, "upstream_timeout", origin.endpoint());
  EXPECT_EQ(asked, 2);
}

TEST(UpstreamFailure, AClearOriginBehindTlsIsUpstreamTls) {
  WorkerRig rig;
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("clear"); }));
  rig.go_to(origin.endpoint());
  ScriptedOrigin garbage([](Wire& wire) {
    wire.write("this is not TLS at all\r\n");
    wire.rest();
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(garbage.endpoint());
  expect_failure(rig.ask(kGet, true), 502, "upstream_tls", garbage.endpoint());
}

TEST(UpstreamFailure, AnAnswerBrokenInItsBodyResetsTheClient) {
  WorkerRig rig;
  ScriptedOrigin origin(http_origin([](const std::string&) {
    return std::string("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab<RST>");
  }));
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  wire.write(kGet);
  EXPECT_THAT(wire.rest(), testing::EndsWith("<RST>"));
}

TEST(ClientFailure, ARequestCutShortIsTheClientsOwnAndToldTheSameInEveryMode) {
  WorkerRig rig;
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("whole"); }));
  rig.go_to(origin.endpoint());
  std::string first;
  for (const Mode mode : {Mode::Record, Mode::Hybrid, Mode::Replay}) {
    rig.set_mode(mode);
    const std::string answer = rig.ask("POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 10\r\n\r\nabc");
    expect_failure(answer, 400, "request_truncated", origin.endpoint());
    if (first.empty()) first = answer;
    EXPECT_EQ(answer, first) << to_string(mode);
  }
  EXPECT_EQ(rig.store->stored_recordings(), 0U);
}

TEST(Interim, ALengthOfNothingPassesIsRecordedAndComesAgain) {
  WorkerRig rig;
  const std::string answer =
      "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Length: 0\r\n\r\n" + with_length("final");
  ScriptedOrigin origin(http_origin([&](const std::string&) { return answer; }));
  rig.go_to(origin.endpoint());
  EXPECT_EQ(rig.ask(kGet), answer + "<EOF>");
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == 1; }));
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(rig.ask(kGet), answer + "<EOF>");
}

TEST(ClientTls, ClientsThatDoNotTrustUsAreCountedAndTheNextGoodOneIsServed) {
  WorkerRig rig;
  const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("good"); }), context.get());
  rig.go_to(origin.endpoint());
  for (int i = 0; i < 5; ++i) {
    Wire wire = rig.connect();
    EXPECT_FALSE(wire.start_tls(rig.client_ssl(WorkerRig::Trust::Nobody)));
    wire.close();
  }
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::TlsDownRejectedCa) == 5; }));
  EXPECT_EQ(rig.ask(kGet, true), with_length("good") + "<EOF>");
  EXPECT_EQ(rig.count(Counter::UpstreamDialed), 1U) << "the verdict and the connection of the first dial served all";
}

// The kind of failure a client sees must be the kind the origin has.
struct BadOrigin {
  const char* name;
  tls::LeafShape shape;
  long verify_result;
};
void PrintTo(const BadOrigin& bad, std::ostream* out) {
  *out << bad.name;
}

class Mirrored : public testing::TestWithParam<BadOrigin> {};

TEST_P(Mirrored, AnOriginThatDoesNotVerifyIsShownAsWhatItIsAndNeverSpokenTo) {
  WorkerRig rig;
  tls::LeafSpec leaf = tls::leaf_for(kHost);
  if (GetParam().shape == tls::LeafShape::WrongName) leaf = tls::leaf_for("other.test");
  leaf.shape = GetParam().shape;
  const auto stranger = tls::testing::must(tls::CertificateAuthority::create_untrusted());
  const bool untrusted = leaf.shape == tls::LeafShape::UntrustedIssuer;
  const SslContext context = origin_context(untrusted ? *stranger : *rig.origin_ca, leaf);
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("insecure"); }), context.get());
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  SslOwned ssl = rig.client_ssl(WorkerRig::Trust::OurCa);
  EXPECT_FALSE(wire.start_tls(std::move(ssl)));
  EXPECT_EQ(SSL_get_verify_result(wire.ssl()), GetParam().verify_result);
  wire.close();
  EXPECT_TRUE(eventually([&] { return rig.count(Counter::TlsDownError) == 1; }));
  EXPECT_EQ(rig.count(Counter::TlsDownRejectedCa), 0U) << "it is not our CA that it refuses";
  EXPECT_TRUE(eventually([&] {
    const auto facts = rig.store->origin_facts("default", kHost, origin.endpoint().port);
    return facts && *facts && !(*facts)->verify_failure.empty();
  })) << "on tape, although nothing was asked";
  rig.set_mode(Mode::Replay);
  Wire again = rig.connect();
  EXPECT_FALSE(again.start_tls(rig.client_ssl(WorkerRig::Trust::OurCa))) << "refused, though nothing was asked";
  EXPECT_EQ(SSL_get_verify_result(again.ssl()), GetParam().verify_result);
  again.close();
  rig.set_mode(Mode::Record);
  Wire careless = rig.connect();  // a client that does not look
  SslOwned blind = rig.client_ssl(WorkerRig::Trust::OurCa);
  SSL_set_verify(blind.get(), SSL_VERIFY_NONE, nullptr);
  EXPECT_TRUE(careless.start_tls(std::move(blind)));
  careless.write(kGet);
  careless.half_close();
  const std::string answer = careless.rest();
  expect_failure(answer, 502, "upstream_tls", origin.endpoint());
  const bool lacks_issuer = untrusted || GetParam().shape == tls::LeafShape::SelfSigned;
  EXPECT_EQ(answer.contains("--upstream-ca"), lacks_issuer) << "the way out, where it is one: " << answer;
  EXPECT_THAT(answer, HasSubstr("bypass"));
}

INSTANTIATE_TEST_SUITE_P(
    , Mirrored,
    testing::Values(BadOrigin{"Expired", tls::LeafShape::Expired, X509_V_ERR_CERT_HAS_EXPIRED},
                    BadOrigin{"SelfSigned", tls::LeafShape::SelfSigned, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT},
                    BadOrigin{"UntrustedIssuer", tls::LeafShape::UntrustedIssuer,
                              X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY},
                    BadOrigin{"WrongName", tls::LeafShape::WrongName, X509_V_ERR_HOSTNAME_MISMATCH}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(NotMirrored, ABadOriginIsTheSame502OverATrustedLeafInReplay) {
  RigOptions options;
  options.config.tls.on_bad_upstream = config::OnBadUpstream::BadGateway;
  WorkerRig rig(std::move(options));
  tls::LeafSpec leaf = tls::leaf_for(kHost);
  leaf.shape = tls::LeafShape::Expired;
  const SslContext context = origin_context(*rig.origin_ca, leaf);
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("insecure"); }), context.get());
  rig.go_to(origin.endpoint());
  const std::string recorded = rig.ask(kGet, true);
  expect_failure(recorded, 502, "upstream_tls", origin.endpoint());
  EXPECT_EQ(rig.count(Counter::UpstreamDialed), 1U) << "what was seen behind the handshake is what the request is told";
  EXPECT_EQ(rig.count(Counter::TlsUpInvalid), 1U);
  EXPECT_TRUE(eventually([&] { return rig.store->stored_recordings() == 1; }));
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(rig.ask(kGet, true), recorded);
}

TEST(NotMirrored, AnOriginThatWasMendedAnswersTheNextConnection) {
  RigOptions options;
  options.config.tls.on_bad_upstream = config::OnBadUpstream::BadGateway;
  WorkerRig rig(std::move(options));
  tls::LeafSpec leaf = tls::leaf_for(kHost);
  const SslContext mended = origin_context(*rig.origin_ca, leaf);
  leaf.shape = tls::LeafShape::Expired;
  const SslContext context = origin_context(*rig.origin_ca, leaf);
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }), context.get());
  rig.go_to(origin.endpoint());
  expect_failure(rig.ask(kGet, true), 502, "upstream_tls", origin.endpoint());
  SSL_CTX_use_certificate(context.get(), SSL_CTX_get0_certificate(mended.get()));
  SSL_CTX_use_PrivateKey(context.get(), SSL_CTX_get0_privatekey(mended.get()));
  EXPECT_EQ(rig.ask(kGet, true), with_length("x") + "<EOF>");
}

TEST(Limits, AConnectionBeyondTheLimitIsResetAndOneLaterIsServed) {
  RigOptions options;
  options.config.limits.connections = 1;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }));
  rig.go_to(origin.endpoint());
  Wire first = rig.connect();
  first.write(kGet);
  EXPECT_EQ(first.read_until("x"), with_length("x"));
  Wire second = rig.connect();
  EXPECT_EQ(second.rest(), "<RST>");
  EXPECT_EQ(rig.count(Counter::LimitConnections), 1U);
  first.close();
  EXPECT_TRUE(eventually([&] { return rig.connections == 0; }));
  EXPECT_EQ(rig.ask(kGet), with_length("x") + "<EOF>");
}

TEST(Limits, AConnectionNobodyCapturedIsRefusedAndNothingIsDialled) {
  WorkerRig rig;
  Wire wire = rig.connect();
  EXPECT_EQ(wire.rest(), "<RST>");
  EXPECT_EQ(rig.count(Counter::NoFlowRefused), 1U);
  EXPECT_EQ(rig.sockets.made, 0);
}

TEST(Limits, HalfAClientHelloIsDroppedAfterTheHeaderTimeout) {
  RigOptions options;
  options.config.limits.header_timeout = 30ms;
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }));
  rig.go_to(origin.endpoint());
  Wire wire = rig.connect();
  wire.write(std::string("\x16\x03\x01\x02\x00\x01\x00", 7));
  EXPECT_EQ(wire.rest(), "<EOF>");
  EXPECT_EQ(rig.sockets.made, 0);
}

TEST(Keepalive, OneOriginConnectionServesManyClientsOneAfterTheOther) {
  WorkerRig rig;
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("x"); }));
  rig.go_to(origin.endpoint());
  for (int i = 0; i < 4; ++i) EXPECT_EQ(rig.ask(kGet), with_length("x") + "<EOF>");
  EXPECT_EQ(origin.connections(), 1U);
  EXPECT_EQ(rig.count(Counter::UpstreamReused), 3U);
}

TEST(Keepalive, AnOriginThatClosesAReusedConnectionIsAskedAgainForGetButNotForPost) {
  WorkerRig rig;
  std::atomic<int> answered{0};
  // Each connection answers one request, and closes on the second without a word.
  ScriptedOrigin origin([&](Wire& wire) {
    wire.read_until("\r\n\r\n");
    ++answered;
    wire.write(with_length("x"));
    wire.read_until("\r\n\r\n");
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  EXPECT_EQ(rig.ask(kGet), with_length("x") + "<EOF>");
  EXPECT_EQ(rig.ask(kGet), with_length("x") + "<EOF>") << "sent again on a fresh connection";
  EXPECT_EQ(answered, 2);
  const std::string post = "POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 0\r\n\r\n";
  EXPECT_EQ(rig.ask(post), with_length("x") + "<EOF>") << "a client's first goes out over a connection of its own";
  EXPECT_EQ(answered, 3);
  const std::string answers = rig.ask(kGet + post);
  ASSERT_TRUE(answers.starts_with(with_length("x"))) << answers;
  expect_failure(answers.substr(with_length("x").size()), 502, "upstream_truncated", origin.endpoint());
  EXPECT_EQ(answered, 4) << "a POST is never sent twice";
}

}  // namespace
}  // namespace tapdeck::server
