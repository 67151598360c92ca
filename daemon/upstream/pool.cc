#include "daemon/upstream/pool.h"

#include <algorithm>
#include <utility>

namespace tapdeck::upstream {

using exchange::Clock;

namespace {
constexpr std::chrono::milliseconds kRefusalTtl{1000};
// From a failed dial to the request behind the client's handshake.
constexpr std::chrono::milliseconds kFailureTtl{2000};
// Verdicts are a few hundred bytes; beyond this many origins a worker forgets them all and learns again.
constexpr size_t kMaxVerdicts = 8192;
}  // namespace

Key over_h1(Key key) {
  key.alpn = key.security == Security::Tls ? "http/1.1" : "";
  return key;
}

Pool::Pool(DialContext& context, PoolOptions options) : context_(context), options_(options), group_(context.executor) {
  options_.max_orphan_time = std::min(options_.max_orphan_time, options_.max_idle_time);
}

Pool::~Pool() {
  clear();
}

void Pool::clear() {
  note_idle(-static_cast<ptrdiff_t>(idle_));
  by_key_.clear();
  while (!bound_.empty()) release(bound_.begin());
  for (auto& [key, list] : shared_) {
    for (MuxConnection& connection : list) connection.retire();
  }
}

void Pool::note_idle(ptrdiff_t change) {
  idle_ += static_cast<size_t>(change);
  context_.metrics->add(Gauge::UpstreamIdle, change);
}

ClientId Pool::enter() {
  clients_.try_emplace(++last_client_);
  return last_client_;
}

void Pool::leave(ClientId client) {
  failed_.erase(client);
  const auto known = clients_.extract(client);
  if (known.empty()) return;
  for (const auto bound : known.mapped().bound) bound_.erase(bound);
  note_idle(-static_cast<ptrdiff_t>(known.mapped().bound.size()));
  for (MuxConnection* connection : known.mapped().shared) connection->dismiss(client);
}

net::Task<> Pool::close() {
  clear();
  for (auto& [key, list] : shared_) {
    for (MuxConnection& connection : list) connection.abort();
  }
  co_await group_.join();
}

size_t Pool::shared() const {
  size_t count = 0;
  for (const auto& [key, list] : shared_) count += list.size();
  return count;
}

// The newest.
std::unique_ptr<Connection> Pool::take(const Key& key, Whose whose, ClientId client) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  auto& waiting = found->second;
  std::unique_ptr<Connection> taken;
  for (size_t i = waiting.size(); taken == nullptr && i-- > 0;) {
    const Connection& here = *waiting[i].connection;
    if (whose == Whose::MadeForIt && (here.client != client || here.has_served())) continue;
    Idle idle = std::move(waiting[i]);
    waiting.erase(waiting.begin() + static_cast<ptrdiff_t>(i));
    note_idle(-1);
    if (!is_stale(idle, Clock::now()) && idle.connection->is_quiet()) taken = std::move(idle.connection);
  }
  if (waiting.empty()) by_key_.erase(found);
  return taken;
}

Pool::Idle Pool::release(IdleList::iterator bound) {
  const auto client = clients_.find(bound->connection->client);
  if (client != clients_.end()) std::erase(client->second.bound, bound);
  Idle idle = std::move(*bound);
  bound_.erase(bound);
  return idle;
}

// The newest first, as take().
std::unique_ptr<Connection> Pool::take_bound(const Key& key, ClientId client) {
  if (bound_.empty()) return nullptr;
  const auto known = clients_.find(client);
  if (known == clients_.end()) return nullptr;
  const auto& bound = known->second.bound;
  for (size_t i = bound.size(); i-- > 0;) {
    if (bound[i]->connection->channel().key != key) continue;
    Idle idle = release(bound[i]);
    note_idle(-1);
    if (!is_stale(idle, Clock::now()) && idle.connection->is_quiet()) return std::move(idle.connection);
  }
  return nullptr;
}

bool Pool::is_stale(const Idle& idle, Clock::time_point now) const {
  const bool is_orphan = !clients_.contains(idle.connection->client);
  return now - idle.since >= (is_orphan ? options_.max_orphan_time : options_.max_idle_time);
}

// The client's own before those of all; the newest first, so that older ones age out.
MuxConnection* Pool::find_shared(const Key& key, Asker asker) {
  const auto found = shared_.find(key);
  if (found == shared_.end()) return nullptr;
  const auto known = clients_.find(asker.client);
  if (known != clients_.end()) {
    for (MuxConnection* connection : known->second.shared) {
      const bool is_own = connection->is_bound_to(asker.client) && connection->channel().key == key;
      if (is_own && connection->can_open()) return connection;
    }
  }
  for (MuxConnection& connection : found->second) {
    if (connection.is_bound() || !connection.can_open()) continue;
    if (asker.bound == Bound::No || connection.is_alone(asker.client)) return &connection;
  }
  return nullptr;
}

std::unique_ptr<Lane> Pool::lend(MuxConnection& connection, Asker asker) {
  const auto known = clients_.find(asker.client);
  const bool is_new = known == clients_.end() || connection.admit(asker.client);
  if (known != clients_.end() && is_new) known->second.shared.push_back(&connection);
  auto lane = connection.open(asker.client);
  lane->reused = lane->reused || is_new;
  lane->was_bound = connection.is_bound_to(asker.client);
  if (asker.bound == Bound::Yes) lane->bind();
  return lane;
}

std::unique_ptr<Lane> Pool::reuse(const Key& key, Asker asker) {
  if (key.may_be_h2()) {
    MuxConnection* const connection = find_shared(key, asker);
    if (connection != nullptr) return lend(*connection, asker);
  }
  auto pooled = take_bound(key, asker.client);
  if (pooled == nullptr) {
    const auto known = clients_.find(asker.client);
    const bool is_first = known != clients_.end() && !known->second.has_asked;
    pooled = take(key, asker.sends == Sends::Once && is_first ? Whose::MadeForIt : Whose::Anybodys, asker.client);
  }
  if (pooled == nullptr) return nullptr;
  // One that was dialled to learn what to tell this client, and has served nobody, is new to it.
  pooled->reused = pooled->has_served() || asker.client == 0 || pooled->client != asker.client;
  pooled->client = asker.client;
  pooled->was_bound = pooled->is_bound();
  if (asker.bound == Bound::Yes) pooled->bind();
  return pooled;
}

void Pool::note_asked(Asker asker) {
  if (asker.sends == Sends::Nothing) return;
  const auto known = clients_.find(asker.client);
  if (known != clients_.end()) known->second.has_asked = true;
}

std::list<Pool::Dialing>::iterator Pool::dialing(const Key& key) {
  return std::ranges::find_if(dialing_, [&key](const Dialing& dial) { return !dial.over && dial.key == key; });
}

// The error of that dial, or nothing when it brought a connection or was given up.
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

std::unique_ptr<Lane> Pool::try_acquire(const Key& key, Asker asker) {
  auto lane = reuse(key, asker);
  if (lane != nullptr) note_asked(asker);
  if (lane != nullptr && lane->reused) context_.metrics->add(Counter::UpstreamReused);
  if (lane != nullptr && !failed_.empty()) failed_.erase(asker.client);
  return lane;
}

void Pool::expect_failure(const Key& key, ClientId client, Error error, Clock::time_point at) {
  if (!clients_.contains(client) || error.origin != Origin::Upstream || error.code == Code::Cancelled) return;
  failed_.insert_or_assign(client, Failed{key, std::move(error), at});
}

const Pool::Failed* Pool::find_failure(const Key& key, Asker asker) {
  const auto found = failed_.find(asker.client);
  if (found == failed_.end() || found->second.key != key) return nullptr;
  Failed& failed = found->second;
  if (asker.since > failed.told_at || Clock::now() - failed.at >= kFailureTtl) {
    failed_.erase(found);
    return nullptr;
  }
  if (!std::exchange(failed.is_told, true)) group_.spawn(note_told(asker.client));
  return &failed;
}

// Streams that arrived together begin one after the other, each as far as it gets without waiting: only behind all of
// them has the first been told.
net::Task<> Pool::note_told(ClientId client) {
  co_await net::end_of_turn(context_.executor);
  const auto found = failed_.find(client);
  const bool is_same = found != failed_.end() && found->second.is_told;  // not one that was kept since
  if (is_same) found->second.told_at = Clock::now();
}

net::Task<Acquired> Pool::acquire(Key key, Fresh fresh, Asker asker) {
  while (true) {
    Acquired acquired;
    if (fresh == Fresh::No) acquired.lane = try_acquire(key, asker);
    if (acquired.lane != nullptr) co_return acquired;
    if (const Failed* failed = find_failure(key, asker)) {
      acquired.error = failed->error;
      acquired.failed_at = failed->at;
      co_return acquired;
    }
    if (fresh == Fresh::Yes) break;
    // An origin known to speak h1 needs a connection for each exchange, an identity one of its own: nothing to wait
    // for.
    const Verdict* known = recent(key);
    const bool speaks_h1 = known != nullptr && known->alpn != "h2";
    const auto underway = key.may_be_h2() && !speaks_h1 && asker.bound == Bound::No ? dialing(key) : dialing_.end();
    if (underway == dialing_.end()) break;
    auto failed = co_await wait_for(underway);
    if (!failed) continue;
    acquired.error = std::move(*failed);
    co_return acquired;
  }
  co_return co_await dial_new(std::move(key), asker);
}

std::optional<Verdict> Pool::learn(const Key& key, const Dialed& dialed) {
  std::optional<Verdict> seen;
  if (dialed.channel.transport != nullptr) {
    const Channel::Tls& tls = dialed.channel.tls;
    if (tls.resumed) {
      const auto found = verdicts_.find(key);
      if (found != verdicts_.end()) found->second.verdict.alpn = tls.alpn;
      return std::nullopt;
    }
    seen = Verdict{tls.alpn, std::nullopt, tls.certificate_requested, tls.version, tls.certificate, tls.is_without_san};
  } else if (dialed.error.code == Code::TlsVerify && dialed.report) {
    seen = Verdict{std::string(), dialed.report, false, {}, {}};
    seen->error = dialed.error;
  } else if (dialed.certificate_requested) {
    seen = Verdict{std::string(), std::nullopt, true, {}, {}};
  }
  if (seen) remember(key, *seen);
  return seen;
}

net::Task<Acquired> Pool::dial_new(Key key, Asker asker) {
  const bool announced = key.may_be_h2() && asker.bound == Bound::No;
  const auto mine = announced ? dialing_.emplace(dialing_.end(), key, context_.executor) : dialing_.end();
  const Verdict* known = recent(key);
  const bool covered = known != nullptr && !known->failure && !known->certificate_requested;
  const tls::Resume resume = covered ? tls::Resume::Yes : tls::Resume::No;
  auto dialed = co_await dial(context_, key, resume);
  Acquired acquired;
  if (key.security == Security::Tls) acquired.verdict = learn(key, dialed);
  if (dialed.channel.transport == nullptr) {
    acquired.error = dialed.error;
  } else if (dialed.channel.is_h2()) {
    SharedList& list = shared_[key];
    const auto connection = list.emplace(list.begin(), context_, std::move(dialed.channel));
    group_.spawn(keep(list, connection));
    acquired.lane = lend(*connection, asker);
    acquired.lane->reused = false;
  } else {
    acquired.lane = std::make_unique<Connection>(context_, std::move(dialed.channel));
    acquired.lane->client = asker.client;
    if (asker.bound == Bound::Yes) acquired.lane->bind();
  }
  if (acquired.lane != nullptr) note_asked(asker);
  if (announced) {
    mine->over = true;
    // That its own client left says nothing to those who wait: one of them dials anew.
    if (acquired.lane == nullptr && acquired.error.code != Code::Cancelled) mine->error = acquired.error;
    mine->done.notify();
    if (mine->waiting == 0) dialing_.erase(mine);
  }
  co_return acquired;
}

net::Task<> Pool::keep(SharedList& list, SharedList::iterator connection) {
  co_await connection->run();
  for (const ClientId client : connection->clients()) {
    const auto known = clients_.find(client);
    if (known != clients_.end()) std::erase(known->second.shared, &*connection);
  }
  list.erase(connection);
}

// One that is nobody's goes first: the client that an identity was proved for would have to prove it again.
void Pool::make_room() {
  if (idle_ < options_.max_idle || idle_ == 0) return;
  if (by_key_.empty()) {
    release(bound_.begin());
  } else {
    const auto any = by_key_.begin();
    any->second.pop_front();
    if (any->second.empty()) by_key_.erase(any);
  }
  note_idle(-1);
}

void Pool::give_back(std::unique_ptr<Lane> lane) {
  if (lane == nullptr || lane->whole() == nullptr || !lane->whole()->is_reusable()) return;
  const bool is_bound = lane->whole()->is_bound();
  const auto known = clients_.find(lane->client);
  if (is_bound && known == clients_.end()) return;
  if (is_bound && known->second.bound.size() >= options_.max_bound_idle) {
    release(known->second.bound.front());
    note_idle(-1);
  }
  make_room();
  Idle idle{std::unique_ptr<Connection>(lane.release()->whole()), Clock::now()};
  if (is_bound) {
    known->second.bound.push_back(bound_.insert(bound_.end(), std::move(idle)));
  } else {
    const Key key = idle.connection->channel().key;
    by_key_[key].push_back(std::move(idle));
  }
  note_idle(1);
}

void Pool::sweep() {
  const auto now = Clock::now();
  const bool is_probed = now >= probe_due_;
  if (is_probed) probe_due_ = now + options_.probe_every;
  const auto is_over = [&](Idle& idle) { return is_stale(idle, now) || (is_probed && !idle.connection->is_quiet()); };
  for (auto entry = by_key_.begin(); entry != by_key_.end();) {
    auto& list = entry->second;
    note_idle(-static_cast<ptrdiff_t>(std::erase_if(list, is_over)));
    entry = list.empty() ? by_key_.erase(entry) : std::next(entry);
  }
  for (auto bound = bound_.begin(); bound != bound_.end();) {
    const auto current = bound++;
    if (!is_over(*current)) continue;
    release(current);
    note_idle(-1);
  }
  for (auto entry = shared_.begin(); entry != shared_.end();) {
    for (MuxConnection& connection : entry->second) {
      const auto limit = connection.clients().empty() ? options_.max_orphan_time : options_.max_idle_time;
      if (connection.lanes() == 0 && now - connection.idle_since() >= limit) connection.retire();
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

Key Pool::require_h1(const Key& key) {
  if (h1_required_.size() >= kMaxVerdicts) h1_required_.clear();
  h1_required_[key] = Clock::now();
  return over_h1(key);
}

Key Pool::as_required(Key key) const {
  if (h1_required_.empty()) return key;
  const auto found = h1_required_.find(key);
  if (found == h1_required_.end() || Clock::now() - found->second >= options_.verify_ttl) return key;
  return over_h1(std::move(key));
}

}  // namespace tapdeck::upstream
