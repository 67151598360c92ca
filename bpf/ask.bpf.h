/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * ask.bpf.h: what the cgroup programs tell the daemon at once, by the ring buffer: a namespace without listeners or
 * addresses, a refusal of a sealed target, a refusal as recorded.
 */
#ifndef TAPDECK_ASK_BPF_H
#define TAPDECK_ASK_BPF_H

#include "cgroup_state.bpf.h"

#define ASK_INTERVAL_NS 20000000ULL /* 20 ms: longer than the daemon needs to answer, shorter than a client's retry */
#define SOURCE_INTERVAL_NS 200000000ULL

/* Tells the daemon that a namespace of the target has no listeners. */
static __always_inline void ask_for_listeners(__u64 cookie) {
  __u64 now = bpf_ktime_get_ns();
  __u64* last = bpf_map_lookup_elem(&netns_asked, &cookie);
  struct tapdeck_event event = {.kind = TAPDECK_EVENT_NO_LISTENER, .target = target_slot};

  if (last && now - *last < ASK_INTERVAL_NS) return;
  bpf_map_update_elem(&netns_asked, &cookie, &now, BPF_ANY);
  event.netns_cookie = cookie;
  event.pid = bpf_get_current_pid_tgid() >> 32;
  send_event(&event);
}

/* A namespace without an address of a family may have got one since its listeners were made. */
static __always_inline void ask_for_source(__u64 cookie) {
  struct tapdeck_event event = {.kind = TAPDECK_EVENT_NO_SOURCE, .target = target_slot, .netns_cookie = cookie};
  __u64 key = ~cookie, now = bpf_ktime_get_ns();
  __u64* last = bpf_map_lookup_elem(&netns_asked, &key);

  if (last && now - *last < SOURCE_INTERVAL_NS) return;
  bpf_map_update_elem(&netns_asked, &key, &now, BPF_ANY);
  send_event(&event);
}

static __always_inline void tell_refusal(__u32 kind, const struct destination* d, __u8 protocol, __u64 cookie) {
  struct tapdeck_event event = {.kind = kind, .target = target_slot, .protocol = protocol};

  event.netns_cookie = cookie;
  event.port = d->port;
  event.pid = bpf_get_current_pid_tgid() >> 32;
  __builtin_memcpy(event.address, d->word, sizeof(event.address));
  bpf_get_current_comm(event.comm, sizeof(event.comm));
  send_event(&event);
}

/* Refusals of a sealed target are listed, not only counted. */
static __always_inline int refuse_sealed(const struct destination* d, __u32 reason, __u8 protocol, __u64 cookie) {
  tell_refusal(TAPDECK_EVENT_REFUSED, d, protocol, cookie);
  count_sealed(target_slot, reason, protocol, d->port);
  return say_no(ECONNREFUSED);
}

#endif
