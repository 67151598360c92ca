// ControlThread: one thread that waits for descriptors, runs other threads' calls and ticks. Knows nothing of capture.
// All signals are blocked in it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::kernel {

class ControlThread {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    virtual void on_ready(uint64_t token) = 0;
    virtual void on_tick() = 0;
  };

  // `handler` outlives the thread.
  [[nodiscard]] static Result<std::unique_ptr<ControlThread>> start(Handler& handler, std::chrono::milliseconds tick);
  ~ControlThread();  // runs what is queued, then joins
  ControlThread(const ControlThread&) = delete;
  ControlThread& operator=(const ControlThread&) = delete;

  // Runs `task` on the thread and waits for it. Called on the thread itself: runs it at once.
  void call(const std::function<void()>& task);
  // Thread: control. `events` as for epoll; a descriptor is watched until unwatched, also when closed meanwhile.
  [[nodiscard]] Result<void> watch(int fd, uint32_t events, uint64_t token);
  void unwatch(int fd);

 private:
  ControlThread(Handler& handler, std::chrono::milliseconds tick) : handler_(handler), tick_(tick) {}
  void loop();
  void run_tasks();

  Handler& handler_;
  const std::chrono::milliseconds tick_;
  UniqueFd epoll_;
  UniqueFd wake_;
  std::mutex mutex_;
  std::vector<std::packaged_task<void()>> tasks_;  // guarded by mutex_
  bool stop_ = false;                              // guarded by mutex_
  std::thread thread_;
};

}  // namespace tapdeck::kernel
