// RunDirectory: what must be undone if we die without undoing it: a directory of one-line records below the run
// directory, a lock that says "a Capture lives here", and a bpffs for pins. Owned by Capture; clean_leftovers() reads
// what a dead one left. Thread: control thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::kernel {

class RunDirectory {
 public:
  // Makes `run_dir`/kernel (0700) and takes its lock; while another process holds that, `run_dir`/kernel-PID.
  // What a dead predecessor left attached is kept until release_old*(): a closed target must not be open between its
  // daemon's death and its successor's attach. Its routes go at once.
  [[nodiscard]] static Result<RunDirectory> open(const std::string& run_dir);
  // The directory of this name or nothing: Busy when another process holds the lock.
  [[nodiscard]] static Result<RunDirectory> open_at(const std::string& run_dir, const std::string& name);
  // Undoes what processes left that had a kernel-PID directory and are dead.
  static void sweep(const std::string& run_dir);
  // Removes the predecessor's programs from this cgroup, its filters from this interface, or everything of it.
  void release_old_pins(uint64_t cgroup_id);
  void release_old_filters(int ifindex);
  // Links it left attached, by the path of their pins.
  [[nodiscard]] const std::vector<std::string>& old_pins() const { return old_pins_; }
  // Did the predecessor add clsact to this interface? Whoever replaces its filter there takes over to remove it.
  [[nodiscard]] bool old_filters_made_qdisc(int ifindex) const;
  Result<void> release_old();
  // This record is about something that could not be removed: with what a predecessor left, removed when that is.
  void keep_as_old(const std::string& filter_record) const;

  // Over the one of that name, if there is one.
  [[nodiscard]] Result<void> write(const std::string& record, const std::string& text) const;
  void remove(const std::string& record) const;
  // Directory in a bpffs for our pins: below /sys/fs/bpf where that is one we can write, for it also survives a private
  // mount namespace; else a bpffs mounted in the run directory.
  [[nodiscard]] Result<std::string> pin_directory();
  // Releases what a predecessor left, then removes the pin directory and our own, as far as they are empty.
  void close();

 private:
  [[nodiscard]] Result<void> take_over();
  // Filters and routes can only be undone where they are. Error Unsupported: they are in another network namespace,
  // which still lives; the detail says how to get there.
  [[nodiscard]] Result<void> check_namespace() const;

  std::string directory_;
  std::string pins_;
  std::vector<std::string> old_pins_;  // paths
  UniqueFd lock_;
};

// What a killed daemon's fail-closed targets meet until its successor: Stands, they are still refused (its pins, or
// filters of closed targets, are in the kernel); Lost, its pins went with its mount namespace; None, it had released
// everything, or had none.
enum class Aftermath { None, Stands, Lost };
[[nodiscard]] Aftermath aftermath_of_the_dead(const std::string& run_dir);

inline constexpr char kDirectory[] = "kernel";  // below the run directory
// Prefixes of record names.
inline constexpr char kOldFilterRecord[] = "old-filter-";
inline constexpr char kFilterRecord[] = "filter-";         // + slot; text: TcFilter::to_record
inline constexpr char kSteeringRecord[] = "steering";      // "mark table"
inline constexpr char kPinsRecord[] = "pins";              // path of the pin directory
inline constexpr char kUnfinishedRecord[] = "unfinished";  // becomes one of the others
inline constexpr char kNamespaceRecord[] = "netns";        // inode of the network namespace that the others are about

}  // namespace tapdeck::kernel
