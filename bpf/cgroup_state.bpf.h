/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * cgroup_state.bpf.h: what all cgroup programs of one target share: its constants, the two maps that carry a flow from
 * connect to accept, destinations, and the two ways to say no.
 */
#ifndef TAPDECK_CGROUP_STATE_BPF_H
#define TAPDECK_CGROUP_STATE_BPF_H

#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.bpf.h"
#include "shared.h"

#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define ENETUNREACH 101
#define ECONNREFUSED 111
#define IPPROTO_MPTCP_NUMBER 262

/* Constants of one target's copy of the programs. */
const volatile __u32 target_slot = 0;
const volatile __u32 own_mark = 0;
const volatile __u32 own_tgid = 0;       /* of the daemon, in the first pid namespace; 0: it cannot know */
const volatile __u32 has_set_retval = 0; /* kernel >= 5.18: refuse with ECONNREFUSED instead of EPERM */

/* Pending connections. sock_ops inserts; the daemon takes an entry out when it accepts. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC); /* entries live for microseconds: 40 MB kept ready would be a waste */
  __uint(max_entries, 262144);          /* set by configuration */
  __type(key, struct tapdeck_flow_key);
  __type(value, struct tapdeck_flow);
} flows SEC(".maps");

/* Questions on their way to our door, by who sent them. The egress program writes, the daemon reads as it receives. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 4096);
  __type(key, struct tapdeck_flow_key);
  __type(value, struct tapdeck_flow);
} questions SEC(".maps");

/* Names asked for and answered in passing, struct tapdeck_sighting. Programs write, the daemon reads. */
struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 2 * 1024 * 1024); /* a burst of 6,000 datagrams, while the daemon looks elsewhere */
} sightings SEC(".maps");

/* From connect to sock_ops, getpeername and getsockname. Programs only; freed with the socket. */
struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct tapdeck_socket);
} sockets SEC(".maps");

struct destination {
  __u32 word[4]; /* v4-mapped form, network order */
  __u16 port;
  __u8 v4;
};

static __always_inline void read_v4(struct bpf_sock_addr* ctx, struct destination* d) {
  d->word[0] = 0;
  d->word[1] = 0;
  d->word[2] = bpf_htonl(0xffff);
  d->word[3] = ctx->user_ip4;
  d->port = bpf_ntohs((__u16)ctx->user_port);
  d->v4 = 1;
}

static __always_inline void read_v6(struct bpf_sock_addr* ctx, struct destination* d) {
  d->word[0] = ctx->user_ip6[0];
  d->word[1] = ctx->user_ip6[1];
  d->word[2] = ctx->user_ip6[2];
  d->word[3] = ctx->user_ip6[3];
  d->port = bpf_ntohs((__u16)ctx->user_port);
  d->v4 = d->word[0] == 0 && d->word[1] == 0 && d->word[2] == bpf_htonl(0xffff);
}

static __always_inline int is_loopback(const struct destination* d) {
  if (d->v4) /* connect to 0.0.0.0 means this host */
    return d->word[3] == 0 || (d->word[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
  return d->word[0] == 0 && d->word[1] == 0 && d->word[2] == 0 && (d->word[3] == bpf_htonl(1) || d->word[3] == 0);
}

/* fe80::/10 needs the scope of the caller's sockaddr, which hooks cannot see; ff00::/8 is never TCP. */
static __always_inline int is_link_local(const struct destination* d) {
  return !d->v4 && (d->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* Inner targets run before outer ones: is this already where an inner target sent the socket? If not, what was noted of
 * an earlier connect of the same socket is forgotten: this time it may go where it wants to. */
static __always_inline int already_rewritten(struct bpf_sock* sk, const struct destination* d) {
  struct tapdeck_socket* state = bpf_sk_storage_get(&sockets, sk, 0, 0);

  if (!state || !state->rewritten) return 0;
  if (state->key.listener_port == d->port && !__builtin_memcmp(state->key.listener, d->word, sizeof(d->word))) return 1;
  state->rewritten = 0;
  return 0;
}

static __always_inline void note_caller(struct tapdeck_socket* state) {
  state->flow.pid = bpf_get_current_pid_tgid() >> 32;
  state->flow.uid = (__u32)bpf_get_current_uid_gid();
  bpf_get_current_comm(state->flow.comm, sizeof(state->flow.comm));
}

static __always_inline void note_identity(struct tapdeck_socket* state, const struct destination* d, __u64 cookie) {
  __builtin_memset(state, 0, sizeof(*state));
  state->key.netns_cookie = cookie;
  __builtin_memcpy(state->flow.original, d->word, sizeof(state->flow.original));
  state->flow.original_port = d->port;
  state->flow.target = target_slot;
  state->flow.cgroup_id = bpf_get_current_cgroup_id();
  note_caller(state);
}

/* A UDP socket whose datagrams to `d` go to `listener` instead. What was counted of it stays counted. */
static __always_inline void note_elsewhere(struct tapdeck_socket* state, const struct destination* d, __u64 cookie,
                                           const __u32 listener[4], __u16 port) {
  __u32 counted = state->counted, refused = state->refused;

  note_identity(state, d, cookie);
  state->counted = counted;
  state->refused = refused;
  __builtin_memcpy(state->key.listener, listener, sizeof(state->key.listener));
  state->key.listener_port = port;
}

static __always_inline int say_no(int error) {
  if (has_set_retval) bpf_set_retval(-error);
  return 0;
}

static __always_inline int refuse(__u32 why) {
  count_one(target_slot, why);
  return say_no(ECONNREFUSED);
}

/* Nobody is there to capture for it, and then it passes. */
static __always_inline int is_lapsed(const struct tapdeck_target* t) {
  return !t->sealed && !t->closed && !lease_is_valid();
}

/* A flow that cannot be captured: passes from an open target, is refused to a closed one. */
static __always_inline int fall_back(const struct tapdeck_target* t, __u32 reason, __u32 refusal) {
  count_one(target_slot, reason);
  return t->closed ? refuse(refusal) : 1;
}

#endif
