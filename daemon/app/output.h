// How the listing commands talk: tables, JSON, errors, and a sign of life when something takes long. Thread: main.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "daemon/app/commands.h"
#include "daemon/app/json_view.h"
#include "daemon/app/repeated.h"

namespace tapdeck::app {

struct Column {
  std::string_view title;
  std::string_view key;  // of the item
};

// Aligned under titles for a terminal; tab-separated without titles otherwise (for cut and awk).
void print_table(const Streams& streams, const Json& items, std::initializer_list<Column> columns);
// "key  value" lines of an object's scalar members.
void print_fields(const Streams& streams, const Json& object);
// A value as one cell: strings bare, control characters escaped so that recorded bytes cannot drive the terminal.
[[nodiscard]] std::string cell_of(const Json& value);

// "tapdeck: what; what to do" on err, or {"error":...,"detail":...,"next":...} with Format::Json; returns 1.
int print_error(const Common& common, const Streams& streams, const Error& error);

// " --config FILE --state-dir DIR", as far as they were given: for commands that we advise.
[[nodiscard]] std::string place_flags(const Common& common);

// Says on `err` what is being waited for, first after 2 s and then every 5 s, until destroyed.
class Patience {
 public:
  Patience(const Streams& streams, std::string what);

 private:
  Repeated telling_;
};

}  // namespace tapdeck::app
