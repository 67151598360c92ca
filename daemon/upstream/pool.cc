#include "daemon/upstream/pool.h"

#include <utility>

namespace tapdeck::upstream {

using exchange::Clock;

namespace {
// Verdicts are a few hundred bytes; beyond this many origins a worker forgets them all and learns again.
constexpr size_t kMaxVerdicts = 8192;
}  // namespace

Pool::~Pool() {
  clear();
}

void Pool::clear() {
  context_.metrics->add(Gauge::UpstreamIdle, -static_cast<int64_t>(idle_));
  by_key_.clear();
  idle_ = 0;
}

std::unique_ptr<Connection> Pool::take(const Key& key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  std::unique_ptr<Connection> taken;
  while (taken == nullptr && !found->second.empty()) {
    Idle idle = std::move(found->second.back());
    found->second.pop_back();
    --idle_;
    context_.metrics->add(Gauge::UpstreamIdle, -1);
    if (Clock::now() - idle.since < options_.max_idle_time && idle.connection->is_quiet()) {
      taken = std::move(idle.connection);
    }
  }
  if (found->second.empty()) by_key_.erase(found);
  return taken;
}

net::Task<Dialed> Pool::acquire(Key key, Fresh fresh) {
  if (fresh == Fresh::No) {
    if (auto pooled = take(key)) {
      pooled->reused = true;
      context_.metrics->add(Counter::UpstreamReused);
      Dialed dialed;
      dialed.connection = std::move(pooled);
      co_return dialed;
    }
  }
  const bool secure = key.security == Security::Tls;
  auto dialed = co_await dial(context_, key);
  if (secure && dialed.connection != nullptr) {
    const auto& facts = dialed.connection->tls();
    remember(key, {facts.alpn, std::nullopt, facts.certificate_requested});
  } else if (secure && dialed.error.code == Code::TlsVerify && dialed.report) {
    remember(key, {std::string(), dialed.report, false});
  }
  co_return dialed;
}

void Pool::drop_one() {
  if (by_key_.empty()) return;
  const auto any = by_key_.begin();
  any->second.pop_front();
  if (any->second.empty()) by_key_.erase(any);
  --idle_;
  context_.metrics->add(Gauge::UpstreamIdle, -1);
}

void Pool::give_back(std::unique_ptr<Connection> connection) {
  if (connection == nullptr || !connection->is_reusable()) return;
  if (idle_ >= options_.max_idle) drop_one();
  const Key key = connection->key();
  by_key_[key].push_back({std::move(connection), Clock::now()});
  ++idle_;
  context_.metrics->add(Gauge::UpstreamIdle, 1);
}

void Pool::sweep() {
  const auto now = Clock::now();
  for (auto entry = by_key_.begin(); entry != by_key_.end();) {
    auto& list = entry->second;
    while (!list.empty() &&
           (now - list.front().since >= options_.max_idle_time || !list.front().connection->is_quiet())) {
      list.pop_front();
      --idle_;
      context_.metrics->add(Gauge::UpstreamIdle, -1);
    }
    entry = list.empty() ? by_key_.erase(entry) : std::next(entry);
  }
}

const Verdict* Pool::recent(const Key& key) const {
  const auto found = verdicts_.find(key);
  if (found == verdicts_.end() || Clock::now() - found->second.at >= options_.verify_ttl) return nullptr;
  return &found->second.verdict;
}

void Pool::remember(const Key& key, Verdict verdict) {
  if (verdicts_.size() >= kMaxVerdicts) verdicts_.clear();
  verdicts_[key] = {std::move(verdict), Clock::now()};
}

}  // namespace tapdeck::upstream
