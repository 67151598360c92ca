#include "daemon/kernel/tc_filter.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <sstream>

#include "daemon/kernel/rtnetlink.h"

namespace tapdeck::kernel {
namespace {

constexpr uint32_t kHandle = 0x7a;
constexpr uint32_t kPrioritiesTried = 16;

bpf_tc_hook ingress_of(int ifindex) {
  bpf_tc_hook hook{};
  hook.sz = sizeof(hook);
  hook.ifindex = ifindex;
  hook.attach_point = BPF_TC_INGRESS;
  return hook;
}

}  // namespace

std::string TcFilter::to_record() const {
  std::ostringstream text;
  text << ifindex << ' ' << handle << ' ' << priority << ' ' << program_id << ' ' << (made_qdisc ? 1 : 0) << '\n';
  return text.str();
}

std::optional<TcFilter> TcFilter::from_record(const std::string& text) {
  TcFilter out;
  int made = 0;
  std::istringstream in(text);
  if (!(in >> out.ifindex >> out.handle >> out.priority >> out.program_id >> made) || out.ifindex <= 0) return {};
  out.made_qdisc = made != 0;
  return out;
}

Result<TcFilter> attach_tc_filter(int ifindex, uint32_t first_priority, int program_fd) {
  TcFilter filter;
  filter.ifindex = ifindex;
  bpf_tc_hook hook = ingress_of(ifindex);
  const int made = bpf_tc_hook_create(&hook);
  if (made != 0 && made != -EEXIST) return fail_errno(-made, "add clsact (needs CAP_NET_ADMIN)", Origin::Kernel);
  filter.made_qdisc = made == 0;
  int error = 0;
  for (uint32_t i = 0; i < kPrioritiesTried; ++i) {
    bpf_tc_opts options{};
    options.sz = sizeof(options);
    options.prog_fd = program_fd;
    options.handle = kHandle;
    options.priority = first_priority + i;
    error = bpf_tc_attach(&hook, &options);
    if (error == 0) {
      filter.handle = options.handle;
      filter.priority = options.priority;
      filter.program_id = options.prog_id;
      return filter;
    }
    if (error != -EEXIST) break;
  }
  if (filter.made_qdisc) {
    hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
    bpf_tc_hook_destroy(&hook);
  }
  return fail_errno(-error, "add tc filter (needs CAP_NET_ADMIN)", Origin::Kernel);
}

Result<void> detach_tc_filter(const TcFilter& filter) {
  bpf_tc_hook hook = ingress_of(filter.ifindex);
  bpf_tc_opts query{};
  query.sz = sizeof(query);
  query.handle = filter.handle;
  query.priority = filter.priority;
  if (bpf_tc_query(&hook, &query) == 0 && query.prog_id == filter.program_id) {
    bpf_tc_opts options{};
    options.sz = sizeof(options);
    options.handle = filter.handle;
    options.priority = filter.priority;
    const int error = bpf_tc_detach(&hook, &options);
    if (error != 0 && error != -ENOENT) return fail_errno(-error, "remove tc filter", Origin::Kernel);
  }
  if (!filter.made_qdisc) return {};
  const auto left = count_tc_filters(filter.ifindex);
  if (!left || *left != 0) return {};  // someone else has come to use our clsact
  hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
  const int error = bpf_tc_hook_destroy(&hook);
  if (error != 0 && error != -ENOENT && error != -ENODEV) return fail_errno(-error, "remove clsact", Origin::Kernel);
  return {};
}

}  // namespace tapdeck::kernel
