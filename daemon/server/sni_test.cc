// Clients that send as a server name what is none: an address, which is served as one, or nothing that could be a name,
// which is served as if nothing had been sent. Never past the recording, and never to the origin as a name.
#include <gmock/gmock.h>
#include <openssl/x509v3.h>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

const std::string kAskOfAddress = "GET /a HTTP/1.1\r\nHost: [fd81::2]\r\n\r\n";

// The names that an origin is asked by; "-": none. OpenSSL calls back for every ClientHello.
class Names {
 public:
  explicit Names(SSL_CTX* context) {
    SSL_CTX_set_tlsext_servername_callback(context, &Names::note);
    SSL_CTX_set_tlsext_servername_arg(context, this);
  }
  [[nodiscard]] std::vector<std::string> seen() {
    const std::scoped_lock lock(mutex_);
    return seen_;
  }

 private:
  static int note(SSL* ssl, int*, void* self) {
    const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    auto* names = static_cast<Names*>(self);
    const std::scoped_lock lock(names->mutex_);
    names->seen_.emplace_back(name != nullptr ? name : "-");
    return SSL_TLSEXT_ERR_OK;
  }
  std::mutex mutex_;
  std::vector<std::string> seen_;
};

// Sends `name` as it is and takes a certificate for `address`.
std::string ask_by(WorkerRig& rig, const std::string& name, const char* address) {
  SslOwned ssl = rig.client_ssl(WorkerRig::Trust::OurCa, "\x08http/1.1", name);
  SSL_set1_host(ssl.get(), nullptr);
  X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), address);
  Wire wire = rig.connect();
  EXPECT_TRUE(wire.start_tls(std::move(ssl))) << name;
  EXPECT_TRUE(wire.write(kAskOfAddress));
  wire.half_close();
  return wire.rest();
}

void expect_recorded_and_replayed(const std::string& name, const char* address) {
  WorkerRig rig;
  const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(address));
  Names names(context.get());
  ScriptedOrigin origin(http_origin([](const std::string&) { return with_length("good"); }), context.get());
  rig.go_to(origin.endpoint());
  EXPECT_EQ(ask_by(rig, name, address), with_length("good") + "<EOF>");
  EXPECT_TRUE(eventually([&] { return rig.outcomes(Mode::Record, Outcome::Recorded) == 1; })) << name;
  EXPECT_EQ(names.seen(), std::vector<std::string>{"-"}) << "an address is no name (RFC 6066 3)";
  origin.stop();
  rig.set_mode(Mode::Replay);
  EXPECT_EQ(ask_by(rig, name, address), with_length("good") + "<EOF>");
  EXPECT_EQ(rig.count(Counter::TunnelledNotTls) + rig.count(Counter::MissOpaque), 0U) << name;
}

TEST(ServerName, AnAddressIsServedAsOne) {
  expect_recorded_and_replayed("fd81::2", "fd81::2");
  expect_recorded_and_replayed("[fd81::2]", "fd81::2");
  expect_recorded_and_replayed("192.0.2.1", "192.0.2.1");
}

// The certificate is for the address that was dialled, the rig's loopback.
TEST(ServerName, WhatIsNoNameIsServedAsNone) {
  for (const char* name : {"*", "a b", "\xc3\xa9.test", "a..b", ":"}) expect_recorded_and_replayed(name, "127.0.0.1");
}

}  // namespace
}  // namespace tapdeck::server
