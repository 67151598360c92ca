#include "daemon/kernel/bpf_programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "bpf/tapdeck_cgroup.skel.h"
#include "bpf/tapdeck_tc.skel.h"
#include "daemon/kernel/bpf_object.h"
#include "daemon/kernel/capture.h"

namespace tapdeck::kernel {
namespace {

void load_no_program(bpf_object* object) {
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object) bpf_program__set_autoload(program, false);
}

}  // namespace

Result<std::unique_ptr<BpfMaps>> BpfMaps::create(uint32_t flow_entries) {
  keep_complaints();
  std::unique_ptr<BpfMaps> maps(new BpfMaps());
  maps->cgroup_ = tapdeck_cgroup__open();
  if (maps->cgroup_ == nullptr) return fail_libbpf(errno, "open BPF object");
  bpf_map__set_max_entries(maps->cgroup_->maps.flows, flow_entries);
  load_no_program(maps->cgroup_->obj);
  if (const int error = tapdeck_cgroup__load(maps->cgroup_); error != 0) return fail_libbpf(error, "create BPF maps");
  const auto size = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(maps->cgroup_->maps.control), 0);
  if (memory == MAP_FAILED) return fail_errno(errno, "map BPF control memory", Origin::Kernel);
  maps->control_ = static_cast<tapdeck_control*>(memory);
  maps->control_->flows_capacity = flow_entries;
  return maps;
}

BpfMaps::~BpfMaps() {
  if (control_ != nullptr) ::munmap(control_, static_cast<size_t>(::sysconf(_SC_PAGESIZE)));
  tapdeck_tc__destroy(tc_);
  tapdeck_cgroup__destroy(cgroup_);
}

int BpfMaps::map_fd(const char* name) const {
  const bpf_map* map = bpf_object__find_map_by_name(cgroup_->obj, name);
  if (map == nullptr && tc_ != nullptr) map = bpf_object__find_map_by_name(tc_->obj, name);
  return map == nullptr ? -1 : bpf_map__fd(map);
}

Result<void> BpfMaps::need_tc() {
  if (tc_ != nullptr) return {};
  tapdeck_tc* tc = tapdeck_tc__open();
  if (tc == nullptr) return fail_libbpf(errno, "open BPF object");
  load_no_program(tc->obj);
  auto done = share_maps(tc->obj, [this](const char* name) { return map_fd(name); }, OwnMaps::Yes);
  if (const int error = done ? tapdeck_tc__load(tc) : 0; error != 0) {
    done = fail_libbpf(error, "create BPF maps of the tc path");
  }
  if (!done) {
    tapdeck_tc__destroy(tc);
    return done;
  }
  tc_ = tc;
  return {};
}

int BpfMaps::events_fd() const {
  return bpf_map__fd(cgroup_->maps.events);
}

int BpfMaps::sightings_fd() const {
  return bpf_map__fd(cgroup_->maps.sightings);
}

Result<void> BpfMaps::set_target(uint32_t slot, const tapdeck_target& target) const {
  if (bpf_map_update_elem(bpf_map__fd(cgroup_->maps.targets), &slot, &target, BPF_ANY) != 0) {
    return fail_errno(errno, "write target policy", Origin::Kernel);
  }
  return {};
}

CapturedCounters BpfMaps::counters(uint32_t slot) const {
  CapturedCounters sum;
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return sum;
  std::vector<tapdeck_counters> each(static_cast<size_t>(cpus));
  if (bpf_map_lookup_elem(bpf_map__fd(cgroup_->maps.counters), &slot, each.data()) != 0) return sum;
  for (const auto& one : each) {
    for (size_t i = 0; i < TAPDECK_COUNTS; ++i) sum.count[i] += one.count[i];
  }
  return sum;
}

Result<void> BpfMaps::set_netns(uint64_t cookie, const tapdeck_netns& listeners) const {
  if (bpf_map_update_elem(bpf_map__fd(cgroup_->maps.netns_listeners), &cookie, &listeners, BPF_ANY) != 0) {
    return fail_errno(errno, "publish listeners of a network namespace", Origin::Kernel);
  }
  return {};
}

void BpfMaps::remove_netns(uint64_t cookie) const {
  bpf_map_delete_elem(bpf_map__fd(cgroup_->maps.netns_listeners), &cookie);
}

Result<void> BpfMaps::set_sources(uint64_t cookie, __u32 source4_be, const __u8 source6[16]) const {
  const int fd = bpf_map__fd(cgroup_->maps.netns_listeners);
  tapdeck_netns value{};
  if (bpf_map_lookup_elem(fd, &cookie, &value) != 0) return fail(Code::NotFound, "no listeners in that namespace");
  value.source4_be = source4_be;
  std::memcpy(value.source6, source6, sizeof(value.source6));
  return set_netns(cookie, value);
}

Result<void> BpfMaps::add_own_listener(const tapdeck_own_key& key) const {
  const uint32_t yes = 1;
  if (bpf_map_update_elem(bpf_map__fd(cgroup_->maps.own_listeners), &key, &yes, BPF_ANY) != 0) {
    return fail_errno(errno, "note own listener", Origin::Kernel);
  }
  return {};
}

void BpfMaps::remove_own_listener(const tapdeck_own_key& key) const {
  bpf_map_delete_elem(bpf_map__fd(cgroup_->maps.own_listeners), &key);
}

Result<void> BpfMaps::add_refused(const tapdeck_refused_key& key) const {
  const uint32_t yes = 1;
  if (bpf_map_update_elem(bpf_map__fd(cgroup_->maps.refused), &key, &yes, BPF_ANY) == 0) return {};
  if (errno == E2BIG) return fail(Code::Exhausted, "no room for another refused destination", Origin::Kernel);
  return fail_errno(errno, "note a refused destination", Origin::Kernel);
}

void BpfMaps::remove_refused(const tapdeck_refused_key& key) const {
  bpf_map_delete_elem(bpf_map__fd(cgroup_->maps.refused), &key);
}

bool BpfMaps::take_flow(const tapdeck_flow_key& key, tapdeck_flow& out) const {
  if (bpf_map_lookup_and_delete_elem(bpf_map__fd(cgroup_->maps.flows), &key, &out) != 0) return false;
  std::atomic_ref<__u64>(control_->flows_removed).fetch_add(1, std::memory_order_relaxed);
  return true;
}

bool BpfMaps::find_question(const tapdeck_flow_key& key, tapdeck_flow& out) const {
  return bpf_map_lookup_elem(bpf_map__fd(cgroup_->maps.questions), &key, &out) == 0;
}

void BpfMaps::disown_questions(uint32_t slot) const {
  const int fd = bpf_map__fd(cgroup_->maps.questions);
  tapdeck_flow_key key{};
  const void* previous = nullptr;
  const uint32_t most = bpf_map__max_entries(cgroup_->maps.questions);
  for (uint32_t step = 0; step < most && bpf_map_get_next_key(fd, previous, &key) == 0; ++step) {
    previous = &key;
    tapdeck_flow flow{};
    if (bpf_map_lookup_elem(fd, &key, &flow) != 0 || flow.target != slot) continue;
    flow.target = kNoTarget;
    bpf_map_update_elem(fd, &key, &flow, BPF_EXIST);
  }
}

uint64_t BpfMaps::sweep_flows(uint64_t now_ns, uint64_t max_age_ns) const {
  const int fd = bpf_map__fd(cgroup_->maps.flows);
  std::vector<tapdeck_flow_key> stale;
  tapdeck_flow_key key{};
  tapdeck_flow flow{};
  const void* previous = nullptr;
  // Where `previous` was taken meanwhile the kernel begins anew: under churn the walk might never end, and what it
  // meets twice is removed once. What it misses has its turn with the next sweep.
  for (uint64_t step = 0; step < control_->flows_capacity && bpf_map_get_next_key(fd, previous, &key) == 0; ++step) {
    previous = &key;
    const bool found = bpf_map_lookup_elem(fd, &key, &flow) == 0;
    if (found && flow.created_ns + max_age_ns < now_ns) stale.push_back(key);
  }
  uint64_t removed = 0;
  for (const auto& old : stale) removed += take_flow(old, flow) ? 1 : 0;
  return removed;
}

Result<void> BpfMaps::set_tc_listener(uint32_t slot, Endpoint::Family family, unsigned worker, int listener_fd) const {
  const uint32_t index = (slot * 2 + (family == Endpoint::Family::V6 ? 1 : 0)) * TAPDECK_MAX_WORKERS + worker;
  const auto value = static_cast<uint64_t>(listener_fd);
  if (bpf_map_update_elem(bpf_map__fd(tc_->maps.tc_listeners), &index, &value, BPF_ANY) != 0) {
    return fail_errno(errno, "put listener into the sockmap", Origin::Kernel);
  }
  return {};
}

Result<void> BpfMaps::set_tc_door(uint32_t slot, Endpoint::Family family, int door_fd) const {
  const uint32_t index = slot * 2 + (family == Endpoint::Family::V6 ? 1 : 0);
  const auto value = static_cast<uint64_t>(door_fd);
  if (bpf_map_update_elem(bpf_map__fd(tc_->maps.tc_doors), &index, &value, BPF_ANY) != 0) {
    return fail_errno(errno, "put the door for names into the sockmap", Origin::Kernel);
  }
  return {};
}

Result<void> BpfMaps::add_host_address(const tapdeck_address& address) const {
  const uint32_t yes = 1;
  if (bpf_map_update_elem(bpf_map__fd(tc_->maps.host_addresses), &address, &yes, BPF_ANY) == 0) return {};
  if (errno == E2BIG) return fail(Code::Exhausted, "no room for another address of this host", Origin::Kernel);
  return fail_errno(errno, "note an address of this host", Origin::Kernel);
}

void BpfMaps::remove_host_address(const tapdeck_address& address) const {
  bpf_map_delete_elem(bpf_map__fd(tc_->maps.host_addresses), &address);
}

bool has_set_retval() {
  return libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval, nullptr) == 1;
}

uint64_t pinned_cgroup_id(const std::string& path) {
  const UniqueFd fd(bpf_obj_get(path.c_str()));
  bpf_link_info info{};
  __u32 size = sizeof(info);
  if (!fd || bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0 || info.type != BPF_LINK_TYPE_CGROUP) return 0;
  return info.cgroup.cgroup_id;
}

uint32_t pinned_program(const std::string& path) {
  const UniqueFd fd(bpf_obj_get(path.c_str()));
  bpf_link_info info{};
  __u32 size = sizeof(info);
  return fd && bpf_obj_get_info_by_fd(fd.get(), &info, &size) == 0 ? info.prog_id : 0;
}

void release_pin(const std::string& path) {
  // Unlinking alone leaves the last release to a work queue: the programs would go on for a moment.
  if (const UniqueFd fd(bpf_obj_get(path.c_str())); fd) bpf_link_detach(fd.get());
  ::unlink(path.c_str());
}

struct CgroupPrograms::Links {
  struct Link {
    bpf_link* link = nullptr;
    std::string pinned;
    std::string name;  // of its pin
  };
  std::vector<Link> all;
  std::vector<Link> filters;
  [[nodiscard]] std::vector<Link*> attached() {
    std::vector<Link*> out;
    for (Link& link : filters) out.push_back(&link);
    for (Link& link : all) out.push_back(&link);
    return out;
  }
};

CgroupPrograms::CgroupPrograms() : links_(std::make_unique<Links>()) {}

CgroupPrograms::~CgroupPrograms() {
  drop_links();
  tapdeck_cgroup__destroy(skeleton_);
}

void CgroupPrograms::drop_links() {
  // Reverse order: nothing is rewritten any more when sock_ops goes.
  for (auto i = links_->all.rbegin(); i != links_->all.rend(); ++i) bpf_link__destroy(i->link);
  links_->all.clear();
  for (const Links::Link& filter : links_->filters) bpf_link__destroy(filter.link);
  links_->filters.clear();
}

void CgroupPrograms::detach() {
  unpin();
  drop_links();
}

namespace {

// As BPF programs see us; 0 inside a pid namespace of a container, where that number is not to be had.
uint32_t tgid_for_programs() {
  constexpr ino_t kFirstPidNamespace = 0xEFFFFFFC;  // PROC_PID_INIT_INO
  struct stat info{};
  const bool is_first = ::stat("/proc/self/ns/pid", &info) == 0 && info.st_ino == kFirstPidNamespace;
  return is_first ? static_cast<uint32_t>(::getpid()) : 0;
}

}  // namespace

Result<std::unique_ptr<CgroupPrograms>> CgroupPrograms::load(const BpfMaps& maps, uint32_t slot, uint32_t mark) {
  std::unique_ptr<CgroupPrograms> out(new CgroupPrograms());
  out->skeleton_ = tapdeck_cgroup__open();
  if (out->skeleton_ == nullptr) return fail_libbpf(errno, "open BPF object");
  out->skeleton_->rodata->target_slot = slot;
  out->skeleton_->rodata->own_mark = mark;
  out->skeleton_->rodata->own_tgid = tgid_for_programs();
  out->skeleton_->rodata->has_set_retval = kernel::has_set_retval() ? 1 : 0;
  TRY_VOID(share_maps(out->skeleton_->obj, [&](const char* name) { return maps.map_fd(name); }));
  forget_complaint();
  if (const int error = tapdeck_cgroup__load(out->skeleton_); error != 0) {
    return fail_libbpf(error, "load the cgroup programs");
  }
  return out;
}

Result<void> CgroupPrograms::attach(int cgroup_fd) {
  const auto& programs = skeleton_->progs;
  bpf_program* const order[] = {
      programs.tapdeck_sockops,      programs.tapdeck_getpeername4, programs.tapdeck_getpeername6,
      programs.tapdeck_getsockname4, programs.tapdeck_getsockname6, programs.tapdeck_sock_create,
      programs.tapdeck_recvmsg4,     programs.tapdeck_recvmsg6,     programs.tapdeck_sendmsg4,
      programs.tapdeck_sendmsg6,     programs.tapdeck_connect4,     programs.tapdeck_connect6};
  for (bpf_program* program : order) {
    bpf_link* link = bpf_program__attach_cgroup(program, cgroup_fd);
    if (link == nullptr) return fail_libbpf(errno, std::string("attach ") + bpf_program__name(program));
    links_->all.push_back({link, {}, std::to_string(links_->all.size())});
  }
  return {};
}

uint32_t CgroupPrograms::connect_program() const {
  bpf_prog_info info{};
  __u32 size = sizeof(info);
  const int fd = bpf_program__fd(skeleton_->progs.tapdeck_connect4);
  return bpf_obj_get_info_by_fd(fd, &info, &size) == 0 ? info.id : 0;
}

Result<void> CgroupPrograms::attach_filters(int cgroup_fd) {
  if (!links_->filters.empty()) return {};
  bpf_program* const egress = skeleton_->progs.tapdeck_egress;
  bpf_program* const ingress = skeleton_->progs.tapdeck_ingress_of_names;
  for (bpf_program* program : {egress, ingress}) {
    bpf_link* link = bpf_program__attach_cgroup(program, cgroup_fd);
    if (link == nullptr) {
      auto failed = fail_libbpf(errno, std::string("attach ") + bpf_program__name(program));
      detach_filters();
      return failed;
    }
    links_->filters.push_back({link, {}, program == egress ? "filter" : "filter-in"});
  }
  return {};
}

void CgroupPrograms::detach_filters() {
  for (const Links::Link& filter : links_->filters) {
    if (!filter.pinned.empty()) bpf_link__unpin(filter.link);
    bpf_link__destroy(filter.link);
  }
  links_->filters.clear();
}

Result<void> CgroupPrograms::pin(const std::string& prefix) {
  for (Links::Link* link : links_->attached()) {
    if (!link->pinned.empty()) continue;
    const std::string path = prefix + link->name;
    if (const int error = bpf_link__pin(link->link, path.c_str()); error != 0) {
      unpin();
      return fail_libbpf(error, "pin " + path);
    }
    link->pinned = path;
  }
  return {};
}

void CgroupPrograms::unpin() {
  for (Links::Link* link : links_->attached()) {
    if (!link->pinned.empty()) bpf_link__unpin(link->link);
    link->pinned.clear();
  }
}

Result<std::unique_ptr<TcProgram>> TcProgram::load(const BpfMaps& maps, uint32_t slot, uint32_t mark,
                                                   uint32_t l2_length, unsigned workers) {
  std::unique_ptr<TcProgram> out(new TcProgram());
  out->skeleton_ = tapdeck_tc__open();
  if (out->skeleton_ == nullptr) return fail_libbpf(errno, "open BPF object");
  out->skeleton_->rodata->target_slot = slot;
  out->skeleton_->rodata->own_mark = mark;
  out->skeleton_->rodata->l2_length = l2_length;
  out->skeleton_->rodata->workers = workers;
  TRY_VOID(share_maps(out->skeleton_->obj, [&](const char* name) { return maps.map_fd(name); }));
  forget_complaint();
  if (const int error = tapdeck_tc__load(out->skeleton_); error != 0) return fail_libbpf(error, "load the tc program");
  return out;
}

TcProgram::~TcProgram() {
  tapdeck_tc__destroy(skeleton_);
}

int TcProgram::fd() const {
  return bpf_program__fd(skeleton_->progs.tapdeck_ingress);
}

}  // namespace tapdeck::kernel
