/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * door.bpf.h: questions for names, UDP to port 53, of a target whose names we answer: they go to our door, a socket in
 * the client's own namespace, and answers from there look as if the resolver had sent them.
 *
 * Whom a datagram at the door was meant for is in `questions`, put there as the packet leaves (watch.bpf.h), since a
 * socket that connects has no source port yet.
 */
#ifndef TAPDECK_DOOR_BPF_H
#define TAPDECK_DOOR_BPF_H

#include "ask.bpf.h"
#include "cgroup_state.bpf.h"
#include "not_tcp.bpf.h"

static __always_inline int has_door(const struct tapdeck_netns* ns, const struct destination* d) {
  return d->v4 ? ns->door4.port_be != 0 : ns->door6_port_be != 0;
}

/* 1: it does, and *found knows. Else what becomes of other datagrams becomes of it. */
static __always_inline int goes_to_door(struct bpf_sock_addr* ctx, const struct tapdeck_target* t,
                                        const struct destination* d, __u64 cookie, __u32 listener[4], __u16* port_be,
                                        struct tapdeck_socket** found) {
  struct bpf_sock* sk = ctx->sk;
  struct tapdeck_netns* ns;

  if (t->names != TAPDECK_NAMES_ANSWERED || ctx->protocol != IPPROTO_UDP || d->port != 53) return 0;
  if (!sk || sk->bound_dev_if || is_link_local(d) || !lease_is_valid()) return 0;
  ns = bpf_map_lookup_elem(&netns_listeners, &cookie);
  if (!ns || !has_door(ns, d)) {
    ask_for_listeners(cookie);
    return 0;
  }
  *found = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (!*found) return 0;
  listener[0] = 0;
  listener[1] = 0;
  listener[2] = d->v4 ? bpf_htonl(0xffff) : 0;
  listener[3] = d->v4 ? ns->door4.address_be : bpf_htonl(1);
  *port_be = d->v4 ? ns->door4.port_be : ns->door6_port_be;
  note_elsewhere(*found, d, cookie, listener, bpf_ntohs(*port_be));
  (*found)->asks = 1;
  return 1;
}

/* An inner target, which runs before outer ones, has sent it there. */
static __always_inline int is_at_door(struct bpf_sock* sk, const struct destination* d) {
  struct tapdeck_socket* state = bpf_sk_storage_get(&sockets, sk, 0, 0);

  return state && state->asks && state->key.listener_port == d->port &&
         !__builtin_memcmp(state->key.listener, d->word, sizeof(d->word));
}

/* One datagram with a destination of its own. On 1 with *rewrite set, the caller stores listener and port. */
static __always_inline int on_sendmsg(struct bpf_sock_addr* ctx, const struct destination* d, __u32 listener[4],
                                      __u16* port_be, int* rewrite) {
  __u32 slot = target_slot;
  const struct tapdeck_target* t = bpf_map_lookup_elem(&targets, &slot);
  __u64 cookie = bpf_get_netns_cookie(ctx);
  struct bpf_sock* sk = ctx->sk;
  struct tapdeck_socket* state;

  if (!t || !t->active || !sk || is_our_own(t, sk) || is_at_door(sk, d)) return 1;
  *rewrite = goes_to_door(ctx, t, d, cookie, listener, port_be, &state);
  return *rewrite ? 1 : not_tcp(ctx, t, d, cookie);
}

#endif
