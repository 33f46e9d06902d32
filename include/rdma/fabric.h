// SPDX-License-Identifier: Apache-2.0
//
// The base of the fabric interface: versions, capabilities, attributes, the object header `struct fid`,
// discovery (fi_getinfo) and the fabric object. Man pages: fabric(7), fi_getinfo(3), fi_fabric(3).
//
// The names, layouts, values and inline semantics are those of libfabric 2.6 with the additions of symbol
// version FABRIC_1.10, so a program written for libfabric compiles and links unchanged.

#ifndef FABRIC_H
#define FABRIC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <rdma/fi_errno.h>

// ---- Compiler support ---------------------------------------------------------------------------

#ifdef __GNUC__
#define FI_DEPRECATED_FUNC __attribute__((deprecated))
#define FI_DEPRECATED_FIELD __attribute__((deprecated))
#define FI_FORMAT_PRINTF(string, first) __attribute__((format(printf, string, first)))
#else
#define FI_DEPRECATED_FUNC
#define FI_DEPRECATED_FIELD
#define FI_FORMAT_PRINTF(string, first)
#endif

#if defined(__GNUC__) && !defined(__clang__)
#define EXTERNALLY_VISIBLE externally_visible
#else
#define EXTERNALLY_VISIBLE
#endif

// How the wrapper functions of this API are declared. A program sees `static inline`; the library defines it
// otherwise once, so that every wrapper is also an exported symbol that other languages can call.
#ifndef FI_INLINE
#define FI_INLINE static inline
#endif

#ifdef __cplusplus
extern "C" {
#endif

// ---- Versions: fi_version(3) --------------------------------------------------------------------

#define FI_MAJOR_VERSION 2
#define FI_MINOR_VERSION 6
#define FI_REVISION_VERSION 0

/// Packs an interface version as fi_getinfo() takes it.
#define FI_VERSION(major, minor) (((major) << 16) | (minor))
#define FI_MAJOR(version) ((version) >> 16)
#define FI_MINOR(version) ((version) & 0xFFFF)
#define FI_VERSION_GE(v1, v2) ((v1) >= (v2))
#define FI_VERSION_LT(v1, v2) ((v1) < (v2))

/// The version of the library in use, which may be newer than these headers.
uint32_t fi_version(void);

// Limits that 1.x programs size tables by. They are frozen: FI_DIFF and the 128-bit types lie beyond them.
enum {
  FI_NAME_MAX = 64,  ///< no interface uses it
  FI_ATOMIC_OP_LAST = 19,
  FI_DATATYPE_LAST = 14,
};

// ---- Objects ------------------------------------------------------------------------------------

struct fid;
struct fid_fabric;
struct fid_domain;
struct fid_av;
struct fid_av_set;
struct fid_wait;
struct fid_poll;
struct fid_eq;
struct fid_cq;
struct fid_cntr;
struct fid_ep;
struct fid_pep;
struct fid_stx;
struct fid_mr;
struct fid_mc;
struct fid_nic;
struct fid_xpu_ctx;
struct fid_xpu_ep;
struct fid_xpu_cq;
struct fid_xpu_cntr;

struct fi_eq_attr;
struct fi_wait_attr;

typedef struct fid *fid_t;

/// What `fid.fclass` says an object is.
enum {
  FI_CLASS_UNSPEC,
  FI_CLASS_FABRIC,
  FI_CLASS_DOMAIN,
  FI_CLASS_EP,
  FI_CLASS_SEP,  ///< scalable endpoint
  FI_CLASS_RX_CTX,
  FI_CLASS_SRX_CTX,  ///< shared receive context
  FI_CLASS_TX_CTX,
  FI_CLASS_STX_CTX,  ///< shared transmit context
  FI_CLASS_PEP,      ///< passive endpoint
  FI_CLASS_INTERFACE,
  FI_CLASS_AV,
  FI_CLASS_MR,
  FI_CLASS_EQ,
  FI_CLASS_CQ,
  FI_CLASS_CNTR,
  FI_CLASS_WAIT,
  FI_CLASS_POLL,
  FI_CLASS_CONNREQ,  ///< handle of a connection request
  FI_CLASS_MC,       ///< multicast group
  FI_CLASS_NIC,
  FI_CLASS_AV_SET,
  FI_CLASS_MR_CACHE,
  FI_CLASS_MEM_MONITOR,
  FI_CLASS_PEER_CQ,
  FI_CLASS_PEER_SRX,
  FI_CLASS_LOG,
  FI_CLASS_PEER_AV,
  FI_CLASS_PEER_AV_SET,
  FI_CLASS_PEER_CNTR,
  FI_CLASS_PROFILE,
  FI_CLASS_XPU_CTX,  ///< since FABRIC_1.10
};

/// Operations that every object has. fi_ops.tostr and ops_set came late: test `size` before calling.
struct fi_ops {
  size_t size;  ///< sizeof the table the provider filled in
  int (*close)(struct fid *fid);
  int (*bind)(struct fid *fid, struct fid *bfid, uint64_t flags);
  int (*control)(struct fid *fid, int command, void *arg);
  int (*ops_open)(struct fid *fid, const char *name, uint64_t flags, void **ops, void *context);
  int (*tostr)(const struct fid *fid, char *buf, size_t len);
  int (*ops_set)(struct fid *fid, const char *name, uint64_t flags, void *ops, void *context);
};

/// The head of every object. `context` is the caller's own value.
struct fid {
  size_t fclass;  ///< FI_CLASS_*
  void *context;
  struct fi_ops *ops;
};

/// True when `ops` reaches as far as member `op` and has it: newer members may be missing from a table.
#define FI_CHECK_OP(ops, opstype, op) ((ops) && ((ops)->size > offsetof(opstype, op)) && (ops)->op)

// ---- Addresses and scatter lists ----------------------------------------------------------------

/// A peer as an address vector numbers it.
typedef uint64_t fi_addr_t;

#define FI_ADDR_UNSPEC ((uint64_t)-1)    ///< any peer; or none given
#define FI_ADDR_NOTAVAIL ((uint64_t)-1)  ///< the peer is unknown
#define FI_KEY_NOTAVAIL ((uint64_t)-1)   ///< the memory region has no 64-bit key
#define FI_SHARED_CONTEXT SIZE_MAX       ///< as tx_ctx_cnt or rx_ctx_cnt: use a shared context
#define FI_AV_AUTH_KEY SIZE_MAX          ///< as auth_key_size: keys come from the address vector

/// `fi_info.addr_format`: how addresses are laid out.
enum {
  FI_FORMAT_UNSPEC,
  FI_SOCKADDR,      ///< struct sockaddr
  FI_SOCKADDR_IN,   ///< struct sockaddr_in
  FI_SOCKADDR_IN6,  ///< struct sockaddr_in6
  FI_SOCKADDR_IB,   ///< struct sockaddr_ib
  FI_ADDR_PSMX,     ///< uint64_t
  FI_ADDR_GNI,
  FI_ADDR_BGQ,
  FI_ADDR_MLX,
  FI_ADDR_STR,  ///< text, as a URI
  FI_ADDR_PSMX2,
  FI_ADDR_IB_UD,
  FI_ADDR_EFA,
  FI_ADDR_PSMX3,
  FI_ADDR_OPX,
  FI_ADDR_CXI,
  FI_ADDR_UCX,
  FI_SOCKADDR_IP,  ///< sockaddr_in or sockaddr_in6
};

/// One piece of memory for atomic and collective operations: `count` elements at `addr`.
struct fi_ioc {
  void *addr;
  size_t count;
};

// ---- Capabilities, operation and call flags: fi_getinfo(3), fi_endpoint(3) ----------------------

// Kinds of operation.
#define FI_MSG        (1ULL << 1)  ///< send and receive
#define FI_RMA        (1ULL << 2)  ///< read and write remote memory
#define FI_TAGGED     (1ULL << 3)  ///< tagged send and receive
#define FI_ATOMIC     (1ULL << 4)  ///< atomics on remote memory
#define FI_ATOMICS    FI_ATOMIC
#define FI_MULTICAST  (1ULL << 5)  ///< multicast groups
#define FI_COLLECTIVE (1ULL << 6)  ///< collective operations

// Directions, which narrow the kinds above; completions carry them too.
#define FI_READ         (1ULL << 8)
#define FI_WRITE        (1ULL << 9)
#define FI_RECV         (1ULL << 10)
#define FI_SEND         (1ULL << 11)
#define FI_TRANSMIT     FI_SEND
#define FI_REMOTE_READ  (1ULL << 12)  ///< a peer may read this memory
#define FI_REMOTE_WRITE (1ULL << 13)  ///< a peer may write this memory

// Options of single operations.
#define FI_MULTI_RECV     (1ULL << 16)  ///< one buffer receives many messages
#define FI_REMOTE_CQ_DATA (1ULL << 17)  ///< the operation carries remote completion data
#define FI_MORE           (1ULL << 18)  ///< more operations follow at once
#define FI_PEEK           (1ULL << 19)  ///< look for a message without receiving it
#define FI_TRIGGER        (1ULL << 20)  ///< deferred until a counter reaches a threshold
#define FI_FENCE          (1ULL << 21)  ///< after all earlier operations to this peer

// When an operation completes, and whether it says so.
#define FI_COMPLETION        (1ULL << 24)   ///< report this operation although completions are selective
#define FI_EVENT             FI_COMPLETION  ///< report through the event queue
#define FI_INJECT            (1ULL << 25)   ///< the buffer is reusable on return
#define FI_INJECT_COMPLETE   (1ULL << 26)   ///< complete once the buffer is reusable
#define FI_TRANSMIT_COMPLETE (1ULL << 27)   ///< complete once the operation no longer depends on this side
#define FI_DELIVERY_COMPLETE (1ULL << 28)   ///< complete once the peer has processed it
#define FI_AFFINITY          (1ULL << 29)   ///< signaling_vector is set
#define FI_COMMIT_COMPLETE   (1ULL << 30)   ///< complete once the data is persistent
#define FI_MATCH_COMPLETE    (1ULL << 31)   ///< complete once the peer has matched it

// Further flags of calls and secondary capabilities.
#define FI_RESCAN               (1ULL << 35)  ///< fi_getinfo: look at the system again
#define FI_PEER_TRANSFER        (1ULL << 36)  ///< peer provider interface
#define FI_AV_USER_ID           (1ULL << 41)  ///< the caller chooses what completions report as source
#define FI_FIREWALL_ADDR        (1ULL << 42)  ///< the address can only be reached by connections it opens
#define FI_PEER                 (1ULL << 43)  ///< importing of peer objects
#define FI_XPU                  (1ULL << 44)  ///< initiation by accelerators, since FABRIC_1.10
#define FI_TAGGED_DIRECTED_RECV (1ULL << 45)  ///< FI_DIRECTED_RECV for tagged messages alone
#define FI_TAGGED_MULTI_RECV    (1ULL << 46)  ///< FI_MULTI_RECV for tagged messages
#define FI_HMEM                 (1ULL << 47)  ///< device memory as buffers
#define FI_EXACT_DIRECTED_RECV  (1ULL << 48)  ///< directed receives never fall back to any source
#define FI_RMA_PMEM             (1ULL << 49)  ///< persistent memory as target
#define FI_SOURCE_ERR           (1ULL << 50)  ///< unknown sources are reported with their address
#define FI_LOCAL_COMM           (1ULL << 51)  ///< peers on this host
#define FI_REMOTE_COMM          (1ULL << 52)  ///< peers on other hosts
#define FI_SHARED_AV            (1ULL << 53)  ///< address vectors shared between processes
#define FI_PROV_ATTR_ONLY       (1ULL << 54)  ///< fi_getinfo: names and versions of providers alone
#define FI_NUMERICHOST          (1ULL << 55)  ///< fi_getinfo: `node` is a numeric address
#define FI_RMA_EVENT            (1ULL << 56)  ///< counters that count accesses to a memory region
#define FI_SOURCE               (1ULL << 57)  ///< completions name their source; fi_getinfo: `node` is the local side
#define FI_NAMED_RX_CTX         (1ULL << 58)  ///< receive contexts of a peer are addressed one by one
#define FI_DIRECTED_RECV        (1ULL << 59)  ///< receives may name the source they want

// Flags of particular calls, which reuse bits.
#define FI_CLAIM                (1ULL << 59)  ///< receive the message that FI_PEEK kept
#define FI_DISCARD              (1ULL << 58)  ///< drop the message that FI_PEEK kept
#define FI_AUTH_KEY             (1ULL << 57)  ///< fi_av_insert: addresses come with authorization keys
#define FI_SELECTIVE_COMPLETION (1ULL << 59)  ///< fi_ep_bind: only operations with FI_COMPLETION are reported

// ---- Mode bits: what the program must do for the provider: fi_getinfo(3) ------------------------

#define FI_CONTEXT    (1ULL << 59)  ///< operation contexts are struct fi_context
#define FI_MSG_PREFIX (1ULL << 58)  ///< buffers leave room for a header
#define FI_ASYNC_IOV  (1ULL << 57)  ///< vectors stay untouched until completion
#define FI_RX_CQ_DATA (1ULL << 56)  ///< remote completion data consumes a posted receive
#define FI_LOCAL_MR   (1ULL << 55)  ///< 1.4 and older: see FI_MR_LOCAL
#define FI_CONTEXT2   (1ULL << 52)  ///< operation contexts are struct fi_context2

/// Room the provider needs while an operation is under way, with FI_CONTEXT.
struct fi_context {
  void *internal[4];
};

/// The same with FI_CONTEXT2.
struct fi_context2 {
  void *internal[8];
};

/// What a receive posted through a shared context is given as context.
struct fi_recv_context {
  struct fid_ep *ep;
  void *context;
};

// ---- Memory registration modes: fi_mr(3) --------------------------------------------------------

// Interface versions before 1.5 use these three as an enumeration. libfabric 2 warns where they are named;
// here they stay plain constants, so that programs compiled with -Werror and #if keep working.
#define FI_MR_UNSPEC   0
#define FI_MR_BASIC    (1 << 0)
#define FI_MR_SCALABLE (1 << 1)

// Since 1.5: what the program must do to register memory.
#define FI_MR_LOCAL      (1 << 2)   ///< register local buffers too, and pass their descriptors
#define FI_MR_RAW        (1 << 3)   ///< keys are longer than 64 bits
#define FI_MR_VIRT_ADDR  (1 << 4)   ///< peers address the region by virtual address, not by offset
#define FI_MR_ALLOCATED  (1 << 5)   ///< memory exists when it is registered
#define FI_MR_PROV_KEY   (1 << 6)   ///< the provider chooses the keys
#define FI_MR_MMU_NOTIFY (1 << 7)   ///< call fi_mr_refresh() when mappings change
#define FI_MR_RMA_EVENT  (1 << 8)   ///< bind counters before enabling the region
#define FI_MR_ENDPOINT   (1 << 9)   ///< bind regions to endpoints before enabling them
#define FI_MR_HMEM       (1 << 10)  ///< register device memory before using it locally
#define FI_MR_COLLECTIVE (1 << 11)  ///< register buffers of collective operations
#define FI_MR_XPU_DESC   (1 << 12)  ///< regions carry descriptors for accelerators, since FABRIC_1.10

// ---- Message ordering: fi_endpoint(3) -----------------------------------------------------------

// FI_ORDER_XAY: operations X stay behind operations Y that were posted before them; R reads, W writes, S sends.
#define FI_ORDER_NONE   0ULL
#define FI_ORDER_RAR    (1ULL << 0)
#define FI_ORDER_RAW    (1ULL << 1)
#define FI_ORDER_RAS    (1ULL << 2)
#define FI_ORDER_WAR    (1ULL << 3)
#define FI_ORDER_WAW    (1ULL << 4)
#define FI_ORDER_WAS    (1ULL << 5)
#define FI_ORDER_SAR    (1ULL << 6)
#define FI_ORDER_SAW    (1ULL << 7)
#define FI_ORDER_SAS    (1ULL << 8)
#define FI_ORDER_STRICT 0x1FF         ///< all of the above
#define FI_ORDER_DATA   (1ULL << 16)  ///< retired: data order as well

// The same between RMA operations alone and between atomics alone.
#define FI_ORDER_RMA_RAR    (1ULL << 32)
#define FI_ORDER_RMA_RAW    (1ULL << 33)
#define FI_ORDER_RMA_WAR    (1ULL << 34)
#define FI_ORDER_RMA_WAW    (1ULL << 35)
#define FI_ORDER_ATOMIC_RAR (1ULL << 36)
#define FI_ORDER_ATOMIC_RAW (1ULL << 37)
#define FI_ORDER_ATOMIC_WAR (1ULL << 38)
#define FI_ORDER_ATOMIC_WAW (1ULL << 39)

// ---- Attributes: fi_domain(3), fi_endpoint(3), fi_fabric(3) -------------------------------------

enum fi_av_type {
  FI_AV_UNSPEC,
  FI_AV_MAP,    ///< fi_addr_t values are opaque
  FI_AV_TABLE,  ///< fi_addr_t values are indices in order of insertion
};

enum fi_progress {
  FI_PROGRESS_UNSPEC,
  FI_PROGRESS_AUTO,             ///< the provider makes progress by itself
  FI_PROGRESS_MANUAL,           ///< calls of the program make progress
  FI_PROGRESS_CONTROL_UNIFIED,  ///< control progress is made together with data progress
};

/// What the program promises about concurrent calls.
enum fi_threading {
  FI_THREAD_UNSPEC,
  FI_THREAD_SAFE,        ///< nothing: any thread calls anything
  FI_THREAD_FID,         ///< retired
  FI_THREAD_DOMAIN,      ///< one thread at a time per domain
  FI_THREAD_COMPLETION,  ///< one thread at a time per completion object and all endpoints bound to it
  FI_THREAD_ENDPOINT,    ///< retired
};

/// Whether the provider protects queues and peers from being overrun.
enum fi_resource_mgmt {
  FI_RM_UNSPEC,
  FI_RM_DISABLED,
  FI_RM_ENABLED,
};

enum fi_ep_type {
  FI_EP_UNSPEC,
  FI_EP_MSG,    ///< connected, reliable, in order
  FI_EP_DGRAM,  ///< unconnected, unreliable
  FI_EP_RDM,    ///< unconnected, reliable
};

/// Wire protocols. Endpoints with equal protocol and version can talk to each other.
enum {
  FI_PROTO_UNSPEC,
  FI_PROTO_RDMA_CM_IB_RC,
  FI_PROTO_IWARP,
  FI_PROTO_IB_UD,
  FI_PROTO_PSMX,
  FI_PROTO_UDP,  ///< plain UDP datagrams
  FI_PROTO_SOCK_TCP,
  FI_PROTO_MXM,
  FI_PROTO_IWARP_RDM,
  FI_PROTO_IB_RDM,
  FI_PROTO_GNI,
  FI_PROTO_RXM,  ///< messages over connected endpoints
  FI_PROTO_RXD,  ///< reliable messages over datagrams
  FI_PROTO_MLX,
  FI_PROTO_NETWORKDIRECT,
  FI_PROTO_PSMX2,
  FI_PROTO_SHM,
  FI_PROTO_MRAIL,
  FI_PROTO_RSTREAM,
  FI_PROTO_RDMA_CM_IB_XRC,
  FI_PROTO_EFA,
  FI_PROTO_PSMX3,
  FI_PROTO_RXM_TCP,  ///< FI_PROTO_RXM over TCP
  FI_PROTO_OPX,
  FI_PROTO_CXI,
  FI_PROTO_XNET,  ///< TCP
  FI_PROTO_COLL,
  FI_PROTO_UCX,
  FI_PROTO_SM2,
  FI_PROTO_CXI_RNR,
  FI_PROTO_LPP,
  FI_PROTO_LNX,
};

/// `mem_tag_format` values that name a layout instead of a bit pattern.
enum {
  FI_TAG_BITS,
  FI_TAG_MPI,  ///< see fi_tag_mpi()
  FI_TAG_CCL,
  FI_TAG_MAX_FORMAT = 0x10000,
};

/// Traffic classes.
enum {
  FI_TC_UNSPEC,
  FI_TC_DSCP = 0x100,   ///< the low byte is a differentiated services code point
  FI_TC_LABEL = 0x200,  ///< the values from here on are named classes
  FI_TC_BEST_EFFORT = FI_TC_LABEL,
  FI_TC_LOW_LATENCY,
  FI_TC_DEDICATED_ACCESS,
  FI_TC_BULK_DATA,
  FI_TC_SCAVENGER,
  FI_TC_NETWORK_CTRL,
};

/// The traffic class for a differentiated services code point.
FI_INLINE uint32_t fi_tc_dscp_set(uint8_t dscp) {
  return (uint32_t)dscp | FI_TC_DSCP;
}

/// The code point in a traffic class; 0 if it holds none.
FI_INLINE uint8_t fi_tc_dscp_get(uint32_t tclass) {
  return tclass & FI_TC_DSCP ? (uint8_t)tclass : 0;
}

/// The transmitting side of an endpoint or context.
struct fi_tx_attr {
  uint64_t caps;         ///< operations wanted, a part of fi_info.caps
  uint64_t mode;         ///< FI_CONTEXT and other mode bits
  uint64_t op_flags;     ///< flags of every operation that takes none
  uint64_t msg_order;    ///< FI_ORDER_*
  uint64_t comp_order;   ///< retired: 0
  size_t inject_size;    ///< bytes that FI_INJECT may carry
  size_t size;           ///< operations that may be outstanding
  size_t iov_limit;      ///< pieces per local vector
  size_t rma_iov_limit;  ///< pieces per remote vector
  uint32_t tclass;       ///< FI_TC_*
};

/// The receiving side of an endpoint or context.
struct fi_rx_attr {
  uint64_t caps;               ///< operations wanted, a part of fi_info.caps
  uint64_t mode;               ///< FI_CONTEXT and other mode bits
  uint64_t op_flags;           ///< flags of every operation that takes none
  uint64_t msg_order;          ///< FI_ORDER_*
  uint64_t comp_order;         ///< retired: 0
  size_t total_buffered_recv;  ///< retired: 0
  size_t size;                 ///< receives that may be posted
  size_t iov_limit;            ///< pieces per vector
};

struct fi_ep_attr {
  enum fi_ep_type type;
  uint32_t protocol;  ///< FI_PROTO_*
  uint32_t protocol_version;
  size_t max_msg_size;        ///< bytes
  size_t msg_prefix_size;     ///< bytes, with FI_MSG_PREFIX
  size_t max_order_raw_size;  ///< bytes up to which data of read-after-write is ordered
  size_t max_order_war_size;  ///< the same, write-after-read
  size_t max_order_waw_size;  ///< the same, write-after-write
  uint64_t mem_tag_format;    ///< runs of equal bits delimit the tag's fields
  size_t tx_ctx_cnt;
  size_t rx_ctx_cnt;
  size_t auth_key_size;  ///< bytes
  uint8_t *auth_key;
  struct fid_xpu_ctx *xpu_ctx;  ///< since FABRIC_1.10
};

struct fi_domain_attr {
  struct fid_domain *domain;  ///< an open domain to stay within, or NULL
  char *name;                 ///< one of the fabric's interfaces
  enum fi_threading threading;
  enum fi_progress control_progress;
  union {
    enum fi_progress data_progress;  ///< until 1.x
    enum fi_progress progress;       ///< 2.0 and later: both models in one
  };
  enum fi_resource_mgmt resource_mgmt;
  enum fi_av_type av_type;
  int mr_mode;          ///< FI_MR_*
  size_t mr_key_size;   ///< bytes
  size_t cq_data_size;  ///< bytes of remote completion data
  size_t cq_cnt;
  size_t ep_cnt;
  size_t tx_ctx_cnt;
  size_t rx_ctx_cnt;
  size_t max_ep_tx_ctx;  ///< transmit contexts an endpoint may have
  size_t max_ep_rx_ctx;  ///< receive contexts an endpoint may have
  size_t max_ep_stx_ctx;
  size_t max_ep_srx_ctx;
  size_t cntr_cnt;
  size_t mr_iov_limit;  ///< pieces of memory per region
  uint64_t caps;        ///< capabilities of the domain
  uint64_t mode;
  uint8_t *auth_key;
  size_t auth_key_size;
  size_t max_err_data;  ///< bytes of err_data in error completions
  size_t mr_cnt;
  uint32_t tclass;
  size_t max_ep_auth_key;
  uint32_t max_group_id;
  uint64_t max_cntr_value;
  uint64_t max_err_cntr_value;
  size_t max_xpu_ctx_cnt;  ///< since FABRIC_1.10
};

struct fi_fabric_attr {
  struct fid_fabric *fabric;  ///< an open fabric to stay within, or NULL
  char *name;                 ///< the network
  char *prov_name;            ///< layered providers are joined by ';'
  uint32_t prov_version;
  uint32_t api_version;  ///< as requested of fi_getinfo()
};

// ---- What is known of the hardware: fi_nic(3) ---------------------------------------------------

struct fi_device_attr {
  char *name;
  char *device_id;
  char *device_version;
  char *vendor_id;
  char *driver;
  char *firmware;
};

enum fi_bus_type {
  FI_BUS_UNSPEC,
  FI_BUS_UNKNOWN = FI_BUS_UNSPEC,
  FI_BUS_PCI,
};

struct fi_pci_attr {
  uint16_t domain_id;
  uint8_t bus_id;
  uint8_t device_id;
  uint8_t function_id;
};

struct fi_bus_attr {
  enum fi_bus_type bus_type;
  union {
    struct fi_pci_attr pci;
  } attr;
};

enum fi_link_state {
  FI_LINK_UNKNOWN,
  FI_LINK_DOWN,
  FI_LINK_UP,
};

struct fi_link_attr {
  char *address;
  size_t mtu;    ///< bytes
  size_t speed;  ///< bits per second
  enum fi_link_state state;
  char *network_type;  ///< "Ethernet", "InfiniBand" and the like
};

/// The network interface behind a fi_info.
struct fid_nic {
  struct fid fid;
  struct fi_device_attr *device_attr;
  struct fi_bus_attr *bus_attr;
  struct fi_link_attr *link_attr;
  void *prov_attr;
};

// ---- Discovery: fi_getinfo(3) -------------------------------------------------------------------

/// One way to communicate; as hints, what the program wants. Entries form a list.
struct fi_info {
  struct fi_info *next;
  uint64_t caps;         ///< FI_MSG and other capabilities
  uint64_t mode;         ///< FI_CONTEXT and other mode bits
  uint32_t addr_format;  ///< FI_SOCKADDR_IN and the like
  size_t src_addrlen;
  size_t dest_addrlen;
  void *src_addr;
  void *dest_addr;
  fid_t handle;  ///< a connection request, when accepting one
  struct fi_tx_attr *tx_attr;
  struct fi_rx_attr *rx_attr;
  struct fi_ep_attr *ep_attr;
  struct fi_domain_attr *domain_attr;
  struct fi_fabric_attr *fabric_attr;
  struct fid_nic *nic;  ///< since 1.7; may be NULL
};

/// Finds ways to reach `node`:`service` that satisfy `hints`. On success *info is a list to be freed with
/// fi_freeinfo(). Returns 0, -FI_ENODATA when nothing fits, or another negative error.
int fi_getinfo(uint32_t version, const char *node, const char *service, uint64_t flags,
               const struct fi_info *hints, struct fi_info **info);

/// Frees a whole list, attributes and names included. NULL is allowed.
void fi_freeinfo(struct fi_info *info);

/// A deep copy of one entry; for NULL an empty entry with all attributes. NULL when memory is short.
struct fi_info *fi_dupinfo(const struct fi_info *info);

/// An empty entry with all attributes, to be filled in as hints.
FI_INLINE struct fi_info *fi_allocinfo(void) {
  return fi_dupinfo(NULL);
}

// ---- The fabric object: fi_fabric(3) ------------------------------------------------------------

struct fi_ops_fabric {
  size_t size;
  int (*domain)(struct fid_fabric *fabric, struct fi_info *info, struct fid_domain **domain, void *context);
  int (*passive_ep)(struct fid_fabric *fabric, struct fi_info *info, struct fid_pep **pep, void *context);
  int (*eq_open)(struct fid_fabric *fabric, struct fi_eq_attr *attr, struct fid_eq **eq, void *context);
  int (*wait_open)(struct fid_fabric *fabric, struct fi_wait_attr *attr, struct fid_wait **waitset);
  int (*trywait)(struct fid_fabric *fabric, struct fid **fids, int count);
  int (*domain2)(struct fid_fabric *fabric, struct fi_info *info, struct fid_domain **domain, uint64_t flags,
                 void *context);
};

struct fid_fabric {
  struct fid fid;
  struct fi_ops_fabric *ops;
  uint32_t api_version;  ///< version the program was written for
};

/// Opens a fabric as an entry of fi_getinfo() describes it.
int fi_fabric(struct fi_fabric_attr *attr, struct fid_fabric **fabric, void *context);

/// The same with flags, which must be 0.
int fi_fabric2(struct fi_info *info, struct fid_fabric **fabric, uint64_t flags, void *context);

/// Opens an object of the library itself by name: "logging" or "mr_cache".
int fi_open(uint32_t version, const char *name, void *attr, size_t attr_len, uint64_t flags, struct fid **fid,
            void *context);

// ---- Calls on any object ------------------------------------------------------------------------

/// Closes an object. -FI_EBUSY while others depend on it.
FI_INLINE int fi_close(struct fid *fid) {
  return fid->ops->close(fid);
}

/// `fi_control` commands, with the type `arg` points to.
enum {
  FI_GETFIDFLAG,       ///< uint64_t, flags
  FI_SETFIDFLAG,       ///< uint64_t, flags
  FI_GETOPSFLAG,       ///< uint64_t, flags
  FI_SETOPSFLAG,       ///< uint64_t, flags
  FI_ALIAS,            ///< struct fi_alias
  FI_GETWAIT,          ///< the wait object itself: int for FI_WAIT_FD
  FI_ENABLE,           ///< NULL
  FI_BACKLOG,          ///< int
  FI_GET_RAW_MR,       ///< struct fi_mr_raw_attr
  FI_MAP_RAW_MR,       ///< struct fi_mr_map_raw
  FI_UNMAP_KEY,        ///< uint64_t, key
  FI_QUEUE_WORK,       ///< struct fi_deferred_work
  FI_CANCEL_WORK,      ///< struct fi_deferred_work
  FI_FLUSH_WORK,       ///< NULL
  FI_REFRESH,          ///< struct fi_mr_modify
  FI_DUP,              ///< struct fid_nic *
  FI_GETWAITOBJ,       ///< enum fi_wait_obj
  FI_GET_VAL,          ///< struct fi_fid_var
  FI_SET_VAL,          ///< struct fi_fid_var
  FI_EXPORT_FID,       ///< struct fi_fid_export
  FI_GET_FD,           ///< int
  FI_GET_MR_XPU_DESC,  ///< struct fi_mr_xpu_desc, since FABRIC_1.10
};

struct fi_alias {
  struct fid **fid;
  uint64_t flags;
};

/// Names of the provider's own have their uppermost bit set.
struct fi_fid_var {
  int name;
  void *val;
};

struct fi_mr_raw_attr {
  uint64_t flags;
  uint64_t *base_addr;
  uint8_t *raw_key;
  size_t *key_size;  ///< in: room at raw_key; out: bytes of the key
};

struct fi_mr_map_raw {
  uint64_t flags;
  uint64_t base_addr;
  uint8_t *raw_key;
  size_t key_size;
  uint64_t *key;
};

/// FI_GET_MR_XPU_DESC: where to write a region's descriptor for an accelerator.
struct fi_mr_xpu_desc {
  void *buf;
  size_t *len;  ///< in: room at buf; out: bytes of the descriptor
  uint64_t flags;
  struct fid_xpu_ctx *ctx;
};

/// Sends an object one of the commands above.
FI_INLINE int fi_control(struct fid *fid, int command, void *arg) {
  return fid->ops->control(fid, command, arg);
}

/// Makes a second name of an object that shares everything with it but its flags.
FI_INLINE int fi_alias(struct fid *fid, struct fid **alias_fid, uint64_t flags) {
  struct fi_alias alias;
  alias.fid = alias_fid;
  alias.flags = flags;
  return fi_control(fid, FI_ALIAS, &alias);
}

/// Reads a variable of an object.
FI_INLINE int fi_get_val(struct fid *fid, int name, void *val) {
  struct fi_fid_var var;
  var.name = name;
  var.val = val;
  return fi_control(fid, FI_GET_VAL, &var);
}

/// Writes a variable of an object.
FI_INLINE int fi_set_val(struct fid *fid, int name, void *val) {
  struct fi_fid_var var;
  var.name = name;
  var.val = val;
  return fi_control(fid, FI_SET_VAL, &var);
}

/// Opens a table of extended operations by name.
FI_INLINE int fi_open_ops(struct fid *fid, const char *name, uint64_t flags, void **ops, void *context) {
  return fid->ops->ops_open(fid, name, flags, ops, context);
}

/// Replaces a table of extended operations by name.
FI_INLINE int fi_set_ops(struct fid *fid, const char *name, uint64_t flags, void *ops, void *context) {
  if (!FI_CHECK_OP(fid->ops, struct fi_ops, ops_set))
    return -FI_ENOSYS;
  return fid->ops->ops_set(fid, name, flags, ops, context);
}

// ---- Text and parameters: fi_tostr(3), fi_getparams(3) ------------------------------------------

/// What the data given to fi_tostr() is.
enum fi_type {
  FI_TYPE_INFO,
  FI_TYPE_EP_TYPE,
  FI_TYPE_CAPS,
  FI_TYPE_OP_FLAGS,
  FI_TYPE_ADDR_FORMAT,
  FI_TYPE_TX_ATTR,
  FI_TYPE_RX_ATTR,
  FI_TYPE_EP_ATTR,
  FI_TYPE_DOMAIN_ATTR,
  FI_TYPE_FABRIC_ATTR,
  FI_TYPE_THREADING,
  FI_TYPE_PROGRESS,
  FI_TYPE_PROTOCOL,
  FI_TYPE_MSG_ORDER,
  FI_TYPE_MODE,
  FI_TYPE_AV_TYPE,
  FI_TYPE_ATOMIC_TYPE,
  FI_TYPE_ATOMIC_OP,
  FI_TYPE_VERSION,
  FI_TYPE_EQ_EVENT,
  FI_TYPE_CQ_EVENT_FLAGS,
  FI_TYPE_MR_MODE,
  FI_TYPE_OP_TYPE,
  FI_TYPE_FID,
  FI_TYPE_COLLECTIVE_OP,
  FI_TYPE_HMEM_IFACE,
  FI_TYPE_CQ_FORMAT,
  FI_TYPE_LOG_LEVEL,
  FI_TYPE_LOG_SUBSYS,
  FI_TYPE_AV_ATTR,
  FI_TYPE_CQ_ATTR,
  FI_TYPE_MR_ATTR,
  FI_TYPE_CNTR_ATTR,
  FI_TYPE_CQ_ERR_ENTRY,
  FI_TYPE_CQ_WAIT_COND,
  FI_TYPE_WAIT_OBJ,
};

/// Data as text, in a buffer that the next call overwrites.
char *fi_tostr(const void *data, enum fi_type datatype);

/// Data as text in `buf`, cut to `len` bytes with the terminator. Returns `buf`, or NULL for NULL arguments.
char *fi_tostr_r(char *buf, size_t len, const void *data, enum fi_type datatype);

enum fi_param_type {
  FI_PARAM_STRING,
  FI_PARAM_INT,
  FI_PARAM_BOOL,
  FI_PARAM_SIZE_T,
};

/// A configuration variable. `value` is NULL when it is not set.
struct fi_param {
  const char *name;
  enum fi_param_type type;
  const char *help_string;
  const char *value;
};

/// All configuration variables, as a list to be freed with fi_freeparams().
int fi_getparams(struct fi_param **params, int *count);
void fi_freeparams(struct fi_param *params);

// ---- Names that version 2 retired, kept so that older programs compile --------------------------

#define FI_VARIABLE_MSG      0ULL
#define FI_NOTIFY_FLAGS_ONLY 0ULL
#define FI_RESTRICTED_COMP   0ULL
#define FI_EP_SOCK_STREAM    FI_EP_UNSPEC

#ifdef __cplusplus
}
#endif

#endif /* FABRIC_H */
