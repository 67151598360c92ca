// Who may ask for which names, and who answers: rules that follow from modes, routes and bypass lists.
// Thread: any. Pure, but for own_search_domains() and is_own_name(), which look at this host.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/config/bypass.h"
#include "daemon/config/config.h"
#include "daemon/kernel/capture.h"
#include "daemon/modes/runtime_state.h"
#include "daemon/names/view.h"

namespace tapdeck::app {

// What becomes of a cgroup's questions. In record they are only observed, for a resolver is nobody's to replace; who is
// sealed has no other way to ask than by us. Passthrough leaves them alone: nothing is kept of it.
[[nodiscard]] kernel::Names names_of(Mode mode, modes::Sealed sealed);

// Of a target that replays: may this name lead to an origin? By its routes, those of other targets and of a reverse
// proxy left out, and by what is bypassed. A route without a host may be about any name.
[[nodiscard]] names::Outside outside_of(const config::Config& config, const config::BypassRules& bypass,
                                        std::string_view target, std::string_view name);

// The domains that a resolver tries behind a name, by the text of resolv.conf(5), lower case.
[[nodiscard]] std::vector<std::string> search_domains(std::string_view resolv_conf);
[[nodiscard]] std::vector<std::string> own_search_domains();
// That of this host, in its search domains too: programs ask for it, and that is no origin.
[[nodiscard]] bool is_own_name(std::string_view name);

}  // namespace tapdeck::app
