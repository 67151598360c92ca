// Test support: an Exchange without a connection: a request given as values, a response kept as values.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "daemon/exchange/exchange.h"

namespace tapdeck::modes {

class FakeExchange final : public exchange::Exchange {
 public:
  struct Piece {
    std::string bytes;
    std::optional<uint64_t> chunk_size;
    std::string extension;
  };
  http::RequestHead head;
  std::deque<Piece> pieces;  // of the request body; empty: none
  http::Headers trailers;
  exchange::CapturedFlow from;
  exchange::TlsFacts tls_facts;
  exchange::Facts about;

  // What was sent: "head 200", "body xyz", "end", "reset", in order.
  std::vector<std::string> sent;

  const http::RequestHead& request() const override { return head; }
  bool request_is_bodyless() const override { return pieces.empty() && !current_; }
  net::Task<Result<exchange::BodyPiece>> read_body() override {
    if (pieces.empty()) co_return exchange::BodyPiece{{}, std::nullopt, true};
    current_ = std::move(pieces.front());
    pieces.pop_front();
    exchange::BodyPiece piece{current_->bytes, std::nullopt, pieces.empty()};
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
  net::Task<Result<void>> write_body(const exchange::BodyPiece& piece) override { co_return write_now(piece); }
  Result<void> write_now(const exchange::BodyPiece& piece) override { return note("body " + std::string(piece.bytes)); }
  Result<void> end(const http::Headers&) override { return note("end"); }
  net::Task<Result<void>> flush() override { co_return Result<void>{}; }
  void reset(http::ResetCode) override { sent.emplace_back("reset"); }
  void reset_connection() override { sent.emplace_back("reset connection"); }
  void become_tunnel() override {}
  bool response_started() const override { return started_; }
  const exchange::CapturedFlow& flow() const override { return from; }
  const exchange::TlsFacts& tls() const override { return tls_facts; }
  exchange::Facts& facts() override { return about; }

 private:
  Result<void> note(std::string what) {
    sent.push_back(std::move(what));
    return {};
  }
  std::optional<Piece> current_;
  bool started_ = false;
};

}  // namespace tapdeck::modes
