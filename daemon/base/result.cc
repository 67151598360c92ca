#include "daemon/base/result.h"

#include <cerrno>

namespace tapdeck {

Code code_of_errno(int sys_errno) {
  switch (sys_errno) {
    case EACCES:
    case EPERM:
      return Code::Permission;
    case ENOENT:
    case ESRCH:
    case ENODEV:
      return Code::NotFound;
    case EEXIST:
      return Code::AlreadyExists;
    case EBUSY:
    case EADDRINUSE:
    case EAGAIN:
      return Code::Busy;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case E2BIG:
    case EADDRNOTAVAIL:
      return Code::Exhausted;
    case ENOSPC:
    case EDQUOT:
      return Code::NoSpace;
    case ETIMEDOUT:
      return Code::Timeout;
    case ECONNREFUSED:
      return Code::Refused;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
      return Code::Reset;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
      return Code::Unreachable;
    case EINVAL:
      return Code::InvalidArgument;
    case ENOSYS:
    case EOPNOTSUPP:
    case EAFNOSUPPORT:
      return Code::Unsupported;
    case ECANCELED:
      return Code::Cancelled;
    default:
      return Code::Io;
  }
}

std::string_view to_string(Code code) {
  switch (code) {
    case Code::InvalidArgument:
      return "invalid_argument";
    case Code::InvalidConfig:
      return "invalid_config";
    case Code::NotFound:
      return "not_found";
    case Code::AlreadyExists:
      return "already_exists";
    case Code::Permission:
      return "permission";
    case Code::Unsupported:
      return "unsupported";
    case Code::Busy:
      return "busy";
    case Code::Exhausted:
      return "exhausted";
    case Code::Protocol:
      return "protocol";
    case Code::TooLarge:
      return "too_large";
    case Code::Timeout:
      return "timeout";
    case Code::Refused:
      return "refused";
    case Code::Reset:
      return "reset";
    case Code::Closed:
      return "closed";
    case Code::Truncated:
      return "truncated";
    case Code::Unreachable:
      return "unreachable";
    case Code::Dns:
      return "dns";
    case Code::Tls:
      return "tls";
    case Code::TlsVerify:
      return "tls_verify";
    case Code::Cancelled:
      return "cancelled";
    case Code::Io:
      return "io";
    case Code::NoSpace:
      return "no_space";
    case Code::Corrupt:
      return "corrupt";
    case Code::Internal:
      return "internal";
  }
  return "internal";
}

std::string_view to_string(Origin origin) {
  switch (origin) {
    case Origin::Internal:
      return "internal";
    case Origin::Downstream:
      return "downstream";
    case Origin::Upstream:
      return "upstream";
    case Origin::Kernel:
      return "kernel";
    case Origin::Store:
      return "store";
  }
  return "internal";
}

}  // namespace tapdeck
