// Doors: the sockets of a NameServer. Opened and closed by any thread, used by the server's alone, on which they change
// between its turns: so none is closed while it is read.
#pragma once

#include <poll.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "daemon/base/unique_fd.h"

namespace tapdeck::names {

class Doors {
 public:
  // Any thread. Take effect with the next take_changes().
  void open(uint64_t id, UniqueFd fd);
  void close(uint64_t id);

  // The rest: the server's thread. Ids that were closed, or replaced.
  [[nodiscard]] std::vector<uint64_t> take_changes();
  void add_to(std::vector<pollfd>& polled) const;
  // Ids in the order of add_to().
  [[nodiscard]] const std::map<uint64_t, UniqueFd>& all() const { return open_; }
  // -1: there is none of this id.
  [[nodiscard]] int fd_of(uint64_t id) const;

 private:
  struct Change {
    uint64_t id = 0;
    UniqueFd fd;  // none: it is closed
  };
  std::mutex mutex_;
  std::vector<Change> changes_;        // under mutex_
  std::map<uint64_t, UniqueFd> open_;  // the server's thread's
};

}  // namespace tapdeck::names
