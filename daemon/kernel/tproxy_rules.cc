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

// What the rules of IPv4 and IPv6 differ in.
struct Family {
  Endpoint::Family family;
  const char* ip;        // in a rule
  const char* type;      // of a set
  const char* digit;     // in the names of sets
  const char* loopback;  // addresses
};
constexpr Family kFamilies[] = {{Endpoint::Family::V4, "ip", "ipv4_addr", "4", "127.0.0.0/8"},
                                {Endpoint::Family::V6, "ip6", "ipv6_addr", "6", "::1"}};

std::string sets_of(const Family& of, const std::set<Endpoint>& host) {
  std::string own = of.loopback;
  for (const Endpoint& address : host) {
    if (address.family == of.family) own += ", " + address.ip();
  }
  const std::string digit(of.digit), type(of.type);
  return "  set own" + digit + " { type " + type + "; flags interval; auto-merge; elements = { " + own + " } }\n" +
         "  set open" + digit + " { type " + type + " . inet_service; }\n" +  //
         "  set any" + digit + " { type inet_service; }\n";
}

// To an address of this host a packet goes on where a socket that is not ours has it (a server of the command's, or
// either end of a connection to one). `transparent` and no other property: sockets in TIME_WAIT and half-open ones have
// that one, too.
std::string rules_of(const Family& of, const Endpoint& listener) {
  const std::string daddr = std::string("    ") + of.ip + " daddr ", digit(of.digit);
  const std::string ours = std::string(" tproxy ") + of.ip + " to " + listener.to_string() + " accept\n";
  return daddr + local_source(of.family).ip() + " accept\n" +         //
         daddr + "@own" + digit + " socket transparent 0 accept\n" +  //
         daddr + ". tcp dport @open" + digit + ours +                 //
         daddr + "@own" + digit + " tcp dport @any" + digit + ours +  //
         daddr + "@own" + digit + " meta l4proto tcp accept\n" +      //
         daddr + of.loopback + " accept\n" +                          //
         "    meta nfproto " + (of.family == Endpoint::Family::V4 ? "ipv4" : "ipv6") + " meta l4proto tcp" + ours;
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

std::string tproxy_rules(const TproxyPlan& plan) {
  std::string sets, rules;
  for (const Family& of : kFamilies) {
    const Endpoint& listener = of.family == Endpoint::Family::V4 ? plan.v4 : plan.v6;
    sets += sets_of(of, plan.host);
    if (listener.family == of.family) rules += rules_of(of, listener);
  }
  return "table inet tapdeck {\n"
         "  counter n_udp { }\n"
         "  counter n_quic { }\n"
         "  counter n_other { }\n" +
         sets +
         "  chain arriving {\n"
         "    type filter hook prerouting priority mangle; policy accept;\n" +
         rules +
         "    meta l4proto tcp accept\n"
         "    udp dport 53 accept\n"
         "    icmp type { destination-unreachable, time-exceeded, parameter-problem } accept\n"
         "    icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept\n"
         "    udp dport 443 counter name n_quic reject\n"
         "    meta l4proto udp counter name n_udp reject\n"
         "    counter name n_other reject\n"
         "  }\n"
         "}\n";
}

Result<void> set_tproxy_rules(const TproxyPlan& plan) {
  TRY(said, nft(tproxy_rules(plan)));
  return {};
}

std::string place_commands(const std::set<Endpoint>& places) {
  std::string out;
  for (const Family& of : kFamilies) {
    std::string open, any;
    for (const Endpoint& place : places) {
      if (place.family != of.family) continue;
      std::string& into = place.is_unspecified() ? any : open;
      if (!into.empty()) into += ", ";
      if (!place.is_unspecified()) into += place.ip() + " . ";
      into += std::to_string(place.port);
    }
    const std::string open_set = std::string("set inet tapdeck open") + of.digit,
                      any_set = std::string("set inet tapdeck any") + of.digit;
    out += "flush " + open_set + "\nflush " + any_set + "\n";
    if (!open.empty()) out += "add element " + open_set.substr(4) + " { " + open + " }\n";
    if (!any.empty()) out += "add element " + any_set.substr(4) + " { " + any + " }\n";
  }
  return out;
}

Result<void> set_places(const std::set<Endpoint>& places) {
  TRY(said, nft(place_commands(places)));
  return {};
}

Result<RefusedPackets> refused_packets() {
  TRY(udp, packets_of("n_udp"));
  TRY(quic, packets_of("n_quic"));
  TRY(other, packets_of("n_other"));
  return RefusedPackets{udp, quic, other};
}

}  // namespace tapdeck::kernel
