// For the tests of daemon/tls only: a CA pair, contexts, and a pump that carries bytes between two sessions.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/base/test_directory.h"
#include "daemon/tls/tls_session.h"

namespace tapdeck::tls::testing {

// A value that must be there; the test dies with the error's words otherwise.
template <class T>
T must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "unexpected error: %s\n", result.error().message().c_str());
    std::abort();
  }
  return std::move(*result);
}

// A tapdeck with its CA, an untrusted CA, and clients that trust the first.
struct World {
  TestDirectory folder;
  std::unique_ptr<CertificateAuthority> ca = must(CertificateAuthority::create_in_memory({}));
  std::unique_ptr<CertificateAuthority> untrusted = must(CertificateAuthority::create_untrusted());
  std::unique_ptr<ServerContext> server = must(ServerContext::create());
  std::unique_ptr<UpstreamTrust> trust =
      must(UpstreamTrust::create(SystemRoots::Ignore, {folder.write("ca.pem", ca->certificate_pem())}));
  LeafCache leaves{*ca, *untrusted};

  std::unique_ptr<TlsSession> accept(const LeafSpec& leaf, const std::string& name = "api.test",
                                     const std::string& alpn = "http/1.1", const std::string& policy = "") {
    return must(TlsSession::accept({server.get(), must(leaves.get(leaf)), name, alpn, policy}));
  }
  std::unique_ptr<TlsSession> connect(const std::string& name = "api.test", ClientSessionCache* cache = nullptr,
                                      const std::string& cache_key = "k") {
    return must(TlsSession::connect({trust.get(), name, "", {"h2", "http/1.1"}, cache, cache_key}));
  }
};

// Carries bytes until both are quiet or one failed; `step` bounds the bytes moved at a time.
struct Pump {
  TlsSession& client;
  TlsSession& server;
  size_t step = SIZE_MAX;
  ByteQueue client_got{};
  ByteQueue server_got{};

  bool run() {
    bool quiet = false;
    while (!quiet) {
      quiet = true;
      if (!client.advance(client_got) || !server.advance(server_got)) break;
      if (server.cipher_in().move_from(client.cipher_out(), step) > 0) quiet = false;
      if (client.cipher_in().move_from(server.cipher_out(), step) > 0) quiet = false;
    }
    // The last flight of whoever failed: its alert.
    ignore(server.cipher_in().move_from(client.cipher_out(), SIZE_MAX), "count");
    ignore(client.cipher_in().move_from(server.cipher_out(), SIZE_MAX), "count");
    ignore(server.advance(server_got), "state() tells");
    ignore(client.advance(client_got), "state() tells");
    return client.state() == TlsSession::State::Open && server.state() == TlsSession::State::Open;
  }
};

}  // namespace tapdeck::tls::testing
