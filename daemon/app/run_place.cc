#include "daemon/app/run_place.h"

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/app/run_cgroup.h"
#include "daemon/app/run_guard.h"
#include "daemon/app/run_namespace.h"
#include "daemon/kernel/capabilities.h"
#include "daemon/kernel/cgroup.h"
#include "daemon/kernel/local_routes.h"
#include "daemon/kernel/rtnetlink.h"

namespace tapdeck::app {
namespace {

class CgroupPlace final : public RunPlace {
 public:
  explicit CgroupPlace(std::unique_ptr<RunGuard> guard) : guard_(std::move(guard)) {}

  Result<void> attach(RunServices& services) override {
    auto cgroup = RunCgroup::create();
    if (!cgroup) {
      cgroup.error().detail += "; --capture netns needs none";
      return std::unexpected(cgroup.error());
    }
    cgroup_ = std::move(*cgroup);
    TRY_VOID(services.attach(cgroup_->path()));
    return guard_->watch(cgroup_->path());
  }
  void place(ChildOptions& child) const override { child.cgroup_fd = cgroup_->fd(); }
  size_t end_leftovers() override { return cgroup_->end_leftovers(); }
  bool is_unwatched() const override { return guard_->has_died(); }
  void end_watch() override { guard_->dismiss(); }  // it would hold the programs that drain() detaches

 private:
  std::unique_ptr<RunGuard> guard_;
  std::unique_ptr<RunCgroup> cgroup_;
};

class NamespacePlace final : public RunPlace {
 public:
  explicit NamespacePlace(std::unique_ptr<RunNamespace> made) : namespace_(std::move(made)) {}

  Result<void> attach(RunServices& services) override { return services.attach(*namespace_); }
  void place(ChildOptions& child) const override {
    child.user_namespace_fd = namespace_->user_fd();
    child.network_namespace_fd = namespace_->network_fd();
  }
  size_t end_leftovers() override { return namespace_->end_leftovers(); }
  bool is_unwatched() const override { return namespace_->has_died(); }
  void end_watch() override {}  // it is asked for counts until the end

 private:
  std::unique_ptr<RunNamespace> namespace_;
};

Result<void> may_use_cgroup() {
  TRY_VOID(kernel::may_capture(kernel::missing_capabilities()));
  TRY(mount, kernel::find_cgroup2_mount());
  return {};
}

// In replay every address may be on tape. Else what the host cannot reach is not to be reached here, but for what is on
// tape (RunNamespace::learn): clients with a choice of addresses would choose it, and be told of its failure only by an
// answer of ours.
Result<std::vector<kernel::Prefix>> addresses_for(Mode mode) {
  if (mode == Mode::Replay) return kernel::all_addresses();
  return kernel::reachable_addresses();
}

Result<std::unique_ptr<RunPlace>> cgroup_place() {
  TRY(guard, RunGuard::start());
  return std::make_unique<CgroupPlace>(std::move(guard));
}

Result<std::unique_ptr<RunPlace>> namespace_place(Mode mode) {
  NamespacePlan plan;
  plan.listeners = std::clamp(std::thread::hardware_concurrency(), 1U, kernel::kMaxWorkers);
  TRY(addresses, addresses_for(mode));
  plan.addresses = std::move(addresses);
  TRY(host, kernel::host_addresses());
  plan.host = std::move(host);
  TRY(made, RunNamespace::create(plan));
  return std::make_unique<NamespacePlace>(std::move(made));
}

// A few words of it.
std::string why_not_cgroup(const Error& error) {
  const std::string missing = kernel::missing_capabilities();
  return missing.empty() ? error.message() : "this process lacks " + missing;
}

Error neither(const Error& cgroup, const Error& by_namespace) {
  Error both = cgroup;
  both.detail =
      "neither way to capture works here. By a network namespace (--capture netns): " + by_namespace.message() +
      ". By a cgroup (--capture cgroup): " + why_not_cgroup(cgroup) + "; run it as root (sudo)";
  return both;
}

}  // namespace

Result<ChosenPlace> choose_place(RunOptions& options) {
  ChosenPlace chosen;
  const Result<void> allowed = may_use_cgroup();
  if (options.capture == "cgroup" && !allowed) return std::unexpected(allowed.error());
  if (options.capture != "netns" && allowed) {
    options.capture = "cgroup";
    TRY(place, cgroup_place());
    chosen.place = std::move(place);
    return chosen;
  }
  auto place = namespace_place(options.mode);
  if (!place) return std::unexpected(allowed ? place.error() : neither(allowed.error(), place.error()));
  if (options.capture == "auto") chosen.why = why_not_cgroup(allowed.error());
  options.capture = "netns";
  chosen.place = std::move(*place);
  return chosen;
}

}  // namespace tapdeck::app
