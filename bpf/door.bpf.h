/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * door.bpf.h: questions for names, UDP to port 53, of a target whose names we answer: they go to a door of ours, a
 * socket in the client's own namespace, and answers from there look as if the resolver had sent them.
 *
 * A socket that asks several resolvers has a door for each, so that it is known whom a datagram was meant for, and who
 * seems to answer. Who sent what arrives at a door is in `questions`, put there as the packet leaves (watch.bpf.h),
 * since a socket that connects has no source port yet.
 */
#ifndef TAPDECK_DOOR_BPF_H
#define TAPDECK_DOOR_BPF_H

#include "ask.bpf.h"
#include "cgroup_state.bpf.h"
#include "not_tcp.bpf.h"

enum calls { CONNECTS, SENDS };
enum leads { ELSEWHERE, TO_DOOR, DECIDED };

static __always_inline int is_resolver(const struct tapdeck_resolver* r, const struct destination* d) {
  return !__builtin_memcmp(r->address, d->word, sizeof(r->address));
}

/* The door of this resolver. More of them than doors share the last one. */
static __always_inline __u32 door_of(struct tapdeck_socket* state, const struct destination* d) {
  if (state->asks >= 1 && is_resolver(&state->resolver[0], d)) return 0;
  if (state->asks >= 2 && is_resolver(&state->resolver[1], d)) return 1;
  if (state->asks == 0) return 0;
  return state->asks == 1 ? 1 : 2;
}

static __always_inline void note_resolver(struct tapdeck_socket* state, const struct destination* d, __u64 cookie,
                                          __u32 door, __u16 port) {
  struct tapdeck_resolver* r = &state->resolver[door];

  if (state->asks <= door) state->asks = door + 1;
  __builtin_memcpy(r->address, d->word, sizeof(r->address));
  r->door_port = port;
  state->key.netns_cookie = cookie;
  state->flow.target = target_slot;
  state->flow.cgroup_id = bpf_get_current_cgroup_id();
  note_caller(state);
}

/*
 * Where a datagram, or a connect, to this destination leads. TO_DOOR: to listener and port. DECIDED: *verdict says.
 * ELSEWHERE: what becomes of other datagrams becomes of it. From a device even a loopback destination would leave by
 * it, and what names a link-local resolver as it sends has chosen its device already. Asked by us, such a resolver
 * would have no device: who is not sealed asks it himself.
 */
static __always_inline enum leads lead_question(struct bpf_sock_addr* ctx, const struct tapdeck_target* t,
                                                const struct destination* d, __u64 cookie, enum calls how,
                                                __u32 listener[4], __u16* port_be, int* verdict) {
  struct bpf_sock* sk = ctx->sk;
  struct tapdeck_socket* state;
  struct tapdeck_netns* ns;
  __u32 door;

  if (t->names != TAPDECK_NAMES_ANSWERED || ctx->protocol != IPPROTO_UDP || d->port != 53 || !sk) return ELSEWHERE;
  if (!lease_is_valid()) {
    *verdict = fall_back(t, TAPDECK_LEASE, TAPDECK_REFUSED_LEASE);
    return DECIDED;
  }
  if (sk->bound_dev_if || (is_link_local(d) && (how == SENDS || !t->sealed))) return ELSEWHERE;
  ns = bpf_map_lookup_elem(&netns_listeners, &cookie);
  state = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (!state) return ELSEWHERE;
  door = door_of(state, d) % TAPDECK_DOORS;
  *port_be = !ns ? 0 : d->v4 ? ns->door4[door].port_be : ns->door6_port_be[door];
  if (!ns || !*port_be) {
    ask_for_listeners(cookie);
    *verdict = fall_back(t, TAPDECK_NO_LISTENER, TAPDECK_REFUSED_NO_LISTENER);
    return DECIDED;
  }
  listener[0] = 0;
  listener[1] = 0;
  listener[2] = d->v4 ? bpf_htonl(0xffff) : 0;
  listener[3] = d->v4 ? ns->door4[door].address_be : bpf_htonl(1);
  note_resolver(state, d, cookie, door, bpf_ntohs(*port_be));
  if (how == CONNECTS) {
    __builtin_memcpy(state->key.listener, listener, sizeof(state->key.listener));
    state->key.listener_port = bpf_ntohs(*port_be);
    __builtin_memcpy(state->flow.original, d->word, sizeof(state->flow.original));
    state->flow.original_port = d->port;
    state->rewritten = 1;
  }
  return TO_DOOR;
}

/* Which of its resolvers a socket asks by the door with this address and port; 0: it is none of its doors. */
static __always_inline const struct tapdeck_resolver* resolver_behind(const struct tapdeck_socket* state,
                                                                      const struct destination* d) {
  if (!state || !is_loopback(d)) return 0;
  for (__u32 i = 0; i < TAPDECK_DOORS; ++i) {
    const struct tapdeck_resolver* r = &state->resolver[i];
    int v4 = *(const __u32*)&r->address[8] == bpf_htonl(0xffff);

    if (i < state->asks && r->door_port == d->port && v4 == d->v4) return r;
  }
  return 0;
}

/* One datagram with a destination of its own. On 1 with *rewrite set, the caller stores listener and port. */
static __always_inline int on_sendmsg(struct bpf_sock_addr* ctx, const struct destination* d, __u32 listener[4],
                                      __u16* port_be, int* rewrite) {
  __u32 slot = target_slot;
  const struct tapdeck_target* t = bpf_map_lookup_elem(&targets, &slot);
  __u64 cookie = bpf_get_netns_cookie(ctx);
  struct bpf_sock* sk = ctx->sk;
  enum leads leads;
  int verdict = 1;

  if (!t || !t->active || !sk || is_our_own(t, sk)) return 1;
  if (resolver_behind(bpf_sk_storage_get(&sockets, sk, 0, 0), d)) return 1; /* an inner target has sent it there */
  leads = lead_question(ctx, t, d, cookie, SENDS, listener, port_be, &verdict);
  if (leads == ELSEWHERE) return not_tcp(ctx, t, d, cookie);
  *rewrite = leads == TO_DOOR;
  return verdict;
}

#endif
