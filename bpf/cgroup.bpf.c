// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * cgroup.bpf.c: the cgroup path. connect4/6 send a TCP socket of the target to one of our loopback listeners in its
 * own network namespace; sock_ops notes, before the SYN leaves, who it is and where it wanted to go; getpeername and
 * getsockname hide the rewrite; sendmsg and sock_create see what is not TCP, egress all packets of a sealed target.
 * Questions for names are watched in passing (egress, ingress), or go to our door (connect, sendmsg), whose answers
 * recvmsg shows as the resolver's.
 * Kernel 5.15 and newer.
 *
 * Verdicts of cgroup hooks: 1 = go on, 0 = refuse.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "cgroup_state.bpf.h"
#include "connect.bpf.h"
#include "discard.bpf.h"
#include "door.bpf.h"
#include "egress.bpf.h"
#include "flow_entry.bpf.h"
#include "names.bpf.h"
#include "not_tcp.bpf.h"
#include "watch.bpf.h"

SEC("cgroup/connect4")
int tapdeck_connect4(struct bpf_sock_addr* ctx) {
  struct destination d = {};
  __u32 listener[4] = {};
  __u16 port_be = 0;
  int rewrite = 0, verdict;

  read_v4(ctx, &d);
  verdict = on_connect(ctx, &d, listener, &port_be, &rewrite);
  if (rewrite) {
    ctx->user_ip4 = listener[3];
    ctx->user_port = port_be;
  }
  return verdict;
}

SEC("cgroup/connect6")
int tapdeck_connect6(struct bpf_sock_addr* ctx) {
  struct destination d = {};
  __u32 listener[4] = {};
  __u16 port_be = 0;
  int rewrite = 0, verdict;

  read_v6(ctx, &d);
  verdict = on_connect(ctx, &d, listener, &port_be, &rewrite);
  if (rewrite) { /* v4-mapped goes to ::ffff:127.x, the rest (V6ONLY sockets too) to ::1 */
    ctx->user_ip6[0] = listener[0];
    ctx->user_ip6[1] = listener[1];
    ctx->user_ip6[2] = listener[2];
    ctx->user_ip6[3] = listener[3];
    ctx->user_port = port_be;
  }
  return verdict;
}

SEC("cgroup/sendmsg4")
int tapdeck_sendmsg4(struct bpf_sock_addr* ctx) {
  struct destination d = {};
  __u32 listener[4] = {};
  __u16 port_be = 0;
  int rewrite = 0, verdict;

  read_v4(ctx, &d);
  verdict = on_sendmsg(ctx, &d, listener, &port_be, &rewrite);
  if (rewrite) {
    ctx->user_ip4 = listener[3];
    ctx->user_port = port_be;
  } else if (!is_loopback(&d) && came_from_loopback(ctx->sk)) {
    ctx->msg_src_ip4 = 0;
  }
  return verdict;
}

SEC("cgroup/sendmsg6")
int tapdeck_sendmsg6(struct bpf_sock_addr* ctx) {
  struct destination d = {};
  __u32 listener[4] = {};
  __u16 port_be = 0;
  int rewrite = 0, verdict;

  read_v6(ctx, &d);
  verdict = on_sendmsg(ctx, &d, listener, &port_be, &rewrite);
  if (rewrite) {
    ctx->user_ip6[0] = listener[0];
    ctx->user_ip6[1] = listener[1];
    ctx->user_ip6[2] = listener[2];
    ctx->user_ip6[3] = listener[3];
    ctx->user_port = port_be;
  } else if (!d.v4 && !is_loopback(&d) && came_from_loopback(ctx->sk)) {
    ctx->msg_src_ip6[0] = 0;
    ctx->msg_src_ip6[1] = 0;
    ctx->msg_src_ip6[2] = 0;
    ctx->msg_src_ip6[3] = 0;
  }
  return verdict;
}

SEC("cgroup/recvmsg4")
int tapdeck_recvmsg4(struct bpf_sock_addr* ctx) {
  show_resolver4(ctx);
  return 1;
}

SEC("cgroup/recvmsg6")
int tapdeck_recvmsg6(struct bpf_sock_addr* ctx) {
  show_resolver6(ctx);
  return 1;
}

SEC("cgroup/getpeername4")
int tapdeck_getpeername4(struct bpf_sock_addr* ctx) {
  show_destination4(ctx);
  return 1;
}

SEC("cgroup/getpeername6")
int tapdeck_getpeername6(struct bpf_sock_addr* ctx) {
  show_destination6(ctx);
  return 1;
}

SEC("cgroup/getsockname4")
int tapdeck_getsockname4(struct bpf_sock_addr* ctx) {
  show_source4(ctx);
  return 1;
}

SEC("cgroup/getsockname6")
int tapdeck_getsockname6(struct bpf_sock_addr* ctx) {
  show_source6(ctx);
  return 1;
}

SEC("cgroup/sock_create")
int tapdeck_sock_create(struct bpf_sock* ctx) {
  return on_sock_create(ctx);
}

SEC("cgroup_skb/egress")
int tapdeck_egress(struct __sk_buff* ctx) {
  return on_egress(ctx);
}

SEC("cgroup_skb/ingress")
int tapdeck_ingress_of_names(struct __sk_buff* ctx) {
  return on_ingress(ctx);
}

SEC("sockops")
int tapdeck_sockops(struct bpf_sock_ops* ctx) {
  on_sock_ops(ctx);
  return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
