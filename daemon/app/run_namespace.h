// The namespaces of one `tapdeck run` without privileges: a user and a network namespace in which every address that
// the command may use is local, with listeners that all its connections arrive at, made for whoever serves them.
//
// Not capture (kernel/namespace_capture.h) and not the command (child.h joins it). A process beside the run keeps them:
// it has made them, since that needs a process with one thread, it is asked what was refused there, and it ends what
// lives in them when the run dies without having done so. Owner: run_command. Thread: create() while there is one
// thread; then any.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/app/fd_message.h"
#include "daemon/app/namespace_keeper.h"
#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/kernel/capture.h"
#include "daemon/kernel/tproxy_rules.h"

namespace tapdeck::app {

// Where names are asked for: bound to port 53 of every address, with IP_PKTINFO; one of a family may be missing.
struct NameSockets {
  UniqueFd v4, v6;
};

class RunNamespace {
 public:
  // Permission or Unsupported, naming what has to be allowed or is missing.
  [[nodiscard]] static Result<std::unique_ptr<RunNamespace>> create(const NamespacePlan& plan);
  ~RunNamespace();
  RunNamespace(const RunNamespace&) = delete;
  RunNamespace& operator=(const RunNamespace&) = delete;

  // To be joined by the command, in this order.
  [[nodiscard]] int user_fd() const { return user_.get(); }
  [[nodiscard]] int network_fd() const { return network_.get(); }
  // Once. This outlives who has them.
  [[nodiscard]] kernel::NamespaceListeners take_listeners();
  [[nodiscard]] NameSockets take_name_sockets() { return std::move(names_); }

  // Destinations that are on tape: those on addresses of this host are captured though nobody listens there now, others
  // can be connected to though the host may not reach them now.
  Result<void> learn(const std::vector<Endpoint>& destinations);

  // Of the processes that live there and in sandboxes that they made, without the keeper.
  [[nodiscard]] std::vector<pid_t> pids() const;
  // Ends what outlived the command: waits `settle`, then SIGTERM, then after `grace` SIGKILL. Returns how many
  // processes were there to be signalled.
  size_t end_leftovers(std::chrono::milliseconds settle = std::chrono::milliseconds(100),
                       std::chrono::milliseconds grace = std::chrono::milliseconds(2000));
  // Somebody ended the keeper, or it does not answer: from then on nobody watches, and what is refused is not counted.
  [[nodiscard]] bool has_died() const;

 private:
  RunNamespace(pid_t keeper, UniqueFd socket) : keeper_(keeper), socket_(std::move(socket)) {}
  Result<void> take_over();
  Result<FdMessage> ask(std::string_view question);
  [[nodiscard]] kernel::RefusedPackets refused();

  pid_t keeper_;
  UniqueFd socket_;  // it sees this end close when we die
  UniqueFd user_, network_;
  uint64_t user_inode_ = 0;
  kernel::NamespaceListeners listeners_;
  NameSockets names_;
  mutable std::mutex mutex_;  // one question at a time; the next two
  kernel::RefusedPackets refused_;
  bool is_mute_ = false;  // the keeper: it is not waited for again
};

}  // namespace tapdeck::app
