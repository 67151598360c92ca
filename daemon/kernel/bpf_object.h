// bpf_object: what all loading of BPF objects shares: the words of libbpf's failures, and maps that objects have in
// common. Not for anyone outside kernel/. Thread: control thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "daemon/base/result.h"

struct bpf_object;

namespace tapdeck::kernel {

// From now on libbpf says nothing by itself; the first thing it complains of ends up in fail_libbpf().
void keep_complaints();
void forget_complaint();

// `error` is libbpf's, of either sign.
[[nodiscard]] std::unexpected<Error> fail_libbpf(int error, const std::string& what);

// Before load: `object`'s maps become those that `fd_of` finds by name (-1: it stays the object's own, if `object` may
// have any); .rodata and .bss always do.
enum class OwnMaps : uint8_t { No, Yes };
[[nodiscard]] Result<void> share_maps(bpf_object* object, const std::function<int(const char*)>& fd_of,
                                      OwnMaps own = OwnMaps::No);

}  // namespace tapdeck::kernel
