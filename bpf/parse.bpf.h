/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * parse.bpf.h: bounded L2-L4 parsing for the tc path: Ethernet or bare IP, one VLAN tag in the data, IPv4 options,
 * IPv6 extension headers. Reads with bpf_skb_load_bytes, so that paged packets parse like linear ones.
 */
#ifndef TAPDECK_PARSE_BPF_H
#define TAPDECK_PARSE_BPF_H

#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "shared.h"

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8
#define ETH_HEADER 14
#define VLAN_HEADER 4
#define UDP_HEADER 8
#define IP_FRAGMENT_MASK 0x3fff /* more-fragments bit and offset */
#define IPV6_HEADERS_MAX 6      /* chain length; a loop bound every kernel >= 5.3 accepts */

enum parse_result {
  PARSE_NOT_IP, /* ARP, LLDP, malformed: none of our business */
  PARSE_OK,
  PARSE_FRAGMENT,
};

struct packet {
  struct tapdeck_tuple tuple; /* ports 0 unless TCP or UDP; protocol always set */
  __u8 v4;
  __u8 syn;
  __u8 ack;
  __u8 rst;
  __u8 icmp_type;
  __u16 payload;        /* UDP: its offset */
  __u16 payload_length; /* UDP: as its header says */
};

static __always_inline void map_v4(__u8 out[16], const __u8* address) {
  __builtin_memset(out, 0, 10);
  out[10] = 0xff;
  out[11] = 0xff;
  __builtin_memcpy(out + 12, address, 4);
}

static __always_inline int parse_l4(struct __sk_buff* skb, __u32 offset, struct packet* p) {
  __u8 head[14];
  __u32 protocol = p->tuple.protocol;

  if (protocol == IPPROTO_ICMP) {
    bpf_skb_load_bytes(skb, offset, &p->icmp_type, 1); /* cut off: reads as 0 */
    return PARSE_OK;
  }
  if (protocol == IPPROTO_ICMPV6) return bpf_skb_load_bytes(skb, offset, &p->icmp_type, 1) ? PARSE_NOT_IP : PARSE_OK;
  if (protocol == IPPROTO_TCP) {
    if (bpf_skb_load_bytes(skb, offset, head, 14)) return PARSE_NOT_IP;
    p->syn = head[13] >> 1 & 1;
    p->rst = head[13] >> 2 & 1;
    p->ack = head[13] >> 4 & 1;
  } else if (protocol == IPPROTO_UDP) {
    if (bpf_skb_load_bytes(skb, offset, head, UDP_HEADER)) return PARSE_NOT_IP;
    p->payload = (__u16)(offset + UDP_HEADER);
    p->payload_length = (__u16)((head[4] << 8 | head[5]) - UDP_HEADER);
  } else {
    return PARSE_OK;
  }
  p->tuple.source_port = (__u16)(head[0] << 8 | head[1]);
  p->tuple.destination_port = (__u16)(head[2] << 8 | head[3]);
  return PARSE_OK;
}

static __always_inline int parse_v4(struct __sk_buff* skb, __u32 offset, struct packet* p) {
  __u8 ip[20];
  __u32 length;

  if (bpf_skb_load_bytes(skb, offset, ip, sizeof(ip)) || ip[0] >> 4 != 4) return PARSE_NOT_IP;
  length = (ip[0] & 0xf) * 4;
  if (length < sizeof(ip)) return PARSE_NOT_IP;
  p->v4 = 1;
  p->tuple.protocol = ip[9];
  map_v4(p->tuple.source, ip + 12);
  map_v4(p->tuple.destination, ip + 16);
  if ((ip[6] << 8 | ip[7]) & IP_FRAGMENT_MASK) return PARSE_FRAGMENT;
  return parse_l4(skb, offset + length, p);
}

static __always_inline int parse_v6(struct __sk_buff* skb, __u32 offset, struct packet* p) {
  __u8 ip[40], extension[2], next;
  int i;

  if (bpf_skb_load_bytes(skb, offset, ip, sizeof(ip)) || ip[0] >> 4 != 6) return PARSE_NOT_IP;
  __builtin_memcpy(p->tuple.source, ip + 8, 16);
  __builtin_memcpy(p->tuple.destination, ip + 24, 16);
  next = ip[6];
  offset += sizeof(ip);
  for (i = 0; i < IPV6_HEADERS_MAX; i++) {
    p->tuple.protocol = next;
    if (next == IPPROTO_FRAGMENT) return PARSE_FRAGMENT;
    if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS) return parse_l4(skb, offset, p);
    if (bpf_skb_load_bytes(skb, offset, extension, sizeof(extension))) return PARSE_NOT_IP;
    next = extension[0];
    offset += (extension[1] + 1) * 8;
  }
  return PARSE_FRAGMENT; /* absurd chain: treat like what else cannot be read */
}

static __always_inline int parse_packet(struct __sk_buff* skb, __u32 l2_length, struct packet* p) {
  __u32 offset = l2_length;
  __u16 protocol = bpf_ntohs((__u16)skb->protocol);

  if (protocol == ETH_P_8021Q || protocol == ETH_P_8021AD) { /* a tag the device did not strip */
    __u8 type[2];

    if (bpf_skb_load_bytes(skb, offset + 2, type, sizeof(type))) return PARSE_NOT_IP;
    protocol = (__u16)(type[0] << 8 | type[1]);
    offset += VLAN_HEADER;
  }
  if (protocol == ETH_P_IP) return parse_v4(skb, offset, p);
  if (protocol == ETH_P_IPV6) return parse_v6(skb, offset, p);
  return PARSE_NOT_IP;
}

#endif
