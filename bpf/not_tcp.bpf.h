/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * not_tcp.bpf.h: sockets that cannot be captured: datagrams, raw sockets, other transports. Counted; refused where the
 * target is sealed, and QUIC always, so that its client falls back to TCP.
 */
#ifndef TAPDECK_NOT_TCP_BPF_H
#define TAPDECK_NOT_TCP_BPF_H

#include "ask.bpf.h"
#include "cgroup_state.bpf.h"

static __always_inline __u32 reason_of_udp(__u16 port) {
  return port == 443 ? TAPDECK_QUIC : port == 53 ? TAPDECK_DNS : TAPDECK_UDP;
}

/* Passes, and is told of: watch.bpf.h. */
static __always_inline int is_observed(const struct tapdeck_target* t) {
  return t->names == TAPDECK_NAMES_OBSERVED && !t->sealed && lease_is_valid();
}

/* Datagrams and whatever else connect or sendmsg shows that is not TCP. Counted once a socket. */
static __always_inline int not_tcp(struct bpf_sock_addr* ctx, const struct tapdeck_target* t,
                                   const struct destination* d, __u64 cookie) {
  __u32 reason = ctx->protocol == IPPROTO_UDP ? reason_of_udp(d->port) : TAPDECK_OTHER;
  struct bpf_sock* sk = ctx->sk;
  struct tapdeck_socket* state = 0;

  if (reason == TAPDECK_DNS && is_observed(t)) {
    if (sk) state = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    if (state) state->key.netns_cookie = cookie;
    return 1;
  }
  /* A stub resolver on loopback would carry the question out of the machine: no exception for it when sealed. */
  if (is_loopback(d) && !(t->sealed && reason == TAPDECK_DNS)) return 1;
  if (sk) state = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (!state || !state->counted) count_one(target_slot, reason);
  if (state) state->counted = 1;
  if (t->sealed) return refuse_sealed(d, reason, ctx->protocol, cookie);
  return reason == TAPDECK_QUIC && !is_lapsed(t) ? say_no(ECONNREFUSED) : 1;
}

/* Our own sockets pass, by their mark. Of a sealed target that is not enough: whoever may set marks could leave it, a
 * tapdeck in it too. */
static __always_inline int is_our_own(const struct tapdeck_target* t, const struct bpf_sock* sk) {
  if (sk->mark != own_mark) return 0;
  return !t->sealed || !own_tgid || bpf_get_current_pid_tgid() >> 32 == own_tgid;
}

/* Only packets of a ping socket show where it writes to, and they do not show who wrote. */
static __always_inline int on_create_datagram(struct bpf_sock* ctx, const struct tapdeck_target* t) {
  struct tapdeck_socket* state;

  if (!t->sealed || (ctx->protocol != IPPROTO_ICMP && ctx->protocol != IPPROTO_ICMPV6)) return 1;
  state = bpf_sk_storage_get(&sockets, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (state) note_caller(state);
  return 1;
}

/* Raw sockets and transports without a connect hook show themselves only here. Also the earliest moment to ask for
 * listeners: most clients resolve a name between here and their first TCP connect. */
static __always_inline int on_sock_create(struct bpf_sock* ctx) {
  __u32 slot = target_slot;
  const struct tapdeck_target* t = bpf_map_lookup_elem(&targets, &slot);
  struct destination none = {};
  __u64 cookie;
  __u32 reason;

  if (!t || !t->active) return 1;
  cookie = bpf_get_netns_cookie(ctx);
  if (lease_is_valid() && !bpf_map_lookup_elem(&netns_listeners, &cookie)) ask_for_listeners(cookie);
  if (ctx->type == SOCK_RAW)
    reason = TAPDECK_RAW;
  else if (ctx->type == SOCK_STREAM && (ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_MPTCP_NUMBER))
    return 1;
  else if (ctx->type == SOCK_DGRAM) /* UDP, ping: connect and sendmsg decide, or the packets themselves */
    return on_create_datagram(ctx, t);
  else
    reason = TAPDECK_OTHER;
  count_one(target_slot, reason);
  if (!t->sealed) return 1;
  return refuse_sealed(&none, reason, (__u8)ctx->protocol, cookie);
}

#endif
