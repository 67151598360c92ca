#include "daemon/app/cli.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <ostream>

#include "daemon/app/child.h"
#include "daemon/app/cli_help.h"
#include "daemon/app/output.h"
#include "daemon/config/config.h"

namespace tapdeck::app {
namespace {

// What the command line said. One for all subcommands: each leaf binds the members it has flags for.
struct Arguments {
  Common common;
  RunOptions run;
  ServeOptions serve;
  SessionArgs session;
  RecordingArgs recording;
  admin::AttachRequest attach;
  std::string container, pid, unit, cgroup, interface_name;
  std::string mode;
  std::string target;
  std::filesystem::path file;
  int fail_on_miss = 0;
  int status = 0;
  bool body = false, request_body = false, json = false, remove = false;
};

// Builds the parser and remembers what the leaf that was named wants done.
class Builder {
 public:
  Builder(Arguments& arguments, const Programs& programs, const Streams& streams)
      : a_(arguments), programs_(programs), streams_(streams), app_(kAbout, "tapdeck") {
    app_.footer(kExamples);
    app_.require_subcommand(1);
    app_.set_version_flag("--version", "tapdeck " TAPDECK_VERSION);
    add_run();
    add_serve();
    add_targets();
    add_session();
    add_recording();
    add_mode();
    add_ca();
    add_config();
    add_rest();
  }
  CLI::App& app() { return app_; }
  int act() const { return action_(); }

 private:
  CLI::App* leaf(CLI::App& parent, const std::string& name, const std::string& about, const std::string& examples,
                 std::function<int()> action) {
    CLI::App* sub = parent.add_subcommand(name, about);
    add_places(*sub);
    sub->footer(examples.empty() ? "" : "Examples:\n" + examples);  // else it would show its parent's
    sub->callback([this, action = std::move(action)] { action_ = action; });
    return sub;
  }
  // Of what has a name: an empty one is a mistake, and stands neither for all nor for the daemon.
  template <class Value>
  static CLI::Option* add_name(CLI::App& sub, const std::string& flags, Value& value, const std::string& about) {
    return sub.add_option(flags, value, about)->check(not_empty_check);
  }
  void add_places(CLI::App& sub) {
    add_name(sub, "--config", a_.common.config_file, "configuration file (default /etc/tapdeck/tapdeck.toml)");
    add_name(sub, "--state-dir", a_.common.state_dir,
             "state directory (default ~/.local/share/tapdeck, root: /var/lib/tapdeck)");
  }
  static void add_page(CLI::App& sub, admin::Page& page) {
    sub.add_option("--limit", page.limit, "at most so many (100)")->check(CLI::Range(1, 1000));
    sub.add_option("--cursor", page.cursor, "continue a list");
  }
  CLI::App* listing(CLI::App& parent, const std::string& name, const std::string& about, const std::string& examples,
                    std::function<int()> action) {
    CLI::App* sub = leaf(parent, name, about, examples, std::move(action));
    sub->add_flag("--json", a_.json, "print JSON");
    return sub;
  }
  CLI::App& group(const std::string& name, const std::string& about) {
    CLI::App* sub = app_.add_subcommand(name, about);
    sub->require_subcommand(1);
    // What all of its subcommands take is taken before them, too; help shows it where it belongs.
    add_places(*sub);
    sub->add_flag("--json", a_.json);
    for (CLI::Option* option : sub->get_options()) {
      if (option->get_name() != "--help") option->group("");
    }
    sub->footer("`tapdeck " + name + " SUBCOMMAND --help` explains each.");
    return *sub;
  }

  void add_run() {
    CLI::App* sub = leaf(app_, "run", "record or replay one command; its exit status is the command's",
                         "  tapdeck run -- curl https://example.org\n"
                         "  tapdeck run --session s --mode replay --sealed --fail-on-miss -- make test\n"
                         "Exit status: the command's; 125 our own failure, 126 not executable, 127 not found.",
                         [this] { return run(); });
    sub->prefix_command();
    add_name(*sub, "--session", a_.run.session, "session to record to or replay from (default: default)");
    sub->add_option("--mode", a_.mode, "record, replay, hybrid or passthrough (default: record)")->check(mode_check);
    sub->add_flag("--sealed", a_.run.sealed, "nothing may leave the command uncaptured");
    sub->add_flag("--append", a_.run.append,
                  "extend the session's last take, whose older answers replay first, instead of opening a new one");
    sub->add_flag("--fail-on-miss{3}", a_.fail_on_miss,
                  "exit with this status (3) when something was missed, refused or lost")
        ->check(exit_status_check);
    sub->add_option("--replay-refused", a_.run.replay_refused,
                    "what replay makes of a connect that was refused: answer (with the recorded 502) or refuse")
        ->check(CLI::IsMember({"answer", "refuse"}));
    add_name(*sub, "--summary", a_.run.summary_file, "write the summary as JSON to this file, - for standard output");
    sub->add_option("--upstream-ca", a_.run.upstream_ca,
                    "PEM file that upstream certificates may also chain to; may be repeated")
        ->allow_extra_args(false);  // the next word is the command's
    sub->add_option(
           "--capture", a_.run.capture,
           "cgroup (needs root), netns (a network namespace of its own; needs nothing), or auto: whichever this "
           "process may")
        ->check(CLI::IsMember({"auto", "cgroup", "netns"}));
  }
  void add_serve() {
    leaf(app_, "serve", "run the daemon until SIGTERM", "  tapdeck serve --config /etc/tapdeck/tapdeck.toml", [this] {
      a_.serve.config_file = a_.common.config_file;
      a_.serve.state_dir = a_.common.state_dir;
      return programs_.serve(a_.serve);
    });
  }
  void add_targets() {
    CLI::App* sub = listing(app_, "attach", "capture a running container, unit, cgroup, process or interface",
                            "  tapdeck attach --container web --session shop\n"
                            "  tapdeck attach --unit nginx.service --mode hybrid\n"
                            "  tapdeck attach --interface br0",
                            [this] { return attach(); });
    CLI::Option_group* one = sub->add_option_group("target", "exactly one");
    one->add_option("--container", a_.container, "podman or docker container, by name or id");
    one->add_option("--pid", a_.pid, "process id; its cgroup is captured");
    one->add_option("--unit", a_.unit, "systemd unit");
    one->add_option("--cgroup", a_.cgroup, "cgroup2 directory");
    one->add_option("--interface", a_.interface_name, "network interface of this host (bridge, veth)");
    one->require_option(1);
    for (CLI::Option* option : one->get_options()) option->check(not_empty_check);
    add_name(*sub, "--name", a_.attach.name, "name of the target (default: what was given)");
    add_name(*sub, "--session", a_.session.name, "session (default: the daemon's)");
    sub->add_option("--mode", a_.mode, "mode (default: the daemon's)")->check(mode_check);
    sub->add_flag("--sealed", a_.attach.sealed, "nothing may leave it uncaptured");
    CLI::App* detach =
        listing(app_, "detach", "stop capturing a target, leave no trace", "  tapdeck detach 3\n  tapdeck detach web",
                [this] { return target_detach(a_.common, a_.target, streams_); });
    add_name(*detach, "TARGET", a_.target, "id, name or kind:name")->required();
    listing(app_, "targets", "list targets, with what was not captured and why", "  tapdeck targets --json",
            [this] { return targets_list(a_.common, streams_); });
  }
  void add_session() {
    CLI::App& parent = group("session", "sets of recordings");
    listing(parent, "list", "list sessions", "", [this] {
      return session_list(a_.common, streams_);
    })->footer("BYTES: of its recordings; a body that several share counts in each (`tapdeck status`: once).");
    const auto named = [&](const std::string& name, const std::string& about,
                           int (*command)(const Common&, const SessionArgs&, Streams)) {
      CLI::App* sub =
          listing(parent, name, about, "", [this, command] { return command(a_.common, a_.session, streams_); });
      add_name(*sub, "NAME", a_.session.name, "session")->required();
      return sub;
    };
    named("show", "show one session", session_show);
    CLI::App* names = named("names", "list what resolvers answered the session's clients", session_names);
    names->get_option("NAME")->required(false)->description("session (default: the active one)");
    names->footer("Examples:\n  tapdeck session names shop\n  tapdeck session names --json");
    add_page(*names, a_.session.page);
    named("create", "create an empty session", session_create);
    CLI::App* activate =
        named("activate", "make it the session that serve uses for targets that name none", session_activate);
    CLI::Option* target = add_name(*activate, "--target", a_.session.target, "only for this target");
    CLI::Option* name = activate->get_option("NAME")->required(false);
    activate->add_flag("--default", a_.session.of_daemon, "instead of NAME: the target's is the daemon's again")
        ->needs(target)
        ->excludes(name);
    activate->footer(
        "Examples:\n  tapdeck session activate shop\n  tapdeck session activate shop --target web\n"
        "  tapdeck session activate --default --target web");
    activate->parse_complete_callback([this] {
      if (!a_.session.of_daemon && a_.session.name.empty()) throw CLI::RequiredError("NAME");
    });
    CLI::App* rewind = named("rewind", "have the daemon replay from the first recording again", session_rewind);
    add_name(*rewind, "--target", a_.session.target, "only for this target");
    named("delete", "delete a session and its recordings", session_delete)
        ->add_flag("--yes", a_.session.yes, "do not ask (only a terminal is asked)");
    CLI::App* exporting = named("export", "write a session to one file", session_export);
    add_name(*exporting, "-o,--output", a_.session.file, "file to write, - for standard output (default NAME.tapdeck)");
    exporting->add_flag("--force", a_.session.force, "replace the file when there is one");
    CLI::App* import = listing(parent, "import", "read a session from a file that export wrote",
                               "  tapdeck session import shop.tapdeck --name shop2",
                               [this] { return session_import(a_.common, a_.session, streams_); });
    import->add_option("FILE", a_.session.file, "file to read; - reads from standard input")->required();
    add_name(*import, "--name", a_.session.name, "name it here (default: the name in the file)");
  }
  void add_recording() {
    CLI::App& parent = group("recording", "recorded exchanges");
    const auto filters = [this](CLI::App* sub) {
      auto& filter = a_.recording.filter;
      add_name(*sub, "--session", filter.session, "only this session");
      sub->add_option("--host", filter.host, "only this host");
      sub->add_option("--method", filter.method, "only this method");
      sub->add_option("--path", filter.path_contains, "only paths that contain this");
      sub->add_option("--status", filter.status, "only this status")->check(CLI::Range(0, 999));
      add_page(*sub, a_.recording.page);
    };
    filters(listing(parent, "list", "list recordings", "  tapdeck recording list --session shop --status 500",
                    [this] { return recording_list(a_.common, a_.recording, streams_); }));
    CLI::App* search =
        listing(parent, "search",
                "list recordings with a text in the URL, a header (as 'name: value') or with body:TEXT a body",
                "  tapdeck recording search x-request-id\n  tapdeck recording search body:needle",
                [this] { return recording_list(a_.common, a_.recording, streams_); });
    search->add_option("TEXT", a_.recording.filter.text, "text, any case")->required();
    filters(search);
    CLI::App* show = listing(parent, "show", "show one recording, or its body",
                             "  tapdeck recording show 12\n  tapdeck recording show 12 --body > out.bin", [this] {
                               using Show = RecordingArgs::Show;
                               if (a_.body)
                                 a_.recording.show = a_.request_body ? Show::RequestBody : Show::ResponseBody;
                               return recording_show(a_.common, a_.recording, streams_);
                             });
    show->add_option("ID", a_.recording.id, "recording")->required();
    CLI::Option* body = show->add_flag("--body", a_.body, "print the response body, as it was on the wire")
                            ->excludes(show->get_option("--json"));
    show->add_flag("--request", a_.request_body, "with --body: the request's")->needs(body);
    listing(parent, "delete", "delete one recording", "",
            [this] { return recording_delete(a_.common, a_.recording, streams_); })
        ->add_option("ID", a_.recording.id, "recording")
        ->required();
  }
  void add_mode() {
    CLI::App& parent = group("mode", "what happens with captured traffic");
    listing(parent, "show", "show the modes in force", "", [this] { return mode_show(a_.common, streams_); });
    CLI::App* set = listing(parent, "set", "change the mode, of the daemon or of one target",
                            "  tapdeck mode set replay\n  tapdeck mode set hybrid --target web\n"
                            "  tapdeck mode set default --target web",
                            [this] {
                              const auto mode = parse_mode(a_.mode);
                              return mode ? mode_set(a_.common, *mode, a_.target, streams_)
                                          : target_follow(a_.common, admin::Own::Mode, a_.target, streams_);
                            });
    set->add_option("MODE", a_.mode, "record, replay, hybrid or passthrough; default: of a target, the daemon's again")
        ->required()
        ->check([](const std::string& text) { return text == "default" ? "" : mode_check(text); });
    add_name(*set, "--target", a_.target, "only this target");
    set->parse_complete_callback([this] {
      if (!parse_mode(a_.mode) && a_.target.empty()) throw CLI::RequiredError("--target");
    });
  }
  void add_ca() {
    CLI::App& parent = group("ca", "the certificate authority of this install");
    listing(parent, "init", "make the CA if there is none", "", [this] { return ca_init(a_.common, streams_); });
    listing(parent, "show", "show the CA", "", [this] { return ca_show(a_.common, streams_); });
    CLI::App* exporting =
        leaf(parent, "export", "print the CA certificate (never the key)", "  tapdeck ca export -o tapdeck-ca.pem",
             [this] { return ca_export(a_.common, a_.file, streams_); });
    add_name(*exporting, "-o,--output", a_.file, "file to write instead of standard output");
    listing(parent, "install", "put the CA into this host's trust store (lasting, for every user)",
            "  sudo tapdeck ca install\n  sudo tapdeck ca install --remove",
            [this] {
              return ca_install(a_.common, a_.remove ? HostTrustChange::Remove : HostTrustChange::Install, streams_);
            })
        ->add_flag("--remove", a_.remove, "take it out again");
  }
  void add_config() {
    CLI::App& parent = group("config", "the configuration file");
    listing(parent, "check", "check a configuration file", "  tapdeck config check --config ./tapdeck.toml",
            [this] { return config_check(a_.common, streams_); });
    listing(parent, "show", "print the configuration in force, defaults included", "",
            [this] { return config_show(a_.common, streams_); });
  }
  void add_rest() {
    listing(app_, "status", "what the daemon does, or what the state directory holds", "", [this] {
      return status_show(a_.common, streams_);
    })->footer("bytes: what storage.max_bytes bounds, where a body that several recordings share counts once.");
    listing(app_, "doctor", "try each capture mechanism and say what this host can do", "",
            [this] { return doctor(a_.common, streams_); });
    listing(app_, "clean",
            "remove what a crashed daemon or run left: kernel attachments, commands of a run that survived it", "",
            [this] { return clean_leftovers(a_.common, streams_); });
    listing(app_, "version", "print the version", "", [this] {
      streams_.out << (a_.json ? "{\"version\":\"" TAPDECK_VERSION "\"}\n" : "tapdeck " TAPDECK_VERSION "\n");
      return kExitOk;
    });
  }

  int run() {
    if (a_.run.argv.empty()) {
      streams_.err << "tapdeck: run needs a command: tapdeck run [FLAGS] -- CMD [ARG...]\n";
      return kExitOurFailure;
    }
    a_.run.config_file = a_.common.config_file;
    a_.run.state_dir = a_.common.state_dir;
    if (a_.fail_on_miss != 0) a_.run.fail_on_miss = a_.fail_on_miss;
    if (!a_.mode.empty()) a_.run.mode = *parse_mode(a_.mode);
    return programs_.run(a_.run);
  }
  int attach() {
    const std::pair<const char*, const std::string*> kinds[] = {{"container", &a_.container},
                                                                {"pid", &a_.pid},
                                                                {"unit", &a_.unit},
                                                                {"cgroup", &a_.cgroup},
                                                                {"interface", &a_.interface_name}};
    for (const auto& [kind, value] : kinds) {
      if (value->empty()) continue;
      a_.attach.kind = kind;
      a_.attach.selector = *value;
    }
    if (!a_.session.name.empty()) a_.attach.session = a_.session.name;
    if (!a_.mode.empty()) a_.attach.mode = parse_mode(a_.mode);
    return target_attach(a_.common, a_.attach, streams_);
  }

  Arguments& a_;
  const Programs& programs_;
  const Streams& streams_;
  CLI::App app_;
  std::function<int()> action_;
};

}  // namespace

int run_cli(std::vector<std::string> arguments, const Programs& programs, Streams streams) {
  Arguments a;
  Builder builder(a, programs, streams);
  CLI::App& app = builder.app();
  // What follows "--" of `run` is the command's own and is not looked at.
  const auto dashes = std::ranges::find(arguments, "--");
  const bool is_run = !arguments.empty() && arguments.front() == "run";
  if (is_run && dashes != arguments.end()) {
    a.run.argv.assign(dashes + 1, arguments.end());
    arguments.erase(dashes, arguments.end());
  }
  if (arguments.empty()) {
    streams.err << help_of(&app);
    return kExitUsage;
  }
  if (arguments.front() == "help") {
    arguments.erase(arguments.begin());
    arguments.emplace_back("--help");
  }
  if (const auto misplaced = misplaced_flag(app, arguments.front())) {
    streams.err << "tapdeck: " << *misplaced << '\n';
    return std::ranges::find(arguments, "run") != arguments.end() ? kExitOurFailure : kExitUsage;
  }
  const std::optional<std::string> apart = status_apart(arguments);
  // Known before the rest is understood. `run` prints for people.
  const bool wants_json = !is_run && std::ranges::find(arguments, "--json") != arguments.end();
  const auto refuse = [&](const std::string& text) {
    return usage_error(app, streams, wants_json ? Format::Json : Format::Text, text);
  };
  std::ranges::reverse(arguments);  // CLI11 takes a stack
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::CallForVersion&) {
    streams.out << "tapdeck " TAPDECK_VERSION "\n";
    return kExitOk;
  } catch (const CLI::CallForHelp&) {
    if (const auto word = unknown_word(app)) return refuse(*word);
    streams.out << help_of(deepest(&app));
    return kExitOk;
  } catch (const CLI::ExtrasError&) {
    const auto extras = app.remaining(true);
    return refuse(explain_unknown(deepest(&app), extras.empty() ? "?" : extras.front()));
  } catch (const CLI::RequiredError& error) {
    // A misspelt subcommand is reported by CLI11 as a missing one.
    const auto extras = app.remaining(true);
    if (!extras.empty()) return refuse(explain_unknown(deepest(&app), extras.front()));
    return refuse(std::string(error.what()) + " (" + path_of(deepest(&app)) + " --help)");
  } catch (const CLI::ParseError& error) {
    return refuse(std::string(error.what()) + " (" + path_of(deepest(&app)) + " --help)");
  }
  if (is_run) {
    const auto extras = app.get_subcommands().front()->remaining();
    if (apart && !extras.empty() && extras.front() == *apart) {
      return refuse("the status of --fail-on-miss is written behind an equals sign: --fail-on-miss=" + *apart);
    }
    if (!extras.empty() && (extras.front().starts_with('-') || !a.run.argv.empty())) {
      return refuse(explain_unknown(deepest(&app), extras.front()) + "; write -- before the command");
    }
    if (!extras.empty()) a.run.argv = extras;
  }
  a.common.format = a.json ? Format::Json : Format::Text;
  return builder.act();
}

}  // namespace tapdeck::app
