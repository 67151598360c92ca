#include "daemon/kernel/tc_target.h"

#include <unistd.h>

#include <cerrno>

#include "daemon/base/log.h"
#include "daemon/kernel/listener_plan.h"
#include "daemon/kernel/netns.h"
#include "daemon/kernel/netns_table.h"

namespace tapdeck::kernel {
namespace {

constexpr uint16_t kNamesPort = 53;
constexpr const char* kDoorAddress6 = "100::7464";  // of the block that is discarded (RFC 6666)

// br_netfilter runs the prerouting hooks below the bridge and takes the listener off the packet that our program put
// there: nobody answers. On the bridge itself our program runs after that.
Result<bool> loses_listener(int ifindex) {
  TRY(bridge, bridge_of(ifindex));
  return bridge != 0 && bridge_calls_netfilter(bridge);
}

Result<void> check_bridge(const std::string& name, int ifindex) {
  TRY(loses, loses_listener(ifindex));
  if (!loses) return {};
  const std::string bridge = interface_name(bridge_of(ifindex).value_or(0));
  return fail(Code::Unsupported,
              "interface " + name + " is a port of bridge " + bridge +
                  " and netfilter sees bridged packets: every captured connection would time out; attach the bridge "
                  "(--interface " +
                  bridge + "), or set net.bridge.bridge-nf-call-iptables and bridge-nf-call-ip6tables to 0",
              Origin::Kernel);
}

}  // namespace

Result<std::unique_ptr<TcTarget>> TcTarget::open(BpfMaps& maps, const CaptureOptions& options, uint32_t slot,
                                                 const std::string& interface_name, uint64_t home_cookie,
                                                 ListenerSink& sink, const std::function<uint64_t()>& next_id) {
  TRY(facts, interface_facts(interface_name));
  if (!loopback_is_up()) {
    return fail(Code::Unreachable, "loopback is down in the daemon's network namespace (ip link set lo up)",
                Origin::Kernel);
  }
  TRY_VOID(maps.need_tc());
  std::unique_ptr<TcTarget> out(new TcTarget(maps, options, slot, interface_name, sink));
  TRY(program, TcProgram::load(maps, slot, options.mark, facts.l2_length, options.workers));
  out->program_ = std::move(program);
  TRY_VOID(out->make_listeners(Endpoint::Family::V4, home_cookie, next_id));
  auto v6 = out->make_listeners(Endpoint::Family::V6, home_cookie, next_id);
  if (!v6 && v6.error().sys_errno != EADDRNOTAVAIL && v6.error().sys_errno != EAFNOSUPPORT) {
    return std::unexpected(v6.error());
  }
  for (const auto family : {Endpoint::Family::V4, Endpoint::Family::V6}) {
    const auto door = out->make_door(family, home_cookie, next_id());
    if (door || door.error().sys_errno == EAFNOSUPPORT) continue;
    log::warn("capture.door", "names of a captured interface cannot be answered from tape",
              {{"interface", interface_name}, {"error", door.error().message()}});
  }
  return out;
}

// At port 53, which answers come from; at an address of which nothing else is. Without one, questions are counted and
// refused as other datagrams are.
Result<void> TcTarget::make_door(Endpoint::Family family, uint64_t home_cookie, uint64_t id) {
  const Endpoint address = family == Endpoint::Family::V6 ? *Endpoint::parse(kDoorAddress6, kNamesPort)
                                                          : listener_address4(slot_, kNamesPort);
  TRY(fd, make_datagram_door(address, options_.mark, Transparent::Yes));
  TRY_VOID(maps_.set_tc_door(slot_, family, fd.get()));
  door_ids_.push_back(id);
  sink_.add_door({std::move(fd), address, id, home_cookie, slot_});
  return {};
}

TcTarget::~TcTarget() {
  for (const uint64_t id : door_ids_) sink_.remove_door(id);
  for (const uint64_t id : listener_ids_) sink_.remove_listener(id);
  for (const auto& key : own_keys_) maps_.remove_own_listener(key);
}

Result<void> TcTarget::make_listeners(Endpoint::Family family, uint64_t home_cookie,
                                      const std::function<uint64_t()>& next_id) {
  const auto ports = candidate_ports(local_port_range(), static_cast<uint32_t>(::getpid()) * 131U + slot_ * 977U);
  size_t next = 0;
  for (unsigned worker = 0; worker < options_.workers; ++worker) {
    for (;; ++next) {
      if (next == ports.size()) return fail(Code::Exhausted, "no free port for a listener", Origin::Kernel);
      const Endpoint address =
          family == Endpoint::Family::V6 ? listener_address6(ports[next]) : listener_address4(worker, ports[next]);
      auto fd = make_listener(address, options_.mark, Transparent::Yes);
      if (!fd && fd.error().code == Code::AlreadyExists) continue;
      if (!fd) return std::unexpected(fd.error());
      TRY_VOID(maps_.set_tc_listener(slot_, family, worker, fd->get()));
      tapdeck_own_key key{};
      key.netns_cookie = home_cookie;
      to_mapped(address, key.address);
      key.port = address.port;
      TRY_VOID(maps_.add_own_listener(key));
      own_keys_.push_back(key);
      const uint64_t id = next_id();
      listener_ids_.push_back(id);
      sink_.add_listener({std::move(*fd), address, worker, {CapturePath::Tc, id, home_cookie, slot_}});
      break;
    }
  }
  return {};
}

Result<void> TcTarget::attach(RunDirectory& run, TargetPolicy policy) {
  TRY(facts, interface_facts(name_));
  TRY_VOID(check_bridge(name_, facts.index));
  // Where a predecessor's filter still sits, clsact was there before ours and is the predecessor's: from here on ours.
  // The same where only our filter was taken away.
  const bool ours_before = filter_ && filter_->ifindex == facts.index && filter_->made_qdisc;
  const bool made_before = ours_before || run.old_filters_made_qdisc(facts.index);
  // A crash at any moment leaves one record too many, never one too few.
  const auto record = [&](TcFilter planned) {
    planned.is_closed = is_closed(policy);
    return run.write(record_name(), planned.to_record());
  };
  const auto attached = attach_tc_filter(facts.index, kFirstFilterPriority, program_->fd(),
                                         made_before ? MadeBefore::Yes : MadeBefore::No, record);
  if (!attached) {
    if (!filter_) forget_filter(run);
    return std::unexpected(attached.error());
  }
  filter_ = *attached;
  filter_->is_closed = is_closed(policy);
  run.release_old_filters(facts.index);
  return {};
}

Result<void> TcTarget::note_policy(RunDirectory& run, TargetPolicy policy) {
  if (!filter_ || filter_->is_closed == is_closed(policy)) return {};
  TcFilter noted = *filter_;
  noted.is_closed = is_closed(policy);
  TRY_VOID(run.write(record_name(), noted.to_record()));
  filter_ = noted;
  return {};
}

Result<void> TcTarget::detach(RunDirectory& run) {
  if (!filter_) return {};
  TRY_VOID(detach_tc_filter(*filter_));
  forget_filter(run);
  return {};
}

void TcTarget::forget_filter(RunDirectory& run) {
  filter_.reset();
  run.remove(record_name());
}

TcTarget::Presence TcTarget::presence() const {
  if (filter_) {
    const auto loses = loses_listener(filter_->ifindex);
    if (loses) return *loses ? Presence::Unfit : is_attached(*filter_) ? Presence::Same : Presence::Stripped;
    if (loses.error().sys_errno != ENODEV) return Presence::Same;  // out of memory, not out of interface
  }
  return interface_facts(name_) ? Presence::Replaced : Presence::Gone;
}

}  // namespace tapdeck::kernel
