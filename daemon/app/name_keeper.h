// NameKeeper: puts what resolvers answered into sessions: each answer once, and none that says less than the one
// before. Owner: the NameService. Thread: any.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "daemon/names/dns_message.h"
#include "daemon/names/lookup.h"
#include "store/record.h"
#include "store/store_writer.h"

namespace tapdeck::app {

// Nobody answered, or a resolver that could not.
[[nodiscard]] bool has_failed(const names::Lookup& lookup);

class NameKeeper {
 public:
  // `writer` outlives this; null: nothing is kept.
  explicit NameKeeper(store::StoreWriter* writer) : writer_(writer) {}

  // `take` 0: nothing is. An answer that says what the last one of this name and type in this take said, whatever its
  // order and TTLs, is not written again; that nobody answered, or a failure, does not replace an answer of the take.
  void keep(const store::Take& take, const names::Lookup& lookup);

  // Different names and types of this process, all sessions together: a crawler's would fill the disk unseen by what
  // bounds recordings. What comes behind them is not kept, which the log says once.
  static constexpr size_t kMostNames = 200'000;

 private:
  struct Kept {
    uint64_t take = 0;
    names::LookupEnd end = names::LookupEnd::Answered;
    std::string says;  // its answer without order and TTLs
    bool is_failure = false;
  };
  using Place = std::tuple<uint32_t, std::string, uint16_t>;  // session, name, type
  [[nodiscard]] static Kept seen_as(const store::Take& take, const names::Lookup& lookup);
  [[nodiscard]] bool is_news(const Place& place, const Kept& now);

  store::StoreWriter* const writer_;
  std::mutex mutex_;  // the next two
  std::map<Place, Kept> kept_;
  bool is_full_ = false;
};

}  // namespace tapdeck::app
