// RunDirectory: what must be undone if we die without undoing it: a directory of one-line records below the run
// directory, a lock that says "a Capture lives here", and a bpffs for pins. Owned by Capture; clean_leftovers() reads
// what a dead one left. Thread: control thread.
#pragma once

#include <string>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::kernel {

class RunDirectory {
 public:
  // Makes `run_dir`/kernel (0700), takes the lock, undoes what the records there say. Busy when another process holds it.
  [[nodiscard]] static Result<RunDirectory> open(const std::string& run_dir);

  [[nodiscard]] Result<void> write(const std::string& record, const std::string& text) const;
  void remove(const std::string& record) const;
  // Directory in a bpffs for our pins: below /sys/fs/bpf where that is one, for it also survives a private mount
  // namespace; else a bpffs mounted in the run directory.
  [[nodiscard]] Result<std::string> pin_directory();
  // Undoes the pin directory and our own, as far as they are empty.
  void close();

 private:
  std::string directory_;
  std::string pins_;
  UniqueFd lock_;
};

// Prefixes of record names.
inline constexpr char kFilterRecord[] = "filter-";      // + slot; text: TcFilter::to_record
inline constexpr char kSteeringRecord[] = "steering";  // "mark table"
inline constexpr char kPinsRecord[] = "pins";          // path of the pin directory

}  // namespace tapdeck::kernel
