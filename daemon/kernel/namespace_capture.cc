#include "daemon/kernel/namespace_capture.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include "daemon/kernel/no_capture.h"

namespace tapdeck::kernel {
namespace {

Error only_namespaces() {
  return {Code::Unsupported, "this run captures by a network namespace, not by cgroup or interface", Origin::Kernel,
          Retry::No, 0};
}

class NamespaceCapture final : public NoCapture {
 public:
  NamespaceCapture(ListenerSink& sink, unsigned workers)
      : NoCapture(only_namespaces()), sink_(sink), workers_(workers) {}

  ~NamespaceCapture() override { remove_listeners(); }
  NamespaceCapture(const NamespaceCapture&) = delete;
  NamespaceCapture& operator=(const NamespaceCapture&) = delete;

  Result<void> attach_namespace(uint32_t target, NamespaceListeners listeners) override {
    if (target >= kMaxTargets) return fail(Code::InvalidArgument, "no such slot", Origin::Kernel);
    std::vector<UniqueFd> fds = std::move(listeners.fds);
    {
      const std::scoped_lock lock(mutex_);
      if (target_ != kNoTarget) return fail(Code::Busy, "a namespace is attached already", Origin::Kernel);
      target_ = target;
      of_ = std::move(listeners);
      listeners_ = fds.size();
    }
    for (size_t i = 0; i < fds.size(); ++i) {
      sink_.add_listener({std::move(fds[i]),
                          of_.v4,
                          static_cast<unsigned>(i) % workers_,
                          {CapturePath::Netns, i + 1, of_.netns_cookie, target}});
    }
    return {};
  }

  Result<void> set_policy(uint32_t target, TargetPolicy) override { return check(target); }

  Result<size_t> refuse_as_recorded(uint32_t target, const std::vector<Endpoint>&) override {
    TRY_VOID(check(target));
    return 0U;  // nobody but a worker can refuse here
  }

  Result<void> detach(uint32_t target) override {
    TRY_VOID(check(target));
    remove_listeners();
    return {};
  }

  // What resolve() reads is there before the first listener is handed out, and stays.
  Result<CapturedFlow> resolve(const ListenerKey& listener, const Endpoint& client, const Endpoint& local) override {
    if (local == of_.v4 || local == of_.v6) {
      return fail(Code::NotFound, "somebody connected to our listener itself", Origin::Kernel);
    }
    CapturedFlow flow;
    flow.client = client;
    flow.original_destination = local;
    flow.path = CapturePath::Netns;
    flow.identity.target = listener.target;
    flow.identity.uid = of_.uid;
    flow.identity.netns_cookie = of_.netns_cookie;
    captured_.fetch_add(1, std::memory_order_relaxed);
    return flow;
  }

  Stats stats() const override {
    const std::scoped_lock lock(mutex_);
    Stats out;
    out.listeners = listeners_;
    if (target_ == kNoTarget) return out;
    TargetStats target;
    target.target = target_;
    target.attached = listeners_ > 0;
    target.path = CapturePath::Netns;
    target.captured = captured_.load(std::memory_order_relaxed);
    if (of_.uncaptured) target.uncaptured = of_.uncaptured();
    out.targets.push_back(std::move(target));
    out.namespaces = 1;
    return out;
  }

 private:
  [[nodiscard]] Result<void> check(uint32_t target) const {
    const std::scoped_lock lock(mutex_);
    if (target == target_ && target != kNoTarget) return {};
    return fail(Code::NotFound, "nothing is attached there", Origin::Kernel);
  }

  void remove_listeners() {
    size_t count = 0;
    {
      const std::scoped_lock lock(mutex_);
      count = std::exchange(listeners_, 0);
    }
    for (size_t i = 0; i < count; ++i) sink_.remove_listener(i + 1);
  }

  ListenerSink& sink_;
  const unsigned workers_;
  std::atomic<uint64_t> captured_{0};
  mutable std::mutex mutex_;     // target_ and listeners_
  uint32_t target_ = kNoTarget;  // once set it stays
  size_t listeners_ = 0;         // those handed out
  NamespaceListeners of_;        // without the descriptors
};

}  // namespace

std::unique_ptr<Capture> namespace_capture(ListenerSink& sink, unsigned workers) {
  return std::make_unique<NamespaceCapture>(sink, std::max(workers, 1U));
}

}  // namespace tapdeck::kernel
