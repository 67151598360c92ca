// Connections whose client's processes have all ended. A socket of a dead process says so by itself, but what says it
// may not come: a container's network goes with it, its addresses or all of its loopback, while its namespace lives on
// for the sake of our sockets. And who merely ended its side might have read on.
//
// Not for targets by interface, whose clients are elsewhere. Thread: the worker's.
#pragma once

#include <list>

#include "daemon/base/vocabulary.h"
#include "daemon/net/task_group.h"

namespace tapdeck::server {

class Connection;

// From here on the kernel asks the peer of this socket, once a second, whether it is there.
void ask_whether_it_is_there(int fd);
// It acknowledged neither data nor such questions several times in a row. Only of a peer on this host does that say
// that it cannot be reached; one that is merely slow or stopped has a kernel that answers.
[[nodiscard]] bool is_out_of_reach(int fd);

// For the connections that this tenant of the slot has now: what was sent before the end has a second to pass; then
// those whose client has ended its side, or is out of reach, are broken off. What a process that left the target in
// time goes on with is none of them. `connections` and `group`, which runs them and this, outlive it.
net::Task<> drop_dead_clients(std::list<Connection>& connections, net::TaskGroup& group, TargetSlot target,
                              uint64_t tenant);

}  // namespace tapdeck::server
