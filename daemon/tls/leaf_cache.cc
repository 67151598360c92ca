#include "daemon/tls/leaf_cache.h"

#include <list>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "daemon/tls/openssl_util.h"

namespace tapdeck::tls {

namespace {

// The spec as one string, each part with its length: what two requests must share to share a leaf.
std::string key_of(const LeafSpec& spec) {
  std::string key(1, static_cast<char>('0' + static_cast<int>(spec.shape)));
  const auto add = [&key](char kind, const std::string& part) {
    key += kind;
    key += std::to_string(part.size());
    key += ':';
    key += part;
  };
  for (const std::string& name : spec.dns_names) add('d', name);
  for (const std::string& ip : spec.ips) add('i', ip);
  if (!spec.common_name.empty()) add('c', spec.common_name);
  if (spec.validity) {
    add('b', std::to_string(spec.validity->not_before.time_since_epoch().count()));
    add('a', std::to_string(spec.validity->not_after.time_since_epoch().count()));
  }
  return key;
}

// After a tenth of the life is left, a Good leaf is made anew; one that must fail stays as it is until it would not.
Time renew_at(const LeafSpec& spec, const Leaf& leaf) {
  if (spec.shape == LeafShape::NotYetValid) return leaf.not_before - std::chrono::hours(12);
  if (spec.shape == LeafShape::Expired || spec.validity) return Time::max();
  return leaf.not_after - (leaf.not_after - leaf.not_before) / 10;
}

// A clock that was ahead and is corrected leaves leaves of the future: a Good one is not valid yet, an Expired one
// still.
Time use_from(const LeafSpec& spec, const Leaf& leaf) {
  if (spec.validity || spec.shape == LeafShape::NotYetValid) return Time::min();
  return spec.shape == LeafShape::Expired ? leaf.not_after : leaf.not_before;
}

}  // namespace

ServerCredential::ServerCredential(Leaf leaf, std::string scope)
    : leaf_(std::move(leaf)), sha256_(certificate_sha256(leaf_.certificate.get())), scope_(std::move(scope)) {}

std::string ServerCredential::pem() const {
  return certificate_to_pem(leaf_.certificate.get());
}

struct LeafCache::Shard {
  struct Entry {
    std::string key;
    std::shared_ptr<const ServerCredential> credential;
    Time use_from;
    Time renew_at;
  };
  mutable std::mutex lock;
  std::list<Entry> order;  // most recent first
  std::unordered_map<std::string_view, std::list<Entry>::iterator> entries;
  Stats stats;

  // Under the lock.
  std::shared_ptr<const ServerCredential> find(std::string_view key, Time now) {
    const auto found = entries.find(key);
    if (found == entries.end() || now < found->second->use_from || now >= found->second->renew_at) return nullptr;
    order.splice(order.begin(), order, found->second);
    return found->second->credential;
  }
  void insert(Entry entry, size_t capacity) {
    if (const auto found = entries.find(entry.key); found != entries.end()) {
      found->second->credential = std::move(entry.credential);
      found->second->use_from = entry.use_from;
      found->second->renew_at = entry.renew_at;
      order.splice(order.begin(), order, found->second);
      return;
    }
    order.push_front(std::move(entry));
    entries.emplace(order.front().key, order.begin());
    if (entries.size() <= capacity) return;
    entries.erase(order.back().key);
    order.pop_back();
    ++stats.evictions;
  }
};

LeafCache::LeafCache(const CertificateAuthority& trusted, const CertificateAuthority& untrusted,
                     LeafCacheOptions options)
    : trusted_(trusted),
      untrusted_(untrusted),
      options_(std::move(options)),
      shards_(std::make_unique<std::array<Shard, kShards>>()) {}

LeafCache::~LeafCache() = default;

Result<std::shared_ptr<const ServerCredential>> LeafCache::get(const LeafSpec& spec) {
  std::string key = key_of(spec);
  Shard& shard = (*shards_)[std::hash<std::string>()(key) % kShards];
  const Time now = options_.clock();
  {
    const std::lock_guard guard(shard.lock);
    if (auto found = shard.find(key, now)) {
      ++shard.stats.hits;
      return found;
    }
    ++shard.stats.misses;
  }
  MintOptions how;
  how.lifetime = options_.leaf_lifetime;
  how.now = now;
  const auto begin = std::chrono::steady_clock::now();
  TRY(leaf, mint(spec.shape == LeafShape::UntrustedIssuer ? untrusted_ : trusted_, spec, how));
  const Time begin_of_use = use_from(spec, leaf);
  const Time renewal = renew_at(spec, leaf);
  auto credential = std::make_shared<const ServerCredential>(std::move(leaf), key);
  const auto spent = std::chrono::steady_clock::now() - begin;
  const std::lock_guard guard(shard.lock);
  shard.stats.mint_time += spent;
  // Whoever minted the same meanwhile was first; both callers then show one certificate.
  if (auto found = shard.find(key, now)) return found;
  const size_t capacity = std::max<size_t>(1, options_.capacity / kShards);
  shard.insert({std::move(key), credential, begin_of_use, renewal}, capacity);
  return credential;
}

LeafCache::Stats LeafCache::stats() const {
  Stats total;
  for (const Shard& shard : *shards_) {
    const std::lock_guard guard(shard.lock);
    total.hits += shard.stats.hits;
    total.misses += shard.stats.misses;
    total.evictions += shard.stats.evictions;
    total.mint_time += shard.stats.mint_time;
    total.entries += shard.entries.size();
  }
  return total;
}

}  // namespace tapdeck::tls
