/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * discard.bpf.h: connect() of a UDP socket whose packets must not leave. It sends nothing, and resolvers do it to each
 * address of a name only to learn whether there is a route (RFC 6724). So it succeeds where it would have, towards a
 * loopback port where nobody listens: the first packet, if there is one, is answered with ECONNREFUSED.
 */
#ifndef TAPDECK_DISCARD_BPF_H
#define TAPDECK_DISCARD_BPF_H

#include "ask.bpf.h"
#include "cgroup_state.bpf.h"
#include "door.bpf.h"
#include "not_tcp.bpf.h"

/* Would the namespace have a source address? The daemon looks at the default route, and at addresses where there is
 * none: a destination on a link is then never called unreachable. */
static __always_inline int has_source(const struct tapdeck_netns* ns, const struct destination* d) {
  return d->v4 ? ns->source4_be != 0 : *(__u32*)&ns->source6[0] != 0 || is_link_local(d);
}

static __always_inline int discard(struct tapdeck_socket* state, const struct destination* d, __u64 cookie,
                                   __u32 listener[4], __u16* port_be) {
  listener[0] = 0;
  listener[1] = 0;
  listener[2] = d->v4 ? bpf_htonl(0xffff) : 0;
  listener[3] = d->v4 ? bpf_htonl(0x7f000001) : bpf_htonl(1);
  *port_be = bpf_htons(TAPDECK_DISCARD_PORT);
  note_elsewhere(state, d, cookie, listener, TAPDECK_DISCARD_PORT);
  state->rewritten = 1;
  return 1;
}

/* Where only resolvers connect, to see which addresses have a route (RFC 6724), and nobody sends: glibc without a
 * service or for http, Go, musl. */
static __always_inline int is_address_probe(__u16 port) {
  return port == 0 || port == 80 || port == 9 || port == 65535;
}

static __always_inline int on_connect_udp(struct bpf_sock_addr* ctx, const struct tapdeck_target* t,
                                          const struct destination* d, __u64 cookie, __u32 listener[4], __u16* port_be,
                                          int* rewrite) {
  __u32 reason = reason_of_udp(d->port);
  struct bpf_sock* sk = ctx->sk;
  int verdict = 1;
  enum leads leads;
  struct tapdeck_socket* state;
  struct tapdeck_netns* ns;

  if (!sk || already_rewritten(sk, d)) return 1;
  leads = lead_question(ctx, t, d, cookie, CONNECTS, listener, port_be, &verdict);
  *rewrite = leads == TO_DOOR;
  if (leads != ELSEWHERE) return verdict;
  if (reason == TAPDECK_QUIC && is_lapsed(t)) {
    count_one(target_slot, TAPDECK_LEASE);
    return 1;
  }
  if (is_loopback(d) || !(reason == TAPDECK_QUIC || (t->sealed && reason != TAPDECK_DNS)))
    return !t->sealed && is_address_probe(d->port) ? 1 : not_tcp(ctx, t, d, cookie);
  ns = bpf_map_lookup_elem(&netns_listeners, &cookie);
  if (!ns || sk->bound_dev_if) /* from a device even a loopback destination would leave by it */
    return not_tcp(ctx, t, d, cookie);
  if (!has_source(ns, d)) {
    ask_for_source(cookie);
    return say_no(ENETUNREACH);
  }
  state = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (!state) return not_tcp(ctx, t, d, cookie);
  *rewrite = discard(state, d, cookie, listener, port_be);
  return 1;
}

/* A socket that was connected to loopback by us got its source from there; a datagram to elsewhere needs the kernel's
 * own choice again. */
static __always_inline int came_from_loopback(struct bpf_sock* sk) {
  struct tapdeck_socket* state = sk ? bpf_sk_storage_get(&sockets, sk, 0, 0) : 0;

  return state && state->rewritten;
}

#endif
