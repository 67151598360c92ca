// Test support: a Session on one end of a loopback TCP connection, and its client on the other, in one event loop.
//
// Nothing sleeps: a script is a coroutine beside the session's own, and run() returns when both have ended.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/http/h1_codec.h"
#include "daemon/server/session.h"

namespace tapdeck::server {

// Two ends of a TCP connection through loopback. `buffer` > 0 bounds what the kernel holds.
inline std::pair<UniqueFd, UniqueFd> tcp_pair(int buffer) {
  UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (buffer > 0) {
    for (const int fd : {listener.get(), client.get()}) {
      setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
      setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    }
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  EXPECT_EQ(::bind(listener.get(), generic, size), 0);
  EXPECT_EQ(::listen(listener.get(), 1), 0);
  EXPECT_EQ(::getsockname(listener.get(), generic, &size), 0);
  EXPECT_EQ(::connect(client.get(), generic, size), 0);
  UniqueFd server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  EXPECT_TRUE(server);
  return {std::move(client), std::move(server)};
}

class TestClient {
 public:
  TestClient(const asio::any_io_executor& executor, UniqueFd fd) : stream_(executor, std::move(fd), Origin::Internal) {}

  net::Task<> send(std::string bytes) {
    ByteQueue queue;
    queue.append(bytes);
    auto sent = co_await stream_.write_all(queue);
    EXPECT_TRUE(sent) << sent.error().message();
  }
  // Everything up to and with `end`; "<EOF>" or "<RST>" behind what came when the connection ends first.
  net::Task<std::string> read_until(std::string end) {
    while (true) {
      const size_t at = end.empty() ? std::string::npos : seen_.find(end);
      if (at != std::string::npos) {
        std::string found = seen_.substr(0, at + end.size());
        seen_.erase(0, found.size());
        co_return found;
      }
      ByteQueue in;
      auto n = co_await stream_.read_some(in);
      if (!n || *n == 0) {
        std::string rest = std::exchange(seen_, {});
        rest += n ? "<EOF>" : "<RST>";
        co_return rest;
      }
      seen_ += in.to_string();
    }
  }
  net::Task<std::string> rest() { return read_until({}); }
  net::Stream& stream() { return stream_; }
  void half_close() { stream_.shutdown_send(); }
  void close() { stream_.close(); }
  void reset() { stream_.abort(); }

 private:
  net::Stream stream_;
  std::string seen_;
};

class FakeHandler final : public exchange::Handler {
 public:
  using Body = std::function<net::Task<Result<void>>(exchange::Exchange&)>;
  Body body;
  std::function<exchange::Served(exchange::Exchange&)> at_once;  // null: nothing is served at once
  std::vector<std::string> targets;                              // in the order they came
  int running = 0;

  exchange::Served serve_now(exchange::Exchange& exchange) override {
    return at_once ? at_once(exchange) : exchange::Served::No;
  }
  net::Task<Result<void>> serve(exchange::Exchange& exchange) override {
    targets.push_back(exchange.request().target);
    ++running;
    auto served = co_await body(exchange);
    --running;
    co_return served;
  }
};

class CountingObserver final : public ExchangeObserver {
 public:
  std::vector<std::string> errors;  // one an exchange
  std::vector<std::string> refusals;
  void finished(exchange::Exchange& exchange) override { errors.push_back(exchange.facts().error); }
  void refused(const exchange::CapturedFlow& /*flow*/, const exchange::TlsFacts& /*tls*/, const Error& error) override {
    refusals.push_back(error.detail);
  }
};

// A whole response with a Content-Length.
inline net::Task<Result<void>> answer(exchange::Exchange& exchange, int status, std::string body) {
  http::ResponseHead head;
  head.status = status;
  head.reason = "OK";
  head.headers.add("Content-Length", std::to_string(body.size()));
  if (body.empty()) co_return exchange.respond(head, http::EndStream::Yes);
  CO_TRY_VOID(exchange.respond(head, http::EndStream::No));
  const exchange::BodyPiece piece{body, std::nullopt, true};
  auto written = co_await exchange.write_body(piece);
  if (!written) co_return written;
  const http::Headers no_trailers;
  co_return exchange.end(no_trailers);
}

// Everything of the request body.
inline net::Task<Result<std::string>> read_all(exchange::Exchange& exchange) {
  std::string all;
  bool end = exchange.request_is_bodyless();
  while (!end) {
    CO_TRY(piece, co_await exchange.read_body());
    all += piece.bytes;
    end = piece.end;
  }
  co_return all;
}

// "METHOD target [body]"
inline net::Task<Result<void>> echo(exchange::Exchange& exchange) {
  CO_TRY(body, co_await read_all(exchange));
  std::string text = exchange.request().method + ' ' + exchange.request().target + " [" + body + ']';
  co_return co_await answer(exchange, 200, text);
}

// What answer() puts on an HTTP/1.1 wire.
inline std::string ok(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

class Rig {
 public:
  explicit Rig(SessionLimits limits = {}, std::unique_ptr<http::Codec> codec = nullptr, int buffer = 0)
      : metrics(registry.create()) {
    auto [near, far] = tcp_pair(buffer);
    client.emplace(io.get_executor(), std::move(near));
    transport.emplace(std::make_unique<net::Stream>(io.get_executor(), std::move(far), Origin::Downstream));
    handler.body = echo;
    if (codec == nullptr) codec = http::make_h1_codec(http::Role::Server);
    const SessionContext context{io.get_executor(), &handler, &observer, &metrics, limits};
    session.emplace(context, flow, tls, *transport, std::move(codec));
  }
  ~Rig() { EXPECT_EQ(handler.running, 0) << "a handler was left behind"; }

  // Runs the session and `script` until both are over.
  template <class Script>
  void run(Script script) {
    bool session_over = false;
    bool script_over = false;
    auto serve = [&]() -> net::Task<> {
      co_await session->run();
      session_over = true;
    };
    auto play = [&]() -> net::Task<> {
      co_await script();
      script_over = true;
    };
    asio::co_spawn(io, serve(), asio::detached);
    asio::co_spawn(io, play(), asio::detached);
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while ((!session_over || !script_over) && std::chrono::steady_clock::now() < limit) {
      io.run_one_for(std::chrono::milliseconds(100));
    }
    EXPECT_TRUE(script_over) << "the script hangs";
    EXPECT_TRUE(session_over) << "the session hangs";
    client->reset();
    transport->abort();
    io.run_for(std::chrono::milliseconds(1));  // lets what was cancelled unwind
  }
  [[nodiscard]] uint64_t count(Counter counter) { return registry.snapshot().value(counter); }

  asio::io_context io{1};
  MetricsRegistry registry;
  Metrics& metrics;
  exchange::CapturedFlow flow;
  exchange::TlsFacts tls;
  FakeHandler handler;
  CountingObserver observer;
  std::optional<TestClient> client;
  std::optional<transport::Transport> transport;
  std::optional<Session> session;
};

}  // namespace tapdeck::server
