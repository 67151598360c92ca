// Recordings of runs beside the store's owner, waiting in <store>/pending (store/pending.cc): who takes them in, and
// when.
//
// The owner does while it lives (PendingIntake); else whoever comes next, to record or only to look (take_in_pending).
#pragma once

#include <chrono>
#include <filesystem>
#include <thread>

#include "store/exchange_store.h"

namespace tapdeck::app {

[[nodiscard]] bool is_anything_pending(const std::filesystem::path& store);

// Takes in what dead or ended runs left, if nobody owns the store. What cannot be taken in stays for a later try.
void take_in_pending(const std::filesystem::path& store);

// Looks four times a second. Thread: one of its own, from construction to destruction; `store` outlives it.
class PendingIntake {
 public:
  explicit PendingIntake(store::ExchangeStore& store);

 private:
  void run(const std::stop_token& stop) const;
  store::ExchangeStore& store_;
  std::jthread thread_;
};

}  // namespace tapdeck::app
