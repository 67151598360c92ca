#include "daemon/modes/rendition_send.h"

#include <gtest/gtest.h>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include "daemon/coding/decoder.h"
#include "daemon/exchange/exchange_decorator.h"
#include "daemon/exchange/fake_exchange.h"
#include "store/test_support.h"

namespace tapdeck::modes {
namespace {

// Keeps the sizes of what is written.
class Measured final : public exchange::ExchangeDecorator {
 public:
  explicit Measured(exchange::Exchange& inner) : ExchangeDecorator(inner) {}
  net::Task<Result<void>> write_body(const exchange::BodyPiece& piece) override {
    total += piece.bytes.size();
    largest = std::max(largest, piece.bytes.size());
    co_return Result<void>{};
  }
  uint64_t total = 0;
  size_t largest = 0;
};

std::string coded_zeros(coding::Coding coding, size_t megabytes) {
  const std::string zeros(1 << 20, '\0');
  coding::Encoder encoder(coding);
  std::string out;
  for (size_t i = 0; i < megabytes; ++i) EXPECT_TRUE(encoder.feed(zeros, out));
  EXPECT_TRUE(encoder.finish(out));
  return out;
}

// Beyond what a body may become that is decoded for its key, and held a piece at a time.
TEST(RenditionSend, ABodyIsDecodedWhateverItBecomesAPieceAtATime) {
  constexpr size_t kMegabytes = 300;
  const TestDirectory directory;
  const auto store = store::open_store(directory.path());
  net::ThreadPool readers{1};
  for (const coding::Coding coding : {coding::Coding::Gzip, coding::Coding::Zstd}) {
    auto item = std::make_shared<ReplayItem>();
    item->body = coded_zeros(coding, kMegabytes);
    item->recording.response.status = 200;
    item->recording.response_body.size = item->body.size();
    Rendition rendition;
    rendition.body = Rendition::Body::Recoded;
    rendition.head = item->recording.response;
    rendition.decode = {coding};
    exchange::FakeExchange exchange;
    exchange.head.method = "GET";
    Measured measured(exchange);
    asio::io_context io{1};
    auto run = [&]() -> net::Task<> {
      auto sent = co_await send_rendition(measured, item, rendition, *store, readers);
      EXPECT_TRUE(sent) << sent.error().message();
    };
    asio::co_spawn(io, run(), asio::detached);
    io.run();
    EXPECT_EQ(measured.total, kMegabytes << 20) << to_string(coding);
    EXPECT_LE(measured.largest, 512U << 10) << to_string(coding);
    EXPECT_EQ(exchange.sent, (std::vector<std::string>{"head 200", "end"}));
  }
}

// The whole answer to a request for what is on tape as gzip, by a client without it, as it is sent.
struct Delivered final : exchange::ExchangeDecorator {
  explicit Delivered(exchange::Exchange& inner) : ExchangeDecorator(inner) {}
  Result<void> respond(const http::ResponseHead& response, http::EndStream end) override {
    head = response;
    return inner_.respond(response, end);
  }
  http::ResponseHead head;
};
http::ResponseHead head_for(const std::string& method, const std::string& body) {
  const TestDirectory directory;
  const auto store = store::open_store(directory.path());
  net::ThreadPool readers{1};
  auto item = std::make_shared<ReplayItem>();
  item->body = body;
  item->recording.request.method = "GET";
  item->recording.request.headers.add("Accept-Encoding", "gzip");
  item->recording.response.status = 200;
  item->recording.response.headers.add("Content-Encoding", "gzip");
  item->recording.response.headers.add("Content-Length", std::to_string(body.size()));
  item->recording.response_body.size = body.size();
  exchange::FakeExchange exchange;
  exchange.head.method = method;
  Delivered sent(exchange);
  asio::io_context io{1};
  auto run = [&]() -> net::Task<> {
    const auto rendition = render(sent.request(), item->recording);
    auto done = co_await send_rendition(sent, item, *rendition, *store, readers);
    EXPECT_TRUE(done) << done.error().message();
  };
  asio::co_spawn(io, run(), asio::detached);
  io.run();
  return sent.head;
}

TEST(RenditionSend, AHeadIsToldWhatItsGetWouldBe) {
  std::string coded;
  coding::Encoder encoder(coding::Coding::Gzip);
  ASSERT_TRUE(encoder.feed("the plain text", coded) && encoder.finish(coded));
  const std::string cut = coded.substr(0, coded.size() - 4);
  for (const std::string& body : {coded, cut, std::string("no gzip at all")}) {
    const http::ResponseHead head = head_for("HEAD", body);
    EXPECT_EQ(head.headers, head_for("GET", body).headers);
    EXPECT_EQ(head.headers.count("content-encoding"), body == coded ? 0U : 1U);
  }
  EXPECT_EQ(head_for("HEAD", coded).headers.find("content-length"), "14");
}

}  // namespace
}  // namespace tapdeck::modes
