#include "daemon/names/name_server.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <utility>
#include <vector>

#include "daemon/base/log.h"
#include "daemon/base/threads.h"
#include "daemon/names/datagrams.h"
#include "daemon/names/relay.h"

namespace tapdeck::names {
namespace {

// Read from a socket before the others have their turn.
constexpr int kDatagramsATurn = 64;

void count(std::atomic<uint64_t>& counter) {
  counter.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

// All but `stopping`, `thread` and the counts belongs to the server's thread.
struct NameServer::Impl {
  explicit Impl(NameServerOptions given)
      : options(std::move(given)),
        tape(std::move(options.tape), std::move(options.on_unknown), std::move(options.search)),
        relay(options.patience,
              [this](const Asked& asked, Relay::End end, std::string_view reply) { ended(asked, end, reply); }) {}

  void run() {
    log::set_thread_name("names");
    pthread_setname_np(pthread_self(), "names");
    std::vector<pollfd> polled;
    while (!stopping.load(std::memory_order_relaxed)) {
      polled = {{wake.get(), POLLIN, 0}, {options.v4.get(), POLLIN, 0}, {options.v6.get(), POLLIN, 0}};  // -1: left out
      relay.add_to(polled);
      if (::poll(polled.data(), polled.size(), relay.wait_ms()) < 0) continue;
      relay.look(std::span(polled).subspan(3));
      relay.give_up_late_ones();
      for (const pollfd& seen : {polled[1], polled[2]}) {
        if (seen.revents != 0) serve(seen.fd);
      }
    }
  }

  void serve(int fd) {
    for (int i = 0; i < kDatagramsATurn && !stopping.load(std::memory_order_relaxed); ++i) {
      const auto datagram = receive(fd, buffer);
      if (!datagram) return;
      answer(fd, *datagram);
    }
  }

  void answer(int fd, const Datagram& datagram) {
    auto query = read_query(datagram.bytes);
    if (!query) {
      count(malformed);
      if (!query.error().answer.empty()) send(fd, datagram.to, datagram.from, query.error().answer);
      return;
    }
    Asked asked{fd, datagram.from, datagram.to, std::move(*query)};
    asked.resolver.port = options.port;
    if (options.ask == Ask::TapeOnly && answer_in_replay(asked)) return;
    if (asked.query.type == kHttps || asked.query.type == kSvcb) {
      count(withheld);
      return say(asked, answer_to(asked.query, Rcode::NoError));
    }
    count(relayed);
    relay.ask(std::move(asked), datagram.bytes);
  }

  // False: the resolver is to be asked.
  bool answer_in_replay(const Asked& asked) {
    const Query& query = asked.query;
    const Outside outside = options.outside ? options.outside(query.name) : Outside::No;
    if (outside != Outside::First) {
      const auto known = tape.of_known(query);
      if (known || outside == Outside::No) {
        say(asked, known ? *known : tape.of(query));
        return true;
      }
    }
    const bool is_of_use = (query.type != kA || options.reaches_v4) && (query.type != kAaaa || options.reaches_v6);
    if (!is_of_use) say(asked, answer_to(query, Rcode::NoError));
    return !is_of_use;
  }

  void ended(const Asked& asked, Relay::End end, std::string_view reply) {
    const bool is_answered = end == Relay::End::Answered;
    if (is_answered && rcode_of(reply) != Rcode::ServFail && rcode_of(reply) != Rcode::Refused) {
      return say(asked, reply);
    }
    if (const auto known = tape.of_known(asked.query)) return say(asked, *known);
    if (is_answered) return say(asked, reply);
    if (end == Relay::End::Refused) say(asked, answer_to(asked.query, Rcode::ServFail));
  }

  static void say(const Asked& asked, std::string_view reply) { send(asked.by, asked.resolver, asked.client, reply); }

  NameServerOptions options;
  TapeAnswers tape;
  Relay relay;
  UniqueFd wake;
  std::array<char, kMostDatagram> buffer;
  std::atomic<bool> stopping{false};
  std::atomic<uint64_t> relayed{0}, malformed{0}, withheld{0};
  std::thread thread;
};

NameServer::NameServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<NameServer>> NameServer::start(NameServerOptions options) {
  if (!options.v4 && !options.v6) return fail(Code::InvalidArgument, "a name server without a socket");
  if (options.v4) TRY_VOID(prepare(options.v4.get(), Endpoint::Family::V4));
  if (options.v6) TRY_VOID(prepare(options.v6.get(), Endpoint::Family::V6));
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

NameCounts NameServer::counts() const {
  const auto of = [](const std::atomic<uint64_t>& counter) { return counter.load(std::memory_order_relaxed); };
  return {impl_->tape.answered(), of(impl_->relayed), impl_->tape.unknown(), of(impl_->malformed), of(impl_->withheld)};
}

}  // namespace tapdeck::names
