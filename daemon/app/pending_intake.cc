#include "daemon/app/pending_intake.h"

#include <pthread.h>

#include <condition_variable>
#include <mutex>

#include "daemon/base/log.h"

namespace tapdeck::app {
namespace {

constexpr std::chrono::milliseconds kInterval{250};

}  // namespace

bool is_anything_pending(const std::filesystem::path& store) {
  std::error_code error;
  const bool none = std::filesystem::is_empty(store / "pending", error);
  return !error && !none;
}

void take_in_pending(const std::filesystem::path& store) {
  if (!is_anything_pending(store)) return;
  store::StoreOptions options;
  options.path = store.string();
  const auto opened = store::ExchangeStore::open(options, store::Access::ReadWrite);  // opening takes it in
  if (!opened && opened.error().code != Code::Busy) {
    log::warn("store.pending", "recordings wait to be taken in", {{"error", opened.error().message()}});
  }
}

PendingIntake::PendingIntake(store::ExchangeStore& store)
    : store_(store), thread_([this](const std::stop_token& stop) { run(stop); }) {}

void PendingIntake::run(const std::stop_token& stop) const {
  log::set_thread_name("intake");
  pthread_setname_np(pthread_self(), "intake");
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  while (!stop.stop_requested()) {
    changed.wait_for(lock, stop, kInterval, [] { return false; });
    if (!stop.stop_requested() && is_anything_pending(store_.options().path)) store_.merge_left();
  }
}

}  // namespace tapdeck::app
