// SPDX-License-Identifier: Apache-2.0
//
// Error numbers: fi_errno(3). Calls return them negated. Meanings that the system knows keep the system's number.

#ifndef FI_ERRNO_H
#define FI_ERRNO_H

#include <errno.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FI_SUCCESS 0
#define FI_EPERM EPERM                  ///< not permitted
#define FI_ENOENT ENOENT                ///< no such entry
#define FI_EINTR EINTR                  ///< interrupted
#define FI_EIO EIO                      ///< input or output error
#define FI_E2BIG E2BIG                  ///< list too long
#define FI_EBADF EBADF                  ///< bad descriptor
#define FI_EAGAIN EAGAIN                ///< try again
#define FI_ENOMEM ENOMEM                ///< out of memory
#define FI_EACCES EACCES                ///< permission denied
#define FI_EFAULT EFAULT                ///< bad address
#define FI_EBUSY EBUSY                  ///< in use
#define FI_ENODEV ENODEV                ///< no such device
#define FI_EINVAL EINVAL                ///< invalid argument
#define FI_EMFILE EMFILE                ///< too many open files
#define FI_ENOSPC ENOSPC                ///< no space left
#define FI_ENOSYS ENOSYS                ///< not implemented
#define FI_EWOULDBLOCK EWOULDBLOCK      ///< same as FI_EAGAIN
#define FI_ENOMSG ENOMSG                ///< no matching message
#define FI_ENODATA ENODATA              ///< nothing available
#define FI_EPROTO EPROTO                ///< protocol error
#define FI_EOVERFLOW EOVERFLOW          ///< value too large
#define FI_EMSGSIZE EMSGSIZE            ///< message too long
#define FI_ENOPROTOOPT ENOPROTOOPT      ///< no such option
#define FI_EOPNOTSUPP EOPNOTSUPP        ///< operation not supported
#define FI_EADDRINUSE EADDRINUSE        ///< address in use
#define FI_EADDRNOTAVAIL EADDRNOTAVAIL  ///< address not available
#define FI_ENETDOWN ENETDOWN            ///< network down
#define FI_ENETUNREACH ENETUNREACH      ///< network unreachable
#define FI_ECONNABORTED ECONNABORTED    ///< connection aborted
#define FI_ECONNRESET ECONNRESET        ///< connection reset
#define FI_ENOBUFS ENOBUFS              ///< no buffer space
#define FI_EISCONN EISCONN              ///< connected
#define FI_ENOTCONN ENOTCONN            ///< not connected
#define FI_ESHUTDOWN ESHUTDOWN          ///< shut down
#define FI_ETIMEDOUT ETIMEDOUT          ///< timed out
#define FI_ECONNREFUSED ECONNREFUSED    ///< connection refused
#define FI_EHOSTDOWN EHOSTDOWN          ///< host down
#define FI_EHOSTUNREACH EHOSTUNREACH    ///< host unreachable
#define FI_EALREADY EALREADY            ///< already under way
#define FI_EINPROGRESS EINPROGRESS      ///< under way
#define FI_EREMOTEIO EREMOTEIO          ///< remote error
#define FI_ECANCELED ECANCELED          ///< canceled
#define FI_EKEYREJECTED EKEYREJECTED    ///< key rejected

/// The numbers from here on are the fabric's own.
#define FI_ERRNO_OFFSET 256

enum {
  FI_EOTHER = FI_ERRNO_OFFSET,  ///< unspecified
  FI_ETOOSMALL,                 ///< the buffer is too small
  FI_EOPBADSTATE,               ///< not permitted in this state
  FI_EAVAIL,                    ///< an error entry is waiting to be read
  FI_EBADFLAGS,                 ///< flags not supported
  FI_ENOEQ,                     ///< no event queue
  FI_EDOMAIN,                   ///< wrong domain
  FI_ENOCQ,                     ///< no completion queue
  FI_ECRC,                      ///< checksum error
  FI_ETRUNC,                    ///< the message was longer than the buffer
  FI_ENOKEY,                    ///< no such memory key
  FI_ENOAV,                     ///< no address vector
  FI_EOVERRUN,                  ///< a queue has overrun
  FI_ENORX,                     ///< the peer has no receive buffer
  FI_ENOMR,                     ///< memory is not registered
  FI_EFIREWALLADDR,             ///< the address is behind a firewall
  FI_ERRNO_MAX,                 ///< one past the last
};

/// Text for an error number of either sign. It is never NULL.
const char *fi_strerror(int errnum);

#ifdef __cplusplus
}
#endif

#endif /* FI_ERRNO_H */
