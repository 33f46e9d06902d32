// SPDX-License-Identifier: Apache-2.0
//
// What this library has beyond libfabric's interface. All of it is exported, so that a program can look with dlsym(3)
// whether it runs on this library.

#ifndef FI_EXT_POLYFILL_H
#define FI_EXT_POLYFILL_H

#include <rdma/fabric.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Whose objects a program gets.
enum fi_polyfill_level {
  FI_POLYFILL_UDP,     ///< this library's, over UDP
  FI_POLYFILL_NATIVE,  ///< a native libfabric's
  FI_POLYFILL_PLUGIN,  ///< this library's, which a native libfabric has loaded as a provider
};

/// What FI_POLYFILL_MODE asks for.
enum fi_polyfill_mode {
  FI_POLYFILL_MODE_AUTO,
  FI_POLYFILL_MODE_UDP,
  FI_POLYFILL_MODE_NATIVE,
};

/// What became of the native libfabric.
enum fi_polyfill_native {
  FI_POLYFILL_NATIVE_UNASKED,      ///< not looked for yet: fi_getinfo does
  FI_POLYFILL_NATIVE_OFF,          ///< not looked for: the mode does without
  FI_POLYFILL_NATIVE_MISSING,      ///< there is none
  FI_POLYFILL_NATIVE_UNUSABLE,     ///< it cannot be opened, or is too old
  FI_POLYFILL_NATIVE_NO_HARDWARE,  ///< it offers no provider with hardware
  FI_POLYFILL_NATIVE_FAILED,       ///< its hardware could not be opened for a trial
  FI_POLYFILL_NATIVE_CHOSEN,       ///< its entries come first in fi_getinfo, or alone
  FI_POLYFILL_NATIVE_HOST,         ///< it has loaded this library as a provider
};

/// Filled in by fi_polyfill_status(). Members are only ever added, at the end; texts are the library's and stay.
///
/// From `unexpected_messages` on these are the variables of fi_profile(3) that are numbers, in the same order. Counters
/// count up from the beginning, objects that are closed included; the others are of what is open: sums, unless it says
/// otherwise. Times are in nanoseconds.
struct fi_polyfill_report {
  uint64_t size;               ///< bytes that this library has filled in
  uint32_t level;              ///< enum fi_polyfill_level
  uint32_t mode;               ///< enum fi_polyfill_mode
  uint32_t version;            ///< of this library's provider, as FI_VERSION()
  uint32_t native;             ///< enum fi_polyfill_native
  uint32_t native_version;     ///< what the native library's fi_version() says; 0 where there is none
  uint32_t reserved;
  const char *native_path;     ///< where the native library is; NULL where there is none
  const char *native_provider; ///< the native provider with hardware that was chosen, or that failed; or NULL
  const char *reason;          ///< one line: why it is so

  uint64_t unexpected_messages;  ///< messages that wait for their receives
  uint64_t receive_contexts;
  uint64_t sessions;             ///< with peers, established
  uint64_t sessions_requested;   ///< counter: sessions that this side asked for
  uint64_t sessions_accepted;    ///< counter: sessions that peers asked for and got
  uint64_t sessions_rejected;    ///< counter: handshakes of peers that were turned down
  uint64_t buffer_bytes;         ///< of buffers for messages

  // Counters of the reliable protocol. Bytes are of UDP payload.
  uint64_t packets_sent;
  uint64_t packets_received;
  uint64_t bytes_sent;
  uint64_t bytes_received;
  uint64_t packets_lost;           ///< given up as lost
  uint64_t frames_retransmitted;
  uint64_t spurious_losses;        ///< packets given up that had arrived after all
  uint64_t probe_timeouts;         ///< times that a peer was asked whether it is there
  uint64_t duplicates;             ///< packets dropped because they arrived twice
  uint64_t malformed;              ///< datagrams dropped because no rule of the protocol explains them
  uint64_t dropped_for_room;       ///< packets dropped for lack of room, to come again
  uint64_t sessions_failed;        ///< sessions that ended with what was under way in them
  uint64_t strangers;              ///< datagrams dropped because they belong to no session
  uint64_t frames_staged;          ///< frames that came before their turn, and waited for it
  uint64_t transfers_deferred;     ///< transfers that waited for an earlier access to the same memory

  // Counters of the sockets. Datagram endpoints have these alone, and of their receives only the drops.
  uint64_t datagrams_sent;         ///< segments counted one by one
  uint64_t send_calls;             ///< system calls
  uint64_t receive_calls;
  uint64_t receive_buffers;        ///< buffers that those filled; GRO puts several datagrams into one
  uint64_t segmentation_refusals;  ///< sockets whose kernel or device refused to cut a send
  uint64_t socket_errors;          ///< errors about earlier datagrams that a call was told
  uint64_t truncated;              ///< datagrams dropped because they were larger than any that is expected
  uint64_t kernel_drops;           ///< datagrams dropped because a socket's receive buffer was full
  uint64_t dropped_on_purpose;     ///< datagrams dropped by FI_POLYFILL_FAULT

  // How sessions stand.
  uint64_t rtt_shortest;        ///< the shortest round trip of late, of all sessions; 0 while none was measured
  uint64_t rtt_mean;            ///< the mean over sessions of their smoothed round trips
  uint64_t rtt_longest;         ///< the longest of those
  uint64_t congestion_window;   ///< bytes that may be in flight
  uint64_t bytes_in_flight;
  uint64_t smallest_mtu;        ///< UDP payload of the largest datagram that every session's path carries

  // What sockets make use of: how many there are, and how many of them use it now.
  uint64_t sockets;
  uint64_t sockets_gso;        ///< the kernel cuts sends
  uint64_t sockets_gro;        ///< the kernel puts received datagrams together
  uint64_t sockets_connected;  ///< a second one is connected to the peer that most goes to
  uint64_t sockets_splicing;   ///< which takes large datagrams by reference
};

/// Tells how the process (`fid` NULL), a domain, or an endpoint is doing; a scalable endpoint is told with all its
/// contexts. `size` is the room at `report`: a program compiled with an older header gets the members it knows, one
/// with a newer header zero in those that this library does not know. An object of a native library's is of level
/// FI_POLYFILL_NATIVE, and all its numbers are zero.
///
/// Nothing is counted for this call that is not counted anyway. It takes about as long as a poll, and longer where
/// there are thousands of sessions. Any thread may call it that may call fi_close on the object: where a domain's
/// threading level leaves it to the program to serialize, that goes for this call, too, and for that of the process
/// with each such domain. Not to be called from within callbacks of the library's.
///
/// Returns 0, or -FI_EINVAL where there is no report or not even room for its `size`, and for other kinds of object.
int fi_polyfill_status(struct fid *fid, struct fi_polyfill_report *report, size_t size);

#ifdef __cplusplus
}
#endif

#endif /* FI_EXT_POLYFILL_H */
