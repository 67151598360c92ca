// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * cgroup.bpf.c: the cgroup path. connect4/6 send a TCP socket of the target to one of our loopback listeners in its
 * own network namespace; sock_ops notes, before the SYN leaves, who it is and where it wanted to go; getpeername and
 * getsockname hide the rewrite; sendmsg and sock_create see what is not TCP. Kernel 5.15 and newer.
 *
 * Verdicts of cgroup hooks: 1 = go on, 0 = refuse.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "shared.h"
#include "maps.bpf.h"

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define ECONNREFUSED 111
#define EEXIST_NEGATIVE (-17L)
#define IPPROTO_MPTCP_NUMBER 262
#define ASK_INTERVAL_NS 20000000ULL /* 20 ms: longer than the daemon needs to answer, shorter than a client's retry */

/* Constants of one target's copy of the programs. */
const volatile __u32 target_slot = 0;
const volatile __u32 own_mark = 0;
const volatile __u32 has_set_retval = 0; /* kernel >= 5.18: refuse with ECONNREFUSED instead of EPERM */

/* Pending connections. sock_ops inserts; the daemon takes an entry out when it accepts. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC); /* entries live for microseconds: 40 MB kept ready would be a waste */
	__uint(max_entries, 262144);	      /* set by configuration */
	__type(key, struct tapdeck_flow_key);
	__type(value, struct tapdeck_flow);
} flows SEC(".maps");

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

static __always_inline int refuse(__u32 why)
{
	count_one(target_slot, why);
	if (has_set_retval)
		bpf_set_retval(-ECONNREFUSED);
	return 0;
}

/* A flow that cannot be captured: passes from an open target, is refused to a closed one. */
static __always_inline int fall_back(const struct tapdeck_target *t, __u32 reason, __u32 refusal)
{
	count_one(target_slot, reason);
	return t->closed ? refuse(refusal) : 1;
}

static __always_inline int is_loopback(const struct destination *d)
{
	if (d->v4) /* connect to 0.0.0.0 means this host */
		return d->word[3] == 0 || (d->word[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return d->word[0] == 0 && d->word[1] == 0 && d->word[2] == 0 &&
	       (d->word[3] == bpf_htonl(1) || d->word[3] == 0);
}

/* fe80::/10 needs the scope of the caller's sockaddr, which hooks cannot see; ff00::/8 is never TCP. */
static __always_inline int is_link_local(const struct destination *d)
{
	return !d->v4 && (d->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

static __always_inline int is_own_listener(const struct destination *d, __u64 cookie)
{
	struct tapdeck_own_key key = {.netns_cookie = cookie, .port = d->port};

	__builtin_memcpy(key.address, d->word, sizeof(key.address));
	return bpf_map_lookup_elem(&own_listeners, &key) != 0;
}

/* Tells the daemon that a namespace of the target has no listeners. */
static __always_inline void ask_for_listeners(__u64 cookie)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 *last = bpf_map_lookup_elem(&netns_asked, &cookie);
	struct tapdeck_event event = {.kind = TAPDECK_EVENT_NO_LISTENER, .target = target_slot};

	if (last && now - *last < ASK_INTERVAL_NS)
		return;
	bpf_map_update_elem(&netns_asked, &cookie, &now, BPF_ANY);
	event.netns_cookie = cookie;
	event.pid = bpf_get_current_pid_tgid() >> 32;
	send_event(&event);
}

/* Refusals of a sealed target are listed, not only counted. */
static __always_inline int refuse_sealed(const struct destination *d, __u8 protocol, __u64 cookie)
{
	struct tapdeck_event event = {.kind = TAPDECK_EVENT_REFUSED, .target = target_slot, .protocol = protocol};

	event.netns_cookie = cookie;
	event.port = d->port;
	event.pid = bpf_get_current_pid_tgid() >> 32;
	__builtin_memcpy(event.address, d->word, sizeof(event.address));
	bpf_get_current_comm(event.comm, sizeof(event.comm));
	send_event(&event);
	return refuse(TAPDECK_REFUSED_SEALED);
}

/* Datagrams and whatever else connect or sendmsg shows that is not TCP. Counted once a socket. */
static __always_inline int not_tcp(struct bpf_sock_addr *ctx, const struct tapdeck_target *t,
				   const struct destination *d, __u64 cookie)
{
	struct bpf_sock *sk = ctx->sk;
	struct tapdeck_socket *state = 0;
	__u32 reason = TAPDECK_OTHER;

	if (ctx->protocol == IPPROTO_UDP)
		reason = d->port == 443 ? TAPDECK_QUIC : d->port == 53 ? TAPDECK_DNS : TAPDECK_UDP;
	/* A stub resolver on loopback would carry the question out of the machine: no exception for it when sealed. */
	if (is_loopback(d) && !(t->sealed && reason == TAPDECK_DNS))
		return 1;
	if (sk)
		state = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!state || !state->counted)
		count_one(target_slot, reason);
	if (state)
		state->counted = 1;
	if (t->sealed)
		return refuse_sealed(d, ctx->protocol, cookie);
	if (reason != TAPDECK_QUIC)
		return 1;
	if (has_set_retval)
		bpf_set_retval(-ECONNREFUSED);
	return 0;
}

/* Inner targets run before outer ones: is this already the listener an inner target chose? */
static __always_inline int already_rewritten(struct bpf_sock *sk, const struct destination *d)
{
	struct tapdeck_socket *state = bpf_sk_storage_get(&sockets, sk, 0, 0);

	return state && state->rewritten && state->key.listener_port == d->port &&
	       !__builtin_memcmp(state->key.listener, d->word, sizeof(d->word));
}

static __always_inline int map_is_full(void)
{
	__u32 zero = 0;
	struct tapdeck_control *c = bpf_map_lookup_elem(&control, &zero);

	return !c || *(volatile __u64 *)&c->flows_inserted - *(volatile __u64 *)&c->flows_removed >= c->flows_capacity;
}

static __always_inline void note_identity(struct tapdeck_socket *state, const struct destination *d, __u64 cookie)
{
	__builtin_memset(state, 0, sizeof(*state));
	state->key.netns_cookie = cookie;
	__builtin_memcpy(state->flow.original, d->word, sizeof(state->flow.original));
	state->flow.original_port = d->port;
	state->flow.target = target_slot;
	state->flow.pid = bpf_get_current_pid_tgid() >> 32;
	state->flow.uid = (__u32)bpf_get_current_uid_gid();
	state->flow.cgroup_id = bpf_get_current_cgroup_id();
	bpf_get_current_comm(state->flow.comm, sizeof(state->flow.comm));
}

/* Chooses a listener: fills listener (v4-mapped form) and its port. 0 = this family has none here. */
static __always_inline int choose_listener(struct tapdeck_netns *ns, __u8 v4, __u32 listener[4], __u16 *port_be)
{
	__u32 count = v4 ? ns->count4 : ns->count6;
	__u32 i;

	if (!count)
		return 0;
	i = __sync_fetch_and_add(&ns->next, 1) % count;
	i &= TAPDECK_MAX_LISTENERS - 1; /* for the verifier, every kernel: it does not bound a modulo */
	listener[0] = 0;
	listener[1] = 0;
	listener[2] = v4 ? bpf_htonl(0xffff) : 0;
	listener[3] = v4 ? ns->v4[i].address_be : bpf_htonl(1);
	*port_be = v4 ? ns->v4[i].port_be : ns->port6_be[i];
	return 1;
}

/* Decides about one connect. On 1 with *rewrite set, the caller stores listener and port into its context. */
static __always_inline int on_connect(struct bpf_sock_addr *ctx, const struct destination *d, __u32 listener[4],
				      __u16 *port_be, int *rewrite)
{
	__u32 slot = target_slot;
	const struct tapdeck_target *t = bpf_map_lookup_elem(&targets, &slot);
	__u64 cookie = bpf_get_netns_cookie(ctx);
	struct bpf_sock *sk = ctx->sk;
	struct tapdeck_socket *state;
	struct tapdeck_netns *ns;

	if (!t || !t->active || !sk || sk->mark == own_mark)
		return 1;
	if (ctx->type != SOCK_STREAM || (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_MPTCP_NUMBER))
		return not_tcp(ctx, t, d, cookie);
	if (is_loopback(d)) {
		if (already_rewritten(sk, d))
			return 1;
		if (is_own_listener(d, cookie))
			return refuse(TAPDECK_REFUSED_LOOP);
		return t->sealed && d->port == 53 ? refuse_sealed(d, IPPROTO_TCP, cookie) : 1;
	}
	if (!lease_is_valid())
		return fall_back(t, TAPDECK_LEASE, TAPDECK_REFUSED_LEASE);
	if (sk->bound_dev_if || is_link_local(d)) {
		count_one(target_slot, TAPDECK_BOUND_DEVICE);
		return t->sealed ? refuse_sealed(d, IPPROTO_TCP, cookie) : 1;
	}
	if (map_is_full())
		return fall_back(t, TAPDECK_MAP_FULL, TAPDECK_REFUSED_MAP_FULL);
	ns = bpf_map_lookup_elem(&netns_listeners, &cookie);
	if (!ns || !choose_listener(ns, d->v4, listener, port_be)) {
		ask_for_listeners(cookie);
		return fall_back(t, TAPDECK_NO_LISTENER, TAPDECK_REFUSED_NO_LISTENER);
	}
	state = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!state) /* out of memory: same answer as a full map */
		return fall_back(t, TAPDECK_MAP_FULL, TAPDECK_REFUSED_MAP_FULL);
	note_identity(state, d, cookie);
	__builtin_memcpy(state->key.listener, listener, sizeof(state->key.listener));
	state->key.listener_port = bpf_ntohs(*port_be);
	state->rewritten = 1;
	count_one(target_slot, TAPDECK_CAPTURED);
	*rewrite = 1;
	return 1;
}

static __always_inline void read_v4(struct bpf_sock_addr *ctx, struct destination *d)
{
	d->word[0] = 0;
	d->word[1] = 0;
	d->word[2] = bpf_htonl(0xffff);
	d->word[3] = ctx->user_ip4;
	d->port = bpf_ntohs((__u16)ctx->user_port);
	d->v4 = 1;
}

static __always_inline void read_v6(struct bpf_sock_addr *ctx, struct destination *d)
{
	d->word[0] = ctx->user_ip6[0];
	d->word[1] = ctx->user_ip6[1];
	d->word[2] = ctx->user_ip6[2];
	d->word[3] = ctx->user_ip6[3];
	d->port = bpf_ntohs((__u16)ctx->user_port);
	d->v4 = d->word[0] == 0 && d->word[1] == 0 && d->word[2] == bpf_htonl(0xffff);
}

SEC("cgroup/connect4")
int tapdeck_connect4(struct bpf_sock_addr *ctx)
{
	struct destination d = {};
	__u32 listener[4] = {};
	__u16 port_be = 0;
	int rewrite = 0, verdict;

	read_v4(ctx, &d);
	verdict = on_connect(ctx, &d, listener, &port_be, &rewrite);
	if (rewrite) {
		ctx->user_ip4 = listener[3];
		ctx->user_port = port_be;
	}
	return verdict;
}

SEC("cgroup/connect6")
int tapdeck_connect6(struct bpf_sock_addr *ctx)
{
	struct destination d = {};
	__u32 listener[4] = {};
	__u16 port_be = 0;
	int rewrite = 0, verdict;

	read_v6(ctx, &d);
	verdict = on_connect(ctx, &d, listener, &port_be, &rewrite);
	if (rewrite) { /* v4-mapped goes to ::ffff:127.x, the rest (V6ONLY sockets too) to ::1 */
		ctx->user_ip6[0] = listener[0];
		ctx->user_ip6[1] = listener[1];
		ctx->user_ip6[2] = listener[2];
		ctx->user_ip6[3] = listener[3];
		ctx->user_port = port_be;
	}
	return verdict;
}

static __always_inline int on_sendmsg(struct bpf_sock_addr *ctx, const struct destination *d)
{
	__u32 slot = target_slot;
	const struct tapdeck_target *t = bpf_map_lookup_elem(&targets, &slot);
	struct bpf_sock *sk = ctx->sk;

	if (!t || !t->active || !sk || sk->mark == own_mark)
		return 1;
	return not_tcp(ctx, t, d, bpf_get_netns_cookie(ctx));
}

SEC("cgroup/sendmsg4")
int tapdeck_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct destination d = {};

	read_v4(ctx, &d);
	return on_sendmsg(ctx, &d);
}

SEC("cgroup/sendmsg6")
int tapdeck_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct destination d = {};

	read_v6(ctx, &d);
	return on_sendmsg(ctx, &d);
}

/* The original destination, if d is the listener this socket was sent to. */
static __always_inline const struct tapdeck_socket *rewritten_socket(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct tapdeck_socket *state = sk ? bpf_sk_storage_get(&sockets, sk, 0, 0) : 0;

	return state && state->rewritten ? state : 0;
}

SEC("cgroup/getpeername4")
int tapdeck_getpeername4(struct bpf_sock_addr *ctx)
{
	const struct tapdeck_socket *state = rewritten_socket(ctx);

	if (state && ctx->user_ip4 == *(__u32 *)&state->key.listener[12] &&
	    bpf_ntohs((__u16)ctx->user_port) == state->key.listener_port) {
		ctx->user_ip4 = *(__u32 *)&state->flow.original[12];
		ctx->user_port = bpf_htons(state->flow.original_port);
	}
	return 1;
}

SEC("cgroup/getpeername6")
int tapdeck_getpeername6(struct bpf_sock_addr *ctx)
{
	const struct tapdeck_socket *state = rewritten_socket(ctx);
	struct destination d = {};

	read_v6(ctx, &d);
	if (state && d.port == state->key.listener_port && d.word[3] == *(__u32 *)&state->key.listener[12] &&
	    d.word[2] == *(__u32 *)&state->key.listener[8]) {
		ctx->user_ip6[0] = *(__u32 *)&state->flow.original[0];
		ctx->user_ip6[1] = *(__u32 *)&state->flow.original[4];
		ctx->user_ip6[2] = *(__u32 *)&state->flow.original[8];
		ctx->user_ip6[3] = *(__u32 *)&state->flow.original[12];
		ctx->user_port = bpf_htons(state->flow.original_port);
	}
	return 1;
}

/*
 * A rewritten socket without a bound source got loopback as its local address. The address it would have had is not
 * known to a hook; the namespace's preferred source is the best answer, and exact with one interface.
 */
SEC("cgroup/getsockname4")
int tapdeck_getsockname4(struct bpf_sock_addr *ctx)
{
	const struct tapdeck_socket *state = rewritten_socket(ctx);
	struct tapdeck_netns *ns;
	struct destination d = {};

	read_v4(ctx, &d);
	if (!state || d.word[3] == 0 || !is_loopback(&d))
		return 1;
	ns = bpf_map_lookup_elem(&netns_listeners, &state->key.netns_cookie);
	if (ns && ns->source4_be)
		ctx->user_ip4 = ns->source4_be;
	return 1;
}

SEC("cgroup/getsockname6")
int tapdeck_getsockname6(struct bpf_sock_addr *ctx)
{
	const struct tapdeck_socket *state = rewritten_socket(ctx);
	struct tapdeck_netns *ns;
	struct destination d = {};

	read_v6(ctx, &d);
	if (!state || d.word[3] == 0 || !is_loopback(&d))
		return 1;
	ns = bpf_map_lookup_elem(&netns_listeners, &state->key.netns_cookie);
	if (!ns)
		return 1;
	if (d.v4) {
		if (ns->source4_be)
			ctx->user_ip6[3] = ns->source4_be;
	} else if (*(__u32 *)&ns->source6[0]) {
		ctx->user_ip6[0] = *(__u32 *)&ns->source6[0];
		ctx->user_ip6[1] = *(__u32 *)&ns->source6[4];
		ctx->user_ip6[2] = *(__u32 *)&ns->source6[8];
		ctx->user_ip6[3] = *(__u32 *)&ns->source6[12];
	}
	return 1;
}

/* Raw sockets and transports without a connect hook show themselves only here. Also the earliest moment to ask for
 * listeners: most clients resolve a name between here and their first TCP connect. */
SEC("cgroup/sock_create")
int tapdeck_sock_create(struct bpf_sock *ctx)
{
	__u32 slot = target_slot;
	const struct tapdeck_target *t = bpf_map_lookup_elem(&targets, &slot);
	struct destination none = {};
	__u64 cookie;
	__u32 reason;

	if (!t || !t->active)
		return 1;
	cookie = bpf_get_netns_cookie(ctx);
	if (lease_is_valid() && !bpf_map_lookup_elem(&netns_listeners, &cookie))
		ask_for_listeners(cookie);
	if (ctx->type == SOCK_RAW)
		reason = TAPDECK_RAW;
	else if (ctx->type == SOCK_STREAM && (ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_MPTCP_NUMBER))
		return 1;
	else if (ctx->type == SOCK_DGRAM) /* UDP, ping: connect and sendmsg decide */
		return 1;
	else
		reason = TAPDECK_OTHER;
	count_one(target_slot, reason);
	if (!t->sealed)
		return 1;
	return refuse_sealed(&none, (__u8)ctx->protocol, cookie);
}

static __always_inline void insert_flow(struct bpf_sock_ops *ctx, struct tapdeck_socket *state)
{
	/* Read whole and first: clang would otherwise merge the branches into one load through a moved context pointer,
	 * which no kernel accepts. */
	__u32 local4 = ctx->local_ip4, a = ctx->local_ip6[0], b = ctx->local_ip6[1], c6 = ctx->local_ip6[2],
	      d = ctx->local_ip6[3];
	int v4 = *(__u32 *)&state->key.listener[8] == bpf_htonl(0xffff);
	struct tapdeck_control *c;
	__u32 zero = 0;
	long error;

	barrier_var(local4);
	barrier_var(a);
	barrier_var(b);
	barrier_var(c6);
	barrier_var(d);
	*(__u32 *)&state->key.client[0] = v4 ? 0 : a;
	*(__u32 *)&state->key.client[4] = v4 ? 0 : b;
	*(__u32 *)&state->key.client[8] = v4 ? bpf_htonl(0xffff) : c6;
	*(__u32 *)&state->key.client[12] = v4 ? local4 : d;
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
	if (c)
		__sync_fetch_and_add(&c->flows_inserted, 1);
}

static __always_inline void remove_flow(struct tapdeck_socket *state)
{
	struct tapdeck_control *c;
	__u32 zero = 0;

	if (bpf_map_delete_elem(&flows, &state->key))
		return;
	c = bpf_map_lookup_elem(&control, &zero);
	if (c)
		__sync_fetch_and_add(&c->flows_removed, 1);
}

/* TCP_CONNECT_CB comes after the kernel chose the source port and before the SYN: the daemon cannot accept earlier. */
SEC("sockops")
int tapdeck_sockops(struct bpf_sock_ops *ctx)
{
	struct tapdeck_socket *state;
	struct bpf_sock *sk;

	if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB && ctx->op != BPF_SOCK_OPS_STATE_CB)
		return 1;
	sk = ctx->sk;
	if (!sk)
		return 1;
	state = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!state || !state->rewritten)
		return 1;
	if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB) {
		insert_flow(ctx, state);
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
		return 1;
	}
	/* Refused, timed out or closed before the handshake ended: nobody will accept it. Later closes leave the entry,
	 * for a client may send, close and be gone before the daemon gets to accept. */
	if (ctx->args[0] == BPF_TCP_SYN_SENT && ctx->args[1] == BPF_TCP_CLOSE)
		remove_flow(state);
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
