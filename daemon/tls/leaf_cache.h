// LeafCache: minted leaves, shared by all workers, so that a handshake signs with a key that is already there.
//
// Bounded, sharded by the hash of the spec, one short lock a shard, least recently used goes first. Keyed by the full
// name set, shape and validity: a leaf for {a, b} never serves {a}. Owner: the app. Thread: any.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "daemon/base/result.h"
#include "daemon/tls/cert_mint.h"

namespace tapdeck::tls {

// A certificate and its key, immutable. Sessions share it; it outlives its eviction from the cache.
class ServerCredential {
 public:
  // `scope` says what the leaf was made for; it bounds resumption (server_context.h), renewals keep it.
  explicit ServerCredential(Leaf leaf, std::string scope = {});
  [[nodiscard]] x509_st* certificate() const { return leaf_.certificate.get(); }
  [[nodiscard]] evp_pkey_st* key() const { return leaf_.key.get(); }
  [[nodiscard]] stack_st_X509* chain() const { return leaf_.chain.get(); }
  [[nodiscard]] Time not_after() const { return leaf_.not_after; }
  [[nodiscard]] const std::string& sha256() const { return sha256_; }  // hex of the DER digest
  [[nodiscard]] const std::string& scope() const { return scope_; }
  [[nodiscard]] std::string pem() const;  // certificate only

 private:
  Leaf leaf_;
  std::string sha256_;
  std::string scope_;
};

struct LeafCacheOptions {
  size_t capacity = 4096;  // leaves; at least one a shard
  std::chrono::days leaf_lifetime{7};
  Clock clock = system_now;
};

class LeafCache {
 public:
  // `trusted` signs all shapes but UntrustedIssuer, which `untrusted` signs. Both must outlive the cache.
  LeafCache(const CertificateAuthority& trusted, const CertificateAuthority& untrusted, LeafCacheOptions options = {});
  ~LeafCache();
  LeafCache(const LeafCache&) = delete;
  LeafCache& operator=(const LeafCache&) = delete;

  // The leaf for `spec`, minted now (about 100 µs, under no lock) when it is not there, has used nine tenths of its
  // life or was made by a clock that was ahead. Two threads that miss at once may both mint; one result is kept and
  // both get it. Errors: those of mint().
  [[nodiscard]] Result<std::shared_ptr<const ServerCredential>> get(const LeafSpec& spec);

  struct Stats {
    uint64_t hits = 0;
    uint64_t misses = 0;
    uint64_t evictions = 0;
    std::chrono::nanoseconds mint_time{0};  // total, over misses
    size_t entries = 0;
  };
  [[nodiscard]] Stats stats() const;

 private:
  struct Shard;
  static constexpr size_t kShards = 16;

  const CertificateAuthority& trusted_;
  const CertificateAuthority& untrusted_;
  LeafCacheOptions options_;
  std::unique_ptr<std::array<Shard, kShards>> shards_;
};

}  // namespace tapdeck::tls
