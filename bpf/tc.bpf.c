// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * tc.bpf.c: the tc path. On ingress of a bridge, veth or tun: a SYN gets one of our transparent listeners assigned; it
 * and every later packet of the flow get the steering mark, which a policy route delivers locally. No netfilter. When
 * the daemon dies its listeners leave the sockmap, and flows of open targets pass untouched. Kernel 5.15 and newer.
 *
 * It is for what this host routes: a connection to a service of the host itself is none of ours.
 *
 * Verdicts: TC_ACT_UNSPEC = untouched, on to the next filter; TC_ACT_OK = ours; TC_ACT_SHOT = dropped.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "shared.h"

#define PASS TC_ACT_UNSPEC
#define PORTS_OF_DHCP(port) ((port) == 67 || (port) == 547)

/* Constants of one target's copy of the program. */
const volatile __u32 target_slot = 0;
const volatile __u32 own_mark = 0;   /* SO_MARK of our sockets; + 1 steers, + 2 is prohibited */
const volatile __u32 l2_length = 14; /* 0 on tun and wireguard */
const volatile __u32 workers = 1;

/* Listeners: index = (slot * 2 + is_v6) * TAPDECK_MAX_WORKERS + worker. Daemon writes; a closed socket leaves. */
struct {
  __uint(type, BPF_MAP_TYPE_SOCKMAP);
  __uint(max_entries, TAPDECK_MAX_TARGETS * 2 * TAPDECK_MAX_WORKERS);
  __type(key, __u32);
  __type(value, __u64);
} tc_listeners SEC(".maps");

/* UDP sockets that questions for names go to: index = slot * 2 + is_v6. Daemon writes; a closed socket leaves. */
struct {
  __uint(type, BPF_MAP_TYPE_SOCKMAP);
  __uint(max_entries, TAPDECK_MAX_TARGETS * 2);
  __type(key, __u32);
  __type(value, __u64);
} tc_doors SEC(".maps");

/* Flows that passed, to count each once and to know replies of inbound connections. Programs only. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 16384);
  __type(key, struct tapdeck_tuple);
  __type(value, __u32);
} seen SEC(".maps");

/* Addresses of this host, without loopback. Daemon writes: no helper tells them from what nobody has a route to. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 16384);
  __type(key, struct tapdeck_address);
  __type(value, __u32);
} host_addresses SEC(".maps");

static __always_inline int is_to_host(const struct packet* p) {
  struct tapdeck_address to;

  __builtin_memcpy(to.bytes, p->tuple.destination, sizeof(to.bytes));
  return bpf_map_lookup_elem(&host_addresses, &to) != 0;
}

/* Of a flow that is ours; unsteered, its packets would reach the origin, which knows nothing of it. */
static __always_inline int steer(struct __sk_buff* skb, const struct tapdeck_target* t, const struct packet* p) {
  if (t->unsteered) return t->closed && !is_to_host(p) ? TC_ACT_SHOT : PASS;
  skb->mark = own_mark + 1;
  return TC_ACT_OK;
}

static __always_inline int refuse(__u32 why) {
  count_one(target_slot, why);
  return TC_ACT_SHOT;
}

static __always_inline int fall_back(const struct tapdeck_target* t, __u32 reason, __u32 refusal) {
  count_one(target_slot, reason);
  return t->closed ? refuse(refusal) : PASS;
}

/* Counts a flow once; sealed targets list and refuse it. */
static __always_inline int uncaptured(const struct tapdeck_target* t, const struct packet* p, __u32 reason) {
  __u32 value = TAPDECK_SEEN_COUNTED;
  struct tapdeck_event event = {.kind = TAPDECK_EVENT_REFUSED, .target = target_slot};

  if (bpf_map_update_elem(&seen, &p->tuple, &value, BPF_NOEXIST)) return t->sealed ? TC_ACT_SHOT : PASS;
  count_one(target_slot, reason);
  if (!t->sealed) return PASS;
  event.protocol = (__u8)p->tuple.protocol;
  event.port = p->tuple.destination_port;
  __builtin_memcpy(event.address, p->tuple.destination, sizeof(event.address));
  send_event(&event);
  count_sealed(target_slot, reason, event.protocol, event.port);
  return TC_ACT_SHOT;
}

enum owner { NOBODY, OURS, LOCAL, SERVICE };

/*
 * Whose is this tuple already: a flow we captured, another socket of this host, one that listens here, or nobody's?
 * What listens on every address is meant only by packets to the host's own.
 */
static __always_inline enum owner owner_of(struct __sk_buff* skb, const struct packet* p) {
  struct bpf_sock_tuple tuple = {};
  struct bpf_sock *sk, *full;
  enum owner owner = NOBODY;

  if (p->v4) {
    __builtin_memcpy(&tuple.ipv4.saddr, p->tuple.source + 12, 4);
    __builtin_memcpy(&tuple.ipv4.daddr, p->tuple.destination + 12, 4);
    tuple.ipv4.sport = bpf_htons(p->tuple.source_port);
    tuple.ipv4.dport = bpf_htons(p->tuple.destination_port);
    sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
  } else {
    __builtin_memcpy(tuple.ipv6.saddr, p->tuple.source, 16);
    __builtin_memcpy(tuple.ipv6.daddr, p->tuple.destination, 16);
    tuple.ipv6.sport = bpf_htons(p->tuple.source_port);
    tuple.ipv6.dport = bpf_htons(p->tuple.destination_port);
    sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
  }
  if (!sk) return NOBODY;
  if (sk->state == BPF_TCP_NEW_SYN_RECV || sk->state == BPF_TCP_TIME_WAIT) {
    /*
     * No mark to look at. If it is another local socket's, local delivery is where it was going anyway. A SYN that
     * finds TIME_WAIT goes there too: a listener assigned beside it would drop it for a minute (found_dup_sk of
     * inet_ehash_insert), while TIME_WAIT challenges it, is reset by the client, and the SYN sent again is captured.
     */
    owner = OURS;
  } else if (sk->state == BPF_TCP_LISTEN) {
    if (is_to_host(p)) owner = SERVICE;
  } else {
    full = bpf_sk_fullsock(sk);
    owner = full && full->mark == own_mark ? OURS : LOCAL; /* accepted sockets inherit the listener's mark */
  }
  bpf_sk_release(sk);
  return owner;
}

/* Hands the SYN to a listener of this target. Later packets must not be assigned: the kernel would reset them. */
static __always_inline int capture(struct __sk_buff* skb, const struct tapdeck_target* t, const struct packet* p) {
  __u32 base = (target_slot * 2 + !p->v4) * TAPDECK_MAX_WORKERS;
  __u32 index = base + bpf_get_prandom_u32() % (workers ? workers : 1);
  struct bpf_sock* listener = bpf_map_lookup_elem(&tc_listeners, &index);
  long error;

  if (!listener) { /* that worker's socket is closed */
    index = base;
    listener = bpf_map_lookup_elem(&tc_listeners, &index);
  }
  if (!listener) return fall_back(t, TAPDECK_NO_LISTENER, TAPDECK_REFUSED_NO_LISTENER);
  error = bpf_sk_assign(skb, listener, 0);
  bpf_sk_release(listener);
  if (error) {
    count_one(target_slot, TAPDECK_ASSIGN_FAILED);
    return fall_back(t, TAPDECK_NO_LISTENER, TAPDECK_REFUSED_NO_LISTENER);
  }
  count_one(target_slot, TAPDECK_CAPTURED);
  return steer(skb, t, p);
}

static __always_inline int on_tcp(struct __sk_buff* skb, const struct tapdeck_target* t, const struct packet* p) {
  enum owner owner = owner_of(skb, p);
  __u32 inbound = TAPDECK_SEEN_INBOUND;
  __u32* known;

  if (owner == OURS) return steer(skb, t, p);
  if (owner == LOCAL) return PASS;
  if (owner == SERVICE) return uncaptured(t, p, TAPDECK_TO_HOST);
  if (p->syn && !p->ack) {
    if (!lease_is_valid()) return fall_back(t, TAPDECK_LEASE, TAPDECK_REFUSED_LEASE);
    if (t->unsteered) return fall_back(t, TAPDECK_NO_LISTENER, TAPDECK_REFUSED_NO_LISTENER);
    return capture(skb, t, p);
  }
  if (p->rst) return PASS;
  known = bpf_map_lookup_elem(&seen, &p->tuple);
  if (known && *known == TAPDECK_SEEN_INBOUND) return PASS;
  if (p->syn) { /* the answer to a connection from outside: not this target's call */
    bpf_map_update_elem(&seen, &p->tuple, &inbound, BPF_ANY);
    return PASS;
  }
  return uncaptured(t, p, TAPDECK_PRE_EXISTING);
}

/* This host would route it on: neither is it its own address, nor does a bridge pass it on unseen. */
static __always_inline int is_forwarded(struct __sk_buff* skb, const struct packet* p) {
  struct bpf_fib_lookup to = {.ifindex = skb->ifindex, .l4_protocol = IPPROTO_UDP};
  long found;

  if (skb->pkt_type != 0 /* PACKET_HOST */) return 0;
  if (p->v4) {
    to.family = 2; /* AF_INET */
    __builtin_memcpy(&to.ipv4_src, p->tuple.source + 12, 4);
    __builtin_memcpy(&to.ipv4_dst, p->tuple.destination + 12, 4);
  } else {
    to.family = 10; /* AF_INET6 */
    __builtin_memcpy(to.ipv6_src, p->tuple.source, 16);
    __builtin_memcpy(to.ipv6_dst, p->tuple.destination, 16);
  }
  found = bpf_fib_lookup(skb, &to, sizeof(to), 0);
  return found == BPF_FIB_LKUP_RET_SUCCESS || found == BPF_FIB_LKUP_RET_NO_NEIGH;
}

/* Each question for a name goes to our door, whatever resolver it is for. 0: what becomes of other datagrams. */
static __always_inline int goes_to_door(struct __sk_buff* skb, const struct tapdeck_target* t, const struct packet* p) {
  __u32 index = target_slot * 2 + !p->v4;
  struct bpf_sock* door;
  long error;

  if (t->names != TAPDECK_NAMES_ANSWERED || p->tuple.destination_port != 53) return 0;
  if (t->unsteered) return 0;
  door = bpf_map_lookup_elem(&tc_doors, &index);
  if (!door) return 0;
  error = bpf_sk_assign(skb, door, 0);
  bpf_sk_release(door);
  return !error;
}

static __always_inline int on_udp(struct __sk_buff* skb, const struct tapdeck_target* t, const struct packet* p) {
  __u16 port = p->tuple.destination_port;

  if (PORTS_OF_DHCP(port)) /* the client's own address; never leaves the link */
    return PASS;
  if (port == 53 && t->names == TAPDECK_NAMES_ANSWERED && !lease_is_valid())
    return fall_back(t, TAPDECK_LEASE, TAPDECK_REFUSED_LEASE);
  if (goes_to_door(skb, t, p)) return steer(skb, t, p);
  if (port != 443) return uncaptured(t, p, port == 53 ? TAPDECK_DNS : TAPDECK_UDP);
  /* Where TCP passes, there is nothing to fall back to. */
  if (!t->closed && !lease_is_valid()) return uncaptured(t, p, TAPDECK_LEASE);
  if (!t->closed && t->unsteered) return uncaptured(t, p, TAPDECK_NO_LISTENER);
  if (uncaptured(t, p, TAPDECK_QUIC) != PASS || t->unsteered || !is_forwarded(skb, p)) return TC_ACT_SHOT;
  skb->mark = own_mark + 2; /* a policy rule prohibits it: clients hear so and fall back to TCP at once */
  return TC_ACT_OK;
}

SEC("tc")
int tapdeck_ingress(struct __sk_buff* skb) {
  __u32 slot = target_slot;
  const struct tapdeck_target* t = bpf_map_lookup_elem(&targets, &slot);
  struct packet p = {};
  int parsed;

  if (!t || !t->active || (own_mark && skb->mark == own_mark)) return PASS;
  parsed = parse_packet(skb, l2_length, &p);
  if (parsed == PARSE_NOT_IP) return PASS;
  if (!p.v4 && p.tuple.protocol == IPPROTO_ICMPV6 && p.icmp_type >= 130 && p.icmp_type <= 143)
    return PASS; /* neighbour discovery and multicast listeners: the link itself */
  if (!p.v4 && p.tuple.destination[0] == 0xfe && (p.tuple.destination[1] & 0xc0) == 0x80)
    return uncaptured(t, &p, TAPDECK_BOUND_DEVICE);
  if (parsed == PARSE_FRAGMENT) return uncaptured(t, &p, TAPDECK_FRAGMENT);
  if (p.tuple.protocol == IPPROTO_TCP) return on_tcp(skb, t, &p);
  if (p.tuple.protocol == IPPROTO_UDP) return on_udp(skb, t, &p);
  return uncaptured(t, &p, TAPDECK_OTHER);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
