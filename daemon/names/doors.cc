#include "daemon/names/doors.h"

#include <utility>

namespace tapdeck::names {

void Doors::open(uint64_t id, UniqueFd fd) {
  const std::lock_guard lock(mutex_);
  changes_.push_back({id, std::move(fd)});
}

void Doors::close(uint64_t id) {
  const std::lock_guard lock(mutex_);
  changes_.push_back({id, UniqueFd()});
}

std::vector<uint64_t> Doors::take_changes() {
  std::vector<Change> changes;
  {
    const std::lock_guard lock(mutex_);
    changes.swap(changes_);
  }
  std::vector<uint64_t> closed;
  for (Change& change : changes) {
    if (open_.erase(change.id) != 0) closed.push_back(change.id);
    if (change.fd) open_.emplace(change.id, std::move(change.fd));
  }
  return closed;
}

void Doors::add_to(std::vector<pollfd>& polled) const {
  for (const auto& [id, fd] : open_) polled.push_back({fd.get(), POLLIN, 0});
}

int Doors::fd_of(uint64_t id) const {
  const auto found = open_.find(id);
  return found == open_.end() ? -1 : found->second.get();
}

}  // namespace tapdeck::names
