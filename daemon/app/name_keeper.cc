#include "daemon/app/name_keeper.h"

#include <algorithm>
#include <functional>
#include <string_view>
#include <vector>

#include "daemon/base/log.h"
#include "daemon/names/dns_message.h"
#include "store/name_answers.h"

namespace tapdeck::app {
namespace {

std::string_view word_of(names::LookupEnd end) {
  switch (end) {
    case names::LookupEnd::Answered:
      return "answered";
    case names::LookupEnd::Silent:
      return "silent";
    case names::LookupEnd::Unreachable:
      return "unreachable";
  }
  return "";
}

// Without order and TTLs. Of a truncated answer not even what is in it, which may differ each time.
std::string said_in(const names::Lookup& lookup) {
  std::string out(word_of(lookup.end));
  if (names::is_truncated(lookup.reply)) return out + ", truncated";
  const auto answer = names::read_answer(lookup.reply);
  if (!answer) return out;
  out += std::to_string(static_cast<unsigned>(answer->rcode));
  for (const std::string& record : answer->records) out += '\n' + record;
  // Of a type that is shown by its size alone all but the id counts, TTLs too.
  const auto is_shown_by_size = [](const std::string& record) { return record.ends_with(" bytes)"); };
  if (std::ranges::any_of(answer->records, is_shown_by_size)) out += lookup.reply.substr(2);
  return out;
}

}  // namespace

NameKeeper::~NameKeeper() {
  if (writer_ != nullptr) writer_->flush();
}

NameKeeper::Worth NameKeeper::worth_of(const names::Lookup& lookup) {
  if (lookup.end != names::LookupEnd::Answered || names::is_failure(lookup.reply)) return Worth::Failure;
  return names::is_truncated(lookup.reply) ? Worth::Truncated : Worth::Whole;
}

NameKeeper::Noted NameKeeper::note_of(const names::Lookup& lookup) {
  return {worth_of(lookup), std::hash<std::string>()(said_in(lookup)), 0};
}

void NameKeeper::keep(const store::Take& take, const names::Lookup& lookup) {
  if (writer_ == nullptr || take.number == 0) return;
  const Noted now = note_of(lookup);
  if (now.worth != Worth::Whole && (is_noted(take, lookup, now) || !is_better(now.worth, take, lookup))) return;
  const uint64_t token = note(take, lookup, now);
  if (token == 0) return;
  std::vector<store::PendingWrite> writes;
  writes.push_back(store::name_write(take, {lookup.name, lookup.type, std::string(word_of(lookup.end)), lookup.reply}));
  if (const auto taken = writer_->submit(writes, this, token); !taken) written(token, taken);
}

bool NameKeeper::is_noted(const store::Take& take, const names::Lookup& lookup, const Noted& now) const {
  const std::scoped_lock lock(mutex_);
  const auto known = takes_.find({take.session_number, take.number});
  if (known == takes_.end()) return false;
  const auto before = known->second.noted.find({lookup.name, lookup.type});
  return before != known->second.noted.end() && before->second.worth >= now.worth;
}

bool NameKeeper::is_better(Worth worth, const store::Take& take, const names::Lookup& lookup) const {
  if (tape_ == nullptr) return false;  // who knows
  const auto known = store::name_answer(*tape_, take.session, lookup.name, lookup.type);
  if (!known) return known.error().code == Code::NotFound;
  if (!*known) return true;
  names::Lookup before{lookup.name, lookup.type, names::LookupEnd::Silent, (*known)->reply};
  if ((*known)->end == word_of(names::LookupEnd::Answered)) before.end = names::LookupEnd::Answered;
  return worth > worth_of(before);
}

uint64_t NameKeeper::lost() const {
  const std::scoped_lock lock(mutex_);
  return lost_;
}

uint64_t NameKeeper::note(const store::Take& take, const names::Lookup& lookup, Noted now) {
  const TakeId id(take.session_number, take.number);
  const Question question(lookup.name, lookup.type);
  const std::scoped_lock lock(mutex_);
  OfTake& known = of(id);
  if (!is_news(known, question, now)) return 0;
  now.token = ++last_token_;
  if (known.noted.insert_or_assign(question, now).second) ++noted_;
  handed_over_.emplace(now.token, HandedOver{id, question});
  return now.token;
}

NameKeeper::OfTake& NameKeeper::of(const TakeId& take) {
  OfTake& out = takes_[take];
  out.last_used = last_token_;
  while (takes_.size() > bounds_.takes || (noted_ >= bounds_.noted && takes_.size() > 1)) forget_oldest(take);
  return out;
}

void NameKeeper::forget_oldest(const TakeId& but) {
  const auto age = [&but](const auto& one) { return std::pair(one.first == but, one.second.last_used); };
  const auto oldest = std::ranges::min_element(takes_, {}, age);
  noted_ -= oldest->second.noted.size();
  takes_.erase(oldest);
}

bool NameKeeper::is_news(OfTake& known, const Question& question, const Noted& now) {
  const auto before = known.noted.find(question);
  if (before != known.noted.end()) {
    return now.worth >= before->second.worth && (now.worth > before->second.worth || now.says != before->second.says);
  }
  if (known.noted.size() < bounds_.names) return true;
  ++lost_;
  if (!std::exchange(known.is_full, true)) {
    log::warn("names.too_many", "more names are asked for than are kept: replay will not know the others",
              {{"names", bounds_.names}});
  }
  return false;
}

void NameKeeper::written(uint64_t token, const Result<void>& result) {
  const std::scoped_lock lock(mutex_);
  const auto handed_over = handed_over_.extract(token);
  if (handed_over.empty()) return;
  if (result) {
    is_failing_ = false;
    return;
  }
  ++lost_;
  const auto& [id, question] = handed_over.mapped();
  const auto take = takes_.find(id);
  if (take != takes_.end()) {
    const auto noted = take->second.noted.find(question);
    const bool is_it = noted != take->second.noted.end() && noted->second.token == token;  // not one that came later
    if (is_it) {
      take->second.noted.erase(noted);
      --noted_;
    }
  }
  if (std::exchange(is_failing_, true)) return;
  log::warn("names.not_kept", "what resolvers answer is not on tape; it is tried again when it is asked for again",
            {{"name", question.first}, {"error", result.error().message()}});
}

}  // namespace tapdeck::app
