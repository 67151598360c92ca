// UpstreamTrust: which certificates upstreams may show; ClientSessionCache: resumption towards them.
//
// UpstreamTrust: one a process, owned by the app, immutable, any thread, outlives its sessions.
// ClientSessionCache: one a worker, single-threaded, owned by the worker, outlives its sessions.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/tls/openssl_fwd.h"

namespace tapdeck::tls {

enum class SystemRoots { Use, Ignore };

class UpstreamTrust {
 public:
  // `extra_ca`: PEM files with one or more certificates, CAs or single servers (partial chains are accepted). Errors
  // name path and reason: NotFound, Permission, InvalidConfig ("path: certificate 2: not PEM", "path: no certificate").
  [[nodiscard]] static Result<std::unique_ptr<UpstreamTrust>> create(SystemRoots system_roots,
                                                                     const std::vector<std::string>& extra_ca);
  ~UpstreamTrust();
  UpstreamTrust(const UpstreamTrust&) = delete;
  UpstreamTrust& operator=(const UpstreamTrust&) = delete;

  [[nodiscard]] ssl_ctx_st* get() const { return context_.get(); }  // for this folder only

 private:
  UpstreamTrust();
  SslContextPtr context_;
};

// At most `capacity` keys, one session each, least recently used goes first. Holds only sessions whose certificate was
// verified and whose server asked for none; one whose certificate has expired since is not resumed. clear() it when the
// UpstreamTrust is replaced.
class ClientSessionCache {
 public:
  explicit ClientSessionCache(size_t capacity = 1024);
  ~ClientSessionCache();
  ClientSessionCache(const ClientSessionCache&) = delete;
  ClientSessionCache& operator=(const ClientSessionCache&) = delete;

  [[nodiscard]] size_t size() const { return entries_.size(); }
  void clear();

 private:
  friend class TlsSession;
  friend struct SessionCallbacks;
  struct Entry {
    std::string key;
    SslSessionPtr session;
  };
  void put(std::string_view key, SslSessionPtr session);
  // Removes and returns it: a TLS 1.3 ticket is used once (RFC 8446 appendix C.4). Null when there is none.
  [[nodiscard]] SslSessionPtr take(std::string_view key);

  size_t capacity_;
  std::list<Entry> order_;  // most recent first
  std::unordered_map<std::string_view, std::list<Entry>::iterator> entries_;
};

}  // namespace tapdeck::tls
