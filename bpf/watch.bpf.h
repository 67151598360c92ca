/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * watch.bpf.h: packets with questions for names and with answers: what passes is told to the daemon (the session keeps
 * what resolvers answered), what goes to our door is noted for it.
 */
#ifndef TAPDECK_WATCH_BPF_H
#define TAPDECK_WATCH_BPF_H

#include "cgroup_state.bpf.h"
#include "not_tcp.bpf.h"
#include "parse.bpf.h"

#define DNS_HEADER 12

static __always_inline void count_lost_event(void) {
  __u32 zero = 0;
  struct tapdeck_control* c = bpf_map_lookup_elem(&control, &zero);

  if (c) __sync_fetch_and_add(&c->events_lost, 1);
}

static __always_inline void tell_sighting(struct __sk_buff* skb, struct bpf_sock* sk, const struct packet* p,
                                          __u16 is_answer) {
  const struct tapdeck_socket* state = bpf_sk_storage_get(&sockets, sk, 0, 0);
  const __u8* client = is_answer ? p->tuple.destination : p->tuple.source;
  const __u8* resolver = is_answer ? p->tuple.source : p->tuple.destination;
  __u32 length = p->payload_length;
  struct tapdeck_sighting* seen;

  if (length < DNS_HEADER || length > TAPDECK_NAME_BYTES - 1) return;
  seen = bpf_ringbuf_reserve(&sightings, sizeof(*seen), 0);
  if (!seen) {
    count_lost_event();
    return;
  }
  seen->netns_cookie = state ? state->key.netns_cookie : 0;
  __builtin_memcpy(seen->client, client, sizeof(seen->client));
  __builtin_memcpy(seen->resolver, resolver, sizeof(seen->resolver));
  seen->client_port = is_answer ? p->tuple.destination_port : p->tuple.source_port;
  seen->is_answer = is_answer;
  seen->target = target_slot;
  seen->pad = 0;
  length &= TAPDECK_NAME_BYTES - 1; /* for the verifier */
  barrier_var(length);
  if (!length || bpf_skb_load_bytes(skb, p->payload, seen->bytes, length)) {
    bpf_ringbuf_discard(seen, 0);
    return;
  }
  seen->length = length;
  bpf_ringbuf_submit(seen, BPF_RB_FORCE_WAKEUP);
}

/* On its way to the door: the daemon asks who sent it, and to whom. */
static __always_inline void note_question(struct bpf_sock* sk, const struct packet* p) {
  struct tapdeck_socket* state = bpf_sk_storage_get(&sockets, sk, 0, 0);
  struct tapdeck_flow_key key;

  if (!state || !state->asks || state->key.listener_port != p->tuple.destination_port) return;
  if (__builtin_memcmp(state->key.listener, p->tuple.destination, sizeof(state->key.listener))) return;
  key = state->key;
  __builtin_memcpy(key.client, p->tuple.source, sizeof(key.client));
  key.client_port = p->tuple.source_port;
  bpf_map_update_elem(&questions, &key, &state->flow, BPF_ANY);
}

static __always_inline void on_egress_of_names(struct __sk_buff* skb, const struct tapdeck_target* t,
                                               struct bpf_sock* sk, const struct packet* p) {
  if (p->tuple.protocol != IPPROTO_UDP) return;
  if (t->names == TAPDECK_NAMES_ANSWERED) note_question(sk, p);
  if (is_observed(t) && p->tuple.destination_port == 53) tell_sighting(skb, sk, p, 0);
}

static __always_inline int on_ingress(struct __sk_buff* skb) {
  struct bpf_sock* sk = skb->sk;
  __u32 slot = target_slot;
  const struct tapdeck_target* t;
  struct packet p = {};

  sk = sk ? bpf_sk_fullsock(sk) : 0;
  if (!sk || sk->protocol != IPPROTO_UDP) return 1; /* first: most packets are TCP's */
  t = bpf_map_lookup_elem(&targets, &slot);
  if (!t || !t->active || !is_observed(t)) return 1;
  if (parse_packet(skb, 0, &p) == PARSE_OK && p.tuple.source_port == 53) tell_sighting(skb, sk, &p, 1);
  return 1;
}

#endif
