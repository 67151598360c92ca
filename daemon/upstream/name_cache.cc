#include "daemon/upstream/name_cache.h"

#include <algorithm>
#include <utility>

namespace tapdeck::upstream {

net::Task<Result<std::vector<Endpoint>>> NameCache::find(std::string host) {
  using Clock = std::chrono::steady_clock;
  const auto began = Clock::now();
  if (const auto known = known_.find(host); known != known_.end()) {
    if (known->second.until > began) co_return known->second.addresses;
    known_.erase(known);
  }
  auto found = co_await resolver_.resolve(host);
  metrics_.observe(Histogram::UpstreamDns, std::chrono::duration<double>(Clock::now() - began).count());
  if (!found) co_return std::unexpected(found.error());
  if (known_.size() >= kMaxNames) known_.clear();
  known_[host] = {found->list, Clock::now() + std::clamp(found->ttl, kLeast, kMost)};
  co_return std::move(found->list);
}

}  // namespace tapdeck::upstream
