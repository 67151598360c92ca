#include "daemon/admin/server.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/thread_pool.hpp>
#include <cerrno>
#include <charconv>
#include <list>
#include <map>
#include <thread>

#include "daemon/admin/error_response.h"
#include "daemon/admin/listen.h"
#include "daemon/admin/message.h"
#include "daemon/admin/router.h"
#include "daemon/admin/token.h"
#include "daemon/base/at_end.h"
#include "daemon/base/log.h"
#include "daemon/http/h1_codec.h"
#include "daemon/net/deadline.h"
#include "daemon/net/log_exception.h"
#include "daemon/net/offload.h"
#include "daemon/net/stream.h"
#include "daemon/net/task_group.h"

namespace tapdeck::admin {
namespace {

// So much of an answer is copied at once into what the codec has ready for the socket.
constexpr size_t kSlice = 65536;
constexpr http::Limits kHeadLimits = {.head_bytes = 16384, .headers = 64};

http::ResponseHead head_of(const Response& response, std::string_view reason) {
  http::ResponseHead head;
  head.status = response.status;
  head.reason = reason;
  head.headers.add("Content-Type", response.content_type);
  head.headers.add("Content-Length", std::to_string(response.body.size() + response.rest.bytes));
  head.headers.add("Cache-Control", "no-store");
  head.headers.add("X-Content-Type-Options", "nosniff");
  if (!response.allow.empty()) head.headers.add("Allow", response.allow);
  if (response.status == 503) head.headers.add("Retry-After", "1");
  if (response.status == 401) head.headers.add("WWW-Authenticate", "Bearer");
  return head;
}

// 0: its length is not announced.
uint64_t announced(const http::Headers& headers) {
  uint64_t length = 0;
  const std::string_view text = headers.find("Content-Length").value_or("");
  std::from_chars(text.data(), text.data() + text.size(), length);
  return length;
}

// Adds to a number while it lives.
class Counted {
 public:
  Counted(size_t& number, size_t by) : number_(number), by_(by) { number_ += by_; }
  ~Counted() { number_ -= by_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  size_t& number_;
  const size_t by_;
};

std::unexpected<Error> too_long(size_t limit) {
  return fail(Code::TooLarge, "the body is longer than " + std::to_string(limit) + " bytes");
}

}  // namespace

struct AdminServer::Impl {
  Impl(ServerOptions given, RouterOptions router_options, Control& control, MetricsRegistry& metrics)
      : options(std::move(given)),
        router(std::move(router_options), control, metrics),
        changes(1),
        recordings(1),
        group(io.get_executor(), [](const std::exception_ptr& failure) {
          net::log_exception("admin.exception", "an admin connection", failure);
        }) {}

  // One connection, oldest first in its list.
  struct Open {
    net::Stream* stream;
    bool waits = true;  // for the client: no whole request is here
  };

  // A listening socket, and what the loop waits by for clients: Asio closes that one.
  struct Listening {
    UniqueFd socket, awaited;
    [[nodiscard]] static Result<Listening> on(UniqueFd socket);
  };
  net::Task<> accept_loop(Listening& listening, Via via);
  // Closes the oldest that keeps us waiting; false: all are being answered.
  [[nodiscard]] bool make_room(Via via);
  net::Task<> serve(UniqueFd fd, Via via);
  // False: the connection ends.
  net::Task<bool> exchange(Open& own, http::Codec& codec, net::Deadline& deadline, Via via);
  net::Task<Result<bool>> read_request(net::Stream& stream, http::Codec& codec, net::Deadline& deadline,
                                       Request& request, http::StreamId& id);
  net::Task<Response> answer(const Request& request, Lane lane);
  net::Task<bool> send(net::Stream& stream, http::Codec& codec, net::Deadline& deadline, http::StreamId id,
                       Response& response);
  net::Task<bool> send_pieces(net::Stream& stream, http::Codec& codec, net::Deadline& deadline, http::StreamId id,
                              Response& response);
  net::Task<> ticker(std::chrono::milliseconds interval, std::function<void()> tick);
  void run();
  void stop();

  const ServerOptions options;
  Router router;
  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> guard = asio::make_work_guard(io);
  asio::thread_pool changes;
  asio::thread_pool recordings;
  size_t readings = 0;  // answers of recordings under way over TCP
  Listening tcp;
  Listening local;
  UniqueFd token_held;
  std::map<Via, std::list<Open>> connections;  // apart: whoever fills the TCP side does not shut the socket's owner out
  net::TaskGroup group;
  std::thread thread;
};

Result<AdminServer::Impl::Listening> AdminServer::Impl::Listening::on(UniqueFd socket) {
  UniqueFd awaited(::fcntl(socket.get(), F_DUPFD_CLOEXEC, 0));
  if (!awaited) return fail_errno(errno, "wait for admin connections");
  return Listening{std::move(socket), std::move(awaited)};
}

net::Task<> AdminServer::Impl::accept_loop(Listening& listening, Via via) {
  const int fd = listening.socket.get();
  asio::posix::stream_descriptor listener(io.get_executor(), listening.awaited.release());
  asio::steady_timer pause(io.get_executor());
  while (co_await net::is_wanted()) {
    auto [error] = co_await listener.async_wait(asio::posix::descriptor_base::wait_read, net::kToken);
    if (error) co_return;
    UniqueFd accepted(::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (accepted.get() < 0) {
      if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) continue;
      log::peer(log::Level::Warn, "admin.descriptors", "no descriptor left for an admin connection; waiting");
      pause.expires_after(std::chrono::milliseconds(100));  // the backlog keeps the rest; never spin
      auto [ended] = co_await pause.async_wait(net::kToken);
      if (ended) co_return;
      continue;
    }
    if (via == Via::Unix && !is_trusted_peer(accepted.get())) continue;
    if (connections[via].size() >= options.max_connections) {
      log::peer(log::Level::Warn, "admin.connections", "too many admin connections; closed one");
      if (!make_room(via)) continue;
    }
    group.spawn(serve(std::move(accepted), via));
  }
}

bool AdminServer::Impl::make_room(Via via) {
  std::list<Open>& open = connections[via];
  const auto oldest = std::ranges::find(open, true, &Open::waits);
  if (oldest == open.end()) return false;
  oldest->stream->close();
  oldest->waits = false;
  return true;
}

net::Task<> AdminServer::Impl::serve(UniqueFd fd, Via via) {
  net::Stream stream(io.get_executor(), std::move(fd), Origin::Downstream);
  std::list<Open>& open = connections[via];
  const auto own = open.insert(open.end(), Open{&stream});
  const AtEnd leave([&open, own] { open.erase(own); });
  net::Deadline deadline(io.get_executor(), [&stream] { stream.close(); });
  const auto codec = http::make_h1_codec(http::Role::Server, kHeadLimits);
  bool more = true;
  while (more) {
    own->waits = true;
    more = co_await exchange(*own, *codec, deadline, via);
  }
  stream.shutdown_send();
}

// Ok(false): the client is done. A whole request is in `request` when Ok(true).
net::Task<Result<bool>> AdminServer::Impl::read_request(net::Stream& stream, http::Codec& codec,
                                                        net::Deadline& deadline, Request& request, http::StreamId& id) {
  deadline.set(codec.input().empty() ? options.idle_timeout : options.request_timeout);
  bool begun = false;
  while (true) {
    auto event = codec.next();
    if (!event) co_return std::unexpected(event.error());
    if (!event->has_value()) {
      auto read = co_await stream.read_some(codec.input());
      if (!read || *read == 0) co_return false;
      if (!begun) deadline.set(options.request_timeout);
      begun = true;
      continue;
    }
    if (const auto* head = std::get_if<http::HeadReceived>(&**event)) {
      id = head->stream;
      const http::RequestHead& from = codec.request_head();
      request.method = from.method;
      request.host = from.authority;
      request.authorization = from.headers.find("Authorization").value_or("");
      if (const auto origin = from.headers.find("Origin")) request.origin = std::string(*origin);
      if (!parse_target(from.target, request)) co_return fail(Code::InvalidArgument, "malformed request target");
      if (from.headers.has_token("Expect", "100-continue")) {
        if (announced(from.headers) > options.max_body) co_return too_long(options.max_body);
        http::ResponseHead go_on;
        go_on.status = 100;
        go_on.reason = "Continue";
        auto sent = codec.send_informational(id, go_on);
        if (!sent) co_return std::unexpected(sent.error());
        auto written = co_await stream.write_all(codec.output());
        if (!written) co_return false;
      }
    } else if (const auto* body = std::get_if<http::BodyReceived>(&**event)) {
      if (request.body.size() + body->bytes.size() > options.max_body) {
        co_return too_long(options.max_body);
      }
      request.body += body->bytes;
      codec.consumed(body->stream, body->bytes.size());
    } else if (std::holds_alternative<http::MessageComplete>(**event)) {
      co_return true;
    }
  }
}

net::Task<bool> AdminServer::Impl::send(net::Stream& stream, http::Codec& codec, net::Deadline& deadline,
                                        http::StreamId id, Response& response) {
  deadline.set(options.write_timeout);
  const http::ResponseHead head = head_of(response, http::reason_phrase(response.status));
  auto begun = codec.send_response(id, head, http::EndStream::No);
  if (!begun) co_return false;
  bool sent = co_await send_pieces(stream, codec, deadline, id, response);
  if (response.rest.next) {  // what it holds of the store is let go where it may block
    const auto let_go = [&response] { return std::exchange(response.rest.next, {}) != nullptr; };
    bool gone = co_await net::offload(recordings, let_go);
    ignore(gone, "it was there");
  }
  if (!sent) co_return false;
  deadline.set(options.write_timeout);
  auto ended = codec.send_end(id, {});
  auto written = co_await stream.write_all(codec.output());
  co_return ended.has_value() && written.has_value();
}

net::Task<bool> AdminServer::Impl::send_pieces(net::Stream& stream, http::Codec& codec, net::Deadline& deadline,
                                               http::StreamId id, Response& response) {
  std::string piece = std::move(response.body);
  while (true) {
    for (std::string_view left = piece; !left.empty(); left.remove_prefix(std::min(kSlice, left.size()))) {
      if (!codec.send_body(id, left.substr(0, kSlice))) co_return false;
      auto written = co_await stream.write_all(codec.output());
      if (!written) co_return false;
    }
    if (!response.rest.next) co_return true;
    deadline.clear();  // a search before it has limits of its own
    const auto read = [&response] { return response.rest.next(); };
    auto more = co_await net::offload(recordings, read);
    if (!more) {
      log::peer(log::Level::Warn, "admin.body", more.error().message());
      co_return false;  // the head is out: an answer that ends too early says the rest
    }
    if (more->empty()) co_return true;
    piece = std::move(*more);
    deadline.set(options.write_timeout);
  }
}

net::Task<Response> AdminServer::Impl::answer(const Request& request, Lane lane) {
  if (lane == Lane::Now) co_return router.respond(request);
  asio::thread_pool& pool = lane == Lane::Recordings ? recordings : changes;
  const auto ask = [this, &request] { return router.respond(request); };
  auto answered = co_await net::offload(pool, ask);
  co_return answered;
}

net::Task<bool> AdminServer::Impl::exchange(Open& own, http::Codec& codec, net::Deadline& deadline, Via via) {
  net::Stream& stream = *own.stream;
  Request request;
  request.via = via;
  http::StreamId id = 1;
  auto got = co_await read_request(stream, codec, deadline, request, id);
  if (!got) {
    const Error& error = got.error();
    const int status = error.code == Code::TooLarge ? 413 : error.code == Code::Unsupported ? 501 : 400;
    codec.start_drain();
    const std::string next = error.code == Code::TooLarge
                                 ? "send a body of at most " + std::to_string(options.max_body) + " bytes"
                                 : "send well-formed HTTP/1.1";
    Response refusal = error_response(status, to_string(error.code), error.detail, next);
    bool sent = co_await send(stream, codec, deadline, id, refusal);
    ignore(sent, "the connection ends either way");
    co_return false;
  }
  if (!*got) co_return false;
  own.waits = false;
  deadline.clear();  // the call has its own limits
  const Lane lane = router.lane_of(request);
  const bool counts = lane == Lane::Recordings && via == Via::Tcp;
  if (counts && readings >= options.max_readings) {
    Response refusal = router.too_many();
    bool told = co_await send(stream, codec, deadline, id, refusal);
    co_return told && !codec.must_close();
  }
  const Counted reading(readings, counts ? 1 : 0);
  auto response = co_await answer(request, lane);
  if (request.method == "HEAD") response.rest.next = nullptr;
  bool sent = co_await send(stream, codec, deadline, id, response);
  co_return sent && !codec.must_close();
}

net::Task<> AdminServer::Impl::ticker(std::chrono::milliseconds interval, std::function<void()> tick) {
  asio::steady_timer timer(io.get_executor());
  while (co_await net::is_wanted()) {
    tick();
    timer.expires_after(interval);
    auto [error] = co_await timer.async_wait(net::kToken);
    if (error) co_return;
  }
}

void AdminServer::Impl::run() {
  log::set_thread_name("admin");
  if (tcp.socket) group.spawn(accept_loop(tcp, Via::Tcp));
  if (local.socket) group.spawn(accept_loop(local, Via::Unix));
  io.run();
}

void AdminServer::Impl::stop() {
  asio::post(io, [this] {
    group.cancel();
    guard.reset();  // run() returns when the last task has ended
  });
  if (thread.joinable()) thread.join();
  changes.join();
  recordings.join();
}

AdminServer::AdminServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

AdminServer::~AdminServer() {
  impl_->stop();
  if (impl_->local.socket) ::unlink(impl_->options.socket.c_str());
  if (!impl_->options.token_file.empty()) ::unlink(impl_->options.token_file.c_str());
}

Result<std::unique_ptr<AdminServer>> AdminServer::start(ServerOptions options, Control& control,
                                                        MetricsRegistry& metrics) {
  Impl::Listening tcp;
  Impl::Listening local;
  UniqueFd held;
  if (options.listen) {
    TRY(fd, listen_tcp(*options.listen));
    TRY(listening, Impl::Listening::on(std::move(fd)));
    tcp = std::move(listening);
  }
  if (!options.socket.empty()) {
    TRY(fd, listen_unix(options.socket));
    TRY(listening, Impl::Listening::on(std::move(fd)));
    local = std::move(listening);
  }
  RouterOptions router{.token = {},
                       .token_file = options.token_file.string(),
                       .allowed_hosts = options.allowed_hosts,
                       .protect_recordings = options.protect_recordings};
  if (!options.token_file.empty()) {
    TRY(token, make_token(options.token_file));
    router.token = std::move(token.text);
    held = std::move(token.held);
  }
  auto impl = std::make_unique<Impl>(std::move(options), std::move(router), control, metrics);
  impl->tcp = std::move(tcp);
  impl->local = std::move(local);
  impl->token_held = std::move(held);
  impl->thread = std::thread([raw = impl.get()] { raw->run(); });
  return std::unique_ptr<AdminServer>(new AdminServer(std::move(impl)));
}

std::optional<Endpoint> AdminServer::endpoint() const {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (!impl_->tcp.socket) return std::nullopt;
  if (::getsockname(impl_->tcp.socket.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) return std::nullopt;
  return Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&address));
}

void AdminServer::every(std::chrono::milliseconds interval, std::function<void()> tick) {
  asio::post(impl_->io, [impl = impl_.get(), interval, tick = std::move(tick)]() mutable {
    impl->group.spawn(impl->ticker(interval, std::move(tick)));
  });
}

}  // namespace tapdeck::admin
