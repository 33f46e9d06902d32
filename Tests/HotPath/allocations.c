/*
 * Moves data between two endpoints of this process and prints how many heap allocations were made after the warm-up.
 * The argument names the pattern: message, tagged, large, unexpected, write or read.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <rdma/fi_tagged.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OPERATIONS 2000
#define SECONDS_MAX 20

static long allocations;

/* Every way to the heap that the library has. */
void *malloc(size_t size)
{
	static void *(*next)(size_t);
	if (!next)
		next = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
	allocations++;
	return next(size);
}

int posix_memalign(void **result, size_t alignment, size_t size)
{
	static int (*next)(void **, size_t, size_t);
	if (!next)
		next = (int (*)(void **, size_t, size_t))dlsym(RTLD_NEXT, "posix_memalign");
	allocations++;
	return next(result, alignment, size);
}

static void check(const char *call, long result)
{
	if (result >= 0)
		return;
	fprintf(stderr, "%s: %ld (%s)\n", call, result, fi_strerror((int)-result));
	exit(1);
}

struct node {
	struct fid_ep *ep;
	struct fid_cq *cq;
	struct fid_av *av;
	fi_addr_t peer;
};

static struct fid_fabric *fabric;
static struct fid_domain *domain;
static struct node nodes[2];
static char source[1 << 20], target[1 << 20];
static int completions;

static void open_node(struct fi_info *info, struct node *node)
{
	struct fi_cq_attr cq = {.format = FI_CQ_FORMAT_TAGGED, .size = 256};
	struct fi_av_attr av = {.type = FI_AV_TABLE};

	check("fi_cq_open", fi_cq_open(domain, &cq, &node->cq, NULL));
	check("fi_av_open", fi_av_open(domain, &av, &node->av, NULL));
	check("fi_endpoint", fi_endpoint(domain, info, &node->ep, NULL));
	check("fi_ep_bind", fi_ep_bind(node->ep, &node->cq->fid, FI_TRANSMIT | FI_RECV));
	check("fi_ep_bind", fi_ep_bind(node->ep, &node->av->fid, 0));
	check("fi_enable", fi_enable(node->ep));
}

static void meet(struct node *from, struct node *to)
{
	char name[128];
	size_t size = sizeof name;

	check("fi_getname", fi_getname(&to->ep->fid, name, &size));
	check("fi_av_insert", fi_av_insert(from->av, name, 1, &from->peer, 0, NULL));
}

static void poll_both(void)
{
	struct fi_cq_tagged_entry entries[16];

	for (int i = 0; i < 2; i++) {
		ssize_t count = fi_cq_read(nodes[i].cq, entries, 16);
		if (count > 0)
			completions += (int)count;
		else if (count != -FI_EAGAIN)
			check("fi_cq_read", count);
	}
}

static void wait_for(int wanted)
{
	time_t start = time(NULL);

	while (completions < wanted) {
		poll_both();
		if (time(NULL) - start > SECONDS_MAX) {
			fprintf(stderr, "no completion within %d seconds\n", SECONDS_MAX);
			exit(1);
		}
	}
}

static void operate(const char *pattern)
{
	size_t size = strcmp(pattern, "large") ? 2048 : sizeof source;
	struct node *a = &nodes[0], *b = &nodes[1];

	completions = 0;
	if (!strcmp(pattern, "write")) {
		check("fi_write", fi_write(a->ep, source, size, NULL, a->peer, 0, 7, NULL));
		wait_for(1);
	} else if (!strcmp(pattern, "read")) {
		check("fi_read", fi_read(a->ep, source, size, NULL, a->peer, 0, 7, NULL));
		wait_for(1);
	} else if (!strcmp(pattern, "tagged")) {
		check("fi_trecv", fi_trecv(b->ep, target, size, NULL, FI_ADDR_UNSPEC, 5, 0, NULL));
		check("fi_tsend", fi_tsend(a->ep, source, size, NULL, a->peer, 5, NULL));
		wait_for(2);
	} else if (!strcmp(pattern, "unexpected")) {
		check("fi_send", fi_send(a->ep, source, size, NULL, a->peer, NULL));
		wait_for(1);
		check("fi_recv", fi_recv(b->ep, target, size, NULL, FI_ADDR_UNSPEC, NULL));
		wait_for(2);
	} else {
		check("fi_recv", fi_recv(b->ep, target, size, NULL, FI_ADDR_UNSPEC, NULL));
		check("fi_send", fi_send(a->ep, source, size, NULL, a->peer, NULL));
		wait_for(2);
	}
}

int main(int argc, char **argv)
{
	struct fi_info *hints = fi_allocinfo(), *info;
	struct fid_mr *mr;
	const char *pattern = argc > 1 ? argv[1] : "message";

	hints->caps = FI_MSG | FI_TAGGED | FI_RMA;
	hints->ep_attr->type = FI_EP_RDM;
	hints->domain_attr->progress = FI_PROGRESS_MANUAL;
	hints->fabric_attr->prov_name = strdup("polyfill");
	check("fi_getinfo", fi_getinfo(FI_VERSION(2, 0), "127.0.0.1", "0", FI_SOURCE, hints, &info));
	check("fi_fabric", fi_fabric(info->fabric_attr, &fabric, NULL));
	check("fi_domain", fi_domain(fabric, info, &domain, NULL));
	open_node(info, &nodes[0]);
	open_node(info, &nodes[1]);
	meet(&nodes[0], &nodes[1]);
	meet(&nodes[1], &nodes[0]);
	check("fi_mr_reg", fi_mr_reg(domain, target, sizeof target, FI_REMOTE_READ | FI_REMOTE_WRITE, 0, 7, 0, &mr, NULL));
	for (int i = 0; i < OPERATIONS; i++)
		operate(pattern);
	allocations = 0;
	for (int i = 0; i < OPERATIONS; i++)
		operate(pattern);
	printf("%ld allocations\n", allocations);
	return 0;
}
