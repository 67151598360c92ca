// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * escape.bpf.c: sees who leaves the cgroup of a target: from then on the target's programs see nothing of what it does.
 * One copy for all targets. It only tells; it neither hinders nor follows anybody.
 *
 * The kernel's tracepoint tells of a move that has happened, and where to, but not where from. So each process carries
 * a mark: which captured cgroups it is in. It gets one when it is forked, when it is moved, when a thread that is not
 * its leader executes a program and so becomes the leader, and, if it was there before, by the iterator. A child that
 * is put elsewhere at once (CLONE_INTO_CGROUP) is seen by the fork alone. Marks hold ids, which the kernel uses once,
 * so that none becomes wrong when targets come and go. Built for kernel 5.15, run on 6.18.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "maps.bpf.h"
#include "shared.h"

#pragma clang diagnostic ignored "-Wunused-parameter" /* BPF_PROG's own `ctx` */

#define MAX_DEPTH 32 /* of cgroups: the way to the root is walked that far. For the verifier, 5.15 */
#define MAX_NESTED 4 /* captured cgroups around one process; the outer ones count */

/* 100 ms: who moves processes to and fro must not fill the ring that all events share. */
#define TELL_INTERVAL_NS 100000000ULL

/* What is read of the kernel's own structures. libbpf looks into the running kernel's BTF for where it is in them. */
#define KERNEL_TYPE __attribute__((preserve_access_index))

struct kernfs_node {
  __u64 id;
} KERNEL_TYPE;

struct cgroup;
struct cgroup_root;

struct cgroup_subsys_state {
  struct cgroup* cgroup;
  struct cgroup_subsys_state* parent;
} KERNEL_TYPE;

struct cgroup {
  struct cgroup_subsys_state self;
  struct kernfs_node* kn;
  struct cgroup_root* root;
} KERNEL_TYPE;

struct css_set {
  struct cgroup* dfl_cgrp; /* in cgroup2, whatever version 1 hierarchies there are */
} KERNEL_TYPE;

struct task_struct {
  int pid;
  int tgid;
  struct task_struct* group_leader;
  struct css_set* cgroups;
  char comm[16];
} KERNEL_TYPE;

struct bpf_iter__task {
  void* meta;
  struct task_struct* task;
} KERNEL_TYPE;

/* Cgroups that targets capture, by id: a bit for each slot. Daemon writes, programs read. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, TAPDECK_MAX_TARGETS);
  __type(key, __u64);
  __type(value, __u64);
} captured_cgroups SEC(".maps");

_Static_assert(TAPDECK_MAX_TARGETS <= 64, "a bit for each slot");

struct mark {
  __u64 id[MAX_NESTED]; /* of captured cgroups, outer ones first; 0: no more */
};

/* At the leader of each process that is in captured cgroups. Programs only; freed with the process. */
struct {
  __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct mark);
} marks SEC(".maps");

/* When a departure of each slot was last told. Programs only. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, TAPDECK_MAX_TARGETS);
  __type(key, __u32);
  __type(value, __u64);
} told SEC(".maps");

static __always_inline struct cgroup* parent_of(struct cgroup* cgroup) {
  return cgroup->self.parent->cgroup;
}

/* What a process in `cgroup` has to carry. Shifted in, not indexed: the verifier would go through every count. */
static __always_inline void look_around(struct cgroup* cgroup, struct mark* mark) {
  for (int i = 0; i < MAX_DEPTH && cgroup; ++i) {
    __u64 id = cgroup->kn->id;

    if (bpf_map_lookup_elem(&captured_cgroups, &id)) {
      mark->id[3] = mark->id[2];
      mark->id[2] = mark->id[1];
      mark->id[1] = mark->id[0];
      mark->id[0] = id;
    }
    cgroup = parent_of(cgroup);
  }
}

static __always_inline void put_mark(struct task_struct* leader, struct mark* mark) {
  struct mark* kept = bpf_task_storage_get(&marks, leader, 0, mark->id[0] ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);

  if (kept) *kept = *mark;
}

/* Global functions are verified once, not for each way that leads to them. */
#define GLOBAL __attribute__((noinline))

/* The slots of captured cgroups that were around a process and no longer are. */
GLOBAL __u64 slots_left(const struct mark* before, const struct mark* after) {
  __u64 left = 0;

  if (!before || !after) return 0;
  for (int i = 0; i < MAX_NESTED; ++i) {
    __u64 id = before->id[i], *slots;
    int stays = !id;

    for (int j = 0; j < MAX_NESTED; ++j) stays |= after->id[j] == id;
    if (stays) continue;
    slots = bpf_map_lookup_elem(&captured_cgroups, &id);
    if (slots) left |= *slots;
  }
  return left;
}

/* Every departure is counted; an event is sent for the first in a while. Two at once may both be. */
static __always_inline int is_time_to_tell(__u32 slot) {
  __u64 now = bpf_ktime_get_ns();
  __u64* last = bpf_map_lookup_elem(&told, &slot);

  if (!last || (*last && now - *last < TELL_INTERVAL_NS)) return 0;
  *last = now;
  return 1;
}

GLOBAL int tell_each(__u64 left, __u64 to, __u32 pid, __u64 comm0, __u64 comm1) {
  struct tapdeck_event event = {.kind = TAPDECK_EVENT_LEFT_CGROUP, .cgroup_id = to, .pid = pid};

  __builtin_memcpy(event.comm, &comm0, sizeof(comm0));
  __builtin_memcpy(event.comm + sizeof(comm0), &comm1, sizeof(comm1));
  for (__u32 slot = 0; slot < TAPDECK_MAX_TARGETS; ++slot) {
    if (!(left >> slot & 1)) continue;
    event.target = slot;
    count_one(slot, TAPDECK_LEFT_CGROUP);
    if (is_time_to_tell(slot)) send_event(&event);
  }
  return 0;
}

static __always_inline void tell(__u64 left, struct task_struct* task, struct cgroup* to) {
  __u64 comm[2] = {};

  if (!left) return;
  bpf_probe_read_kernel(comm, sizeof(comm), task->comm);
  tell_each(left, to->kn->id, (__u32)task->tgid, comm[0], comm[1]);
}

SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(tapdeck_moved, struct cgroup* to, const char* path, struct task_struct* task, _Bool whole_process) {
  struct task_struct* leader = task->group_leader;
  struct mark *kept, after = {};

  if (task->cgroups->dfl_cgrp->root != to->root) return 0; /* a version 1 hierarchy */
  look_around(to, &after);
  kept = bpf_task_storage_get(&marks, leader, 0, 0);
  if (kept) tell(slots_left(kept, &after), task, to);
  if (whole_process) put_mark(leader, &after); /* a thread alone may come and go; each time is told */
  return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(tapdeck_forked, struct task_struct* parent, struct task_struct* child) {
  struct mark* of_parent = bpf_task_storage_get(&marks, parent->group_leader, 0, 0);
  int is_process = child->pid == child->tgid;
  struct mark after = {};

  if (parent->cgroups == child->cgroups) {
    if (of_parent && is_process) bpf_task_storage_get(&marks, child, of_parent, BPF_LOCAL_STORAGE_GET_F_CREATE);
    return 0;
  }
  look_around(child->cgroups->dfl_cgrp, &after);
  if (of_parent) tell(slots_left(of_parent, &after), child, child->cgroups->dfl_cgrp);
  if (is_process) put_mark(child, &after);
  return 0;
}

/* The leader's mark went with the old leader: the thread that executes has its number now, not its storage. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(tapdeck_executed, struct task_struct* task, int old_pid, void* program) {
  struct mark now = {};

  if (old_pid == task->pid) return 0;
  look_around(task->cgroups->dfl_cgrp, &now);
  put_mark(task, &now);
  return 0;
}

/* Read once when a target is attached: processes that are there already. */
SEC("iter/task")
int tapdeck_present(struct bpf_iter__task* ctx) {
  struct task_struct* task = ctx->task;
  struct mark now = {};

  if (!task || task->pid != task->tgid) return 0;
  look_around(task->cgroups->dfl_cgrp, &now);
  put_mark(task, &now);
  return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
