// Views: what is stored now, readable while others delete it.
#include "store/store_impl.h"

namespace tapdeck::store {

ExchangeStore::View::View(const Impl& store) : store_(store) {
  const std::lock_guard guard(store_.view_mutex);
  snapshot = store_.db->GetSnapshot();
  store_.views.insert(this);
}

ExchangeStore::View::~View() {
  const auto open = store_.use();
  const std::lock_guard guard(store_.view_mutex);
  store_.views.erase(this);
  if (snapshot != nullptr) store_.db->ReleaseSnapshot(snapshot);
}

// RocksDB closes nothing that has snapshots, and they must not outlive it.
void ExchangeStore::Impl::release_views() {
  const std::lock_guard guard(view_mutex);
  for (View* view : views) {
    if (view->snapshot != nullptr) db->ReleaseSnapshot(std::exchange(view->snapshot, nullptr));
  }
}

std::shared_ptr<const ExchangeStore::View> ExchangeStore::hold() const {
  const auto open = impl_->use();
  if (impl_->access == Access::ReadOnly || impl_->db == nullptr) return nullptr;
  return std::make_shared<const View>(*impl_);
}

}  // namespace tapdeck::store
