/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * connect.bpf.h: decides about one connect(): left alone, refused, or sent to which listener.
 */
#ifndef TAPDECK_CONNECT_BPF_H
#define TAPDECK_CONNECT_BPF_H

#include "ask.bpf.h"
#include "cgroup_state.bpf.h"
#include "discard.bpf.h"
#include "not_tcp.bpf.h"

static __always_inline int is_own_listener(const struct destination* d, __u64 cookie) {
  struct tapdeck_own_key key = {.netns_cookie = cookie, .port = d->port};

  __builtin_memcpy(key.address, d->word, sizeof(key.address));
  return bpf_map_lookup_elem(&own_listeners, &key) != 0;
}

static __always_inline int map_is_full(void) {
  __u32 zero = 0;
  struct tapdeck_control* c = bpf_map_lookup_elem(&control, &zero);

  return !c || *(volatile __u64*)&c->flows_inserted - *(volatile __u64*)&c->flows_removed >= c->flows_capacity;
}

/* Chooses a listener: fills listener (v4-mapped form) and its port. 0 = this family has none here. */
static __always_inline int choose_listener(struct tapdeck_netns* ns, __u8 v4, __u32 listener[4], __u16* port_be) {
  __u32 count = v4 ? ns->count4 : ns->count6;
  __u32 i;

  if (!count) return 0;
  i = __sync_fetch_and_add(&ns->next, 1) % count;
  i &= TAPDECK_MAX_LISTENERS - 1; /* for the verifier, every kernel: it does not bound a modulo */
  listener[0] = 0;
  listener[1] = 0;
  listener[2] = v4 ? bpf_htonl(0xffff) : 0;
  listener[3] = v4 ? ns->v4[i].address_be : bpf_htonl(1);
  *port_be = v4 ? ns->v4[i].port_be : ns->port6_be[i];
  return 1;
}

/* Nothing listened there when it was recorded. Without bpf_set_retval the daemon does it, by a reset. */
static __always_inline int was_refused(const struct tapdeck_target* t, const struct destination* d) {
  struct tapdeck_refused_key key = {.target = target_slot, .port = d->port};

  if (!has_set_retval || !t->refuses) return 0;
  __builtin_memcpy(key.address, d->word, sizeof(key.address));
  return bpf_map_lookup_elem(&refused, &key) != 0;
}

/* Decides about one connect. On 1 with *rewrite set, the caller stores listener and port into its context. */
static __always_inline int on_connect(struct bpf_sock_addr* ctx, const struct destination* d, __u32 listener[4],
                                      __u16* port_be, int* rewrite) {
  __u32 slot = target_slot;
  const struct tapdeck_target* t = bpf_map_lookup_elem(&targets, &slot);
  __u64 cookie = bpf_get_netns_cookie(ctx);
  struct bpf_sock* sk = ctx->sk;
  struct tapdeck_socket* state;
  struct tapdeck_netns* ns;

  if (!t || !t->active || !sk || is_our_own(t, sk)) return 1;
  if (ctx->type != SOCK_STREAM || (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_MPTCP_NUMBER))
    return ctx->protocol == IPPROTO_UDP ? on_connect_udp(ctx, t, d, cookie, listener, port_be, rewrite)
                                        : not_tcp(ctx, t, d, cookie);
  if (already_rewritten(sk, d)) return 1;
  if (is_loopback(d)) {
    if (is_own_listener(d, cookie)) return refuse(TAPDECK_REFUSED_LOOP);
    return t->sealed && d->port == 53 ? refuse_sealed(d, TAPDECK_DNS, IPPROTO_TCP, cookie) : 1;
  }
  if (!lease_is_valid()) return fall_back(t, TAPDECK_LEASE, TAPDECK_REFUSED_LEASE);
  if (sk->bound_dev_if || is_link_local(d)) {
    count_one(target_slot, TAPDECK_BOUND_DEVICE);
    return t->sealed ? refuse_sealed(d, TAPDECK_BOUND_DEVICE, IPPROTO_TCP, cookie) : 1;
  }
  if (was_refused(t, d)) {
    tell_refusal(TAPDECK_EVENT_REFUSED_AS_RECORDED, d, IPPROTO_TCP, cookie);
    return refuse(TAPDECK_REFUSED_AS_RECORDED);
  }
  if (map_is_full()) return fall_back(t, TAPDECK_MAP_FULL, TAPDECK_REFUSED_MAP_FULL);
  ns = bpf_map_lookup_elem(&netns_listeners, &cookie);
  if (!ns || !choose_listener(ns, d->v4, listener, port_be)) {
    ask_for_listeners(cookie);
    return fall_back(t, TAPDECK_NO_LISTENER, TAPDECK_REFUSED_NO_LISTENER);
  }
  state = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (!state) /* out of memory: same answer as a full map */
    return fall_back(t, TAPDECK_MAP_FULL, TAPDECK_REFUSED_MAP_FULL);
  note_identity(state, d, cookie);
  __builtin_memcpy(state->key.listener, listener, sizeof(state->key.listener));
  state->key.listener_port = bpf_ntohs(*port_be);
  state->rewritten = 1;
  count_one(target_slot, TAPDECK_CAPTURED);
  *rewrite = 1;
  return 1;
}

#endif
