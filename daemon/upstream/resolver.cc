#include "daemon/upstream/resolver.h"

#include <ares.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "daemon/base/log.h"
#include "daemon/base/unique_fd.h"
#include "daemon/upstream/dns_sockets.h"

namespace tapdeck::upstream {

namespace {

using Clock = std::chrono::steady_clock;
using Callback = std::move_only_function<void(Result<Addresses>)>;

// A second try doubles the wait of the first: a third of the time for it makes both fit.
constexpr int kTries = 2;
constexpr std::chrono::milliseconds kLeastTry{50};

std::unexpected<Error> dns_error(const std::string& host, int status) {
  std::string_view what;
  switch (status) {
    case ARES_ENOTFOUND:
      what = "the name does not exist (NXDOMAIN)";
      break;
    case ARES_ENODATA:
      what = "the name has no address (NODATA)";
      break;
    case ARES_ESERVFAIL:
      what = "the name server failed (SERVFAIL)";
      break;
    case ARES_EREFUSED:
      what = "the name server refused the question (REFUSED)";
      break;
    case ARES_ETIMEOUT:
      what = "no name server answered in time (timeout)";
      break;
    case ARES_ECONNREFUSED:
      what = "no name server gave an answer (unreachable, SERVFAIL or REFUSED)";
      break;
    default:
      what = ares_strerror(status);
      break;
  }
  return fail(Code::Dns, "look-up of " + host + ": " + std::string(what), Origin::Upstream);
}

Addresses addresses_of(const ares_addrinfo& info) {
  Addresses found;
  int64_t ttl = INT64_MAX;
  for (const ares_addrinfo_node* node = info.nodes; node != nullptr; node = node->ai_next) {
    Endpoint address = Endpoint::from_sockaddr(node->ai_addr);
    if (address.family == Endpoint::Family::None) continue;
    address.port = 0;
    if (std::ranges::find(found.list, address) == found.list.end()) found.list.push_back(address);
    ttl = std::min<int64_t>(ttl, std::max(0, node->ai_ttl));
  }
  if (!found.list.empty()) found.ttl = std::chrono::seconds(ttl);
  return found;
}

// When the file changes: moved over or written in place.
struct FileStamp {
  ino_t inode = 0;
  int64_t seconds = 0, nanoseconds = 0;
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
  static FileStamp of(const char* path) {
    struct stat info{};
    if (::stat(path, &info) != 0) return {};
    return {info.st_ino, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
  }
};

// Of the asker's thread only: its timer must not outlive the executor.
struct Waiting {
  explicit Waiting(const asio::any_io_executor& executor) : answered(executor) {}
  std::optional<Result<Addresses>> result;
  net::Signal answered;
};

// What an asker leaves with the resolver. Once closed it holds nothing of the asker's and posts nothing: the asker's
// executor may be gone by then. close() also waits for a delivery under way.
class Mailbox {
 public:
  Mailbox(asio::any_io_executor home, std::shared_ptr<Waiting> waiting)
      : home_(std::move(home)), waiting_(std::move(waiting)) {}
  void deliver(Result<Addresses> result) {
    const std::scoped_lock lock(mutex_);
    if (waiting_ == nullptr) return;
    asio::post(home_, [waiting = std::move(waiting_), result = std::move(result)]() mutable {
      waiting->result = std::move(result);
      waiting->answered.notify();
    });
  }
  void close() {
    const std::scoped_lock lock(mutex_);
    waiting_.reset();
  }

 private:
  std::mutex mutex_;
  const asio::any_io_executor home_;
  std::shared_ptr<Waiting> waiting_;
};

struct MailboxCloser {
  Mailbox& mailbox;
  ~MailboxCloser() { mailbox.close(); }
};

}  // namespace

// All but `mutex`, `asked` and `stopping` belong to the resolver's thread.
struct Resolver::Impl {
  struct Question {
    Impl* owner = nullptr;
    std::string host;
    std::vector<Callback> waiting;
    Clock::time_point deadline;
  };

  explicit Impl(ResolverOptions given) : options(std::move(given)), wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    ares_library_init(ARES_LIB_INIT_ALL);
  }
  ~Impl() { ares_library_cleanup(); }

  void ask(const std::string& host, Callback callback) {
    {
      const std::scoped_lock lock(mutex);
      if (stopping) return callback(fail(Code::Cancelled, "tapdeck is stopping"));
      asked.emplace_back(host, std::move(callback));
    }
    ::eventfd_write(wake.get(), 1);
  }

  static void watch(void* self, ares_socket_t fd, int readable, int writable) {
    auto& watched = static_cast<Impl*>(self)->sockets;
    const int events = (readable != 0 ? POLLIN : 0) | (writable != 0 ? POLLOUT : 0);
    if (events == 0) {
      watched.erase(fd);
    } else {
      watched[fd] = static_cast<short>(events);
    }
  }

  void close_channel() {
    if (channel != nullptr) ares_destroy(channel);  // answers what is open with ARES_EDESTRUCTION
    channel = nullptr;
    sockets.clear();
  }

  bool init_channel(int flags) {
    close_channel();
    ares_options settings{};
    settings.timeout = static_cast<int>(std::max(kLeastTry, options.timeout / 3).count());
    settings.tries = kTries;
    settings.flags = flags;
    settings.sock_state_cb = &Impl::watch;
    settings.sock_state_cb_data = this;
    const int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | ARES_OPT_FLAGS;
    if (ares_init_options(&channel, &settings, mask) != ARES_SUCCESS) return false;
    dns_sockets.serve(channel);
    if (options.servers.empty()) return true;
    std::string list;
    for (const std::string& server : options.servers) list += (list.empty() ? "" : ",") + server;
    return ares_set_servers_ports_csv(channel, list.c_str()) == ARES_SUCCESS;
  }

  // (Re)reads resolv.conf and friends. False: c-ares cannot, which a look-up then reports.
  bool open_channel() {
    stamp = FileStamp::of("/etc/resolv.conf");
    if (!init_channel(0)) return false;
    ares_addr_port_node* servers = nullptr;
    if (ares_get_servers_ports(channel, &servers) != ARES_SUCCESS) return false;
    const bool has_another = servers != nullptr && servers->next != nullptr;
    ares_free_data(servers);
    // Left to itself c-ares asks the next server after SERVFAIL or REFUSED, and then calls the last one unreachable.
    // Where there is no next one, the answer is told as it is.
    return has_another || init_channel(ARES_FLAG_NOCHECKRESP);
  }

  void begin(std::string host, Callback callback) {
    if (const auto same = questions.find(host); same != questions.end()) {
      same->second->waiting.push_back(std::move(callback));
      return;
    }
    const bool changed = options.servers.empty() && stamp != FileStamp::of("/etc/resolv.conf");
    if ((channel == nullptr || (changed && in_flight == 0)) && !open_channel()) {
      log::error("dns.no_resolver", "names cannot be looked up: c-ares did not accept /etc/resolv.conf or dns.servers");
      return callback(dns_error(host, ARES_ENOTINITIALIZED));
    }
    auto question = std::make_unique<Question>(Question{this, host, {}, Clock::now() + options.timeout});
    question->waiting.push_back(std::move(callback));
    Question* asking = question.get();
    questions.emplace(std::move(host), std::move(question));
    ++in_flight;
    dns_sockets.begin();
    ares_addrinfo_hints hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    // May call back at once (hosts file, literal).
    ares_getaddrinfo(channel, asking->host.c_str(), nullptr, &hints, &Impl::answered, asking);
  }

  static void answered(void* argument, int status, int /*timeouts*/, ares_addrinfo* info) {
    auto* question = static_cast<Question*>(argument);
    Impl& self = *question->owner;
    --self.in_flight;
    Result<Addresses> result = dns_error(question->host, status);
    if (status == ARES_SUCCESS && info != nullptr) {
      result = addresses_of(*info);
      if (result->list.empty()) result = dns_error(question->host, ARES_ENODATA);
    }
    if (info != nullptr) ares_freeaddrinfo(info);
    const bool has_answer = status == ARES_SUCCESS || status == ARES_ENOTFOUND || status == ARES_ENODATA;
    if (!has_answer && self.dns_sockets.is_exhausted()) {  // what we lack ourselves is no failure of a name server's
      result = fail(Code::Exhausted, "look-up of " + question->host + ": no descriptor is left to ask with",
                    Origin::Internal);
    }
    self.finish(question, result);
  }

  // Tells everybody who waits and forgets the question; it lives on in `late` while c-ares still holds it.
  void finish(Question* question, const Result<Addresses>& result) {
    for (Callback& callback : std::exchange(question->waiting, {})) callback(result);
    const auto entry = questions.find(question->host);
    if (entry != questions.end() && entry->second.get() == question) {
      questions.erase(entry);
    } else {
      std::erase_if(late, [question](const auto& one) { return one.get() == question; });
    }
  }

  void give_up_late_ones() {
    const auto now = Clock::now();
    for (auto entry = questions.begin(); entry != questions.end();) {
      const auto current = entry++;
      if (current->second->deadline > now) continue;
      std::unique_ptr<Question> question = std::move(current->second);
      questions.erase(current);
      for (Callback& callback : std::exchange(question->waiting, {})) {
        callback(dns_error(question->host, ARES_ETIMEOUT));
      }
      late.push_back(std::move(question));
    }
  }

  [[nodiscard]] int wait_ms() const {
    auto wait = std::chrono::milliseconds(60'000);
    const auto now = Clock::now();
    for (const auto& [host, question] : questions) {
      wait = std::min(wait, std::chrono::ceil<std::chrono::milliseconds>(question->deadline - now));
    }
    if (channel != nullptr && in_flight > 0) {
      timeval most{60, 0};
      timeval next{};
      const timeval* due = ares_timeout(channel, &most, &next);
      wait = std::min(wait, std::chrono::milliseconds(due->tv_sec * 1000 + due->tv_usec / 1000 + 1));
    }
    return static_cast<int>(std::max<int64_t>(0, wait.count()));
  }

  void run() {
    log::set_thread_name("resolver");
    pthread_setname_np(pthread_self(), "resolver");
    std::vector<pollfd> polled;
    while (true) {
      polled.assign(1, {wake.get(), POLLIN, 0});
      for (const auto& [fd, events] : sockets) polled.push_back({fd, events, 0});
      ::poll(polled.data(), polled.size(), wait_ms());
      // Before the answers: who asks while a question is open shares its answer.
      if (!take_new()) break;
      for (size_t i = 1; i < polled.size(); ++i) {
        const short seen = polled[i].revents;
        if (seen == 0 || !sockets.contains(polled[i].fd)) continue;
        const bool readable = (seen & (POLLIN | POLLERR | POLLHUP)) != 0;
        const bool writable = (seen & POLLOUT) != 0;
        ares_process_fd(channel, readable ? polled[i].fd : ARES_SOCKET_BAD, writable ? polled[i].fd : ARES_SOCKET_BAD);
      }
      if (channel != nullptr) ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);  // its timeouts
      give_up_late_ones();
    }
    close_channel();
  }

  // False: the end.
  bool take_new() {
    eventfd_t count = 0;
    ::eventfd_read(wake.get(), &count);
    std::vector<std::pair<std::string, Callback>> fresh;
    bool ending = false;
    {
      const std::scoped_lock lock(mutex);
      fresh.swap(asked);
      ending = stopping;
    }
    for (auto& [host, callback] : fresh) {
      if (ending) {
        callback(fail(Code::Cancelled, "tapdeck is stopping"));
      } else {
        begin(std::move(host), std::move(callback));
      }
    }
    return !ending;
  }

  const ResolverOptions options;
  UniqueFd wake;
  std::mutex mutex;
  std::vector<std::pair<std::string, Callback>> asked;
  bool stopping = false;
  DnsSockets dns_sockets;
  ares_channel channel = nullptr;
  FileStamp stamp;
  std::map<ares_socket_t, short> sockets;
  std::map<std::string, std::unique_ptr<Question>> questions;
  std::vector<std::unique_ptr<Question>> late;  // told to have timed out, still in c-ares's hands
  size_t in_flight = 0;
  std::thread thread;
};

Resolver::Resolver(ResolverOptions options) : impl_(std::make_shared<Impl>(std::move(options))) {
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

Resolver::~Resolver() {
  {
    const std::scoped_lock lock(impl_->mutex);
    impl_->stopping = true;
  }
  ::eventfd_write(impl_->wake.get(), 1);
  impl_->thread.join();
}

net::Task<Result<Addresses>> Resolver::resolve(std::string host) {
  const asio::any_io_executor home = co_await asio::this_coro::executor;
  const auto waiting = std::make_shared<Waiting>(home);
  const auto mailbox = std::make_shared<Mailbox>(home, waiting);
  const MailboxCloser closer{*mailbox};
  impl_->ask(host, [mailbox](Result<Addresses> result) { mailbox->deliver(std::move(result)); });
  while (!waiting->result) {
    co_await waiting->answered.wait();
    const bool wanted = co_await net::is_wanted();
    if (!waiting->result && !wanted) {
      co_return fail(Code::Cancelled, "the look-up of " + host + " is not wanted any more", Origin::Internal);
    }
  }
  co_return std::move(*waiting->result);
}

}  // namespace tapdeck::upstream
