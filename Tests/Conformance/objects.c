// Fabrics and domains: opening, errors, parents and children. Man pages: fi_fabric(3), fi_domain(3).
#include "fixture.h"

static struct fi_info *any_info(void) {
  static const struct setup defaults;
  return find_info(&defaults);
}

// ---- fabric -------------------------------------------------------------------------------------------------------

CASE(fabric_has_class_context_and_version) {
  struct fi_info *info = any_info();
  struct fid_fabric *fabric = NULL;
  int context;
  assert_success(fi_fabric(info->fabric_attr, &fabric, &context));
  assert_int_equal(fabric->fid.fclass, FI_CLASS_FABRIC);
  assert_ptr_equal(fabric->fid.context, &context);
  assert_int_equal(fabric->api_version, DEFAULT_VERSION);
  close_fid(fabric);
  fi_freeinfo(info);
}

CASE(fabric_without_attributes) {
  struct fid_fabric *fabric = NULL;
  assert_returns(fi_fabric(NULL, &fabric, NULL), -FI_EINVAL);
}

CASE(fabric_without_names) {
  struct fid_fabric *fabric = NULL;
  struct fi_fabric_attr attributes = {.name = NULL, .prov_name = NULL};
  assert_returns(fi_fabric(&attributes, &fabric, NULL), -FI_EINVAL);
  attributes.prov_name = (char *)provider_name();
  assert_returns(fi_fabric(&attributes, &fabric, NULL), -FI_EINVAL);
  attributes.prov_name = NULL;
  attributes.name = (char *)"fabric";
  assert_returns(fi_fabric(&attributes, &fabric, NULL), -FI_EINVAL);
}

CASE(fabric_of_an_unknown_provider) {
  struct fid_fabric *fabric = NULL;
  struct fi_fabric_attr attributes = {.name = (char *)"fabric", .prov_name = (char *)"no-such-provider"};
  assert_returns(fi_fabric(&attributes, &fabric, NULL), -FI_ENODEV);
}

CASE(fabric_can_be_opened_twice) {
  struct fi_info *info = any_info();
  struct fid_fabric *first = NULL, *second = NULL;
  assert_success(fi_fabric(info->fabric_attr, &first, NULL));
  assert_success(fi_fabric(info->fabric_attr, &second, NULL));
  close_fid(first);
  struct fid_domain *domain = NULL;
  assert_success(fi_domain(second, info, &domain, NULL));
  close_fid(domain);
  close_fid(second);
  fi_freeinfo(info);
}

CASE(fabric_with_an_open_domain_is_busy) {
  struct node node;
  node_open_domain(&node, NULL);
  assert_returns(fi_close(&node.fabric->fid), -FI_EBUSY);
  node_close(&node);
}

CASE(fabric_with_an_open_event_queue_is_busy) {
  struct fi_info *info = any_info();
  struct fid_fabric *fabric = NULL;
  assert_success(fi_fabric(info->fabric_attr, &fabric, NULL));
  struct fi_eq_attr attributes = {.wait_obj = FI_WAIT_NONE};
  struct fid_eq *eq = NULL;
  assert_success(fi_eq_open(fabric, &attributes, &eq, NULL));
  assert_returns(fi_close(&fabric->fid), -FI_EBUSY);
  close_fid(eq);
  close_fid(fabric);
  fi_freeinfo(info);
}

// ---- domain -------------------------------------------------------------------------------------------------------

CASE(domain_has_class_and_context) {
  struct fi_info *info = any_info();
  struct fid_fabric *fabric = NULL;
  struct fid_domain *domain = NULL;
  int context;
  assert_success(fi_fabric(info->fabric_attr, &fabric, NULL));
  assert_success(fi_domain(fabric, info, &domain, &context));
  assert_int_equal(domain->fid.fclass, FI_CLASS_DOMAIN);
  assert_ptr_equal(domain->fid.context, &context);
  close_fid(domain);
  close_fid(fabric);
  fi_freeinfo(info);
}

CASE(domain_can_be_opened_through_domain2) {
  struct fi_info *info = any_info();
  struct fid_fabric *fabric = NULL;
  struct fid_domain *domain = NULL;
  assert_success(fi_fabric(info->fabric_attr, &fabric, NULL));
  assert_offered(fi_domain2(fabric, info, &domain, 0, NULL));
  close_fid(domain);
  close_fid(fabric);
  fi_freeinfo(info);
}

CASE(several_domains_in_one_fabric) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fid_domain *others[3];
  for (int i = 0; i < 3; i++) assert_success(fi_domain(node.fabric, node.info, &others[i], NULL));
  for (int i = 0; i < 3; i++) close_fid(others[i]);
  node_close(&node);
}

CASE(domain_with_an_open_address_vector_is_busy) {
  struct node node;
  node_open_domain(&node, NULL);
  node.av = av_open(&node, FI_AV_UNSPEC);
  assert_returns(fi_close(&node.domain->fid), -FI_EBUSY);
  node_close(&node);
}

CASE(domain_with_an_open_completion_queue_is_busy) {
  struct node node;
  node_open_domain(&node, NULL);
  node.tx_cq = cq_open(&node, FI_CQ_FORMAT_CONTEXT, FI_WAIT_NONE, 0);
  assert_returns(fi_close(&node.domain->fid), -FI_EBUSY);
  node_close(&node);
}

CASE(domain_with_an_open_endpoint_is_busy) {
  struct node node;
  node_open_domain(&node, NULL);
  assert_success(fi_endpoint(node.domain, node.info, &node.ep, NULL));
  assert_returns(fi_close(&node.domain->fid), -FI_EBUSY);
  node_close(&node);
}

CASE(domain_with_a_memory_region_is_busy) {
  struct node node;
  node_open_domain(&node, NULL);
  char memory[64];
  struct fid_mr *mr = NULL;
  assert_success(fi_mr_reg(node.domain, memory, sizeof memory, FI_REMOTE_WRITE, 0, 7, 0, &mr, NULL));
  assert_returns(fi_close(&node.domain->fid), -FI_EBUSY);
  close_fid(mr);
  node_close(&node);
}

CASE(domain_binds_an_event_queue) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fi_eq_attr attributes = {.wait_obj = FI_WAIT_NONE};
  struct fid_eq *eq = NULL;
  assert_success(fi_eq_open(node.fabric, &attributes, &eq, NULL));
  assert_offered(fi_domain_bind(node.domain, &eq->fid, 0));
  close_fid(node.domain);
  node.domain = NULL;
  close_fid(eq);
  node_close(&node);
}

CASE(domain_binds_nothing_but_event_queues) {
  struct node node;
  node_open_domain(&node, NULL);
  node.av = av_open(&node, FI_AV_UNSPEC);
  assert_fails(fi_domain_bind(node.domain, &node.av->fid, 0));
  node_close(&node);
}

CASE(event_queue_bound_to_a_domain_is_busy) {
  struct node node;
  node_open_domain(&node, NULL);
  struct fi_eq_attr attributes = {.wait_obj = FI_WAIT_NONE};
  struct fid_eq *eq = NULL;
  assert_success(fi_eq_open(node.fabric, &attributes, &eq, NULL));
  assert_offered(fi_domain_bind(node.domain, &eq->fid, 0));
  assert_returns(fi_close(&eq->fid), -FI_EBUSY);
  close_fid(node.domain);
  node.domain = NULL;
  close_fid(eq);
  node_close(&node);
}

CASE(unknown_operations_are_not_offered) {
  struct node node;
  node_open_domain(&node, NULL);
  void *operations = NULL;
  assert_fails(fi_open_ops(&node.domain->fid, "no such operations", 0, &operations, NULL));
  assert_returns(fi_set_ops(&node.domain->fid, "no such operations", 0, &operations, NULL), -FI_ENOSYS);
  node_close(&node);
}

CASE(unknown_control_commands_are_refused) {
  struct node node;
  node_open_domain(&node, NULL);
  int argument = 0;
  assert_fails(fi_control(&node.domain->fid, 0x7fff, &argument));
  assert_fails(fi_control(&node.fabric->fid, 0x7fff, &argument));
  node_close(&node);
}

CASE(objects_survive_many_rounds) {
  for (int round = 0; round < 20; round++) {
    struct node node;
    node_open(&node, NULL);
    node_close(&node);
  }
}
