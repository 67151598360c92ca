// `tapdeck doctor`: what kernel::probe() found, with what follows from it.
#include <algorithm>
#include <array>
#include <ostream>

#include "daemon/app/commands.h"
#include "daemon/app/output.h"
#include "daemon/kernel/probe.h"

namespace tapdeck::app {

int doctor(const Common& common, Streams streams) {
  // No Patience here: probe() forks and wants a process with one thread.
  if (common.format == Format::Text) streams.err << "tapdeck: trying each mechanism in throw-away namespaces\n";
  Json items = Json::array();
  bool captures = false;
  for (const kernel::Finding& finding : kernel::probe()) {
    captures |= finding.ok && finding.name.ends_with("_capture");
    items.push_back(
        {{"name", finding.name}, {"ok", finding.ok}, {"detail", finding.detail}, {"consequence", finding.consequence}});
  }
  if (common.format == Format::Json) {
    streams.out << dump({{"items", items}, {"next", nullptr}, {"fit", captures}}) << '\n';
    return captures ? 0 : 1;
  }
  for (const Json& item : items) {
    streams.out << (item["ok"].get<bool>() ? "ok    " : "FAIL  ") << cell_of(item["name"]) << ": "
                << cell_of(item["detail"]) << '\n';
    if (!item["ok"].get<bool>()) streams.out << "      without it: " << cell_of(item["consequence"]) << '\n';
  }
  streams.out << (captures ? "This host can capture.\n"
                           : "No capture path works here. A client that is given a proxy needs none, but a daemon that "
                             "serves one still wants them (docs/OPERATIONS.md).\n");
  return captures ? 0 : 1;
}

}  // namespace tapdeck::app
