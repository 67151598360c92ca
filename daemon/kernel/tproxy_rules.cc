#include "daemon/kernel/tproxy_rules.h"

#include <nftables/libnftables.h>

#include <cerrno>
#include <charconv>
#include <memory>
#include <string_view>

#include "daemon/kernel/local_routes.h"

namespace tapdeck::kernel {
namespace {

constexpr std::string_view kPackets = "packets ";

// What nft would print.
Result<std::string> nft(const std::string& command) {
  const std::unique_ptr<nft_ctx, void (*)(nft_ctx*)> context(::nft_ctx_new(NFT_CTX_DEFAULT), &::nft_ctx_free);
  if (!context) return fail(Code::Exhausted, "nftables: no memory", Origin::Kernel);
  ::nft_ctx_buffer_output(context.get());
  ::nft_ctx_buffer_error(context.get());
  if (::nft_run_cmd_from_buffer(context.get(), command.c_str()) == 0) return ::nft_ctx_get_output_buffer(context.get());
  const int error = errno;
  const std::string_view said = ::nft_ctx_get_error_buffer(context.get());
  const std::string first(said.substr(0, said.find('\n')));
  if (error == EPERM || error == EACCES || first.find("not permitted") != std::string::npos) {
    return fail(Code::Permission, "nftables: " + first, Origin::Kernel);
  }
  return fail(Code::Unsupported, "nftables: " + first + " (kernel modules nft_tproxy, nft_socket, nft_reject_inet)",
              Origin::Kernel);
}

// The chain's lines for one family.
std::string family_rules(const char* ip, const std::string& own, const std::string& to) {
  const std::string here = std::string("    ") + ip + " daddr { " + own + " }";
  return here + " socket transparent 0 accept\n" + "    meta l4proto tcp tproxy " + ip + " to " + to + " accept\n" +
         here + " accept\n";
}

Result<uint64_t> packets_of(const char* counter) {
  TRY(said, nft(std::string("list counter inet tapdeck ") + counter));
  const size_t at = said.find(kPackets);
  uint64_t packets = 0;
  if (at == std::string::npos) return fail(Code::Internal, "nftables says nothing of a counter", Origin::Kernel);
  std::from_chars(said.data() + at + kPackets.size(), said.data() + said.size(), packets);
  return packets;
}

}  // namespace

// To an address of the namespace itself a packet goes on where a socket that is not ours has it (a server of the
// command's, or either end of a connection to one); else, like everything TCP, to our listener. `transparent` and no
// other property: sockets in TIME_WAIT and half-open ones have that one, too.
std::string tproxy_rules(const Endpoint& v4, const Endpoint& v6) {
  std::string rules =
      "table inet tapdeck {\n"
      "  counter n_udp { }\n"
      "  counter n_quic { }\n"
      "  counter n_other { }\n"
      "  chain arriving {\n"
      "    type filter hook prerouting priority mangle; policy accept;\n";
  rules += family_rules("ip", "127.0.0.0/8, " + local_source(Endpoint::Family::V4).ip(), v4.to_string());
  if (v6.family == Endpoint::Family::V6) {
    rules += family_rules("ip6", "::1, " + local_source(Endpoint::Family::V6).ip(), v6.to_string());
  }
  return rules +
         "    meta l4proto tcp accept\n"
         "    udp dport 53 accept\n"
         "    udp dport 443 counter name n_quic reject\n"
         "    meta l4proto udp counter name n_udp reject\n"
         "    counter name n_other reject\n"
         "  }\n"
         "}\n";
}

Result<void> set_tproxy_rules(const Endpoint& v4, const Endpoint& v6) {
  TRY(said, nft(tproxy_rules(v4, v6)));
  return {};
}

Result<RefusedPackets> refused_packets() {
  TRY(udp, packets_of("n_udp"));
  TRY(quic, packets_of("n_quic"));
  TRY(other, packets_of("n_other"));
  return RefusedPackets{udp, quic, other};
}

}  // namespace tapdeck::kernel
