// ReplayItem: one recorded response as replay sends it, and sending it.
//
// Bodies up to kCachedBody are held whole; longer ones are read from the store segment by segment while they are sent.
// Immutable after loading, shared by exchanges of one worker. Thread: any (immutable).
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "daemon/exchange/exchange.h"
#include "daemon/modes/pace.h"
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

// Null in place of an error where the recording was deleted since it was looked up. Asks the store: for the reader
// pool.
template <class Item>
[[nodiscard]] Result<Item> unless_deleted(const store::ExchangeStore& store, std::string_view session, uint64_t id,
                                          Result<Item> item) {
  if (item) return item;
  const auto recording = store.get(session, id);
  if (!recording && recording.error().code == Code::NotFound) return Item();
  return item;
}

// Which recordings answer: all, or where an origin can be asked instead only the complete ones.
enum class Answers { All, Complete };

// Leaves of `ids` only complete recordings; those in `known` (sorted) are. Reads the others from disk: for the reader
// pool. How many could not be read, which do not answer either.
[[nodiscard]] size_t keep_complete(const store::ExchangeStore& store, std::string_view session,
                                   std::vector<uint64_t>& ids, const std::vector<uint64_t>& known = {});

// Nothing is missing: the origin's response, or the answer to its failure.
[[nodiscard]] bool is_whole(const store::Recording& recording);

// With which a response that was broken off is broken off again: what the origin's RST_STREAM said, else InternalError.
[[nodiscard]] http::ResetCode reset_code_of(const store::Recording& recording);

// Sends a cached item that is whole, without waiting. Only for items that can_send_now() allows.
[[nodiscard]] bool can_send_now(const ReplayItem& item);
Result<void> send_now(exchange::Exchange& exchange, const ReplayItem& item);

// The interim responses and the moment of the final one, which the caller sends then.
net::Task<Result<void>> send_interim(exchange::Exchange& exchange, const store::Recording& recording, Pacer& pacer);

// Cut by its client, a timeout of ours or a crash, or turned away: for when nothing that ended answers.
[[nodiscard]] bool is_unfinished(const store::Recording& recording);
// Its client left in the middle of it, or while it waited for it.
[[nodiscard]] bool was_left_by_client(const store::Recording& recording);
// Cut before the origin had said anything: there is nothing to answer with.
[[nodiscard]] bool is_unanswered(const store::Recording& recording);
// By its client, which does so again while nothing comes; a crash is never repeated.
[[nodiscard]] bool was_given_up(const store::Recording& recording);
// How long a client is waited for that is to give up again, before it gets what comes next: as long as it took when
// recorded and a second more, at most `idle_timeout`.
[[nodiscard]] std::chrono::microseconds time_to_give_up(const store::Recording& recording,
                                                        std::chrono::milliseconds idle_timeout);

struct Sending {
  double pace = 0;                        // as Pacer's
  Gate* gate = nullptr;                   // as Pacer's
  std::chrono::milliseconds patience{0};  // with a client that is to leave again
};
// Sends any item: streamed bodies, broken-off responses (which are broken off again at the same byte, with the same
// code), those whose client left (which wait for it to leave again).
net::Task<Result<void>> send(exchange::Exchange& exchange, std::shared_ptr<const ReplayItem> item,
                             const store::ExchangeStore& store, net::ThreadPool& readers, Sending how);

}  // namespace tapdeck::modes
