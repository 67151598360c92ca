#include "daemon/kernel/control_thread.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace tapdeck::kernel {
namespace {
constexpr uint64_t kWakeToken = ~0ULL;
}

Result<std::unique_ptr<ControlThread>> ControlThread::start(Handler& handler, std::chrono::milliseconds tick) {
  std::unique_ptr<ControlThread> out(new ControlThread(handler, tick));
  out->epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  out->wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!out->epoll_ || !out->wake_) return fail_errno(errno, "make control thread", Origin::Kernel);
  TRY_VOID(out->watch(out->wake_.get(), EPOLLIN, kWakeToken));
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  out->thread_ = std::thread([raw = out.get()] { raw->loop(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(out->thread_.native_handle(), "tapdeck-capture");
  return out;
}

ControlThread::~ControlThread() {
  if (!thread_.joinable()) return;
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  ::eventfd_write(wake_.get(), 1);
  thread_.join();
}

void ControlThread::call(const std::function<void()>& task) {
  if (std::this_thread::get_id() == thread_.get_id()) {
    task();
    return;
  }
  std::packaged_task<void()> packaged(task);
  const auto done = packaged.get_future();
  {
    const std::scoped_lock lock(mutex_);
    tasks_.push_back(std::move(packaged));
  }
  ::eventfd_write(wake_.get(), 1);
  done.wait();
}

Result<void> ControlThread::watch(int fd, uint32_t events, uint64_t token) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno(errno, "epoll", Origin::Kernel);
  return {};
}

void ControlThread::unwatch(int fd) {
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void ControlThread::run_tasks() {
  eventfd_t count = 0;
  ::eventfd_read(wake_.get(), &count);
  std::vector<std::packaged_task<void()>> tasks;
  {
    const std::scoped_lock lock(mutex_);
    tasks.swap(tasks_);
  }
  for (auto& task : tasks) task();
}

void ControlThread::loop() {
  auto next_tick = std::chrono::steady_clock::now() + tick_;
  for (;;) {
    std::array<epoll_event, 16> events{};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_tick - std::chrono::steady_clock::now());
    const int timeout = left.count() < 0 ? 0 : static_cast<int>(left.count());
    const int n = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout);
    for (int i = 0; i < n; ++i) {
      const uint64_t token = events[static_cast<size_t>(i)].data.u64;
      if (token != kWakeToken) handler_.on_ready(token);
    }
    run_tasks();
    {
      const std::scoped_lock lock(mutex_);
      if (stop_ && tasks_.empty()) return;
    }
    if (std::chrono::steady_clock::now() >= next_tick) {
      handler_.on_tick();
      next_tick = std::chrono::steady_clock::now() + tick_;
    }
  }
}

}  // namespace tapdeck::kernel
