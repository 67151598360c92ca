#include "daemon/names/name_server.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/base/log.h"
#include "daemon/base/threads.h"
#include "daemon/names/doors.h"
#include "daemon/names/relay.h"
#include "daemon/names/silent_resolvers.h"

namespace tapdeck::names {
namespace {

// Read from a door before the others have their turn.
constexpr int kDatagramsATurn = 64;

void count(std::atomic<uint64_t>& counter) {
  counter.fetch_add(1, std::memory_order_relaxed);
}

// What became of the question; nullopt: that is not known.
std::optional<LookupEnd> lookup_end(Relay::End end) {
  switch (end) {
    case Relay::End::Answered:
      return LookupEnd::Answered;
    case Relay::End::Unreachable:
      return LookupEnd::Unreachable;
    case Relay::End::Silent:
      return LookupEnd::Silent;
    case Relay::End::NotYet:
    case Relay::End::Displaced:
    case Relay::End::NotAsked:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

// All but `doors`, `stopping`, `thread` and the counts belongs to the server's thread.
struct NameServer::Impl {
  explicit Impl(NameServerOptions given)
      : options(std::move(given)), relay(options.connect, [this](Asked& asked, Relay::End end, std::string_view reply) {
          ended(asked, end, reply);
        }) {}

  void run() {
    log::set_thread_name("names");
    pthread_setname_np(pthread_self(), "names");
    std::vector<pollfd> polled;
    while (!stopping.load(std::memory_order_relaxed)) {
      for (const uint64_t closed : doors.take_changes()) relay.forget(closed);
      polled.assign({{wake.get(), POLLIN, 0}});
      doors.add_to(polled);
      relay.add_to(polled);
      if (::poll(polled.data(), polled.size(), relay.wait_ms()) < 0) continue;
      look(polled);
    }
  }

  void look(std::span<const pollfd> polled) {
    eventfd_t wakes = 0;
    if (polled.front().revents != 0) ignore(::eventfd_read(wake.get(), &wakes), "only that it is no longer readable");
    const auto at_doors = polled.subspan(1, doors.all().size());
    relay.look(polled.subspan(1 + at_doors.size()));
    relay.give_up_late_ones();
    auto seen = at_doors.begin();
    for (const auto& [id, fd] : doors.all()) {
      if ((seen++)->revents != 0) serve(id, fd.get());
    }
  }

  void serve(uint64_t door, int fd) {
    for (int i = 0; i < kDatagramsATurn && !stopping.load(std::memory_order_relaxed); ++i) {
      const auto datagram = receive(fd, buffer);
      if (!datagram) return;
      auto asker = options.asker_of(door, *datagram);
      if (asker && asker->view) {
        answer({door, datagram->from, datagram->to, std::move(*asker), std::nullopt}, datagram->bytes);
      } else {
        count(strangers);
      }
    }
  }

  void answer(Asked asked, std::string_view datagram) {
    const View& view = *asked.asker.view;
    auto query = read_query(datagram);
    if (!query) {
      count(malformed);
      const bool passes = view.ask == Ask::OutsideFirst && view.unread == Unread::Passed;
      if (passes) return pass(std::move(asked), datagram);
      if (!query.error().answer.empty()) say(asked, query.error().answer);
      return;
    }
    asked.query = std::move(*query);
    if (view.ask == Ask::TapeOnly && answer_in_replay(asked)) return;
    if (asked.query->type == kHttps || asked.query->type == kSvcb) {
      count(withheld);
      return say(asked, answer_to(*asked.query, Rcode::NoError));
    }
    pass(std::move(asked), datagram);
  }

  void pass(Asked asked, std::string_view datagram) {
    count(relayed);
    const View& view = *asked.asker.view;
    Relay::Wait wait{view.ask == Ask::TapeOnly ? options.patience : options.long_patience, std::nullopt};
    if (asked.query && view.ask == Ask::OutsideFirst && view.early == Early::FromTape) {
      wait.early = options.early;
      if (silent.is_silent(asked.asker, std::chrono::steady_clock::now())) say_early(asked);
    }
    relay.ask(std::move(asked), datagram, wait);
  }

  // False: the resolver is to be asked.
  bool answer_in_replay(const Asked& asked) {
    const Query& query = *asked.query;
    const View& view = *asked.asker.view;
    const Outside outside = view.outside ? view.outside(query.name) : Outside::No;
    if (outside != Outside::First && say_if_known(asked)) return true;
    if (outside == Outside::No) {
      say_unknown(asked);
      return true;
    }
    const bool is_of_use = (query.type != kA || view.reaches_v4) && (query.type != kAaaa || view.reaches_v6);
    if (!is_of_use) say(asked, answer_to(query, Rcode::NoError));
    return !is_of_use;
  }

  void ended(Asked& asked, Relay::End end, std::string_view reply) {
    const auto now = std::chrono::steady_clock::now();
    if (end == Relay::End::NotYet) {
      silent.stayed_silent(asked.asker, asked.at, now);
      return say_early(asked);
    }
    if (end == Relay::End::Answered) silent.answered(asked.asker, now);
    if (asked.query) {
      report(asked, end, reply);
      if (!asked.is_answered) say_end(asked, end, reply);
    } else if (end == Relay::End::Answered) {
      say(asked, reply);
    }
  }

  void say_end(const Asked& asked, Relay::End end, std::string_view reply) {
    const bool is_answered = end == Relay::End::Answered;
    if (is_answered && !is_failure(reply)) return say(asked, reply);
    if (say_if_known(asked)) return;
    if (is_answered) return say(asked, reply);
    const bool is_nobody_there = end == Relay::End::Silent || end == Relay::End::Unreachable;
    if (is_nobody_there && asked.asker.view->ask == Ask::TapeOnly) return say_unknown(asked);
    const bool is_still_waited_for = end == Relay::End::Unreachable || end == Relay::End::NotAsked;
    if (is_still_waited_for) say(asked, answer_to(*asked.query, Rcode::ServFail));
  }

  // Before the answer is said, so that who has it finds it recorded.
  void report(const Asked& asked, Relay::End end, std::string_view reply) {
    const Query& query = *asked.query;
    const View& view = *asked.asker.view;
    const auto became = lookup_end(end);
    if (!view.on_lookup || query.record_class != kInternet) return;
    if (!became) return count(lost);
    view.on_lookup(asked.asker, {query.name, query.type, *became, std::string(reply)});
  }

  // That it failed when it was recorded is no reason not to wait for what the resolver says now.
  void say_early(Asked& asked) {
    if (!asked.is_answered) asked.is_answered = say_if_known(asked, Failures::Withheld);
  }

  enum class Failures : uint8_t { Said, Withheld };
  bool say_if_known(const Asked& asked, Failures failures = Failures::Said) {
    const auto known = asked.asker.view->tape.of_known(*asked.query);
    if (!known || (failures == Failures::Withheld && is_failure(*known))) return false;
    count(answered_from_tape);
    say(asked, *known);
    return true;
  }

  void say_unknown(const Asked& asked) {
    count(unknown);
    say(asked, asked.asker.view->tape.of_unknown(*asked.query, asked.asker));
  }

  void say(const Asked& asked, std::string_view reply) const {
    const int fd = doors.fd_of(asked.door);
    if (fd >= 0) send(fd, asked.local, asked.client, reply);
  }

  NameServerOptions options;
  Relay relay;
  SilentResolvers silent;
  Doors doors;
  UniqueFd wake;
  std::array<char, kMostDatagram> buffer;
  std::atomic<bool> stopping{false};
  std::atomic<uint64_t> answered_from_tape{0}, relayed{0}, unknown{0}, malformed{0}, withheld{0}, strangers{0}, lost{0};
  std::thread thread;
};

NameServer::NameServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<NameServer>> NameServer::start(NameServerOptions options) {
  if (!options.asker_of) return fail(Code::InvalidArgument, "a name server that nobody may ask");
  if (!options.connect) return fail(Code::InvalidArgument, "a name server that may ask nobody");
  auto impl = std::make_unique<Impl>(std::move(options));
  impl->wake = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!impl->wake) return fail_errno(errno, "eventfd for the name server");
  TRY(thread, start_thread([self = impl.get()] { self->run(); }));
  impl->thread = std::move(thread);
  return std::unique_ptr<NameServer>(new NameServer(std::move(impl)));
}

NameServer::~NameServer() {
  impl_->stopping = true;
  ::eventfd_write(impl_->wake.get(), 1);
  impl_->thread.join();
}

Result<void> NameServer::open(Door door) {
  TRY_VOID(prepare(door.fd.get(), door.family));
  impl_->doors.open(door.id, std::move(door.fd));
  ::eventfd_write(impl_->wake.get(), 1);
  return {};
}

void NameServer::close(uint64_t id) {
  impl_->doors.close(id);
  ::eventfd_write(impl_->wake.get(), 1);
}

NameCounts NameServer::counts() const {
  const auto of = [](const std::atomic<uint64_t>& counter) { return counter.load(std::memory_order_relaxed); };
  return {of(impl_->answered_from_tape), of(impl_->relayed),   of(impl_->unknown), of(impl_->malformed),
          of(impl_->withheld),           of(impl_->strangers), of(impl_->lost)};
}

}  // namespace tapdeck::names
