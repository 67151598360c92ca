// View: how the questions of one target are answered; Asker: who sent one, whom it asked, and the View for it.
//
// A NameServer is told of both, and knows no target. Owner of a View: whoever sets it, and each question that is open.
// Thread: what a View holds does not change once a server has it, but for its tape, which is that server's; its
// functions are called on the server's thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include "daemon/base/endpoint.h"
#include "daemon/names/lookup.h"
#include "daemon/names/tape_answers.h"

namespace tapdeck::names {

enum class Ask {
  TapeOnly,      // replay: what is not on tape does not exist
  OutsideFirst,  // else: the tape only where no resolver answers
};

// Datagrams to a resolver's port that are no query we read.
enum class Unread {
  Passed,   // OutsideFirst: to the resolver as they are, and back what it says
  Refused,  // of who is sealed: only names may be asked for
};

// Which of the two is asked for a name, in replay.
enum class Outside {
  No,         // the tape alone
  AfterTape,  // the resolver, where the tape does not know the name
  First,      // the resolver; the tape where none answers
};

// OutsideFirst: when the tape answers for a resolver that is silent so far.
enum class Early {
  No,        // only when the resolver has been given up
  FromTape,  // soon: the resolver is still asked, and what it says later is told of, but not sent to the client
};

struct View;

struct Asker {
  Endpoint resolver;          // whom it asked
  uint64_t netns_cookie = 0;  // of the client: elsewhere the same address may be another resolver
  uint32_t target = 0;        // this and the next two are for the functions below, the server does not look at them
  uint32_t pid = 0;
  std::array<char, 16> comm{};  // of the process, ends at the first zero
  std::shared_ptr<View> view;   // none: it is not answered
};

struct View {
  explicit View(TapeSources sources) : tape(std::move(sources)) {}
  Ask ask = Ask::TapeOnly;
  Unread unread = Unread::Passed;
  Early early = Early::No;  // of who is sealed and recorded: the tape must not answer for a resolver that is slow
  TapeAnswers tape;
  // TapeOnly: whose names the resolver is asked for nevertheless. May be empty: nobody's.
  std::function<Outside(std::string_view name)> outside;
  // TapeOnly: addresses of a family that cannot be reached outside are of no use to who is let through.
  bool reaches_v4 = true, reaches_v6 = true;
  // What a resolver was asked for this client, and what became of it, whoever has answered the client meanwhile. Each
  // time: a client that asks again, or two resolvers, may get the answer and not get it. May be empty.
  std::function<void(const Asker&, const Lookup&)> on_lookup;
};

}  // namespace tapdeck::names
