// TcTarget: one slot that captures an interface: transparent listeners in the sockmap, the program, the filter. The
// policy route is shared by all of them (Capture). Thread: control thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/kernel/bpf_programs.h"
#include "daemon/kernel/capture.h"
#include "daemon/kernel/rtnetlink.h"
#include "daemon/kernel/run_directory.h"
#include "daemon/kernel/tc_filter.h"

namespace tapdeck::kernel {

class TcTarget {
 public:
  // Makes listeners (handed to `sink`), loads the program; attaches nothing. NotFound, Unsupported, Permission.
  [[nodiscard]] static Result<std::unique_ptr<TcTarget>> open(BpfMaps& maps, const CaptureOptions& options,
                                                              uint32_t slot, const std::string& interface_name,
                                                              uint64_t home_cookie, ListenerSink& sink,
                                                              const std::function<uint64_t()>& next_id);
  ~TcTarget();  // removes listeners; leaves the filter alone
  TcTarget(const TcTarget&) = delete;
  TcTarget& operator=(const TcTarget&) = delete;

  // Unsupported: a port of a bridge whose packets netfilter sees.
  [[nodiscard]] Result<void> attach(RunDirectory& run, TargetPolicy policy);
  // What the record says of the policy.
  [[nodiscard]] Result<void> note_policy(RunDirectory& run, TargetPolicy policy);
  // Removes filter and record.
  [[nodiscard]] Result<void> detach(RunDirectory& run);

  // Where is the interface our filter sits on, or one of the name? They come and go with containers and VMs. A renamed
  // one is the same: the filter sits on its index. Unfit: attach() would refuse it now. Stripped: it is there, and
  // somebody has taken our filter away; attach() puts it back.
  enum class Presence : uint8_t { Same, Gone, Replaced, Unfit, Stripped };
  [[nodiscard]] Presence presence() const;
  [[nodiscard]] bool attached() const { return filter_.has_value(); }
  [[nodiscard]] std::optional<uint32_t> filter_program() const {
    return filter_ ? std::optional(filter_->program_id) : std::nullopt;
  }
  // The interface took the filter with it.
  void forget_filter(RunDirectory& run);
  [[nodiscard]] const std::string& interface_name() const { return name_; }
  [[nodiscard]] size_t listeners() const { return listener_ids_.size(); }

 private:
  TcTarget(BpfMaps& maps, const CaptureOptions& options, uint32_t slot, std::string name, ListenerSink& sink)
      : maps_(maps), options_(options), slot_(slot), name_(std::move(name)), sink_(sink) {}
  [[nodiscard]] std::string record_name() const { return kFilterRecord + std::to_string(slot_); }
  [[nodiscard]] Result<void> make_listeners(Endpoint::Family family, uint64_t home_cookie,
                                            const std::function<uint64_t()>& next_id);

  [[nodiscard]] Result<void> make_door(Endpoint::Family family, uint64_t home_cookie, uint64_t id);

  BpfMaps& maps_;
  const CaptureOptions& options_;
  const uint32_t slot_;
  const std::string name_;
  ListenerSink& sink_;
  std::vector<uint64_t> listener_ids_;
  std::vector<uint64_t> door_ids_;
  std::vector<tapdeck_own_key> own_keys_;
  std::unique_ptr<TcProgram> program_;
  std::optional<TcFilter> filter_;
};

}  // namespace tapdeck::kernel
