// TaskGroup: the nursery every spawned coroutine belongs to. Cancel ends them, join waits for the last.
//
// A Task that lets an exception escape is a bug (or bad_alloc): it is reported to `on_exception` and ends alone.
// Owner: a Worker, a session or a handler. All calls on the executor's thread. One that is destroyed before it is
// empty, by an exception, say, ends the process: its tasks refer to what goes with it.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <list>
#include <memory>

#include "daemon/net/task.h"

namespace tapdeck::net {

class TaskGroup {
 public:
  explicit TaskGroup(const asio::any_io_executor& executor, std::function<void(std::exception_ptr)> on_exception = {});
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;
  ~TaskGroup();

  using Id = uint64_t;
  // The task takes values, or references to what outlives this group.
  Id spawn(Task<> task);
  // What the next spawn() will return: for a task that must be known before it first runs.
  [[nodiscard]] Id next_id() const { return next_id_; }
  // Stops one task; nothing happens when it has ended.
  void cancel(Id id);
  // Asks every task to stop: its pending await ends with operation_aborted.
  void cancel();
  [[nodiscard]] size_t size() const { return size_; }
  // Resumes when the group is empty, also of tasks spawned meanwhile, and also where the caller is cancelled.
  Task<> join();
  // The same; where the caller is cancelled, so is every task.
  Task<> join_or_cancel();

 private:
  struct Child;
  using Children = std::list<std::unique_ptr<Child>>;
  void finished(Children::iterator child, const std::exception_ptr& failure);
  asio::any_io_executor executor_;
  Id next_id_ = 1;
  std::function<void(std::exception_ptr)> on_exception_;
  Children children_;
  Children spare_;  // ended, for the next ones: a session spawns a task an exchange
  size_t size_ = 0;
  Signal empty_;
};

}  // namespace tapdeck::net
