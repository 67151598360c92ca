#include "daemon/upstream/connect.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "daemon/base/descriptors.h"
#include "daemon/net/deadline.h"
#include "daemon/net/task_group.h"
#include "daemon/upstream/name_cache.h"
#include "daemon/upstream/own_addresses.h"

namespace tapdeck::upstream {

namespace {

// RFC 8305 section 8: "Connection Attempt Delay", recommended 250 ms.
constexpr std::chrono::milliseconds kHeadStart{250};

using Connected = Result<std::unique_ptr<net::Stream>>;

bool is_own(const DialContext& context, const Endpoint& address) {
  return context.own != nullptr && context.own->contains(address);
}

std::unexpected<Error> refuse_own(DialContext& context, const Endpoint& address) {
  context.metrics->add(Counter::ProxyRefusedOwnAddress);
  return fail(Code::Permission, address.to_string() + " is tapdeck itself, which is never forwarded to",
              Origin::Downstream);
}

net::Task<Connected> connect_address(DialContext& context, uint64_t netns_cookie, Endpoint address) {
  if (is_own(context, address)) co_return refuse_own(context, address);
  const int family = address.family == Endpoint::Family::V6 ? AF_INET6 : AF_INET;
  auto fd = context.sockets->upstream_socket(netns_cookie, family);
  if (fd && fd->get() >= descriptor_bounds().serving) fd = fail_errno(EMFILE, "socket towards " + address.to_string());
  if (!fd) {
    // What we lack ourselves is no failure of the origin's, and goes on no tape.
    Error error = fd.error();
    if (error.sys_errno == EMFILE || error.sys_errno == ENFILE) context.metrics->add(Counter::LimitDescriptors);
    const bool is_ours = error.sys_errno == EMFILE || error.sys_errno == ENFILE || error.sys_errno == ENOMEM ||
                         error.sys_errno == ENOBUFS;
    error.origin = is_ours ? Origin::Internal : Origin::Upstream;
    co_return std::unexpected(std::move(error));
  }
  auto stream = std::make_unique<net::Stream>(context.executor, std::move(*fd), Origin::Upstream);
  auto connected = co_await net::connect_within(*stream, address, context.connect_timeout);
  if (connected) co_return stream;
  if (connected.error().sys_errno == EADDRNOTAVAIL) context.metrics->add(Counter::PortsExhausted);
  co_return std::unexpected(connected.error());
}

// Tries of one race. The first to arrive wins.
struct Race {
  explicit Race(const asio::any_io_executor& executor) : changed(executor) {}
  std::unique_ptr<net::Stream> winner;
  std::vector<Error> errors;
  net::Signal changed;
};

net::Task<> run_in(Race& race, DialContext& context, uint64_t netns_cookie, Endpoint address) {
  auto connected = co_await connect_address(context, netns_cookie, address);
  if (!connected) {
    race.errors.push_back(connected.error());
  } else if (race.winner == nullptr) {
    race.winner = std::move(*connected);
  }
  race.changed.notify();
}

// What to say of several failures: all addresses, and how the last to fail did.
Error sum_up(const Key& key, const std::vector<Endpoint>& addresses, const std::vector<Error>& errors) {
  Error error = errors.back();
  if (addresses.size() == 1 || error.origin != Origin::Upstream) return error;
  std::string all;
  for (const Endpoint& address : addresses) all += (all.empty() ? "" : ", ") + address.to_string();
  error.detail = "connect to " + key.where() + ", tried " + all +
                 (error.sys_errno == 0 ? "; the last: " + error.detail : std::string());
  return error;
}

net::Task<Connected> race_to(DialContext& context, const Key& key, const std::vector<Endpoint>& addresses) {
  Race race(context.executor);
  net::TaskGroup group(context.executor);
  size_t begun = 0;
  bool stopped = false;
  while (race.winner == nullptr && race.errors.size() < addresses.size() && !stopped) {
    const size_t failed = race.errors.size();
    if (begun < addresses.size()) group.spawn(run_in(race, context, key.netns_cookie, addresses[begun++]));
    bool due = false;
    net::Deadline head_start(context.executor, [&] {
      due = true;
      race.changed.notify();
    });
    if (begun < addresses.size()) head_start.set(kHeadStart);
    while (race.winner == nullptr && race.errors.size() == failed && !due && !stopped) {
      co_await race.changed.wait();
      const bool wanted = co_await net::is_wanted();
      stopped = !wanted;
    }
  }
  std::unique_ptr<net::Stream> winner = std::move(race.winner);
  Error error;
  if (winner == nullptr && race.errors.size() == addresses.size()) {
    error = sum_up(key, addresses, race.errors);
  } else if (winner == nullptr) {  // some were not tried to their end: nothing is known of the origin
    error = Error{Code::Cancelled, "connect was cancelled", Origin::Internal, Retry::No, 0};
  }
  group.cancel();
  co_await group.join();
  if (winner != nullptr) co_return winner;
  co_return std::unexpected(error);
}

}  // namespace

net::Task<Connected> connect_to(DialContext& context, const Key& key) {
  if (context.parked != nullptr) {
    if (auto ready = context.parked->take(key)) co_return ready;
  }
  if (key.host.empty()) {
    auto connected = co_await connect_address(context, key.netns_cookie, key.address);
    co_return connected;
  }
  if (context.names == nullptr) co_return fail(Code::Dns, "names are not looked up here", Origin::Upstream);
  auto found = co_await context.names->find(key.host);
  if (!found) co_return std::unexpected(found.error());
  std::vector<Endpoint> addresses = std::move(*found);
  for (Endpoint& address : addresses) {
    address.port = key.address.port;
    // One is enough: such a name has nothing to do with the others either.
    if (is_own(context, address)) co_return refuse_own(context, address);
  }
  auto connected = co_await race_to(context, key, addresses);
  if (!connected && connected.error().code != Code::Cancelled) context.names->forget(key.host);
  co_return connected;
}

namespace {

// Whose it is belongs to it, as with pooled connections (Key).
std::string place_of(const Key& key) {
  return std::to_string(key.netns_cookie) + '|' + std::to_string(key.target) + '|' + std::to_string(key.tenant) + '|' +
         key.where();
}

}  // namespace

ParkedStreams::Ticket::~Ticket() {
  if (lot_ != nullptr) lot_->remove(where_, stream_);
}

ParkedStreams::Ticket ParkedStreams::park(const Key& key, std::unique_ptr<net::Stream> stream) {
  auto shared = std::make_shared<std::unique_ptr<net::Stream>>(std::move(stream));
  const std::string where = place_of(key);
  parked_.emplace(where, shared);
  return Ticket(this, where, std::move(shared));
}

std::unique_ptr<net::Stream> ParkedStreams::take(const Key& key) {
  if (parked_.empty()) return nullptr;
  const std::string where = place_of(key);
  for (auto found = parked_.find(where); found != parked_.end(); found = parked_.find(where)) {
    std::unique_ptr<net::Stream> stream = std::move(*found->second);
    parked_.erase(found);
    if (stream->is_quiet()) return stream;
  }
  return nullptr;
}

void ParkedStreams::remove(const std::string& where, const Shared& stream) {
  const auto [first, last] = parked_.equal_range(where);
  for (auto entry = first; entry != last; ++entry) {
    if (entry->second != stream) continue;
    parked_.erase(entry);
    return;
  }
}

}  // namespace tapdeck::upstream
