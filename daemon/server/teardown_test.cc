// Connections that end in the middle: client and origin send, stop reading, half-close and reset in random orders, in
// every mode, clear and TLS. Nothing crashes, nothing stays open, and the next client is served. (The shape of Envoy's
// CVE-2025-62409: an event of one side meets the closing state of the other.)
#include <gmock/gmock.h>

#include <random>

#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using testing::HasSubstr;

using Random = std::mt19937;

size_t one_of(Random& random, size_t n) {
  return std::uniform_int_distribution<size_t>(0, n - 1)(random);
}

// Some bytes of a legal message, cut anywhere; then one of the ways to leave.
enum class Leave { Close, HalfCloseAndRead, Reset };

std::string message(Random& random, bool request) {
  const std::string body(one_of(random, 3) == 0 ? 300'000 : one_of(random, 2000), 'm');
  std::string head = request ? "POST /p" + std::to_string(one_of(random, 5)) + " HTTP/1.1\r\nHost: api.test\r\n"
                             : "HTTP/1.1 200 OK\r\n";
  if (one_of(random, 2) == 0) {
    head += "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  } else {
    char size[32];
    std::snprintf(size, sizeof size, "%zx", body.size());
    head += "Transfer-Encoding: chunked\r\n\r\n";
    if (!body.empty()) head += std::string(size) + "\r\n" + body + "\r\n";
    head += "0\r\nX-Trailer: t\r\n\r\n";
  }
  return head;
}

void leave(Wire& wire, Leave how) {
  if (how == Leave::Reset) return wire.reset();
  if (how == Leave::Close) return wire.close();
  if (how == Leave::HalfCloseAndRead) wire.half_close();
  wire.rest();
  wire.close();
}

void client(Random& random, Wire wire) {
  const std::string text = message(random, true) + (one_of(random, 3) == 0 ? message(random, true) : "");
  const size_t cut = one_of(random, 2) == 0 ? text.size() : one_of(random, text.size());
  const size_t middle = one_of(random, cut + 1);
  const bool sent = wire.write(std::string_view(text).substr(0, middle)) &&
                    wire.write(std::string_view(text).substr(middle, cut - middle));
  // A message that is whole may be waited for; half of one is left.
  static constexpr Leave kWays[] = {Leave::Close, Leave::HalfCloseAndRead, Leave::Reset};
  leave(wire, sent ? kWays[one_of(random, 3)] : Leave::Close);
}

class Teardown : public testing::TestWithParam<std::tuple<Mode, bool>> {};
INSTANTIATE_TEST_SUITE_P(, Teardown,
                         testing::Combine(testing::Values(Mode::Record, Mode::Replay, Mode::Hybrid, Mode::Passthrough),
                                          testing::Bool()),
                         [](const auto& info) {
                           return std::string(to_string(std::get<0>(info.param))) +
                                  (std::get<1>(info.param) ? "Tls" : "Clear");
                         });

TEST_P(Teardown, InEveryOrderLeavesNothingAndTheNextClientIsServed) {
  const auto [mode, tls] = GetParam();
  RigOptions options;
  options.mode = mode;
  options.config.limits.idle_timeout = std::chrono::milliseconds(300);
  options.config.limits.header_timeout = std::chrono::milliseconds(300);
  WorkerRig rig(std::move(options));
  std::atomic<unsigned> seed{1};
  const SslContext context = origin_context(*rig.origin_ca, tls::leaf_for(kHost));
  const auto script = [&](Wire& wire) {
    Random random(seed++);
    wire.read_until(one_of(random, 4) == 0 ? "H" : "\r\n\r\n");
    const std::string answer = message(random, false);
    ignore(wire.write(std::string_view(answer).substr(
               0, one_of(random, 2) == 0 ? answer.size() : one_of(random, answer.size()))),
           "whoever is there");
    return one_of(random, 3) == 0 ? ScriptedOrigin::End::Reset : ScriptedOrigin::End::Close;
  };
  ScriptedOrigin origin(script, tls ? context.get() : nullptr);
  rig.go_to(origin.endpoint());
  for (unsigned round = 0; round < 12; ++round) {
    std::vector<std::jthread> clients;
    for (unsigned i = 0; i < 4; ++i) {
      Wire wire = rig.connect();
      SslOwned ssl = tls ? rig.client_ssl(WorkerRig::Trust::OurCa) : nullptr;
      clients.emplace_back([wire = std::move(wire), ssl = std::move(ssl), n = round * 4 + i]() mutable {
        Random random(n);
        // One in eight leaves inside the handshake.
        if (ssl != nullptr && (one_of(random, 8) == 0 || !wire.start_tls(std::move(ssl)))) return wire.reset();
        client(random, std::move(wire));
      });
    }
  }
  EXPECT_TRUE(eventually([&] { return rig.active() == 0; })) << rig.active() << " connections left";
  ScriptedOrigin good(http_origin([](const std::string&) { return with_length("served"); }));
  rig.go_to(good.endpoint());
  EXPECT_THAT(rig.ask("GET /never-before HTTP/1.1\r\nHost: api.test\r\n\r\n"),
              HasSubstr(mode == Mode::Replay ? "not_recorded" : "served"));
}

}  // namespace
}  // namespace tapdeck::server
