// ReplayItem: one recorded response as replay sends it, and sending it.
//
// Bodies up to kCachedBody are held whole; longer ones are read from the store segment by segment while they are sent.
// Immutable after loading, shared by exchanges of one worker. Thread: any (immutable).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "daemon/exchange/exchange.h"
#include "daemon/net/thread_pool.h"
#include "store/exchange_store.h"

namespace tapdeck::modes {

// 1 MiB: larger bodies are rare, and streaming them costs one thread hop per 256 KiB.
inline constexpr uint64_t kCachedBody = 1 << 20;

struct ReplayItem {
  store::Recording recording;
  std::string body;  // empty when longer than kCachedBody
  [[nodiscard]] bool is_cached() const { return body.size() == recording.response_body.size; }
  // What it costs to keep in memory.
  [[nodiscard]] size_t memory() const { return sizeof *this + body.size() + 1024; }
};

// Reads it from disk: for the reader pool. Errors: NotFound, Corrupt, Io.
[[nodiscard]] Result<std::shared_ptr<const ReplayItem>> load_item(const store::ExchangeStore& store,
                                                                  std::string_view session, uint64_t id);

// Nothing is missing: the origin's response, or the answer to its failure.
[[nodiscard]] bool is_whole(const store::Recording& recording);

// With which a response that was broken off is broken off again: what the origin's RST_STREAM said, else InternalError.
[[nodiscard]] http::ResetCode reset_code_of(const store::Outcome& outcome);

// Sends a cached item that is whole, without waiting. Only for items that can_send_now() allows.
[[nodiscard]] bool can_send_now(const ReplayItem& item);
Result<void> send_now(exchange::Exchange& exchange, const ReplayItem& item);

// Sends any item: streamed bodies, broken-off responses (which are broken off again at the same byte, with the same
// code). `pace` as Pacer's factor.
net::Task<Result<void>> send(exchange::Exchange& exchange, std::shared_ptr<const ReplayItem> item,
                             const store::ExchangeStore& store, net::ThreadPool& readers, double pace);

// One segment of a body, read on the reader pool: memory stays flat however long the body is.
net::Task<Result<std::string>> read_segment(store::Segment segment, const store::ExchangeStore& store,
                                            net::ThreadPool& readers);

}  // namespace tapdeck::modes
