// MergeReceipt: tells who recorded beside a store's owner what its recordings became there (store/pending.cc).
//
// A file in the pending store's directory, which goes with the directory: its maker keeps it open and reads it after.
// Thread: any, one at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::store {

struct MergedAs {
  std::string session;  // there: the same, or another when that one's match secret was another
  uint64_t take = 0;    // the last of them
  friend bool operator==(const MergedAs&, const MergedAs&) = default;
};

class MergeReceipt {
 public:
  // In the directory of a pending store that this process has open.
  [[nodiscard]] static Result<MergeReceipt> place(const std::string& pending_directory);
  // What became of the takes of `session`; nullopt: nothing yet.
  [[nodiscard]] std::optional<MergedAs> of(std::string_view session) const;

  // The merger's: no receipt was asked for, or it cannot be written: nobody is told.
  static void write(const std::string& pending_directory, std::string_view session, const MergedAs& merged);

 private:
  UniqueFd file_;
};

}  // namespace tapdeck::store
