/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * watch.bpf.h: packets with questions for names and with answers: what passes is told to the daemon (the session keeps
 * what resolvers answered), what goes to our door is noted for it.
 */
#ifndef TAPDECK_WATCH_BPF_H
#define TAPDECK_WATCH_BPF_H

#include "cgroup_state.bpf.h"
#include "door.bpf.h"
#include "not_tcp.bpf.h"
#include "parse.bpf.h"

#define DNS_HEADER 12

static __always_inline void count_lost_sighting(void) {
  __u32 zero = 0;
  struct tapdeck_control* c = bpf_map_lookup_elem(&control, &zero);

  if (c) __sync_fetch_and_add(&c->sightings_lost, 1);
}

static __always_inline void note_ends(struct tapdeck_sighting* seen, struct bpf_sock* sk, const struct packet* p,
                                      __u16 is_answer) {
  const struct tapdeck_socket* state = bpf_sk_storage_get(&sockets, sk, 0, 0);
  const __u8* client = is_answer ? p->tuple.destination : p->tuple.source;
  const __u8* resolver = is_answer ? p->tuple.source : p->tuple.destination;

  seen->netns_cookie = state ? state->key.netns_cookie : 0;
  __builtin_memcpy(seen->client, client, sizeof(seen->client));
  __builtin_memcpy(seen->resolver, resolver, sizeof(seen->resolver));
  seen->client_port = is_answer ? p->tuple.destination_port : p->tuple.source_port;
  seen->is_answer = is_answer;
  seen->target = target_slot;
  seen->whole = p->payload_length;
}

/* At most `room` - 1 bytes of it, `room` a power of two: the verifier wants the ring's pieces of sizes that it knows.
 */
static __always_inline void tell_up_to(__u32 room, struct __sk_buff* skb, struct bpf_sock* sk, const struct packet* p,
                                       __u16 is_answer) {
  struct tapdeck_sighting* seen = bpf_ringbuf_reserve(&sightings, sizeof(*seen) - sizeof(seen->bytes) + room, 0);
  __u32 length = p->payload_length;

  if (!seen) {
    count_lost_sighting();
    return;
  }
  note_ends(seen, sk, p, is_answer);
  if (length >= room) length = room - 1;
  length &= room - 1;
  barrier_var(length);
  if (!length || length >= room || bpf_skb_load_bytes(skb, p->payload, seen->bytes, length)) {
    bpf_ringbuf_discard(seen, 0);
    return;
  }
  seen->length = length;
  bpf_ringbuf_submit(seen, BPF_RB_FORCE_WAKEUP);
}

/* Of what is longer than is kept, the beginning says whose answer that is. */
static __always_inline void tell_sighting(struct __sk_buff* skb, struct bpf_sock* sk, const struct packet* p,
                                          __u16 is_answer) {
  __u32 length = p->payload_length;

  if (length < DNS_HEADER) return;
  if (length < 256) {
    tell_up_to(256, skb, sk, p, is_answer);
  } else if (length < 1024) {
    tell_up_to(1024, skb, sk, p, is_answer);
  } else {
    tell_up_to(TAPDECK_NAME_BYTES, skb, sk, p, is_answer);
  }
}

/* On its way to a door: the daemon asks who sent it, and to whom. Whatever has become of the target since it connected.
 */
static __always_inline void note_question(struct bpf_sock* sk, const struct packet* p) {
  const struct tapdeck_socket* state = bpf_sk_storage_get(&sockets, sk, 0, 0);
  const struct tapdeck_resolver* r;
  struct tapdeck_flow_key key = {};
  struct tapdeck_flow flow;
  struct destination d = {};

  if (!state || !state->asks || state->flow.target != target_slot) return; /* an inner target's, or one that is gone */
  __builtin_memcpy(d.word, p->tuple.destination, sizeof(d.word));
  d.port = p->tuple.destination_port;
  d.v4 = p->v4;
  r = resolver_behind(state, &d);
  if (!r) return;
  key.netns_cookie = state->key.netns_cookie;
  __builtin_memcpy(key.client, p->tuple.source, sizeof(key.client));
  __builtin_memcpy(key.listener, p->tuple.destination, sizeof(key.listener));
  key.client_port = p->tuple.source_port;
  key.listener_port = p->tuple.destination_port;
  flow = state->flow;
  __builtin_memcpy(flow.original, r->address, sizeof(flow.original));
  flow.original_port = 53;
  bpf_map_update_elem(&questions, &key, &flow, BPF_ANY);
}

static __always_inline void on_egress_of_names(struct __sk_buff* skb, const struct tapdeck_target* t,
                                               struct bpf_sock* sk, const struct packet* p) {
  if (p->tuple.protocol != IPPROTO_UDP) return;
  note_question(sk, p);
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
