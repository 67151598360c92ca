#include "daemon/app/name_service.h"

#include <sys/socket.h>

#include <utility>

#include "daemon/base/log.h"
#include "daemon/names/datagrams.h"

namespace tapdeck::app {
namespace {

// No door of a capture has these ids.
constexpr uint64_t kWildcard4 = UINT64_MAX - 1;
constexpr uint64_t kWildcard6 = UINT64_MAX;
constexpr uint16_t kPort = 53;

}  // namespace

NameService::NameService(const Parts& parts)
    : runtime_(parts.runtime),
      keeper_(parts.sees_tape ? &parts.store : nullptr, parts.writer),
      views_(parts.config, parts.store, keeper_),
      passing_(std::make_shared<names::View>(names::TapeSources{})),
      observer_([this](uint32_t slot, const names::Lookup& lookup) { on_observed(slot, lookup); }) {
  passing_->ask = names::Ask::OutsideFirst;
}

NameService::~NameService() {
  stop();
}

Result<void> NameService::start(kernel::Capture& capture) {
  capture_ = &capture;
  names::NameServerOptions options;
  options.asker_of = [this](uint64_t door, const names::Datagram& datagram) { return asker_of(door, datagram); };
  options.connect = [this](const names::Asker& asker) { return connect(asker); };
  TRY(server, names::NameServer::start(std::move(options)));
  const std::scoped_lock lock(mutex_);
  server_ = std::move(server);
  return {};
}

void NameService::stop(Clients clients) {
  std::unique_ptr<names::NameServer> server;
  {
    const std::scoped_lock lock(mutex_);
    if (server_ != nullptr && clients == Clients::Gone) observer_.give_up_late_ones(SteadyTime::max());
    server = std::move(server_);
  }
  if (server == nullptr) return;
  const names::NameCounts last = server->counts();
  server.reset();  // not with the lock: its thread may wait for that
  const std::scoped_lock lock(mutex_);
  counted_ = last;
}

void NameService::add_door(kernel::NameDoor door) {
  const uint64_t id = door.id;
  auto opened =
      open(id, std::move(door.fd), {door.address, door.netns_cookie, door.target, NameViews::From::OwnNetwork});
  if (!opened) log::warn("names.door", opened.error().message(), {{"door", door.address.to_string()}});
}

Result<void> NameService::open(uint64_t id, UniqueFd fd, Place place) {
  const auto family = place.address.family;
  const std::scoped_lock lock(mutex_);
  if (server_ == nullptr) return {};
  places_.insert_or_assign(id, std::move(place));
  const bool is_v6 = family == Endpoint::Family::V6 || id == kWildcard6;
  return server_->open({id, std::move(fd), is_v6 ? Endpoint::Family::V6 : Endpoint::Family::V4});
}

void NameService::remove_door(uint64_t id) {
  const std::scoped_lock lock(mutex_);
  if (places_.erase(id) != 0 && server_ != nullptr) server_->close(id);
}

Result<void> NameService::serve(UniqueFd v4, UniqueFd v6, uint32_t slot) {
  const auto from = NameViews::From::AllIsLocal;
  if (v4) TRY_VOID(open(kWildcard4, std::move(v4), {{}, 0, slot, from}));
  if (v6) TRY_VOID(open(kWildcard6, std::move(v6), {{}, 0, slot, from}));
  return {};
}

std::optional<names::Asker> NameService::asker_of(uint64_t door, const names::Datagram& datagram) {
  Place place;
  {
    const std::scoped_lock lock(mutex_);
    const auto found = places_.find(door);
    if (found == places_.end()) return std::nullopt;
    place = found->second;
  }
  names::Asker out;
  if (place.slot != kernel::kNoTarget) {
    if (datagram.to.ip() == place.address.ip()) return std::nullopt;  // a door is no resolver: it would ask itself
    out.resolver = datagram.to;
    out.resolver.port = kPort;
    out.target = place.slot;
  } else {
    const auto flow = capture_->resolve_question(place.netns_cookie, datagram.from, place.address);
    if (!flow) return std::nullopt;
    out.resolver = flow->original_destination;
    out.netns_cookie = place.netns_cookie;
    out.target = flow->identity.target;
    out.pid = flow->identity.pid;
    out.comm = flow->identity.comm;
  }
  if (out.target < kTargetSlots) {
    out.view = views_.of(out.target, runtime_.load()->targets[out.target], place.from);
  }
  if (out.view == nullptr) out.view = passing_;  // its target was detached: as if it had never been captured
  return out;
}

Result<UniqueFd> NameService::connect(const names::Asker& asker) const {
  const int family = asker.resolver.family == Endpoint::Family::V6 ? AF_INET6 : AF_INET;
  TRY(fd, capture_->datagram_socket(asker.netns_cookie, family));
  return names::connect_datagrams(std::move(fd), asker.resolver);
}

void NameService::saw(const kernel::NameSighting& seen) {
  using Way = names::Sighting::Way;
  const Way way = seen.way == kernel::NameSighting::Way::Answer ? Way::Answer : Way::Question;
  const std::scoped_lock lock(mutex_);
  if (server_ == nullptr) return;
  observer_.saw({seen.target, seen.netns_cookie, seen.client, seen.resolver, way, seen.bytes, seen.length},
                std::chrono::steady_clock::now());
}

void NameService::lost_some(uint64_t more) {
  const std::scoped_lock lock(mutex_);
  lost_datagrams_ += more;
  observer_.missed_some();
}

void NameService::on_observed(uint32_t slot, const names::Lookup& lookup) {
  observed_.fetch_add(1, std::memory_order_relaxed);
  if (slot >= kTargetSlots) return;
  const auto now = runtime_.load();
  const auto& tape = now->targets[slot].tape;
  if (tape != nullptr) keeper_.keep(tape->take, lookup);
}

void NameService::let_go(uint32_t slot) {
  const std::scoped_lock lock(mutex_);
  observer_.forget(slot);
}

void NameService::tick() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return;  // the heartbeat waits for nobody; who has it gives up late ones too
  if (server_ != nullptr) observer_.give_up_late_ones(std::chrono::steady_clock::now());
}

uint64_t NameService::lost() const {
  const std::scoped_lock lock(mutex_);
  const names::NameCounts now = server_ != nullptr ? server_->counts() : counted_;
  return lost_datagrams_ + observer_.lost() + keeper_.lost() + now.lost;
}

void NameService::read(MetricsSnapshot& out) const {
  views_.read(out);
  out.add(Counter::NamesLost, lost());
  const std::scoped_lock lock(mutex_);
  const names::NameCounts now = server_ != nullptr ? server_->counts() : counted_;
  out.add(Counter::NamesObserved, observed_.load(std::memory_order_relaxed));
  out.add(Counter::NamesReplayed, now.answered_from_tape);
  out.add(Counter::NamesForwarded, now.relayed);
}

}  // namespace tapdeck::app
