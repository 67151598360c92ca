/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * shared.h: what the BPF programs and daemon/kernel say to each other: map keys, map values, events. The only header
 * both include; fixed-width, explicitly padded, plain C. Addresses are 16 bytes in network order, IPv4 as v4-mapped
 * (::ffff:a.b.c.d); ports are in host order unless named _be.
 */
#ifndef TAPDECK_BPF_SHARED_H
#define TAPDECK_BPF_SHARED_H

#ifdef __cplusplus
#define _Static_assert static_assert
#endif

#include <linux/types.h>

#define TAPDECK_MAX_TARGETS 64
#define TAPDECK_MAX_LISTENERS 64 /* per namespace and family; a power of two, the verifier needs a mask */
#define TAPDECK_MAX_WORKERS 32   /* per target and family in the sockmap */
#define TAPDECK_MAX_NETNS 4096
#define TAPDECK_MAX_REFUSED 65536 /* destinations refused as recorded, all targets */
#define TAPDECK_DOORS 3         /* per namespace and family: resolvers that one socket may ask, as many as libc does */
#define TAPDECK_NAME_BYTES 4096 /* of a DNS message that is told of; the mask of the verifier */
#define TAPDECK_DISCARD_PORT 1  /* UDP, on loopback: nobody listens there, so that the kernel itself says "refused" */

/* Index into tapdeck_counters. The first thirteen are the reasons of daemon/kernel/capture.h, enum Uncaptured. */
enum tapdeck_count {
  TAPDECK_UDP,
  TAPDECK_DNS,
  TAPDECK_QUIC,
  TAPDECK_RAW,
  TAPDECK_OTHER,
  TAPDECK_BOUND_DEVICE,
  TAPDECK_LEASE,
  TAPDECK_MAP_FULL,
  TAPDECK_NO_LISTENER,
  TAPDECK_PRE_EXISTING,
  TAPDECK_FRAGMENT,
  TAPDECK_LEFT_CGROUP, /* processes, not flows */
  TAPDECK_TO_HOST,     /* tc path: to a service of this host itself */
  TAPDECK_REASONS,
  TAPDECK_CAPTURED = TAPDECK_REASONS,
  TAPDECK_REFUSED_SEALED, /* all of them; those that are not TCP also count as one of the last three */
  TAPDECK_REFUSED_LEASE,
  TAPDECK_REFUSED_NO_LISTENER,
  TAPDECK_REFUSED_MAP_FULL,
  TAPDECK_REFUSED_LOOP,
  TAPDECK_ASSIGN_FAILED, /* bpf_sk_assign said no; the flow also counts as TAPDECK_NO_LISTENER */
  TAPDECK_REFUSED_SEALED_UDP,
  TAPDECK_REFUSED_SEALED_DNS,
  TAPDECK_REFUSED_SEALED_OTHER, /* raw sockets, ICMP, SCTP, ... */
  TAPDECK_REFUSED_AS_RECORDED,  /* a replay of what the origin did: nothing is wrong */
  TAPDECK_COUNTS,
};

struct tapdeck_counters {
  __u64 count[24];
};

/* The one element of the memory-mapped control map. */
struct tapdeck_control {
  __u64 deadline_ns; /* CLOCK_MONOTONIC; the daemon stores, programs compare on every new flow */
  __u64 flows_inserted;
  __u64 flows_removed; /* by sock_ops or the daemon; inserted - removed = entries in use */
  __u64 flows_capacity;
  __u64 events_lost;
  __u64 sightings_lost;
  __u64 pad[2];
};

/* What becomes of datagrams to port 53. */
enum tapdeck_names {
  TAPDECK_NAMES_LEFT,     /* what becomes of datagrams */
  TAPDECK_NAMES_OBSERVED, /* they pass, and so do the answers: both are told of */
  TAPDECK_NAMES_ANSWERED, /* they go to our door in the namespace */
};

struct tapdeck_target {
  __u32 active;
  __u32 closed; /* refuse, rather than pass, what cannot be captured; set for every sealed target */
  __u32 sealed;
  __u32 refuses;   /* it has entries in `refused` */
  __u32 unsteered; /* tc path: routing rules do not do what marked packets need */
  __u32 names;     /* enum tapdeck_names; on the tc path what is observed is left */
};

/* A destination whose recordings all say that nothing listened there. */
struct tapdeck_refused_key {
  __u32 target;
  __u16 port;
  __u16 pad;
  __u8 address[16];
};

/* One TCP connection on its way from connect() to accept(). */
struct tapdeck_flow_key {
  __u64 netns_cookie;
  __u8 client[16];
  __u8 listener[16];
  __u16 client_port;
  __u16 listener_port;
  __u32 pad;
};

struct tapdeck_flow {
  __u8 original[16];
  __u16 original_port;
  __u16 pad;
  __u32 target;
  __u32 pid;
  __u32 uid;
  __u64 cgroup_id;
  __u64 created_ns;
  char comm[16];
};

/* Whom a UDP socket asks for names by one of our doors. */
struct tapdeck_resolver {
  __u8 address[16]; /* port 53 */
  __u16 door_port;
  __u16 pad;
};

/* What a rewritten socket remembers, from connect() to close (sk_storage). */
struct tapdeck_socket {
  struct tapdeck_flow_key key; /* client half filled in by sock_ops */
  struct tapdeck_flow flow;
  __u32 rewritten; /* TCP: to a listener; UDP: to where nobody listens, or to a door */
  __u32 counted;   /* not TCP: this socket is in the counters already */
  __u32 refused;   /* a packet of it was dropped and listed already */
  __u32 asks;      /* UDP: how many of `resolver` there are */
  struct tapdeck_resolver
      resolver[TAPDECK_DOORS]; /* by the door they are asked at; the last one's may have been others */
  __u32 pad;
};

/* The listeners of one network namespace. */
struct tapdeck_listener4 {
  __u32 address_be;
  __u16 port_be;
  __u16 pad;
};

struct tapdeck_netns {
  __u32 count4;
  __u32 count6;
  __u32 next;       /* round robin: random choice would fill some listeners' port ranges before others */
  __u32 source4_be; /* what getsockname() shows instead of loopback; 0 = no address of this family */
  __u8 source6[16];
  struct tapdeck_listener4 door4[TAPDECK_DOORS]; /* UDP, where questions for names go; port 0 = none of this family */
  __u16 door6_port_be[TAPDECK_DOORS];            /* on ::1 */
  __u16 pad;
  struct tapdeck_listener4 v4[TAPDECK_MAX_LISTENERS];
  __u16 port6_be[TAPDECK_MAX_LISTENERS]; /* on ::1 */
};

/* Our listening sockets: never a destination. */
struct tapdeck_own_key {
  __u64 netns_cookie;
  __u8 address[16];
  __u16 port;
  __u16 pad[3];
};

enum tapdeck_event_kind {
  TAPDECK_EVENT_NO_LISTENER = 1,
  TAPDECK_EVENT_REFUSED = 2,
  TAPDECK_EVENT_NO_SOURCE = 3, /* a namespace seems to have no address of a family: is that still so? */
  TAPDECK_EVENT_REFUSED_AS_RECORDED = 4,
  TAPDECK_EVENT_LEFT_CGROUP = 5, /* a process: pid, comm, cgroup_id of where it is now */
};

struct tapdeck_event {
  __u32 kind;
  __u32 target;
  union {
    __u64 netns_cookie;
    __u64 cgroup_id;
  };
  __u32 pid;
  __u16 port;
  __u8 protocol;
  __u8 pad;
  __u8 address[16];
  char comm[16];
};

/* A datagram from or to port 53 that was seen in passing. No more than `length` bytes of it are there. */
struct tapdeck_sighting {
  __u64 netns_cookie; /* 0: not known, its socket is older than the target */
  __u8 client[16];
  __u8 resolver[16];
  __u16 client_port;
  __u16 is_answer;
  __u32 target;
  __u32 length;
  __u32 whole; /* length of the datagram */
  __u8 bytes[TAPDECK_NAME_BYTES];
};

/* tc path: flows that pass untouched, to count each once and to let replies of inbound connections out when sealed. */
struct tapdeck_tuple {
  __u8 source[16];
  __u8 destination[16];
  __u16 source_port;
  __u16 destination_port;
  __u32 protocol;
};

/* An address of this host, as everywhere here. */
struct tapdeck_address {
  __u8 bytes[16];
};

enum tapdeck_seen {
  TAPDECK_SEEN_COUNTED = 1,
  TAPDECK_SEEN_INBOUND = 2,
};

_Static_assert(sizeof(struct tapdeck_control) == 64, "one cache line");
_Static_assert(sizeof(struct tapdeck_socket) == 192, "no hidden padding");
_Static_assert(sizeof(struct tapdeck_flow_key) == 48, "no hidden padding in a hash key");
_Static_assert(sizeof(struct tapdeck_flow) == 64, "layout shared with user space");
_Static_assert(sizeof(struct tapdeck_refused_key) == 24, "no hidden padding in a hash key");
_Static_assert(sizeof(struct tapdeck_own_key) == 32, "no hidden padding in a hash key");
_Static_assert(sizeof(struct tapdeck_tuple) == 40, "no hidden padding in a hash key");
_Static_assert(sizeof(struct tapdeck_event) == 56, "layout shared with user space");
_Static_assert(sizeof(struct tapdeck_sighting) == 56 + TAPDECK_NAME_BYTES, "layout shared with user space");
_Static_assert(sizeof(struct tapdeck_netns) == 64 + 8 * TAPDECK_MAX_LISTENERS + 2 * TAPDECK_MAX_LISTENERS,
               "layout shared with user space");
_Static_assert(TAPDECK_COUNTS <= 24, "counters fit");

#endif
