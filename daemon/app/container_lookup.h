// Where containers are, asked of podman and docker by their command line: one container for a person who typed its name
// (with the nearest names when there is none), or all that are waited for, in one question to each runtime.
//
// Not when to ask (targets_ask.cc). Thread: any; calls block.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/app/target_resolve.h"

namespace tapdeck::app {

// As resolve_target().
[[nodiscard]] Result<ResolvedTarget> resolve_container(const std::string& name, const ResolveOptions& options);

class ContainerLookup {
 public:
  // `deadlines`: of single runtimes, instead of the options'.
  explicit ContainerLookup(ResolveOptions options, std::map<std::string, std::chrono::milliseconds> deadlines = {})
      : options_(std::move(options)), deadlines_(std::move(deadlines)) {}
  ContainerLookup(const ContainerLookup&) = delete;
  ContainerLookup& operator=(const ContainerLookup&) = delete;

  // `ended`: the id of a container that has run and ended, to which the name belongs; else empty.
  using Answer =
      std::function<void(const std::string& name, const Result<ResolvedTarget>& found, const std::string& ended)>;
  enum class Urgent { No, Yes };
  // Calls `answer` once for each name: for those that a runtime has as soon as it said so, for the rest at the end,
  // with Timeout if a runtime that may have it gave no answer. Such a runtime is left out for a minute, then for
  // longer, up to ten, unless it is urgent.
  void ask(const std::vector<std::string>& names, const Answer& answer, Urgent urgent = Urgent::No);

 private:
  using Clock = std::chrono::steady_clock;
  struct Silence {
    Clock::time_point until;
    std::chrono::seconds length;
  };
  struct NotRunning {
    Error error;
    std::string ended;
  };
  // One question to the runtimes, as far as it has come.
  struct Round {
    const Answer& answer;
    std::vector<std::string> left{};  // names not answered yet
    std::map<std::string, NotRunning> not_running{};
    std::string trouble{};  // "; ..." each
    bool any_tool = false;
    bool all_answered = true;
  };
  [[nodiscard]] bool is_silent(const std::string& tool);
  enum class Answered : uint8_t { No, Yes };
  void note(const std::string& tool, Answered answered);
  void ask_one(const std::string& tool, Round& round);
  static void answer_left(const Round& round);

  const ResolveOptions options_;
  const std::map<std::string, std::chrono::milliseconds> deadlines_;
  std::mutex mutex_;
  std::map<std::string, Silence> silent_;  // by tool
};

}  // namespace tapdeck::app
