/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * names.bpf.h: getpeername, getsockname and recvfrom of a rewritten socket, answered as if nothing had been rewritten.
 */
#ifndef TAPDECK_NAMES_BPF_H
#define TAPDECK_NAMES_BPF_H

#include "cgroup_state.bpf.h"
#include "door.bpf.h"

/* What is known of this socket if it was sent elsewhere than it wanted. */
static __always_inline const struct tapdeck_socket* rewritten_socket(struct bpf_sock_addr* ctx) {
  struct bpf_sock* sk = ctx->sk;
  struct tapdeck_socket* state = sk ? bpf_sk_storage_get(&sockets, sk, 0, 0) : 0;

  return state && state->rewritten ? state : 0;
}

static __always_inline void show_destination4(struct bpf_sock_addr* ctx) {
  const struct tapdeck_socket* state = rewritten_socket(ctx);

  if (state && ctx->user_ip4 == *(__u32*)&state->key.listener[12] &&
      bpf_ntohs((__u16)ctx->user_port) == state->key.listener_port) {
    ctx->user_ip4 = *(__u32*)&state->flow.original[12];
    ctx->user_port = bpf_htons(state->flow.original_port);
  }
}

static __always_inline void show_destination6(struct bpf_sock_addr* ctx) {
  const struct tapdeck_socket* state = rewritten_socket(ctx);
  struct destination d = {};

  read_v6(ctx, &d);
  if (state && d.port == state->key.listener_port && d.word[3] == *(__u32*)&state->key.listener[12] &&
      d.word[2] == *(__u32*)&state->key.listener[8]) {
    ctx->user_ip6[0] = *(__u32*)&state->flow.original[0];
    ctx->user_ip6[1] = *(__u32*)&state->flow.original[4];
    ctx->user_ip6[2] = *(__u32*)&state->flow.original[8];
    ctx->user_ip6[3] = *(__u32*)&state->flow.original[12];
    ctx->user_port = bpf_htons(state->flow.original_port);
  }
}

/* Who sent a datagram that comes from a door of ours: the resolver that was asked there. */
static __always_inline void show_resolver4(struct bpf_sock_addr* ctx) {
  const struct tapdeck_resolver* r;
  struct bpf_sock* sk = ctx->sk;
  struct destination d = {};

  read_v4(ctx, &d);
  r = sk ? resolver_behind(bpf_sk_storage_get(&sockets, sk, 0, 0), &d) : 0;
  if (!r) return;
  ctx->user_ip4 = *(const __u32*)&r->address[12];
  ctx->user_port = bpf_htons(53);
}

static __always_inline void show_resolver6(struct bpf_sock_addr* ctx) {
  const struct tapdeck_resolver* r;
  struct bpf_sock* sk = ctx->sk;
  struct destination d = {};

  read_v6(ctx, &d);
  r = sk ? resolver_behind(bpf_sk_storage_get(&sockets, sk, 0, 0), &d) : 0;
  if (!r) return;
  ctx->user_ip6[0] = *(const __u32*)&r->address[0];
  ctx->user_ip6[1] = *(const __u32*)&r->address[4];
  ctx->user_ip6[2] = *(const __u32*)&r->address[8];
  ctx->user_ip6[3] = *(const __u32*)&r->address[12];
  ctx->user_port = bpf_htons(53);
}

/*
 * A rewritten socket without a bound source got loopback as its local address. The address it would have had is not
 * known to a hook; the namespace's preferred source is the best answer, and exact with one interface.
 */
static __always_inline void show_source4(struct bpf_sock_addr* ctx) {
  const struct tapdeck_socket* state = rewritten_socket(ctx);
  struct tapdeck_netns* ns;
  struct destination d = {};

  read_v4(ctx, &d);
  if (!state || d.word[3] == 0 || !is_loopback(&d)) return;
  ns = bpf_map_lookup_elem(&netns_listeners, &state->key.netns_cookie);
  if (ns && ns->source4_be) ctx->user_ip4 = ns->source4_be;
}

static __always_inline void show_source6(struct bpf_sock_addr* ctx) {
  const struct tapdeck_socket* state = rewritten_socket(ctx);
  struct tapdeck_netns* ns;
  struct destination d = {};

  read_v6(ctx, &d);
  if (!state || d.word[3] == 0 || !is_loopback(&d)) return;
  ns = bpf_map_lookup_elem(&netns_listeners, &state->key.netns_cookie);
  if (!ns) return;
  if (d.v4) {
    if (ns->source4_be) ctx->user_ip6[3] = ns->source4_be;
  } else if (*(__u32*)&ns->source6[0]) {
    ctx->user_ip6[0] = *(__u32*)&ns->source6[0];
    ctx->user_ip6[1] = *(__u32*)&ns->source6[4];
    ctx->user_ip6[2] = *(__u32*)&ns->source6[8];
    ctx->user_ip6[3] = *(__u32*)&ns->source6[12];
  }
}

#endif
