// The layout of every public structure on 64-bit systems, which is libfabric's ABI: programs in binary form rely on
// each number here. This file: operations, extensions and the interface of providers.

#include <stddef.h>

#include "handles.h"
#include <rdma/fi_atomic.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_collective.h>
#include <rdma/fi_ext.h>
#include <rdma/fi_profile.h>
#include <rdma/fi_rma.h>
#include <rdma/fi_tagged.h>
#include <rdma/fi_trigger.h>
#include <rdma/fi_xpu.h>
#include <rdma/providers/fi_peer.h>
#include <rdma/providers/fi_prov.h>

#define SIZE(type, bytes) _Static_assert(sizeof(struct type) == (bytes), "size of struct " #type)
#define AT(type, field, offset) \
  _Static_assert(offsetof(struct type, field) == (offset), "offset of struct " #type "." #field)

// ---- rdma/fi_cm.h -------------------------------------------------------------------------------

SIZE(fid_mc, 32); AT(fid_mc, fid, 0); AT(fid_mc, fi_addr, 24);

SIZE(fi_ops_cm, 80); AT(fi_ops_cm, size, 0); AT(fi_ops_cm, setname, 8); AT(fi_ops_cm, getname, 16);
AT(fi_ops_cm, getpeer, 24); AT(fi_ops_cm, connect, 32); AT(fi_ops_cm, listen, 40); AT(fi_ops_cm, accept, 48);
AT(fi_ops_cm, reject, 56); AT(fi_ops_cm, shutdown, 64); AT(fi_ops_cm, join, 72);

// ---- rdma/fi_rma.h ------------------------------------------------------------------------------

SIZE(fi_rma_iov, 24); AT(fi_rma_iov, addr, 0); AT(fi_rma_iov, len, 8); AT(fi_rma_iov, key, 16);

SIZE(fi_rma_ioc, 24); AT(fi_rma_ioc, addr, 0); AT(fi_rma_ioc, count, 8); AT(fi_rma_ioc, key, 16);

SIZE(fi_msg_rma, 64); AT(fi_msg_rma, msg_iov, 0); AT(fi_msg_rma, desc, 8); AT(fi_msg_rma, iov_count, 16);
AT(fi_msg_rma, addr, 24); AT(fi_msg_rma, rma_iov, 32); AT(fi_msg_rma, rma_iov_count, 40); AT(fi_msg_rma, context, 48);
AT(fi_msg_rma, data, 56);

SIZE(fi_ops_rma, 80); AT(fi_ops_rma, size, 0); AT(fi_ops_rma, read, 8); AT(fi_ops_rma, readv, 16);
AT(fi_ops_rma, readmsg, 24); AT(fi_ops_rma, write, 32); AT(fi_ops_rma, writev, 40); AT(fi_ops_rma, writemsg, 48);
AT(fi_ops_rma, inject, 56); AT(fi_ops_rma, writedata, 64); AT(fi_ops_rma, injectdata, 72);

// ---- rdma/fi_tagged.h ---------------------------------------------------------------------------

SIZE(fi_msg_tagged, 64); AT(fi_msg_tagged, msg_iov, 0); AT(fi_msg_tagged, desc, 8); AT(fi_msg_tagged, iov_count, 16);
AT(fi_msg_tagged, addr, 24); AT(fi_msg_tagged, tag, 32); AT(fi_msg_tagged, ignore, 40);
AT(fi_msg_tagged, context, 48); AT(fi_msg_tagged, data, 56);

SIZE(fi_ops_tagged, 80); AT(fi_ops_tagged, size, 0); AT(fi_ops_tagged, recv, 8); AT(fi_ops_tagged, recvv, 16);
AT(fi_ops_tagged, recvmsg, 24); AT(fi_ops_tagged, send, 32); AT(fi_ops_tagged, sendv, 40);
AT(fi_ops_tagged, sendmsg, 48); AT(fi_ops_tagged, inject, 56); AT(fi_ops_tagged, senddata, 64);
AT(fi_ops_tagged, injectdata, 72);

// ---- rdma/fi_atomic.h ---------------------------------------------------------------------------

SIZE(fi_atomic_attr, 16); AT(fi_atomic_attr, count, 0); AT(fi_atomic_attr, size, 8);

SIZE(fi_msg_atomic, 72); AT(fi_msg_atomic, msg_iov, 0); AT(fi_msg_atomic, desc, 8); AT(fi_msg_atomic, iov_count, 16);
AT(fi_msg_atomic, addr, 24); AT(fi_msg_atomic, rma_iov, 32); AT(fi_msg_atomic, rma_iov_count, 40);
AT(fi_msg_atomic, datatype, 48); AT(fi_msg_atomic, op, 52); AT(fi_msg_atomic, context, 56);
AT(fi_msg_atomic, data, 64);

SIZE(fi_msg_fetch, 24); AT(fi_msg_fetch, msg_iov, 0); AT(fi_msg_fetch, desc, 8); AT(fi_msg_fetch, iov_count, 16);

SIZE(fi_msg_compare, 24); AT(fi_msg_compare, msg_iov, 0); AT(fi_msg_compare, desc, 8);
AT(fi_msg_compare, iov_count, 16);

SIZE(fi_ops_atomic, 112); AT(fi_ops_atomic, size, 0); AT(fi_ops_atomic, write, 8); AT(fi_ops_atomic, writev, 16);
AT(fi_ops_atomic, writemsg, 24); AT(fi_ops_atomic, inject, 32); AT(fi_ops_atomic, readwrite, 40);
AT(fi_ops_atomic, readwritev, 48); AT(fi_ops_atomic, readwritemsg, 56); AT(fi_ops_atomic, compwrite, 64);
AT(fi_ops_atomic, compwritev, 72); AT(fi_ops_atomic, compwritemsg, 80); AT(fi_ops_atomic, writevalid, 88);
AT(fi_ops_atomic, readwritevalid, 96); AT(fi_ops_atomic, compwritevalid, 104);

// ---- rdma/fi_collective.h -----------------------------------------------------------------------

SIZE(fi_ops_av_set, 56); AT(fi_ops_av_set, size, 0); AT(fi_ops_av_set, set_union, 8);
AT(fi_ops_av_set, intersect, 16); AT(fi_ops_av_set, diff, 24); AT(fi_ops_av_set, insert, 32);
AT(fi_ops_av_set, remove, 40); AT(fi_ops_av_set, addr, 48);

SIZE(fid_av_set, 32); AT(fid_av_set, fid, 0); AT(fid_av_set, ops, 24);

SIZE(fi_collective_attr, 40); AT(fi_collective_attr, op, 0); AT(fi_collective_attr, datatype, 4);
AT(fi_collective_attr, datatype_attr, 8); AT(fi_collective_attr, max_members, 24); AT(fi_collective_attr, mode, 32);

SIZE(fi_collective_addr, 16); AT(fi_collective_addr, set, 0); AT(fi_collective_addr, coll_addr, 8);

SIZE(fi_msg_collective, 64); AT(fi_msg_collective, msg_iov, 0); AT(fi_msg_collective, desc, 8);
AT(fi_msg_collective, iov_count, 16); AT(fi_msg_collective, coll_addr, 24); AT(fi_msg_collective, root_addr, 32);
AT(fi_msg_collective, coll, 40); AT(fi_msg_collective, datatype, 44); AT(fi_msg_collective, op, 48);
AT(fi_msg_collective, context, 56);

SIZE(fi_ops_collective, 96); AT(fi_ops_collective, size, 0); AT(fi_ops_collective, barrier, 8);
AT(fi_ops_collective, broadcast, 16); AT(fi_ops_collective, alltoall, 24); AT(fi_ops_collective, allreduce, 32);
AT(fi_ops_collective, allgather, 40); AT(fi_ops_collective, reduce_scatter, 48); AT(fi_ops_collective, reduce, 56);
AT(fi_ops_collective, scatter, 64); AT(fi_ops_collective, gather, 72); AT(fi_ops_collective, msg, 80);
AT(fi_ops_collective, barrier2, 88);

// ---- rdma/fi_trigger.h --------------------------------------------------------------------------

SIZE(fi_trigger_threshold, 16); AT(fi_trigger_threshold, cntr, 0); AT(fi_trigger_threshold, threshold, 8);

SIZE(fi_trigger_var, 24); AT(fi_trigger_var, datatype, 0); AT(fi_trigger_var, count, 4); AT(fi_trigger_var, addr, 8);
AT(fi_trigger_var, value, 16); AT(fi_trigger_var, value.val8, 16); AT(fi_trigger_var, value.val16, 16);
AT(fi_trigger_var, value.val32, 16); AT(fi_trigger_var, value.val64, 16); AT(fi_trigger_var, value.data, 16);

SIZE(fi_trigger_xpu, 24); AT(fi_trigger_xpu, count, 0); AT(fi_trigger_xpu, iface, 4); AT(fi_trigger_xpu, device, 8);
AT(fi_trigger_xpu, device.reserved, 8); AT(fi_trigger_xpu, device.cuda, 8); AT(fi_trigger_xpu, device.ze, 8);
AT(fi_trigger_xpu, var, 16);

SIZE(fi_op_msg, 64); AT(fi_op_msg, ep, 0); AT(fi_op_msg, msg, 8); AT(fi_op_msg, flags, 56);

SIZE(fi_op_tagged, 80); AT(fi_op_tagged, ep, 0); AT(fi_op_tagged, msg, 8); AT(fi_op_tagged, flags, 72);

SIZE(fi_op_rma, 80); AT(fi_op_rma, ep, 0); AT(fi_op_rma, msg, 8); AT(fi_op_rma, flags, 72);

SIZE(fi_op_atomic, 88); AT(fi_op_atomic, ep, 0); AT(fi_op_atomic, msg, 8); AT(fi_op_atomic, flags, 80);

SIZE(fi_op_fetch_atomic, 112); AT(fi_op_fetch_atomic, ep, 0); AT(fi_op_fetch_atomic, msg, 8);
AT(fi_op_fetch_atomic, fetch, 80); AT(fi_op_fetch_atomic, flags, 104);

SIZE(fi_op_compare_atomic, 136); AT(fi_op_compare_atomic, ep, 0); AT(fi_op_compare_atomic, msg, 8);
AT(fi_op_compare_atomic, fetch, 80); AT(fi_op_compare_atomic, compare, 104); AT(fi_op_compare_atomic, flags, 128);

SIZE(fi_op_cntr, 16); AT(fi_op_cntr, cntr, 0); AT(fi_op_cntr, value, 8);

SIZE(fi_triggered_context, 32); AT(fi_triggered_context, event_type, 0); AT(fi_triggered_context, trigger, 8);
AT(fi_triggered_context, trigger.threshold, 8); AT(fi_triggered_context, trigger.xpu, 8);
AT(fi_triggered_context, trigger.internal, 8);

SIZE(fi_triggered_context2, 64); AT(fi_triggered_context2, event_type, 0); AT(fi_triggered_context2, trigger, 8);
AT(fi_triggered_context2, trigger.threshold, 8); AT(fi_triggered_context2, trigger.xpu, 8);
AT(fi_triggered_context2, trigger.internal, 8);

SIZE(fi_deferred_work, 104); AT(fi_deferred_work, context, 0); AT(fi_deferred_work, threshold, 64);
AT(fi_deferred_work, triggering_cntr, 72); AT(fi_deferred_work, completion_cntr, 80);
AT(fi_deferred_work, op_type, 88); AT(fi_deferred_work, op, 96); AT(fi_deferred_work, op.msg, 96);
AT(fi_deferred_work, op.tagged, 96); AT(fi_deferred_work, op.rma, 96); AT(fi_deferred_work, op.atomic, 96);
AT(fi_deferred_work, op.fetch_atomic, 96); AT(fi_deferred_work, op.compare_atomic, 96);
AT(fi_deferred_work, op.cntr, 96);

// ---- rdma/fi_ext.h ------------------------------------------------------------------------------

SIZE(fi_fid_export, 24); AT(fi_fid_export, fid, 0); AT(fi_fid_export, flags, 8); AT(fi_fid_export, context, 16);

SIZE(fi_ops_mem_monitor, 48); AT(fi_ops_mem_monitor, size, 0); AT(fi_ops_mem_monitor, start, 8);
AT(fi_ops_mem_monitor, stop, 16); AT(fi_ops_mem_monitor, subscribe, 24); AT(fi_ops_mem_monitor, unsubscribe, 32);
AT(fi_ops_mem_monitor, valid, 40);

SIZE(fi_ops_mem_notify, 16); AT(fi_ops_mem_notify, size, 0); AT(fi_ops_mem_notify, notify, 8);

SIZE(fid_mem_monitor, 40); AT(fid_mem_monitor, fid, 0); AT(fid_mem_monitor, export_ops, 24);
AT(fid_mem_monitor, import_ops, 32);

SIZE(fi_ops_log, 32); AT(fi_ops_log, size, 0); AT(fi_ops_log, enabled, 8); AT(fi_ops_log, ready, 16);
AT(fi_ops_log, log, 24);

SIZE(fid_logging, 32); AT(fid_logging, fid, 0); AT(fid_logging, ops, 24);

// ---- rdma/fi_profile.h --------------------------------------------------------------------------

SIZE(fi_profile_desc, 48); AT(fi_profile_desc, id, 0); AT(fi_profile_desc, datatype_sel, 4);
AT(fi_profile_desc, datatype, 8); AT(fi_profile_desc, datatype.primitive, 8);
AT(fi_profile_desc, datatype.defined, 8); AT(fi_profile_desc, flags, 16); AT(fi_profile_desc, size, 24);
AT(fi_profile_desc, name, 32); AT(fi_profile_desc, desc, 40);

SIZE(fi_profile_ops, 64); AT(fi_profile_ops, size, 0); AT(fi_profile_ops, reset, 8);
AT(fi_profile_ops, query_vars, 16); AT(fi_profile_ops, query_events, 24); AT(fi_profile_ops, read_var, 32);
AT(fi_profile_ops, reg_callback, 40); AT(fi_profile_ops, start_reads, 48); AT(fi_profile_ops, end_reads, 56);

SIZE(fid_profile, 32); AT(fid_profile, fid, 0); AT(fid_profile, ops, 24);

// ---- rdma/fi_xpu.h ------------------------------------------------------------------------------

SIZE(fi_xpu_ops, 32); AT(fi_xpu_ops, alloc, 8); AT(fi_xpu_ops, import, 16); AT(fi_xpu_ops, free, 24);

SIZE(fi_xpu_attr, 24); AT(fi_xpu_attr, iface, 0); AT(fi_xpu_attr, device, 8); AT(fi_xpu_attr, ops, 16);

SIZE(fi_xpu_ctx_attr, 24); AT(fi_xpu_ctx_attr, caps, 0); AT(fi_xpu_ctx_attr, av_addr_size, 8);
AT(fi_xpu_ctx_attr, mr_desc_size, 16);

SIZE(fi_ops_xpu_ctx, 16); AT(fi_ops_xpu_ctx, size, 0); AT(fi_ops_xpu_ctx, query, 8);

SIZE(fid_xpu_ctx, 32); AT(fid_xpu_ctx, fid, 0); AT(fid_xpu_ctx, ops, 24);

SIZE(fid_xpu, 16); AT(fid_xpu, fclass, 0); AT(fid_xpu, prov_id, 4); AT(fid_xpu, prov_ctx, 8);

SIZE(fid_xpu_ep, 16); AT(fid_xpu_ep, fid, 0);

SIZE(fid_xpu_cq, 16); AT(fid_xpu_cq, fid, 0);

SIZE(fid_xpu_cntr, 16); AT(fid_xpu_cntr, fid, 0);

// ---- rdma/providers/fi_prov.h -------------------------------------------------------------------

SIZE(fi_provider, 72); AT(fi_provider, version, 0); AT(fi_provider, fi_version, 4); AT(fi_provider, context, 8);
AT(fi_provider, name, 40); AT(fi_provider, getinfo, 48); AT(fi_provider, fabric, 56); AT(fi_provider, cleanup, 64);

// ---- rdma/providers/fi_peer.h -------------------------------------------------------------------

SIZE(fi_ops_av_owner, 24); AT(fi_ops_av_owner, size, 0); AT(fi_ops_av_owner, query, 8);
AT(fi_ops_av_owner, ep_addr, 16);

SIZE(fid_peer_av, 32); AT(fid_peer_av, fid, 0); AT(fid_peer_av, owner_ops, 24);

SIZE(fi_peer_av_context, 16); AT(fi_peer_av_context, size, 0); AT(fi_peer_av_context, av, 8);

SIZE(fi_ops_av_set_owner, 16); AT(fi_ops_av_set_owner, size, 0); AT(fi_ops_av_set_owner, members, 8);

SIZE(fid_peer_av_set, 32); AT(fid_peer_av_set, fid, 0); AT(fid_peer_av_set, owner_ops, 24);

SIZE(fi_peer_av_set_context, 16); AT(fi_peer_av_set_context, size, 0); AT(fi_peer_av_set_context, av_set, 8);

SIZE(fi_ops_cq_owner, 24); AT(fi_ops_cq_owner, size, 0); AT(fi_ops_cq_owner, write, 8);
AT(fi_ops_cq_owner, writeerr, 16);

SIZE(fid_peer_cq, 32); AT(fid_peer_cq, fid, 0); AT(fid_peer_cq, owner_ops, 24);

SIZE(fi_peer_cq_context, 16); AT(fi_peer_cq_context, size, 0); AT(fi_peer_cq_context, cq, 8);

SIZE(fi_ops_cntr_owner, 24); AT(fi_ops_cntr_owner, size, 0); AT(fi_ops_cntr_owner, inc, 8);
AT(fi_ops_cntr_owner, incerr, 16);

SIZE(fid_peer_cntr, 32); AT(fid_peer_cntr, fid, 0); AT(fid_peer_cntr, owner_ops, 24);

SIZE(fi_peer_cntr_context, 16); AT(fi_peer_cntr_context, size, 0); AT(fi_peer_cntr_context, cntr, 8);

SIZE(fi_peer_domain_context, 16); AT(fi_peer_domain_context, size, 0); AT(fi_peer_domain_context, domain, 8);

SIZE(fi_peer_eq_context, 16); AT(fi_peer_eq_context, size, 0); AT(fi_peer_eq_context, eq, 8);

SIZE(fi_peer_rx_entry, 96); AT(fi_peer_rx_entry, srx, 0); AT(fi_peer_rx_entry, addr, 8);
AT(fi_peer_rx_entry, msg_size, 16); AT(fi_peer_rx_entry, tag, 24); AT(fi_peer_rx_entry, cq_data, 32);
AT(fi_peer_rx_entry, flags, 40); AT(fi_peer_rx_entry, context, 48); AT(fi_peer_rx_entry, count, 56);
AT(fi_peer_rx_entry, desc, 64); AT(fi_peer_rx_entry, peer_context, 72); AT(fi_peer_rx_entry, owner_context, 80);
AT(fi_peer_rx_entry, iov, 88);

SIZE(fi_peer_match_attr, 24); AT(fi_peer_match_attr, addr, 0); AT(fi_peer_match_attr, msg_size, 8);
AT(fi_peer_match_attr, tag, 16);

SIZE(fi_ops_srx_owner, 56); AT(fi_ops_srx_owner, size, 0); AT(fi_ops_srx_owner, get_msg, 8);
AT(fi_ops_srx_owner, get_tag, 16); AT(fi_ops_srx_owner, queue_msg, 24); AT(fi_ops_srx_owner, queue_tag, 32);
AT(fi_ops_srx_owner, foreach_unspec_addr, 40); AT(fi_ops_srx_owner, free_entry, 48);

SIZE(fi_ops_srx_peer, 40); AT(fi_ops_srx_peer, size, 0); AT(fi_ops_srx_peer, start_msg, 8);
AT(fi_ops_srx_peer, start_tag, 16); AT(fi_ops_srx_peer, discard_msg, 24); AT(fi_ops_srx_peer, discard_tag, 32);

SIZE(fid_peer_srx, 96); AT(fid_peer_srx, ep_fid, 0); AT(fid_peer_srx, owner_ops, 80); AT(fid_peer_srx, peer_ops, 88);

SIZE(fi_peer_srx_context, 16); AT(fi_peer_srx_context, size, 0); AT(fi_peer_srx_context, srx, 8);

SIZE(fi_ops_transfer_peer, 24); AT(fi_ops_transfer_peer, size, 0); AT(fi_ops_transfer_peer, complete, 8);
AT(fi_ops_transfer_peer, comperr, 16);

SIZE(fi_peer_transfer_context, 32); AT(fi_peer_transfer_context, size, 0); AT(fi_peer_transfer_context, info, 8);
AT(fi_peer_transfer_context, ep, 16); AT(fi_peer_transfer_context, peer_ops, 24);
