#include "daemon/modes/json_difference.h"

#include <algorithm>

namespace tapdeck::modes {

namespace {

using Index = JsonTree::Index;

size_t weight(const JsonTree& tree, Index value) {
  if (tree.is_scalar(value)) return 1;
  size_t sum = 0;
  for (const Index child : tree.children(value)) sum += weight(tree, child);
  return std::max<size_t>(sum, 1);
}

class Comparison {
 public:
  Comparison(const RuledJson& a, const RuledJson& b) : a_(a), b_(b) {}
  JsonDifference run() {
    compare(0, 0);
    return std::move(out_);
  }

 private:
  void compare(Index ours, Index theirs) {
    const bool counts = !a_.ignored[ours] && !b_.ignored[theirs];
    if (counts && a_.tree.is_object(ours) && b_.tree.is_object(theirs)) return compare_members(ours, theirs);
    if (counts && a_.tree.is_array(ours) && b_.tree.is_array(theirs)) return compare_elements(ours, theirs);
    if (worth(a_, ours) == worth(b_, theirs)) {
      if (counts) ++out_.alike;
      return;
    }
    out_.differing += std::max(weight(a_.tree, ours), weight(b_.tree, theirs));
    part({});
    add_place();
  }

  // Both are sorted by name.
  void compare_members(Index at, Index other) {
    const std::vector<Index> ours = a_.tree.children(at), theirs = b_.tree.children(other);
    const size_t known = out_.places.size();
    bool is_whole = true;  // no name stands alone
    size_t i = 0, j = 0;
    while (i < ours.size() || j < theirs.size()) {
      const std::string name = i < ours.size() ? a_.tree.name(ours[i]) : std::string();
      const std::string their_name = j < theirs.size() ? b_.tree.name(theirs[j]) : std::string();
      if (i < ours.size() && j < theirs.size() && name == their_name) {
        into(member_step(name, name), ours[i++], theirs[j++]);
        continue;
      }
      is_whole = false;
      const bool is_ours = j == theirs.size() || (i < ours.size() && name < their_name);
      const std::string& one = is_ours ? name : their_name;
      part(member_step(one, one));
      out_.differing += is_ours ? weight(a_.tree, ours[i++]) : weight(b_.tree, theirs[j++]);
    }
    if (ours.empty() && theirs.empty()) ++out_.alike;
    if (!is_whole) give_up_on_parts(known);
  }

  void compare_elements(Index at, Index other) {
    const std::vector<Index> ours = a_.tree.children(at), theirs = b_.tree.children(other);
    const size_t known = out_.places.size();
    for (size_t i = 0; i < std::max(ours.size(), theirs.size()); ++i) {
      const std::string step = '[' + std::to_string(i) + ']';
      if (i < ours.size() && i < theirs.size()) {
        into(step, ours[i], theirs[i]);
        continue;
      }
      part(step);
      out_.differing += i < ours.size() ? weight(a_.tree, ours[i]) : weight(b_.tree, theirs[i]);
    }
    if (ours.empty() && theirs.empty()) ++out_.alike;
    if (ours.size() != theirs.size()) give_up_on_parts(known);
  }

  void into(const std::string& step, Index ours, Index theirs) {
    const size_t length = where_.size();
    where_ += step;
    compare(ours, theirs);
    where_.resize(length);
  }

  void part(const std::string& step) {
    if (out_.first.empty()) out_.first = where_ + step;
  }

  void add_place() {
    if (out_.places.size() < JsonDifference::kMostPlaces) out_.places.push_back(where_);
  }

  // What has another shape cannot be mended in its parts.
  void give_up_on_parts(size_t known) {
    out_.places.resize(known);
    add_place();
  }

  static std::string worth(const RuledJson& ruled, Index value) {
    if (ruled.ignored[value]) return "null";
    if (ruled.tree.is_scalar(value)) return ruled.tree.identity(value);
    return ruled.tree.is_object(value) ? "{" : "[";
  }

  const RuledJson& a_;
  const RuledJson& b_;
  std::string where_ = "$";
  JsonDifference out_;
};

}  // namespace

JsonDifference difference_between(const RuledJson& a, const RuledJson& b) {
  return Comparison(a, b).run();
}

}  // namespace tapdeck::modes
