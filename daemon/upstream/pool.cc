#include "daemon/upstream/pool.h"

#include <algorithm>
#include <utility>

namespace tapdeck::upstream {

using exchange::Clock;

namespace {
// Verdicts are a few hundred bytes; beyond this many origins a worker forgets them all and learns again.
constexpr std::chrono::milliseconds kRefusalTtl{1000};
constexpr size_t kMaxVerdicts = 8192;
}  // namespace

Pool::Pool(DialContext& context, PoolOptions options)
    : context_(context), options_(options), group_(context.executor) {}

Pool::~Pool() {
  clear();
}

void Pool::clear() {
  context_.metrics->add(Gauge::UpstreamIdle, -static_cast<int64_t>(idle_));
  by_key_.clear();
  idle_ = 0;
  for (auto& [key, list] : shared_) {
    for (MuxConnection& connection : list) connection.retire();
  }
}

net::Task<> Pool::close() {
  clear();
  for (auto& [key, list] : shared_) {
    for (MuxConnection& connection : list) connection.abort();
  }
  while (group_.size() > 0) co_await group_.join();
}

size_t Pool::shared() const {
  size_t count = 0;
  for (const auto& [key, list] : shared_) count += list.size();
  return count;
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

std::unique_ptr<Lane> Pool::reuse(const Key& key) {
  if (key.may_be_h2()) {
    // The newest first, so that older ones age out.
    const auto found = shared_.find(key);
    if (found != shared_.end()) {
      const auto open = std::ranges::find_if(found->second, &MuxConnection::can_open);
      if (open != found->second.end()) return open->open();
    }
  }
  auto pooled = take(key);
  if (pooled != nullptr) pooled->reused = true;
  return pooled;
}

std::list<Pool::Dialing>::iterator Pool::dialing(const Key& key) {
  return std::ranges::find_if(dialing_, [&key](const Dialing& dial) { return !dial.over && dial.key == key; });
}

// The error of that dial, or nothing when it brought a connection.
net::Task<std::optional<Error>> Pool::wait_for(std::list<Dialing>::iterator dial) {
  ++dial->waiting;
  bool cancelled = false;
  while (!dial->over && !cancelled) {
    co_await dial->done.wait();
    const bool wanted = co_await net::is_wanted();
    cancelled = !wanted;
  }
  std::optional<Error> error = dial->error;
  if (--dial->waiting == 0 && dial->over) dialing_.erase(dial);
  if (cancelled)
    error = Error{Code::Cancelled, "the connection is not wanted any more", Origin::Internal, Retry::No, 0};
  co_return error;
}

std::unique_ptr<Lane> Pool::try_acquire(const Key& key) {
  auto lane = reuse(key);
  if (lane != nullptr && lane->reused) context_.metrics->add(Counter::UpstreamReused);
  return lane;
}

net::Task<Acquired> Pool::acquire(Key key, Fresh fresh) {
  while (fresh == Fresh::No) {
    Acquired acquired;
    acquired.lane = try_acquire(key);
    if (acquired.lane != nullptr) co_return acquired;
    // An origin known to speak h1 needs a connection for each exchange: nothing to wait for.
    const Verdict* known = recent(key);
    const bool speaks_h1 = known != nullptr && known->alpn != "h2";
    const auto underway = key.may_be_h2() && !speaks_h1 ? dialing(key) : dialing_.end();
    if (underway == dialing_.end()) break;
    auto failed = co_await wait_for(underway);
    if (!failed) continue;
    acquired.error = std::move(*failed);
    co_return acquired;
  }
  co_return co_await dial_new(std::move(key));
}

net::Task<Acquired> Pool::dial_new(Key key) {
  const bool announced = key.may_be_h2();
  const auto mine = announced ? dialing_.emplace(dialing_.end(), key, context_.executor) : dialing_.end();
  auto dialed = co_await dial(context_, key);
  if (key.security == Security::Tls) {
    if (dialed.channel.transport != nullptr) {
      const Channel::Tls& seen = dialed.channel.tls;
      remember(key, {seen.alpn, std::nullopt, seen.certificate_requested, seen.version, seen.certificate});
    } else if (dialed.error.code == Code::TlsVerify && dialed.report) {
      remember(key, {std::string(), dialed.report, false, {}, {}});
    }
  }
  Acquired acquired;
  if (dialed.channel.transport == nullptr) {
    acquired.error = dialed.error;
  } else if (dialed.channel.is_h2()) {
    SharedList& list = shared_[key];
    const auto connection = list.emplace(list.begin(), context_, std::move(dialed.channel));
    group_.spawn(keep(list, connection));
    acquired.lane = connection->open();
  } else {
    acquired.lane = std::make_unique<Connection>(context_, std::move(dialed.channel));
  }
  if (announced) {
    mine->over = true;
    if (acquired.lane == nullptr) mine->error = acquired.error;
    mine->done.notify();
    if (mine->waiting == 0) dialing_.erase(mine);
  }
  co_return acquired;
}

net::Task<> Pool::keep(SharedList& list, SharedList::iterator connection) {
  co_await connection->run();
  list.erase(connection);
}

void Pool::drop_one() {
  if (by_key_.empty()) return;
  const auto any = by_key_.begin();
  any->second.pop_front();
  if (any->second.empty()) by_key_.erase(any);
  --idle_;
  context_.metrics->add(Gauge::UpstreamIdle, -1);
}

void Pool::give_back(std::unique_ptr<Lane> lane) {
  if (lane == nullptr || lane->whole() == nullptr || !lane->whole()->is_reusable()) return;
  std::unique_ptr<Connection> connection(lane.release()->whole());
  if (idle_ >= options_.max_idle) drop_one();
  const Key key = connection->channel().key;
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
  for (auto entry = shared_.begin(); entry != shared_.end();) {
    for (MuxConnection& connection : entry->second) {
      if (connection.lanes() == 0 && now - connection.idle_since() >= options_.max_idle_time) connection.retire();
    }
    entry = entry->second.empty() ? shared_.erase(entry) : std::next(entry);
  }
}

const Verdict* Pool::recent(const Key& key) const {
  const auto found = verdicts_.find(key);
  if (found == verdicts_.end()) return nullptr;
  // A refusal is asked for again soon: its origin may have been mended.
  const auto ttl = found->second.verdict.failure ? std::min(options_.verify_ttl, kRefusalTtl) : options_.verify_ttl;
  if (Clock::now() - found->second.at >= ttl) return nullptr;
  return &found->second.verdict;
}

void Pool::remember(const Key& key, Verdict verdict) {
  if (verdicts_.size() >= kMaxVerdicts) verdicts_.clear();
  verdicts_[key] = {std::move(verdict), Clock::now()};
}

}  // namespace tapdeck::upstream
