#include "daemon/kernel/tc_filter.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <sstream>

#include "daemon/kernel/bpf_object.h"
#include "daemon/kernel/rtnetlink.h"

namespace tapdeck::kernel {
namespace {

constexpr uint32_t kHandle = 0x7a;
constexpr uint32_t kPrioritiesTried = 16;

// libbpf complains of each filter that is not there, which is no failure here: neither on standard error, nor kept for
// one that comes.
struct Quiet {
  Quiet() { keep_complaints(); }
  ~Quiet() { forget_complaint(); }
};

bpf_tc_hook ingress_of(int ifindex) {
  bpf_tc_hook hook{};
  hook.sz = sizeof(hook);
  hook.ifindex = ifindex;
  hook.attach_point = BPF_TC_INGRESS;
  return hook;
}

bpf_tc_opts place_of(const TcFilter& filter) {
  bpf_tc_opts options{};
  options.sz = sizeof(options);
  options.handle = filter.handle;
  options.priority = filter.priority;
  return options;
}

// What was to be removed is not there: of the filter, of clsact (EINVAL), of the interface.
bool is_gone(int error) {
  return error == -ENOENT || error == -EINVAL || error == -ENODEV;
}

Result<uint32_t> id_of(int program_fd) {
  bpf_prog_info info{};
  __u32 size = sizeof(info);
  if (bpf_obj_get_info_by_fd(program_fd, &info, &size) != 0) {
    return fail_errno(errno, "ask for the tc program's id", Origin::Kernel);
  }
  return info.id;
}

// Unless someone else has come to use it.
Result<void> remove_clsact(int ifindex) {
  const auto left = count_tc_filters(ifindex);
  if (!left || *left != 0) return {};
  bpf_tc_hook hook = ingress_of(ifindex);
  hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
  const int error = bpf_tc_hook_destroy(&hook);
  if (error != 0 && !is_gone(error)) return fail_errno(-error, "remove clsact", Origin::Kernel);
  return {};
}

}  // namespace

std::string TcFilter::to_record() const {
  std::ostringstream text;
  text << ifindex << ' ' << handle << ' ' << priority << ' ' << program_id << ' ' << (made_qdisc ? 1 : 0) << ' '
       << (is_closed ? 1 : 0) << '\n';
  return text.str();
}

std::optional<TcFilter> TcFilter::from_record(const std::string& text) {
  TcFilter out;
  int made = 0;
  std::istringstream in(text);
  if (!(in >> out.ifindex >> out.handle >> out.priority >> out.program_id >> made) || out.ifindex <= 0) return {};
  out.made_qdisc = made != 0;
  int closed = 0;
  if (in >> closed) out.is_closed = closed != 0;
  return out;
}

Result<TcFilter> attach_tc_filter(int ifindex, uint32_t first_priority, int program_fd, MadeBefore made_before,
                                  const FilterRecorder& record) {
  const Quiet quiet;
  TcFilter filter;
  filter.ifindex = ifindex;
  filter.handle = kHandle;
  filter.priority = first_priority;
  TRY(program_id, id_of(program_fd));
  filter.program_id = program_id;
  TRY(has_one, has_clsact(ifindex));
  filter.made_qdisc = made_before == MadeBefore::Yes || !has_one;
  TRY_VOID(record(filter));
  bpf_tc_hook hook = ingress_of(ifindex);
  const int made = bpf_tc_hook_create(&hook);
  if (made != 0 && made != -EEXIST) return fail_errno(-made, "add clsact (needs CAP_NET_ADMIN)", Origin::Kernel);
  int error = 0;
  for (uint32_t i = 0; i < kPrioritiesTried; ++i) {
    filter.priority = first_priority + i;
    if (i > 0) TRY_VOID(record(filter));
    bpf_tc_opts options{};
    options.sz = sizeof(options);
    options.prog_fd = program_fd;
    options.handle = filter.handle;
    options.priority = filter.priority;
    error = bpf_tc_attach(&hook, &options);
    if (error == 0) return filter;
    if (error != -EEXIST) break;
  }
  if (made == 0) ignore(remove_clsact(ifindex), "the first error is the one to report");
  return fail_errno(-error, "add tc filter (needs CAP_NET_ADMIN)", Origin::Kernel);
}

std::set<uint32_t> tc_programs_on(int ifindex) {
  const Quiet quiet;
  std::set<uint32_t> out;
  const bpf_tc_hook hook = ingress_of(ifindex);
  TcFilter place{.ifindex = ifindex, .handle = kHandle};
  for (uint32_t i = 0; i < kPrioritiesTried; ++i) {
    place.priority = kFirstFilterPriority + i;
    bpf_tc_opts query = place_of(place);
    const int error = bpf_tc_query(&hook, &query);
    if (error == 0) out.insert(query.prog_id);
    if (error == -EINVAL) break;  // there is no clsact, or no filter in it at all
  }
  return out;
}

bool is_attached(const TcFilter& filter) {
  const Quiet quiet;
  const bpf_tc_hook hook = ingress_of(filter.ifindex);
  bpf_tc_opts query = place_of(filter);
  const int error = bpf_tc_query(&hook, &query);
  if (error == 0) return query.prog_id == filter.program_id;
  return error != -ENOENT && error != -EINVAL;  // EINVAL: there is no clsact, or no filter in it at all
}

Result<void> detach_tc_filter(const TcFilter& filter) {
  const Quiet quiet;
  const bpf_tc_hook hook = ingress_of(filter.ifindex);
  bpf_tc_opts query = place_of(filter);
  if (bpf_tc_query(&hook, &query) == 0 && query.prog_id == filter.program_id) {
    const bpf_tc_opts options = place_of(filter);
    const int error = bpf_tc_detach(&hook, &options);
    if (error != 0 && !is_gone(error)) return fail_errno(-error, "remove tc filter", Origin::Kernel);
  }
  return filter.made_qdisc ? remove_clsact(filter.ifindex) : Result<void>();
}

}  // namespace tapdeck::kernel
