// Filling key filters: a thread of its own reads the keys of a session once, the first time somebody missed there.
#include "daemon/base/threads.h"
#include "store/store_impl.h"

namespace tapdeck::store {
namespace {

// Rows read between two looks at whether the store closes: a few milliseconds.
constexpr size_t kRowsAtATime = 8192;

}  // namespace

std::shared_ptr<const KeyFilter> ExchangeStore::key_filter(uint32_t session) const {
  if (impl_->older != nullptr) return nullptr;
  if (impl_->access == Access::ReadOnly) return nullptr;  // what the owner writes would not reach it
  const std::lock_guard guard(impl_->filter_mutex);
  auto& filter = impl_->filters[session];
  if (filter == nullptr) filter = std::make_shared<KeyFilter>();
  return filter;
}

std::shared_ptr<KeyFilter> ExchangeStore::Impl::filter_of(uint32_t session) const {
  const std::lock_guard guard(filter_mutex);
  const auto found = filters.find(session);
  return found == filters.end() ? nullptr : found->second;
}

void ExchangeStore::Impl::drop_filter(uint32_t session) {
  const std::lock_guard guard(filter_mutex);
  const auto found = filters.find(session);
  if (found == filters.end()) return;
  found->second->retire();
  filters.erase(found);
}

void ExchangeStore::Impl::want_filter(uint32_t session, uint64_t recordings) {
  const auto filter = filter_of(session);
  if (filter == nullptr || filter->state() != KeyFilter::State::Idle) return;
  const std::lock_guard guard(filter_mutex);
  if (filling.exchange(true)) return;  // of another session; a later miss asks again
  if (filler.joinable()) filler.join();
  auto started = start_thread([this, session, recordings, filter] {
    const bool whole = fill_filter(session, *filter, recordings);
    filter->finish(whole ? KeyFilter::State::Ready : KeyFilter::State::Idle);
    filling = false;
  });
  if (started) {
    filler = std::move(*started);
  } else {
    filling = false;  // misses go on asking the store, and one of them asks for the filter again
  }
}

void ExchangeStore::Impl::stop_filling() {
  closing = true;
  if (filler.joinable()) filler.join();
}

bool ExchangeStore::Impl::fill_filter(uint32_t session, KeyFilter& filter, uint64_t recordings) {
  {
    // A batch is either written before, and read below, or sees a filter that is being filled and adds to it.
    const std::lock_guard no_batch(write_mutex);
    if (!filter.begin(recordings)) return false;
  }
  const std::string prefix = session_prefix(session);
  std::string from = prefix;
  while (!closing && filter.state() == KeyFilter::State::Filling) {
    const auto guard = use();
    if (!need_open()) return false;
    const auto rows = iterate(Family::Match, Cached::No);
    size_t count = 0;
    for (rows->Seek(from); rows->Valid() && rows->key().starts_with(prefix) && count < kRowsAtATime; rows->Next()) {
      ByteReader reader(rows->key().ToStringView().substr(prefix.size()));
      filter.add({reader.bytes<32>()});
      ++count;
    }
    if (!rows->status().ok()) return false;
    if (count < kRowsAtATime) return true;
    from = rows->key().ToString();
  }
  return false;
}

}  // namespace tapdeck::store
