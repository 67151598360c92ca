/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * flow_entry.bpf.h: entries of the flow map: put in before the SYN leaves, taken out by the daemon at accept, or here
 * when the handshake fails.
 */
#ifndef TAPDECK_FLOW_ENTRY_BPF_H
#define TAPDECK_FLOW_ENTRY_BPF_H

#include "cgroup_state.bpf.h"

#define EEXIST_NEGATIVE (-17L)

static __always_inline void insert_flow(struct bpf_sock_ops* ctx, struct tapdeck_socket* state) {
  /* Read whole and first: clang would otherwise merge the branches into one load through a moved context pointer,
   * which no kernel accepts. */
  __u32 local4 = ctx->local_ip4, a = ctx->local_ip6[0], b = ctx->local_ip6[1], c6 = ctx->local_ip6[2],
        d = ctx->local_ip6[3];
  int v4 = *(__u32*)&state->key.listener[8] == bpf_htonl(0xffff);
  struct tapdeck_control* c;
  __u32 zero = 0;
  long error;

  barrier_var(local4);
  barrier_var(a);
  barrier_var(b);
  barrier_var(c6);
  barrier_var(d);
  *(__u32*)&state->key.client[0] = v4 ? 0 : a;
  *(__u32*)&state->key.client[4] = v4 ? 0 : b;
  *(__u32*)&state->key.client[8] = v4 ? bpf_htonl(0xffff) : c6;
  *(__u32*)&state->key.client[12] = v4 ? local4 : d;
  state->key.client_port = (__u16)ctx->local_port;
  state->flow.created_ns = bpf_ktime_get_ns();
  error = bpf_map_update_elem(&flows, &state->key, &state->flow, BPF_NOEXIST);
  if (error == EEXIST_NEGATIVE) { /* left by an earlier connection with this tuple that nobody accepted */
    bpf_map_update_elem(&flows, &state->key, &state->flow, BPF_EXIST);
    return;
  }
  if (error) { /* lost the race for the last entry: the daemon will find none and reset the connection */
    count_one(target_slot, TAPDECK_MAP_FULL);
    count_one(target_slot, TAPDECK_REFUSED_MAP_FULL);
    return;
  }
  c = bpf_map_lookup_elem(&control, &zero);
  if (c) __sync_fetch_and_add(&c->flows_inserted, 1);
}

static __always_inline void remove_flow(struct tapdeck_socket* state) {
  struct tapdeck_control* c;
  __u32 zero = 0;

  if (bpf_map_delete_elem(&flows, &state->key)) return;
  c = bpf_map_lookup_elem(&control, &zero);
  if (c) __sync_fetch_and_add(&c->flows_removed, 1);
}

/* TCP_CONNECT_CB comes after the kernel chose the source port and before the SYN: the daemon cannot accept earlier. */
static __always_inline void on_sock_ops(struct bpf_sock_ops* ctx) {
  struct tapdeck_socket* state;
  struct bpf_sock* sk;

  if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB && ctx->op != BPF_SOCK_OPS_STATE_CB) return;
  sk = ctx->sk;
  if (!sk) return;
  state = bpf_sk_storage_get(&sockets, sk, 0, 0);
  if (!state || !state->rewritten) return;
  if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB) {
    insert_flow(ctx, state);
    bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
    return;
  }
  /* Refused, timed out or closed before the handshake ended: nobody will accept it. Later closes leave the entry,
   * for a client may send, close and be gone before the daemon gets to accept. */
  if (ctx->args[0] == BPF_TCP_SYN_SENT && ctx->args[1] == BPF_TCP_CLOSE) remove_flow(state);
}

#endif
