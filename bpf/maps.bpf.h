/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * maps.bpf.h: the maps that all programs share, one line of purpose, who writes, who reads. Each target has its own
 * copy of the programs (its slot is a constant in them); the daemon makes them share these maps with bpf_map__reuse_fd.
 * Maps of one path stand beside its programs: flows and sockets in cgroup_state.bpf.h, tc_listeners, seen and
 * host_addresses in tc.bpf.c, captured_cgroups, marks and told in escape.bpf.c.
 */
#ifndef TAPDECK_MAPS_BPF_H
#define TAPDECK_MAPS_BPF_H

#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_helpers.h>

#include "shared.h"

/* Lease and flow accounting. Daemon and programs write; the daemon through mmap, without a syscall. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct tapdeck_control);
} control SEC(".maps");

/* Policy by slot. Daemon writes, programs read. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, TAPDECK_MAX_TARGETS);
  __type(key, __u32);
  __type(value, struct tapdeck_target);
} targets SEC(".maps");

/* What happened, by slot. Programs write, the daemon sums. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, TAPDECK_MAX_TARGETS);
  __type(key, __u32);
  __type(value, struct tapdeck_counters);
} counters SEC(".maps");

/* Listeners by network namespace. Daemon writes, connect hooks read. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, TAPDECK_MAX_NETNS);
  __type(key, __u64);
  __type(value, struct tapdeck_netns);
} netns_listeners SEC(".maps");

/* Our listening sockets, refused as destinations. Daemon writes, connect hooks read. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 65536);
  __type(key, struct tapdeck_own_key);
  __type(value, __u32);
} own_listeners SEC(".maps");

/* Destinations that replay refuses, of all targets. Daemon writes, connect hooks read. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, TAPDECK_MAX_REFUSED);
  __type(key, struct tapdeck_refused_key);
  __type(value, __u32);
} refused SEC(".maps");

/* When a namespace was last asked for, so that a burst of connects is one event. Programs only. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1024);
  __type(key, __u64);
  __type(value, __u64);
} netns_asked SEC(".maps");

/*
 * Programs to daemon, enum tapdeck_event_kind: namespaces that need listeners or seem to have no address, refusals of
 * sealed targets, refusals as recorded, processes that left a captured cgroup.
 */
struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 256 * 1024);
} events SEC(".maps");

/* 1 when the lease was renewed in time; else *t's policy decides. */
static __always_inline int lease_is_valid(void) {
  __u32 zero = 0;
  struct tapdeck_control* c = bpf_map_lookup_elem(&control, &zero);

  return c && bpf_ktime_get_ns() < *(volatile __u64*)&c->deadline_ns;
}

static __always_inline void count_one(__u32 slot, __u32 what) {
  struct tapdeck_counters* c = bpf_map_lookup_elem(&counters, &slot);

  /* per CPU, and a plain add: a lost count under preemption is cheaper than an atomic on every flow */
  if (c && what < TAPDECK_COUNTS) c->count[what]++;
}

/* A refusal of a sealed target; the kind follows the destination, raw TCP is not TCP. */
static __always_inline void count_sealed(__u32 slot, __u32 reason, __u8 protocol, __u16 port) {
  count_one(slot, TAPDECK_REFUSED_SEALED);
  if (reason == TAPDECK_RAW || (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP))
    count_one(slot, TAPDECK_REFUSED_SEALED_OTHER);
  else if (port == 53)
    count_one(slot, TAPDECK_REFUSED_SEALED_DNS);
  else if (protocol == IPPROTO_UDP)
    count_one(slot, TAPDECK_REFUSED_SEALED_UDP);
}

static __always_inline void send_event(const struct tapdeck_event* event) {
  if (bpf_ringbuf_output(&events, (void*)event, sizeof(*event), 0)) {
    __u32 zero = 0;
    struct tapdeck_control* c = bpf_map_lookup_elem(&control, &zero);

    if (c) __sync_fetch_and_add(&c->events_lost, 1);
  }
}

#endif
