/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * egress.bpf.h: the packets of a sealed target. Whatever a socket did before the target was sealed, and whatever no
 * other hook sees, ends here: only TCP and loopback pass. Of any target, questions for names. Also where sockets that
 * discard.bpf.h sent to loopback are counted, when they really send.
 */
#ifndef TAPDECK_EGRESS_BPF_H
#define TAPDECK_EGRESS_BPF_H

#include "cgroup_state.bpf.h"
#include "not_tcp.bpf.h"
#include "parse.bpf.h"
#include "watch.bpf.h"

#define LOOPBACK_IFINDEX 1 /* in every namespace */

static __always_inline int goes_to_loopback(const struct __sk_buff* skb, const struct packet* p) {
  const __u32* word = (const __u32*)p->tuple.destination;

  if (skb->ifindex != LOOPBACK_IFINDEX) return 0; /* bound to a device after connect */
  if (p->v4) return p->tuple.destination[12] == 127;
  return !word[0] && !word[1] && !word[2] && word[3] == bpf_htonl(1);
}

/* Sockets of the kernel belong to the cgroup that made the namespace. Neighbours and multicast listeners are the link
 * itself; resets end connections. */
static __always_inline int is_the_kernels(const struct packet* p) {
  if (p->tuple.protocol == IPPROTO_TCP) return p->rst;
  return !p->v4 && p->tuple.protocol == IPPROTO_ICMPV6 && p->icmp_type >= 130 && p->icmp_type <= 143;
}

/* Answers that nobody in the target asked for: dropped, but not held against it. */
static __always_inline int is_an_answer(const struct packet* p) {
  __u8 type = p->icmp_type;

  if (p->v4) return p->tuple.protocol == IPPROTO_ICMP && (type == 0 || type == 3 || type == 11 || type == 12);
  return p->tuple.protocol == IPPROTO_ICMPV6 && (type < 128 || type == 129);
}

/* Once a socket. */
static __always_inline void note_refused(struct tapdeck_socket* state, __u32 reason, const struct tapdeck_tuple* to) {
  struct tapdeck_event event = {.kind = TAPDECK_EVENT_REFUSED, .target = target_slot};

  if (!state->counted) count_one(target_slot, reason);
  state->counted = 1;
  if (state->refused) return;
  state->refused = 1;
  count_sealed(target_slot, reason, (__u8)to->protocol, to->destination_port);
  event.netns_cookie = state->key.netns_cookie;
  event.pid = state->flow.pid; /* 0: its connect came before us */
  event.protocol = (__u8)to->protocol;
  event.port = to->destination_port;
  __builtin_memcpy(event.address, to->destination, sizeof(event.address));
  __builtin_memcpy(event.comm, state->flow.comm, sizeof(event.comm));
  send_event(&event);
}

/* The first packet of a socket that was sent to loopback instead: it goes on, to be refused by the kernel. */
static __always_inline void look_for_discard(struct bpf_sock* sk, struct tapdeck_tuple* to) {
  struct tapdeck_socket* state;

  if (to->protocol != IPPROTO_UDP || to->destination_port != TAPDECK_DISCARD_PORT) return;
  state = bpf_sk_storage_get(&sockets, sk, 0, 0);
  if (!state || !state->rewritten || state->flow.target != target_slot) return;
  __builtin_memcpy(to->destination, state->flow.original, sizeof(to->destination));
  to->destination_port = state->flow.original_port;
  note_refused(state, reason_of_udp(to->destination_port), to);
}

static __always_inline int on_egress(struct __sk_buff* skb) {
  struct bpf_sock* sk = skb->sk;
  __u32 slot = target_slot;
  const struct tapdeck_target* t;
  struct tapdeck_socket* state;
  struct packet p = {};
  __u32 reason;
  int parsed;

  sk = sk ? bpf_sk_fullsock(sk) : 0;
  if (!sk || (sk->type == SOCK_STREAM && sk->protocol == IPPROTO_TCP)) return 1; /* first: most packets are these */
  t = bpf_map_lookup_elem(&targets, &slot);
  if (!t || !t->active) return 1;
  parsed = parse_packet(skb, 0, &p);
  if (parsed == PARSE_OK) on_egress_of_names(skb, t, sk, &p);
  if (!t->sealed) return 1;
  reason = sk->type == SOCK_RAW          ? TAPDECK_RAW
           : sk->protocol == IPPROTO_UDP ? reason_of_udp(p.tuple.destination_port)
                                         : TAPDECK_OTHER;
  if (parsed != PARSE_NOT_IP && goes_to_loopback(skb, &p) && reason != TAPDECK_DNS) {
    look_for_discard(sk, &p.tuple);
    return 1;
  }
  if (sk->type == SOCK_RAW && parsed == PARSE_OK) {
    if (is_the_kernels(&p)) return 1;
    if (is_an_answer(&p)) return 0;
  }
  state = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (state) note_refused(state, reason, &p.tuple);
  return 0;
}

#endif
