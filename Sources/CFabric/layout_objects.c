// The layout of every public structure on 64-bit systems, which is libfabric's ABI: programs in binary form rely on
// each number here. This file: objects and what describes them.

#include <stddef.h>

#include "handles.h"
#include <rdma/fabric.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_ext_polyfill.h>

#define SIZE(type, bytes) _Static_assert(sizeof(struct type) == (bytes), "size of struct " #type)
#define AT(type, field, offset) \
  _Static_assert(offsetof(struct type, field) == (offset), "offset of struct " #type "." #field)

// ---- rdma/fabric.h ------------------------------------------------------------------------------

SIZE(fi_ioc, 16); AT(fi_ioc, addr, 0); AT(fi_ioc, count, 8);

SIZE(fi_tx_attr, 80); AT(fi_tx_attr, caps, 0); AT(fi_tx_attr, mode, 8); AT(fi_tx_attr, op_flags, 16);
AT(fi_tx_attr, msg_order, 24); AT(fi_tx_attr, comp_order, 32); AT(fi_tx_attr, inject_size, 40);
AT(fi_tx_attr, size, 48); AT(fi_tx_attr, iov_limit, 56); AT(fi_tx_attr, rma_iov_limit, 64);
AT(fi_tx_attr, tclass, 72);

SIZE(fi_rx_attr, 64); AT(fi_rx_attr, caps, 0); AT(fi_rx_attr, mode, 8); AT(fi_rx_attr, op_flags, 16);
AT(fi_rx_attr, msg_order, 24); AT(fi_rx_attr, comp_order, 32); AT(fi_rx_attr, total_buffered_recv, 40);
AT(fi_rx_attr, size, 48); AT(fi_rx_attr, iov_limit, 56);

SIZE(fi_ep_attr, 104); AT(fi_ep_attr, type, 0); AT(fi_ep_attr, protocol, 4); AT(fi_ep_attr, protocol_version, 8);
AT(fi_ep_attr, max_msg_size, 16); AT(fi_ep_attr, msg_prefix_size, 24); AT(fi_ep_attr, max_order_raw_size, 32);
AT(fi_ep_attr, max_order_war_size, 40); AT(fi_ep_attr, max_order_waw_size, 48); AT(fi_ep_attr, mem_tag_format, 56);
AT(fi_ep_attr, tx_ctx_cnt, 64); AT(fi_ep_attr, rx_ctx_cnt, 72); AT(fi_ep_attr, auth_key_size, 80);
AT(fi_ep_attr, auth_key, 88); AT(fi_ep_attr, xpu_ctx, 96);

SIZE(fi_domain_attr, 232); AT(fi_domain_attr, domain, 0); AT(fi_domain_attr, name, 8);
AT(fi_domain_attr, threading, 16); AT(fi_domain_attr, control_progress, 20); AT(fi_domain_attr, data_progress, 24);
AT(fi_domain_attr, progress, 24); AT(fi_domain_attr, resource_mgmt, 28); AT(fi_domain_attr, av_type, 32);
AT(fi_domain_attr, mr_mode, 36); AT(fi_domain_attr, mr_key_size, 40); AT(fi_domain_attr, cq_data_size, 48);
AT(fi_domain_attr, cq_cnt, 56); AT(fi_domain_attr, ep_cnt, 64); AT(fi_domain_attr, tx_ctx_cnt, 72);
AT(fi_domain_attr, rx_ctx_cnt, 80); AT(fi_domain_attr, max_ep_tx_ctx, 88); AT(fi_domain_attr, max_ep_rx_ctx, 96);
AT(fi_domain_attr, max_ep_stx_ctx, 104); AT(fi_domain_attr, max_ep_srx_ctx, 112); AT(fi_domain_attr, cntr_cnt, 120);
AT(fi_domain_attr, mr_iov_limit, 128); AT(fi_domain_attr, caps, 136); AT(fi_domain_attr, mode, 144);
AT(fi_domain_attr, auth_key, 152); AT(fi_domain_attr, auth_key_size, 160); AT(fi_domain_attr, max_err_data, 168);
AT(fi_domain_attr, mr_cnt, 176); AT(fi_domain_attr, tclass, 184); AT(fi_domain_attr, max_ep_auth_key, 192);
AT(fi_domain_attr, max_group_id, 200); AT(fi_domain_attr, max_cntr_value, 208);
AT(fi_domain_attr, max_err_cntr_value, 216); AT(fi_domain_attr, max_xpu_ctx_cnt, 224);

SIZE(fi_fabric_attr, 32); AT(fi_fabric_attr, fabric, 0); AT(fi_fabric_attr, name, 8);
AT(fi_fabric_attr, prov_name, 16); AT(fi_fabric_attr, prov_version, 24); AT(fi_fabric_attr, api_version, 28);

SIZE(fi_info, 120); AT(fi_info, next, 0); AT(fi_info, caps, 8); AT(fi_info, mode, 16); AT(fi_info, addr_format, 24);
AT(fi_info, src_addrlen, 32); AT(fi_info, dest_addrlen, 40); AT(fi_info, src_addr, 48); AT(fi_info, dest_addr, 56);
AT(fi_info, handle, 64); AT(fi_info, tx_attr, 72); AT(fi_info, rx_attr, 80); AT(fi_info, ep_attr, 88);
AT(fi_info, domain_attr, 96); AT(fi_info, fabric_attr, 104); AT(fi_info, nic, 112);

SIZE(fi_device_attr, 48); AT(fi_device_attr, name, 0); AT(fi_device_attr, device_id, 8);
AT(fi_device_attr, device_version, 16); AT(fi_device_attr, vendor_id, 24); AT(fi_device_attr, driver, 32);
AT(fi_device_attr, firmware, 40);

SIZE(fi_pci_attr, 6); AT(fi_pci_attr, domain_id, 0); AT(fi_pci_attr, bus_id, 2); AT(fi_pci_attr, device_id, 3);
AT(fi_pci_attr, function_id, 4);

SIZE(fi_bus_attr, 12); AT(fi_bus_attr, bus_type, 0); AT(fi_bus_attr, attr, 4); AT(fi_bus_attr, attr.pci, 4);

SIZE(fi_link_attr, 40); AT(fi_link_attr, address, 0); AT(fi_link_attr, mtu, 8); AT(fi_link_attr, speed, 16);
AT(fi_link_attr, state, 24); AT(fi_link_attr, network_type, 32);

SIZE(fi_ops, 56); AT(fi_ops, size, 0); AT(fi_ops, close, 8); AT(fi_ops, bind, 16); AT(fi_ops, control, 24);
AT(fi_ops, ops_open, 32); AT(fi_ops, tostr, 40); AT(fi_ops, ops_set, 48);

SIZE(fid, 24); AT(fid, fclass, 0); AT(fid, context, 8); AT(fid, ops, 16);

SIZE(fi_ops_fabric, 56); AT(fi_ops_fabric, size, 0); AT(fi_ops_fabric, domain, 8); AT(fi_ops_fabric, passive_ep, 16);
AT(fi_ops_fabric, eq_open, 24); AT(fi_ops_fabric, wait_open, 32); AT(fi_ops_fabric, trywait, 40);
AT(fi_ops_fabric, domain2, 48);

SIZE(fid_fabric, 40); AT(fid_fabric, fid, 0); AT(fid_fabric, ops, 24); AT(fid_fabric, api_version, 32);

SIZE(fid_nic, 56); AT(fid_nic, fid, 0); AT(fid_nic, device_attr, 24); AT(fid_nic, bus_attr, 32);
AT(fid_nic, link_attr, 40); AT(fid_nic, prov_attr, 48);

SIZE(fi_alias, 16); AT(fi_alias, fid, 0); AT(fi_alias, flags, 8);

SIZE(fi_fid_var, 16); AT(fi_fid_var, name, 0); AT(fi_fid_var, val, 8);

SIZE(fi_mr_raw_attr, 32); AT(fi_mr_raw_attr, flags, 0); AT(fi_mr_raw_attr, base_addr, 8);
AT(fi_mr_raw_attr, raw_key, 16); AT(fi_mr_raw_attr, key_size, 24);

SIZE(fi_mr_map_raw, 40); AT(fi_mr_map_raw, flags, 0); AT(fi_mr_map_raw, base_addr, 8); AT(fi_mr_map_raw, raw_key, 16);
AT(fi_mr_map_raw, key_size, 24); AT(fi_mr_map_raw, key, 32);

SIZE(fi_param, 32); AT(fi_param, name, 0); AT(fi_param, type, 8); AT(fi_param, help_string, 16);
AT(fi_param, value, 24);

SIZE(fi_context, 32); AT(fi_context, internal, 0);

SIZE(fi_context2, 64); AT(fi_context2, internal, 0);

SIZE(fi_recv_context, 16); AT(fi_recv_context, ep, 0); AT(fi_recv_context, context, 8);

SIZE(fi_mr_xpu_desc, 32); AT(fi_mr_xpu_desc, buf, 0); AT(fi_mr_xpu_desc, len, 8); AT(fi_mr_xpu_desc, flags, 16);
AT(fi_mr_xpu_desc, ctx, 24);

// ---- rdma/fi_eq.h -------------------------------------------------------------------------------

SIZE(fi_wait_attr, 16); AT(fi_wait_attr, wait_obj, 0); AT(fi_wait_attr, flags, 8);

SIZE(fi_ops_wait, 16); AT(fi_ops_wait, size, 0); AT(fi_ops_wait, wait, 8);

SIZE(fid_wait, 32); AT(fid_wait, fid, 0); AT(fid_wait, ops, 24);

SIZE(fi_mutex_cond, 16); AT(fi_mutex_cond, mutex, 0); AT(fi_mutex_cond, cond, 8);

SIZE(fi_wait_pollfd, 24); AT(fi_wait_pollfd, change_index, 0); AT(fi_wait_pollfd, nfds, 8);
AT(fi_wait_pollfd, fd, 16);

SIZE(fi_poll_attr, 8); AT(fi_poll_attr, flags, 0);

SIZE(fi_ops_poll, 32); AT(fi_ops_poll, size, 0); AT(fi_ops_poll, poll, 8); AT(fi_ops_poll, poll_add, 16);
AT(fi_ops_poll, poll_del, 24);

SIZE(fid_poll, 32); AT(fid_poll, fid, 0); AT(fid_poll, ops, 24);

SIZE(fi_eq_attr, 32); AT(fi_eq_attr, size, 0); AT(fi_eq_attr, flags, 8); AT(fi_eq_attr, wait_obj, 16);
AT(fi_eq_attr, signaling_vector, 20); AT(fi_eq_attr, wait_set, 24);

SIZE(fi_eq_entry, 24); AT(fi_eq_entry, fid, 0); AT(fi_eq_entry, context, 8); AT(fi_eq_entry, data, 16);

SIZE(fi_eq_err_entry, 48); AT(fi_eq_err_entry, fid, 0); AT(fi_eq_err_entry, context, 8);
AT(fi_eq_err_entry, data, 16); AT(fi_eq_err_entry, err, 24); AT(fi_eq_err_entry, prov_errno, 28);
AT(fi_eq_err_entry, err_data, 32); AT(fi_eq_err_entry, err_data_size, 40);

SIZE(fi_eq_cm_entry, 16); AT(fi_eq_cm_entry, fid, 0); AT(fi_eq_cm_entry, info, 8); AT(fi_eq_cm_entry, data, 16);

SIZE(fi_ops_eq, 48); AT(fi_ops_eq, size, 0); AT(fi_ops_eq, read, 8); AT(fi_ops_eq, readerr, 16);
AT(fi_ops_eq, write, 24); AT(fi_ops_eq, sread, 32); AT(fi_ops_eq, strerror, 40);

SIZE(fid_eq, 32); AT(fid_eq, fid, 0); AT(fid_eq, ops, 24);

SIZE(fi_cq_entry, 8); AT(fi_cq_entry, op_context, 0);

SIZE(fi_cq_msg_entry, 24); AT(fi_cq_msg_entry, op_context, 0); AT(fi_cq_msg_entry, flags, 8);
AT(fi_cq_msg_entry, len, 16);

SIZE(fi_cq_data_entry, 40); AT(fi_cq_data_entry, op_context, 0); AT(fi_cq_data_entry, flags, 8);
AT(fi_cq_data_entry, len, 16); AT(fi_cq_data_entry, buf, 24); AT(fi_cq_data_entry, data, 32);

SIZE(fi_cq_tagged_entry, 48); AT(fi_cq_tagged_entry, op_context, 0); AT(fi_cq_tagged_entry, flags, 8);
AT(fi_cq_tagged_entry, len, 16); AT(fi_cq_tagged_entry, buf, 24); AT(fi_cq_tagged_entry, data, 32);
AT(fi_cq_tagged_entry, tag, 40);

SIZE(fi_cq_err_entry, 88); AT(fi_cq_err_entry, op_context, 0); AT(fi_cq_err_entry, flags, 8);
AT(fi_cq_err_entry, len, 16); AT(fi_cq_err_entry, buf, 24); AT(fi_cq_err_entry, data, 32);
AT(fi_cq_err_entry, tag, 40); AT(fi_cq_err_entry, olen, 48); AT(fi_cq_err_entry, err, 56);
AT(fi_cq_err_entry, prov_errno, 60); AT(fi_cq_err_entry, err_data, 64); AT(fi_cq_err_entry, err_data_size, 72);
AT(fi_cq_err_entry, src_addr, 80);

SIZE(fi_cq_attr, 48); AT(fi_cq_attr, size, 0); AT(fi_cq_attr, flags, 8); AT(fi_cq_attr, format, 16);
AT(fi_cq_attr, wait_obj, 20); AT(fi_cq_attr, signaling_vector, 24); AT(fi_cq_attr, wait_cond, 28);
AT(fi_cq_attr, wait_set, 32); AT(fi_cq_attr, xpu_ctx, 40);

SIZE(fi_ops_cq, 72); AT(fi_ops_cq, size, 0); AT(fi_ops_cq, read, 8); AT(fi_ops_cq, readfrom, 16);
AT(fi_ops_cq, readerr, 24); AT(fi_ops_cq, sread, 32); AT(fi_ops_cq, sreadfrom, 40); AT(fi_ops_cq, signal, 48);
AT(fi_ops_cq, strerror, 56); AT(fi_ops_cq, export_xpu, 64);

SIZE(fid_cq, 32); AT(fid_cq, fid, 0); AT(fid_cq, ops, 24);

SIZE(fi_cntr_attr, 32); AT(fi_cntr_attr, events, 0); AT(fi_cntr_attr, wait_obj, 4); AT(fi_cntr_attr, wait_set, 8);
AT(fi_cntr_attr, flags, 16); AT(fi_cntr_attr, xpu_ctx, 24);

SIZE(fi_ops_cntr, 72); AT(fi_ops_cntr, size, 0); AT(fi_ops_cntr, read, 8); AT(fi_ops_cntr, readerr, 16);
AT(fi_ops_cntr, add, 24); AT(fi_ops_cntr, set, 32); AT(fi_ops_cntr, wait, 40); AT(fi_ops_cntr, adderr, 48);
AT(fi_ops_cntr, seterr, 56); AT(fi_ops_cntr, export_xpu, 64);

SIZE(fid_cntr, 32); AT(fid_cntr, fid, 0); AT(fid_cntr, ops, 24);

// ---- rdma/fi_domain.h ---------------------------------------------------------------------------

SIZE(fi_av_attr, 48); AT(fi_av_attr, type, 0); AT(fi_av_attr, rx_ctx_bits, 4); AT(fi_av_attr, count, 8);
AT(fi_av_attr, ep_per_node, 16); AT(fi_av_attr, name, 24); AT(fi_av_attr, map_addr, 32); AT(fi_av_attr, flags, 40);

SIZE(fi_av_set_attr, 56); AT(fi_av_set_attr, count, 0); AT(fi_av_set_attr, start_addr, 8);
AT(fi_av_set_attr, end_addr, 16); AT(fi_av_set_attr, stride, 24); AT(fi_av_set_attr, comm_key_size, 32);
AT(fi_av_set_attr, comm_key, 40); AT(fi_av_set_attr, flags, 48);

SIZE(fi_ops_av, 96); AT(fi_ops_av, size, 0); AT(fi_ops_av, insert, 8); AT(fi_ops_av, insertsvc, 16);
AT(fi_ops_av, insertsym, 24); AT(fi_ops_av, remove, 32); AT(fi_ops_av, lookup, 40); AT(fi_ops_av, straddr, 48);
AT(fi_ops_av, av_set, 56); AT(fi_ops_av, insert_auth_key, 64); AT(fi_ops_av, lookup_auth_key, 72);
AT(fi_ops_av, set_user_id, 80); AT(fi_ops_av, lookup2, 88);

SIZE(fid_av, 32); AT(fid_av, fid, 0); AT(fid_av, ops, 24);

SIZE(fid_mr, 40); AT(fid_mr, fid, 0); AT(fid_mr, mem_desc, 24); AT(fid_mr, key, 32);

SIZE(fi_mr_dmabuf, 32); AT(fi_mr_dmabuf, fd, 0); AT(fi_mr_dmabuf, offset, 8); AT(fi_mr_dmabuf, len, 16);
AT(fi_mr_dmabuf, base_addr, 24);

SIZE(fi_mr_auth_key, 16); AT(fi_mr_auth_key, av, 0); AT(fi_mr_auth_key, src_addr, 8);

SIZE(fi_mr_attr, 112); AT(fi_mr_attr, mr_iov, 0); AT(fi_mr_attr, dmabuf, 0); AT(fi_mr_attr, iov_count, 8);
AT(fi_mr_attr, access, 16); AT(fi_mr_attr, offset, 24); AT(fi_mr_attr, requested_key, 32);
AT(fi_mr_attr, context, 40); AT(fi_mr_attr, auth_key_size, 48); AT(fi_mr_attr, auth_key, 56);
AT(fi_mr_attr, iface, 64); AT(fi_mr_attr, device, 72); AT(fi_mr_attr, device.reserved, 72);
AT(fi_mr_attr, device.cuda, 72); AT(fi_mr_attr, device.ze, 72); AT(fi_mr_attr, device.neuron, 72);
AT(fi_mr_attr, device.synapseai, 72); AT(fi_mr_attr, device.rocr, 72); AT(fi_mr_attr, hmem_data, 80);
AT(fi_mr_attr, page_size, 88); AT(fi_mr_attr, base_mr, 96); AT(fi_mr_attr, sub_mr_cnt, 104);

SIZE(fi_mr_modify, 120); AT(fi_mr_modify, flags, 0); AT(fi_mr_modify, attr, 8);

SIZE(fi_hmem_override_ops, 24); AT(fi_hmem_override_ops, size, 0); AT(fi_hmem_override_ops, copy_from_hmem_iov, 8);
AT(fi_hmem_override_ops, copy_to_hmem_iov, 16);

SIZE(fi_ops_domain, 104); AT(fi_ops_domain, size, 0); AT(fi_ops_domain, av_open, 8); AT(fi_ops_domain, cq_open, 16);
AT(fi_ops_domain, endpoint, 24); AT(fi_ops_domain, scalable_ep, 32); AT(fi_ops_domain, cntr_open, 40);
AT(fi_ops_domain, poll_open, 48); AT(fi_ops_domain, stx_ctx, 56); AT(fi_ops_domain, srx_ctx, 64);
AT(fi_ops_domain, query_atomic, 72); AT(fi_ops_domain, query_collective, 80); AT(fi_ops_domain, endpoint2, 88);
AT(fi_ops_domain, xpu_ctx, 96);

SIZE(fi_ops_mr, 32); AT(fi_ops_mr, size, 0); AT(fi_ops_mr, reg, 8); AT(fi_ops_mr, regv, 16);
AT(fi_ops_mr, regattr, 24);

SIZE(fid_domain, 40); AT(fid_domain, fid, 0); AT(fid_domain, ops, 24); AT(fid_domain, mr, 32);

// ---- rdma/fi_endpoint.h -------------------------------------------------------------------------

SIZE(fi_msg, 48); AT(fi_msg, msg_iov, 0); AT(fi_msg, desc, 8); AT(fi_msg, iov_count, 16); AT(fi_msg, addr, 24);
AT(fi_msg, context, 32); AT(fi_msg, data, 40);

SIZE(fi_ops_ep, 72); AT(fi_ops_ep, size, 0); AT(fi_ops_ep, cancel, 8); AT(fi_ops_ep, getopt, 16);
AT(fi_ops_ep, setopt, 24); AT(fi_ops_ep, tx_ctx, 32); AT(fi_ops_ep, rx_ctx, 40); AT(fi_ops_ep, rx_size_left, 48);
AT(fi_ops_ep, tx_size_left, 56); AT(fi_ops_ep, export_xpu, 64);

SIZE(fi_ops_msg, 80); AT(fi_ops_msg, size, 0); AT(fi_ops_msg, recv, 8); AT(fi_ops_msg, recvv, 16);
AT(fi_ops_msg, recvmsg, 24); AT(fi_ops_msg, send, 32); AT(fi_ops_msg, sendv, 40); AT(fi_ops_msg, sendmsg, 48);
AT(fi_ops_msg, inject, 56); AT(fi_ops_msg, senddata, 64); AT(fi_ops_msg, injectdata, 72);

SIZE(fid_ep, 80); AT(fid_ep, fid, 0); AT(fid_ep, ops, 24); AT(fid_ep, cm, 32); AT(fid_ep, msg, 40);
AT(fid_ep, rma, 48); AT(fid_ep, tagged, 56); AT(fid_ep, atomic, 64); AT(fid_ep, collective, 72);

SIZE(fid_pep, 40); AT(fid_pep, fid, 0); AT(fid_pep, ops, 24); AT(fid_pep, cm, 32);

SIZE(fid_stx, 32); AT(fid_stx, fid, 0); AT(fid_stx, ops, 24);

// ---- handles.h ----------------------------------------------------------------------------------

// A handle's address is its fid's, and what Swift keeps comes right behind.

AT(lfp_fabric, fid, 0); AT(lfp_fabric, object, sizeof(struct fid_fabric));
AT(lfp_domain, fid, 0); AT(lfp_domain, object, sizeof(struct fid_domain));
AT(lfp_ep, fid, 0); AT(lfp_ep, object, sizeof(struct fid_ep));
AT(lfp_pep, fid, 0); AT(lfp_pep, object, sizeof(struct fid_pep));
AT(lfp_stx, fid, 0); AT(lfp_stx, object, sizeof(struct fid_stx));
AT(lfp_eq, fid, 0); AT(lfp_eq, object, sizeof(struct fid_eq));
AT(lfp_cq, fid, 0); AT(lfp_cq, object, sizeof(struct fid_cq));
AT(lfp_cntr, fid, 0); AT(lfp_cntr, object, sizeof(struct fid_cntr));
AT(lfp_wait, fid, 0); AT(lfp_wait, object, sizeof(struct fid_wait));
AT(lfp_poll, fid, 0); AT(lfp_poll, object, sizeof(struct fid_poll));
AT(lfp_av, fid, 0); AT(lfp_av, object, sizeof(struct fid_av));
AT(lfp_av_set, fid, 0); AT(lfp_av_set, object, sizeof(struct fid_av_set));
AT(lfp_mr, fid, 0); AT(lfp_mr, object, sizeof(struct fid_mr));
AT(lfp_mc, fid, 0); AT(lfp_mc, object, sizeof(struct fid_mc));
AT(lfp_profile, fid, 0); AT(lfp_profile, object, sizeof(struct fid_profile));

// ---- rdma/fi_ext_polyfill.h ---------------------------------------------------------------------

// Members are only ever added at the end.
AT(fi_polyfill_report, size, 0); AT(fi_polyfill_report, level, 8); AT(fi_polyfill_report, mode, 12);
AT(fi_polyfill_report, version, 16); AT(fi_polyfill_report, native, 20); AT(fi_polyfill_report, native_version, 24);
AT(fi_polyfill_report, native_path, 32); AT(fi_polyfill_report, native_provider, 40);
AT(fi_polyfill_report, reason, 48); AT(fi_polyfill_report, unexpected_messages, 56);
AT(fi_polyfill_report, packets_sent, 112); AT(fi_polyfill_report, datagrams_sent, 232);
AT(fi_polyfill_report, rtt_shortest, 304); AT(fi_polyfill_report, sockets, 352); SIZE(fi_polyfill_report, 392);
