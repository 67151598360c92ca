// ConnectionPlace: one of the places that limits.connections has, over all workers, held until it is destroyed.
//
// Owner: a connection's coroutine. Thread: its worker's; the number is shared.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <utility>

namespace tapdeck::server {

class ConnectionPlace {
 public:
  // `taken` counts those that are held, and outlives them. Nullopt: `limit` are.
  [[nodiscard]] static std::optional<ConnectionPlace> take(std::atomic<uint64_t>& taken, uint64_t limit) {
    ConnectionPlace place(taken);
    if (taken.fetch_add(1, std::memory_order_relaxed) < limit) return place;
    return std::nullopt;
  }
  ConnectionPlace(ConnectionPlace&& other) noexcept : taken_(std::exchange(other.taken_, nullptr)) {}
  ConnectionPlace& operator=(ConnectionPlace&&) = delete;
  ~ConnectionPlace() {
    if (taken_ != nullptr) taken_->fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  explicit ConnectionPlace(std::atomic<uint64_t>& taken) : taken_(&taken) {}
  std::atomic<uint64_t>* taken_;
};

}  // namespace tapdeck::server
