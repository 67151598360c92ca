#include "daemon/modes/json_changes.h"

#include <compare>
#include <utility>

#include "daemon/modes/excerpt.h"

namespace tapdeck::modes {
namespace {

constexpr size_t kPathBytes = 120;
constexpr size_t kNameBytes = 40;

std::string end_of(const std::string& path) {
  return path.size() <= kPathBytes ? path : "..." + path.substr(path.size() - kPathBytes + 3);
}

// The recorded text is the first of each two.
class JsonComparison {
 public:
  JsonComparison(const JsonTree& a, const JsonTree& b, size_t most) : a_(a), b_(b), most_(most) {}

  std::vector<JsonChange> run() && {
    compare(0, 0);
    return std::move(found_);
  }

 private:
  using Place = std::optional<JsonTree::Index>;

  void compare(Place a, Place b) {
    if (a && b && a_.is_object(*a) && b_.is_object(*b)) return compare_members(*a, *b);
    if (a && b && a_.is_array(*a) && b_.is_array(*b)) return compare_elements(*a, *b);
    const bool are_scalars = a && b && a_.is_scalar(*a) && b_.is_scalar(*b);
    if (are_scalars && (a_.text(*a) == b_.text(*b) || a_.identity(*a) == b_.identity(*b))) return;
    found_.push_back({end_of(path_), names_, a, b});
  }

  // At one step further down.
  void compare_at(const std::string& step, Place a, Place b) {
    const size_t here = path_.size();
    path_ += step;
    compare(a, b);
    path_.resize(here);
  }

  void compare_members(JsonTree::Index at, JsonTree::Index other) {
    const auto ours = a_.children(at), theirs = b_.children(other);  // sorted by name
    for (size_t i = 0, j = 0; !is_full() && (i < ours.size() || j < theirs.size());) {
      const std::string name = i < ours.size() ? a_.name(ours[i]) : std::string();
      const std::string their_name = j < theirs.size() ? b_.name(theirs[j]) : std::string();
      auto order = name <=> their_name;
      if (i == ours.size()) order = std::strong_ordering::greater;
      if (j == theirs.size()) order = std::strong_ordering::less;
      names_.push_back(order > 0 ? their_name : name);
      const std::string step = member_step(names_.back(), cut_short(names_.back(), kNameBytes));
      compare_at(step, order <= 0 ? Place(ours[i++]) : Place(), order >= 0 ? Place(theirs[j++]) : Place());
      names_.pop_back();
    }
  }

  void compare_elements(JsonTree::Index at, JsonTree::Index other) {
    const auto ours = a_.children(at), theirs = b_.children(other);
    for (size_t i = 0; !is_full() && (i < ours.size() || i < theirs.size()); ++i) {
      const auto element = [i](const auto& all) { return i < all.size() ? Place(all[i]) : Place(); };
      compare_at('[' + std::to_string(i) + ']', element(ours), element(theirs));
    }
  }

  [[nodiscard]] bool is_full() const { return found_.size() >= most_; }

  const JsonTree& a_;
  const JsonTree& b_;
  size_t most_;
  std::string path_ = "$";
  std::vector<std::string> names_;
  std::vector<JsonChange> found_;
};

}  // namespace

std::vector<JsonChange> json_changes(const JsonTree& recorded, const JsonTree& requested, size_t most) {
  return JsonComparison(recorded, requested, most).run();
}

}  // namespace tapdeck::modes
