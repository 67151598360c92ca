#include "daemon/admin/token.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "daemon/base/hex.h"
#include "daemon/base/whole_file.h"

namespace tapdeck::admin {

Result<Token> make_token(const std::filesystem::path& file) {
  const UniqueFd before(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (before && ::flock(before.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    return fail(Code::Busy, "the token file " + file.string() +
                                " is another running tapdeck's; give this one its own admin.token_file");
  }
  std::array<unsigned char, 32> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return fail_errno(errno, "getrandom");
  std::string token = to_hex(bytes);
  auto held = replace_and_hold(file, token + "\n", 0600);
  if (!held) {
    held.error().detail = "admin token: " + held.error().detail;
    return std::unexpected(std::move(held).error());
  }
  return Token{std::move(token), std::move(*held)};
}

Result<std::string> read_token(const std::filesystem::path& file) {
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return fail_errno(errno, "read admin token " + file.string());
  std::string text(256, '\0');
  const ssize_t n = ::read(fd.get(), text.data(), text.size());
  if (n < 0) return fail_errno(errno, "read admin token " + file.string());
  text.resize(static_cast<size_t>(n));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

}  // namespace tapdeck::admin
