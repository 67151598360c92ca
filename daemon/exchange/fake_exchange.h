// Test support: an Exchange without a connection: a request given as values, a response kept as values.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "daemon/exchange/exchange.h"

namespace tapdeck::exchange {

class FakeExchange final : public Exchange {
 public:
  struct Piece {
    std::string bytes;
    std::optional<uint64_t> chunk_size;
    std::string extension;
  };
  http::RequestHead head;
  std::deque<Piece> pieces;  // of the request body; empty: none
  http::Headers trailers;
  CapturedFlow from;
  TlsFacts tls_facts;
  Facts about;

  size_t writable = SIZE_MAX;  // body bytes that write_now() would take
  bool flushes_now = false;    // try_flush() sends all there is

  size_t flushes = 0;
  // What was sent: "head 200", "body xyz", "end", "reset", "cut", "tunnel", in order.
  std::vector<std::string> sent;

  const http::RequestHead& request() const override { return head; }
  bool request_is_bodyless() const override { return pieces.empty() && !current_; }
  net::Task<Result<BodyPiece>> read_body() override {
    if (pieces.empty()) co_return BodyPiece{{}, std::nullopt, true};
    current_ = std::move(pieces.front());
    pieces.pop_front();
    BodyPiece piece{current_->bytes, std::nullopt, pieces.empty()};
    if (current_->chunk_size) piece.chunk = http::ChunkStart{*current_->chunk_size, current_->extension};
    co_return piece;
  }
  const http::Headers& request_trailers() const override { return trailers; }
  Result<void> inform(const http::ResponseHead& response) override {
    return note("inform " + std::to_string(response.status));
  }
  Result<void> respond(const http::ResponseHead& response, http::EndStream end) override {
    started_ = true;
    return note("head " + std::to_string(response.status) + (end == http::EndStream::Yes ? " end" : ""));
  }
  net::Task<Result<void>> write_body(const BodyPiece& piece) override { co_return write_now(piece); }
  Result<void> write_now(const BodyPiece& piece) override { return note("body " + std::string(piece.bytes)); }
  Result<void> end(const http::Headers&) override { return note("end"); }
  net::Task<Result<void>> flush() override {
    ++flushes;
    co_return Result<void>{};
  }
  Result<bool> try_flush() override { return flushes_now; }
  net::Task<Result<void>> deliver() override { return flush(); }
  void reset(http::ResetCode) override { sent.emplace_back("reset"); }
  void cut(http::ResetCode) override { sent.emplace_back("cut"); }
  void reset_connection() override { sent.emplace_back("reset connection"); }
  void become_tunnel() override { sent.emplace_back("tunnel"); }
  bool response_started() const override { return started_; }
  size_t writable_now() const override { return writable; }
  const CapturedFlow& flow() const override { return from; }
  const TlsFacts& tls() const override { return tls_facts; }
  Facts& facts() override { return about; }

 private:
  Result<void> note(std::string what) {
    sent.push_back(std::move(what));
    return {};
  }
  std::optional<Piece> current_;
  bool started_ = false;
};

}  // namespace tapdeck::exchange
