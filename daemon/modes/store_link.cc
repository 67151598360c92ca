#include "daemon/modes/store_link.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "daemon/base/log.h"

namespace tapdeck::modes {

namespace {

net::Task<Result<void>> at_once(Result<void> result) {
  co_return result;
}

Counter reason_of(const Error& why) {
  if (why.code == Code::Timeout || why.code == Code::Exhausted) return Counter::IncompleteStoreSlow;
  return why.code == Code::NotFound ? Counter::IncompleteSessionDeleted : Counter::IncompleteStoreError;
}

Error error_of(store::NotKept why) {
  if (why == store::NotKept::SessionDeleted) {
    return fail(Code::NotFound, "its session was deleted meanwhile", Origin::Store).error();
  }
  return fail(Code::Io, "a part of it could not be written", Origin::Store).error();
}

}  // namespace

Error refused_part() {
  return fail(Code::Exhausted, "the store's queue refused a part of it", Origin::Store).error();
}

StoreLink::StoreLink(asio::any_io_executor executor, store::StoreWriter& writer, Metrics& metrics,
                     StoreLinkOptions options)
    : executor_(std::move(executor)),
      writer_(writer),
      metrics_(metrics),
      options_(options),
      hold_(executor_, [this] { expire(); }),
      beat_(executor_, [this] { beat(); }) {
  watched_.previous_ = watched_.next_ = &watched_;
}

void StoreLink::close() {
  hand_over();
  writer_.flush();
  hold_.stop();
  beat_.stop();
}

void StoreLink::Watched::unlink() {
  if (previous_ == nullptr) return;
  previous_->next_ = next_;
  next_->previous_ = previous_;
  previous_ = next_ = nullptr;
}

void StoreLink::watch(Watched& one) {
  one.unlink();
  one.previous_ = &watched_;
  one.next_ = watched_.next_;
  one.next_->previous_ = watched_.next_ = &one;
  if (std::exchange(beats_, true)) return;
  beat_.set(options_.beat);
}

void StoreLink::beat() {
  beats_ = watched_.next_ != &watched_;
  if (!beats_) return;
  for (Watched* one = watched_.next_; one != &watched_;) {
    Watched* const next = one->next_;
    one->on_beat();
    one = next;
  }
  beat_.set(options_.beat);
}

void StoreLink::schedule() {
  if (scheduled_) return;
  scheduled_ = true;
  // Runs behind every handler that is ready now: one hand-over a loop turn, however many exchanges finished in it.
  asio::post(executor_, [this] { hand_over(); });
}

void StoreLink::add(std::vector<store::PendingWrite>& writes) {
  std::move(writes.begin(), writes.end(), std::back_inserter(turn_));
  writes.clear();
  schedule();
}

void StoreLink::hand_over() {
  scheduled_ = false;
  if (turn_.empty()) return;
  const uint64_t token = batch_++;
  uint64_t bytes = 0;
  uint64_t ending = 0;
  for (const store::PendingWrite& write : turn_) {
    bytes += write.memory();
    if (write.step == store::PendingWrite::Step::Finish) ++ending;
  }
  const uint64_t alone = ending - std::min(ending, std::exchange(awaited_, 0));
  if (!refused_.empty()) forget_ended();
  auto taken = writer_.submit(turn_, this, token, &spares_);
  if (taken) {
    handed_.push_back({token, bytes, alone});
    in_flight_ += bytes;
    return;
  }
  // What a mark or a journal entry said is said again by the end; only a segment is handed over once.
  for (const store::PendingWrite& write : turn_) {
    if (write.step == store::PendingWrite::Step::Segment) refused_.insert(write.id);
  }
  forget_ended();
  log::peer(log::Level::Error, "store.queue_full", "recordings are lost: the store does not keep up",
            {{"recordings", turn_.size()}});
  turn_.clear();
  handed_.push_back({token, 0, alone});
  post_answer({token, std::unexpected(taken.error()), true});
}

void StoreLink::withdraw(uint64_t recording) {
  hand_over();
  writer_.withdraw(recording);
}

void StoreLink::forget_ended() {
  using Step = store::PendingWrite::Step;
  for (const store::PendingWrite& write : turn_) {
    if (write.step == Step::Finish || write.step == Step::Abandon) refused_.erase(write.id);
  }
}

void StoreLink::written(uint64_t token, const Result<void>& result) {
  post_answer({token, result});
}

void StoreLink::post_answer(Answer answer) {
  const std::scoped_lock lock(mutex_);
  answers_.push_back(std::move(answer));
  if (posted_) return;
  posted_ = true;
  asio::post(executor_, [this] { take_answers(); });
}

void StoreLink::dropped(uint64_t token, uint64_t recording, store::NotKept why) {
  const std::scoped_lock lock(mutex_);
  dropped_.push_back({token, recording, why});
}

void StoreLink::take_answers() {
  std::vector<Answer> answers;
  {
    const std::scoped_lock lock(mutex_);
    answers.swap(answers_);
    std::ranges::copy(dropped_, std::back_inserter(gone_));
    dropped_.clear();
    posted_ = false;
  }
  for (const Answer& answer : answers) {
    close_accounts(answer);
    room_.notify();
    if (!answer.result) {
      metrics_.add(Counter::StoreErrorWrite);
      log::peer(log::Level::Error, "store.write_failed", "recordings are lost",
                {{"error", answer.result.error().message()}});
    }
    if (answer.is_refusal) {
      answer_refused(answer.token, answer.result);
    } else {
      this->answer(answer.token, answer.result);
    }
  }
  if (waiters_.empty()) hold_.clear();
}

void StoreLink::close_accounts(const Answer& answer) {
  const auto is_answered = [&answer](const Handed& one) {
    return answer.is_refusal ? one.token == answer.token : one.token <= answer.token;
  };
  for (const Handed& one : handed_) {
    if (!is_answered(one)) continue;
    in_flight_ -= one.bytes;
    if (!answer.result && one.alone > 0) lose(answer.result.error(), one.alone);
  }
  std::erase_if(handed_, is_answered);
}

void StoreLink::answer_refused(uint64_t token, const Result<void>& result) {
  std::erase_if(told_, [token](const Told& told) { return told.batch == token; });
  while (true) {
    const auto waiter = std::ranges::find(waiters_, token, &Waiter::batch);
    if (waiter == waiters_.end()) return;
    answer_one(waiter, result);
  }
}

void StoreLink::answer(uint64_t token, const Result<void>& result) {
  const auto is_due = [token](const Dropped& gone) { return gone.token <= token; };
  while (!waiters_.empty() && waiters_.front().batch <= token) {
    const auto gone = std::ranges::find(gone_, waiters_.front().recording, &Dropped::recording);
    if (gone == gone_.end()) {
      answer_front(result);
      continue;
    }
    const Error why = error_of(gone->why);
    gone_.erase(gone);
    answer_front(std::unexpected(why));
  }
  for (const Dropped& gone : gone_) {
    if (!is_due(gone)) continue;  // its own answer is under way
    if (std::ranges::find(told_, gone.recording, &Told::recording) != told_.end()) continue;
    const Error why = error_of(gone.why);
    lose(why);
    log::peer(log::Level::Error, "recording.lost", "a recording was not kept",
              {{"recording", gone.recording}, {"reason", why.message()}});
  }
  std::erase_if(gone_, is_due);
  std::erase_if(told_, [token](const Told& told) { return told.batch <= token; });
}

void StoreLink::answer_front(Result<void> result) {
  answer_one(waiters_.begin(), std::move(result));
}

void StoreLink::answer_one(std::deque<Waiter>::iterator which, Result<void> result) {
  Waiter waiter = std::move(*which);
  waiters_.erase(which);  // before it runs on: it may come back with its next exchange
  const auto waited = Clock::now() - waiter.began;
  if (result) metrics_.observe(options_.commit_histogram, std::chrono::duration<double>(waited).count());
  waiter.resume(std::move(result));
}

void StoreLink::expire() {
  const auto now = Clock::now();
  while (!waiters_.empty() && now - waiters_.front().began >= options_.hold_limit) {
    metrics_.add(Counter::StoreHoldExceeded);
    const Waiter& late = waiters_.front();
    if (late.ends) told_.push_back({late.batch, late.recording});
    answer_front(fail(Code::Timeout, "the store did not answer within storage.hold_limit", Origin::Store));
  }
  if (!waiters_.empty()) hold_.set(waiters_.front().began + options_.hold_limit - now);
}

void StoreLink::give_up(uint64_t number) {
  const auto waiter = std::ranges::find(waiters_, number, &Waiter::number);
  if (waiter == waiters_.end()) return;
  auto resume = std::move(waiter->resume);
  if (waiter->ends) {
    if (uint64_t* const alone = alone_in(waiter->batch)) {
      ++*alone;
    } else if (waiter->batch == batch_) {
      --awaited_;
    }
  }
  waiters_.erase(waiter);
  resume(fail(Code::Cancelled, "nobody waits for the recording any more", Origin::Internal));
}

uint64_t* StoreLink::alone_in(uint64_t batch) {
  const auto found = std::ranges::find(handed_, batch, &Handed::token);
  return found == handed_.end() ? nullptr : &found->alone;
}

void StoreLink::lose(const Error& why, uint64_t recordings) {
  metrics_.add(Counter::RecordingDropped, recordings);
  metrics_.add(reason_of(why), recordings);
}

net::Task<Result<void>> StoreLink::wait_for_answer(uint64_t recording, bool ends) {
  return net::suspend<Result<void>>([this, recording, ends](net::Resume<Result<void>> resume) {
    const uint64_t number = next_waiter_++;
    if (waiters_.empty()) hold_.set(options_.hold_limit);
    waiters_.push_back({batch_, number, recording, ends, Clock::now(), std::move(resume)});
    if (ends) ++awaited_;
    return [this, number] { asio::post(executor_, [this, number] { give_up(number); }); };
  });
}

net::Task<Result<void>> StoreLink::room() {
  const auto limit = Clock::now() + options_.hold_limit;
  asio::steady_timer timer(executor_, limit);
  timer.async_wait([this](const auto& error) {
    if (!error) room_.notify();
  });
  while (!has_room()) {
    if (Clock::now() >= limit) {
      metrics_.add(Counter::StoreHoldExceeded);
      co_return fail(Code::Timeout, "the store did not keep up within storage.hold_limit", Origin::Store);
    }
    co_await room_.wait();
    const bool wanted = co_await net::is_wanted();
    if (!wanted) {
      co_return fail(Code::Cancelled, "nobody waits for the recording any more", Origin::Internal);
    }
  }
  co_return Result<void>{};
}

net::Task<Result<void>> StoreLink::commit(std::vector<store::PendingWrite>& writes) {
  const uint64_t recording = writes.empty() ? 0 : writes.back().id;
  const bool ends = !writes.empty() && writes.back().step == store::PendingWrite::Step::Finish;
  add(writes);
  if (options_.hold == Hold::No) return at_once({});
  if (options_.hold_limit.count() > 0) return wait_for_answer(recording, ends);
  metrics_.add(Counter::StoreHoldExceeded);
  if (ends) {  // told here
    ++awaited_;
    told_.push_back({batch_, recording});
  }
  return at_once(fail(Code::Timeout, "storage.hold_limit is zero", Origin::Store));
}

}  // namespace tapdeck::modes
