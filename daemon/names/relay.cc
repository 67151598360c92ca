#include "daemon/names/relay.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "daemon/names/datagrams.h"

namespace tapdeck::names {
namespace {

Relay::End end_of(Code code) {
  const bool is_told = code == Code::Refused || code == Code::Unreachable;
  return is_told ? Relay::End::Unreachable : Relay::End::NotAsked;
}

}  // namespace

void Relay::ask(Asked asked, std::string_view datagram, const Wait& wait) {
  const auto now = std::chrono::steady_clock::now();
  asked.at = now;
  auto socket = connect_(asked.asker);
  if (!socket) return ended_(asked, end_of(socket.error().code), {});
  if (::send(socket->get(), datagram.data(), datagram.size(), MSG_NOSIGNAL) < 0) {
    return ended_(asked, end_of(code_of_errno(errno)), {});
  }
  if (pending_.size() >= kMostPending) {
    ended_(pending_.front().asked, End::Displaced, {});
    pending_.pop_front();
  }
  const SteadyTime early = wait.early ? now + *wait.early : SteadyTime::max();
  pending_.push_back({std::move(asked), std::move(*socket), now + wait.whole, early});
}

void Relay::forget(uint64_t door) {
  std::erase_if(pending_, [door](const Pending& pending) { return pending.asked.door == door; });
}

void Relay::add_to(std::vector<pollfd>& polled) const {
  for (const Pending& pending : pending_) polled.push_back({pending.socket.get(), POLLIN, 0});
}

void Relay::look(std::span<const pollfd> polled) {
  for (size_t i = 0; i < polled.size() && i < pending_.size(); ++i) {
    if (polled[i].revents != 0 && take_answer(pending_[i])) pending_[i].socket.reset();
  }
  erase_ended();
}

void Relay::erase_ended() {
  std::erase_if(pending_, [](const Pending& pending) { return !pending.socket; });
}

bool Relay::take_answer(Pending& pending) {
  std::array<char, kMostDatagram> buffer;
  while (true) {
    const ssize_t size = ::recv(pending.socket.get(), buffer.data(), buffer.size(), 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (size < 0) {
      ended_(pending.asked, end_of(code_of_errno(errno)), {});
      return true;
    }
    const std::string_view reply(buffer.data(), static_cast<size_t>(size));
    if (pending.asked.query && !is_answer_to(*pending.asked.query, reply)) continue;
    ended_(pending.asked, End::Answered, reply);
    return true;
  }
}

void Relay::give_up_late_ones() {
  const auto now = std::chrono::steady_clock::now();
  for (Pending& pending : pending_) {
    if (pending.deadline <= now) {
      pending.socket.reset();
      ended_(pending.asked, End::Silent, {});
    } else if (pending.early <= now) {
      pending.early = SteadyTime::max();
      ended_(pending.asked, End::NotYet, {});
    }
  }
  erase_ended();
}

int Relay::wait_ms() const {
  if (pending_.empty()) return -1;
  auto next = SteadyTime::max();
  for (const Pending& pending : pending_) next = std::min({next, pending.deadline, pending.early});
  const auto left = next - std::chrono::steady_clock::now();
  return static_cast<int>(std::max<int64_t>(0, std::chrono::ceil<std::chrono::milliseconds>(left).count()));
}

}  // namespace tapdeck::names
