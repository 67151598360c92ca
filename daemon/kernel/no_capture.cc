#include "daemon/kernel/no_capture.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace tapdeck::kernel {
namespace {

class NoCapture final : public Capture {
 public:
  explicit NoCapture(Error why) : why_(std::move(why)) {}

  Result<void> attach_cgroup(uint32_t, const std::string&, TargetPolicy) override { return std::unexpected(why_); }
  Result<void> attach_interface(uint32_t, const std::string&, TargetPolicy) override { return std::unexpected(why_); }
  Result<void> prepare_netns(uint32_t, int) override { return std::unexpected(why_); }
  Result<void> set_policy(uint32_t, TargetPolicy) override { return is_free(); }
  Result<size_t> refuse_as_recorded(uint32_t, const std::vector<Endpoint>&) override {
    return std::unexpected(is_free().error());
  }
  Result<void> detach(uint32_t) override { return is_free(); }
  Result<CapturedFlow> resolve(const ListenerKey&, const Endpoint&, const Endpoint&) override {
    return fail(Code::NotFound, "nothing is captured", Origin::Kernel);
  }
  Result<UniqueFd> upstream_socket(uint64_t netns_cookie, int family) override {
    if (netns_cookie != 0) return fail(Code::NotFound, "no network namespace but the own one is known", Origin::Kernel);
    UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    if (!fd) return fail_errno(errno, "socket");
    return fd;
  }
  void hold_predecessor(bool) override {}
  LeaseWas renew_lease() override { return LeaseWas::Kept; }
  uint64_t lapsed_flows() const override { return 0; }
  void keep_closed() override {}
  Stats stats() const override { return {}; }

 private:
  static Result<void> is_free() { return fail(Code::NotFound, "nothing is attached there", Origin::Kernel); }

  const Error why_;
};

}  // namespace

std::unique_ptr<Capture> no_capture(Error why) {
  return std::make_unique<NoCapture>(std::move(why));
}

}  // namespace tapdeck::kernel
