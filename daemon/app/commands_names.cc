// What resolvers answered the clients of a session, as a list.
#include "daemon/app/command_answer.h"
#include "daemon/app/commands.h"
#include "daemon/app/name_answer_view.h"

namespace tapdeck::app {
namespace {

Result<admin::Json> names_asked_for(admin::Control& control, const SessionArgs& args) {
  if (!args.name.empty()) return control.names(args.name, args.page);
  TRY(status, control.status());
  return control.names(parsed(status)["session"].get<std::string>(), args.page);
}

}  // namespace

int session_names(const Common& common, const SessionArgs& args, Streams streams) {
  return list(common, streams, "reading names", {{"NAME", "name"}, {"TYPE", "type"}, {"ANSWER", "text"}},
              [&](auto& c) -> Result<admin::Json> {
                TRY(names, names_asked_for(c, args));
                if (common.format == Format::Json) return names;
                Json page = parsed(names);
                for (Json& item : page["items"]) item["text"] = answer_text(item);
                return dump(page);
              });
}

}  // namespace tapdeck::app
