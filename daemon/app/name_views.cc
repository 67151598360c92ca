#include "daemon/app/name_views.h"

#include <algorithm>
#include <utility>

#include "daemon/app/name_policy.h"
#include "daemon/base/log.h"
#include "daemon/kernel/local_routes.h"
#include "store/name_answers.h"

namespace tapdeck::app {
namespace {

bool is_set_alike(const modes::TargetState& a, const modes::TargetState& b) {
  return a.name == b.name && a.tenant == b.tenant && a.mode == b.mode && a.session == b.session && a.tape == b.tape &&
         a.sealed == b.sealed;
}

std::optional<names::Lookup> lookup_of(const store::NameAnswer& answer) {
  names::Lookup out{answer.name, answer.type, names::LookupEnd::Answered, answer.reply};
  if (answer.end == "silent") out.end = names::LookupEnd::Silent;
  if (answer.end == "unreachable") out.end = names::LookupEnd::Unreachable;
  return out;
}

}  // namespace

std::shared_ptr<names::View> NameViews::of(uint32_t slot, const modes::TargetState& target, From from) {
  if (target.name.empty()) return nullptr;
  Made& made = made_[slot];
  if (made.view == nullptr || !is_set_alike(made.as, target)) made = {target, make(target, from)};
  return made.view;
}

std::shared_ptr<names::View> NameViews::make(const modes::TargetState& target, From from) {
  auto view = std::make_shared<names::View>(sources_of(target));
  view->ask = target.mode == Mode::Replay ? names::Ask::TapeOnly : names::Ask::OutsideFirst;
  if (target.mode == Mode::Hybrid) view->early = names::Early::FromTape;
  if (target.sealed == modes::Sealed::Yes) view->unread = names::Unread::Refused;
  // Where the way out is open, a name that is not on tape leads to an answer that says what is missing.
  const bool is_open = from == From::OwnNetwork && target.sealed == modes::Sealed::No;
  view->outside = [this, target, is_open](std::string_view name) {
    const names::Outside by_rule = outside_of(config_, target.bypass, target.name, name);
    return by_rule == names::Outside::No && is_open ? names::Outside::AfterTape : by_rule;
  };
  if (from == From::AllIsLocal) {
    const auto reachable = kernel::reachable_addresses().value_or(kernel::all_addresses());
    const auto reaches = [&reachable](Endpoint::Family family) {
      return std::ranges::any_of(reachable, [family](const auto& one) { return one.address.family == family; });
    };
    view->reaches_v4 = reaches(Endpoint::Family::V4);
    view->reaches_v6 = reaches(Endpoint::Family::V6);
  }
  if (target.tape != nullptr) {
    view->on_lookup = [this, tape = target.tape](const names::Asker&, const names::Lookup& lookup) {
      keeper_.keep(tape->take, lookup);
    };
  }
  return view;
}

names::TapeSources NameViews::sources_of(const modes::TargetState& target) {
  names::TapeSources out;
  out.recorded = [this, session = target.session](std::string_view name, uint16_t type) {
    const auto found = store::name_answer(store_, session, name, type);
    return found && *found ? lookup_of(**found) : std::nullopt;
  };
  out.addresses = [from = std::make_shared<SessionNames>(store_, target.session)](std::string_view name) {
    return from->addresses_of(name);
  };
  out.on_unknown = [this, label = target.label](const names::Asker& asker, const std::string& name) {
    if (!is_own_name(name)) on_unknown(label, asker, name);
  };
  out.search = own_search_domains();
  return out;
}

void NameViews::on_unknown(TargetSlot label, const names::Asker& asker, const std::string& name) {
  UnknownName one{asker.target, asker.pid, std::string(asker.comm.data()), name};
  log::peer(log::Level::Info, "replay.name_missed", "a name was asked for that is not on tape",
            {{"target", one.target}, {"name", one.name}, {"pid", one.pid}, {"comm", one.comm}});
  const std::scoped_lock lock(mutex_);
  ++misses_[label];
  if (unknown_.size() < kMostUnknown) unknown_.push_back(std::move(one));
}

std::vector<UnknownName> NameViews::unknown() const {
  const std::scoped_lock lock(mutex_);
  return unknown_;
}

void NameViews::read(MetricsSnapshot& out) const {
  const std::scoped_lock lock(mutex_);
  for (const auto& [label, count] : misses_) out.add(label, Counter::MissName, count);
}

}  // namespace tapdeck::app
