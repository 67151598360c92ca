#include "daemon/kernel/other_filters.h"

#include <net/if.h>

#include <memory>

#include "daemon/kernel/tc_filter.h"

namespace tapdeck::kernel {
namespace {

ProgramIds others_on(unsigned ifindex, const ProgramIds& ours) {
  ProgramIds out = tc_programs_on(static_cast<int>(ifindex));
  std::erase_if(out, [&](uint32_t id) { return ours.contains(id); });
  return out;
}

}  // namespace

Result<void> check_interface_not_taken(const std::string& interface_name, const ProgramIds& ours) {
  const unsigned ifindex = ::if_nametoindex(interface_name.c_str());
  const ProgramIds others = ifindex == 0 ? ProgramIds{} : others_on(ifindex, ours);
  if (others.empty()) return {};
  const auto holder = holder_of(others);
  if (!holder) return {};  // left by one that has ended
  return fail(Code::Busy,
              "another tapdeck, " + *holder + ", captures interface " + interface_name +
                  " already, and only the first sees its connections: detach it there",
              Origin::Kernel);
}

bool others_need(const Steering& steering, const ProgramIds& ours) {
  const std::unique_ptr<struct if_nameindex, void (*)(struct if_nameindex*)> list(::if_nameindex(),
                                                                                  &::if_freenameindex);
  ProgramIds all;
  for (const struct if_nameindex* one = list.get(); one != nullptr && one->if_index != 0; ++one) {
    all.merge(others_on(one->if_index, ours));
  }
  return !all.empty() && is_only_steering(steering) && holder_of(all).has_value();
}

}  // namespace tapdeck::kernel
