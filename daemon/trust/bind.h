// Trust into a running mount namespace: merged copies of the stores a process sees are mounted, read only, over them.
//
// Nothing is written into an image or a container's layer: the copies live in a tmpfs that exists only as long as the
// mounts do. The mount namespace of the host (ours, or pid 1's) is never touched; neither is a mount that would
// propagate there. All of it runs in a helper process with a deadline, because a target's file system may hang.
// A manifest in the run directory lets the next start undo what a crash left. Needs CAP_SYS_ADMIN and CAP_SYS_CHROOT.
// Owner: the target (or the run) it serves. Thread: any one at a time; every call blocks up to the deadline.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/trust/merge.h"
#include "daemon/trust/stores.h"

namespace tapdeck::trust {

// Whether the bundles that the environments of the namespace's processes name are covered too.
enum class Environments { Ignored, Read };

struct BindOptions {
  std::filesystem::path run_dir;  // manifests go to run_dir/trust; made (0700) when missing
  CaCertificate ca;
  ScanOptions scan;
  Environments environments = Environments::Ignored;
  std::chrono::milliseconds deadline{10000};
};

struct BindReport {
  std::vector<TrustStore> mounted;
  std::vector<std::string> skipped;  // "path: why", for people; and that the search was ended early
  // Some were found and copied, and the mount failed: a runtime may still be setting up the namespace (its root
  // changes, what is mounted there would still propagate to the host).
  bool is_partial = false;
};

// What bind_into mounted. Its destructor undoes it, quietly. Virtual for tests: whoever derives undoes in its own.
class Binding {
 public:
  Binding(const Binding&) = delete;
  Binding& operator=(const Binding&) = delete;
  virtual ~Binding();

  [[nodiscard]] const BindReport& report() const { return report_; }
  // Does `pid` see these mounts? Not when it is in another mount namespace, or when nothing was mounted.
  [[nodiscard]] virtual bool covers(int pid) const;
  // After a report that is_partial: mounts what is missing for `pid`, which is in the same namespace, and leaves what
  // is mounted. Errors as of bind_into; they change nothing.
  virtual Result<void> complete(int pid);
  // Unmounts everything and removes the manifest; a second call does nothing. A namespace that is gone is success.
  // On an error the manifest stays, for clean_leftovers.
  virtual Result<void> undo();
  // The mounts stay when this object dies, and die with their namespace; the manifest is removed. For a namespace
  // whose last process is about to end anyway (`run`).
  void abandon();

 protected:
  Binding() = default;
  BindReport report_;

 private:
  friend Result<std::unique_ptr<Binding>> bind_into(int pid, const BindOptions& options);
  Result<BindReport> mount_for(int pid) const;

  BindOptions options_;
  std::filesystem::path manifest_;
  std::string id_;
  uint64_t namespace_inode_ = 0;
  UniqueFd held_;  // the manifest, while we live
};

// Mounts into the mount namespace of `pid`, which must stay alive during the call. Unsupported, with the way out in
// its detail, when that namespace is the host's; NotFound when pid is gone; Permission without CAP_SYS_ADMIN; Timeout.
// Of origin Store: our own files, in run_dir, could not be written.
// Stores that could not be covered are in report().skipped; finding none at all is not an error.
[[nodiscard]] Result<std::unique_ptr<Binding>> bind_into(int pid, const BindOptions& options);

// Does `pid` live in the mount namespace of this process or of pid 1? NotFound when pid is gone.
[[nodiscard]] Result<bool> shares_host_mounts(int pid);

// Undoes the bindings whose manifests a process that no longer lives left in run_dir/trust. Returns how many.
[[nodiscard]] Result<size_t> clean_leftovers(const std::filesystem::path& run_dir);

}  // namespace tapdeck::trust
