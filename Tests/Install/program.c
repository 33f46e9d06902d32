/*
 * What a user's first program does: find the provider, open an endpoint, send one message to itself.
 * Prints the library's version, the provider, the message, and every libfabric that is mapped into the process.
 * C and C++ compile it. The optional argument is the provider's name.
 */
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECONDS_MAX 10

static void check(const char *call, long result)
{
	if (result >= 0)
		return;
	fprintf(stderr, "%s: %ld (%s)\n", call, result, fi_strerror((int)-result));
	exit(1);
}

static void wait_for(struct fid_cq *cq, int count)
{
	struct fi_cq_entry entry;
	time_t start = time(NULL);
	ssize_t result;

	while (count > 0) {
		result = fi_cq_read(cq, &entry, 1);
		if (result == 1) {
			count--;
		} else if (result != -FI_EAGAIN) {
			check("fi_cq_read", result);
		} else if (time(NULL) - start > SECONDS_MAX) {
			fprintf(stderr, "no completion within %d seconds\n", SECONDS_MAX);
			exit(1);
		}
	}
}

/* Prints the distinct files whose name contains "libfabric": /proc/self/maps lists each one in neighbouring lines. */
static void print_libraries(void)
{
	char line[4096], last[4096] = "";
	FILE *maps = fopen("/proc/self/maps", "r");

	while (maps && fgets(line, sizeof line, maps)) {
		const char *path = strchr(line, '/');
		const char *base = strrchr(line, '/');

		if (path && !strncmp(base, "/libfabric", 10) && strcmp(path, last)) {
			printf("library: %s", path);
			strcpy(last, path);
		}
	}
	if (maps)
		fclose(maps);
}

int main(int argc, char **argv)
{
	static char sent[] = "a message to myself", received[64];
	/* An address that the linker must resolve, also in a program that is not position independent. */
	struct fi_info *(*duplicate)(const struct fi_info *) = fi_dupinfo;
	struct fi_info *hints, *found, *info;
	struct fi_av_attr av_attr;
	struct fi_cq_attr cq_attr;
	struct fid_fabric *fabric;
	struct fid_domain *domain;
	struct fid_av *av;
	struct fid_cq *cq;
	struct fid_ep *ep;
	char name[256];
	size_t name_size = sizeof name;
	struct fi_context2 contexts[2];
	const struct timespec pause = { 0, 1000000 };
	fi_addr_t self;
	ssize_t result;
	int tries;

	memset(&av_attr, 0, sizeof av_attr);
	memset(&cq_attr, 0, sizeof cq_attr);
	hints = fi_allocinfo();
	if (!hints)
		return 1;
	hints->caps = FI_MSG;
	hints->mode = FI_CONTEXT | FI_CONTEXT2;
	hints->ep_attr->type = FI_EP_RDM;
	hints->fabric_attr->prov_name = strdup(argc > 1 ? argv[1] : "polyfill");
	check("fi_getinfo", fi_getinfo(FI_VERSION(FI_MAJOR_VERSION, FI_MINOR_VERSION), NULL, NULL, 0, hints, &found));
	fi_freeinfo(hints);
	info = duplicate(found);
	fi_freeinfo(found);
	printf("version: %u.%u\n", FI_MAJOR(fi_version()), FI_MINOR(fi_version()));
	printf("provider: %s\n", info->fabric_attr->prov_name);

	cq_attr.format = FI_CQ_FORMAT_CONTEXT;
	cq_attr.size = 16;
	check("fi_fabric", fi_fabric(info->fabric_attr, &fabric, NULL));
	check("fi_domain", fi_domain(fabric, info, &domain, NULL));
	check("fi_av_open", fi_av_open(domain, &av_attr, &av, NULL));
	check("fi_cq_open", fi_cq_open(domain, &cq_attr, &cq, NULL));
	check("fi_endpoint", fi_endpoint(domain, info, &ep, NULL));
	check("fi_ep_bind av", fi_ep_bind(ep, &av->fid, 0));
	check("fi_ep_bind cq", fi_ep_bind(ep, &cq->fid, FI_TRANSMIT | FI_RECV));
	check("fi_enable", fi_enable(ep));
	check("fi_getname", fi_getname(&ep->fid, name, &name_size));
	if (fi_av_insert(av, name, 1, &self, 0, NULL) != 1)
		check("fi_av_insert", -FI_EINVAL);

	check("fi_recv", fi_recv(ep, received, sizeof received, NULL, FI_ADDR_UNSPEC, &contexts[0]));
	/* -FI_EAGAIN: busy, for example still connecting. Reading no entry from the queue drives progress. */
	for (tries = 0; (result = fi_send(ep, sent, sizeof sent, NULL, self, &contexts[1])) == -FI_EAGAIN; tries++) {
		if (tries == SECONDS_MAX * 1000)
			break;
		fi_cq_read(cq, NULL, 0);
		nanosleep(&pause, NULL);
	}
	check("fi_send", result);
	wait_for(cq, 2);
	printf("received: %s\n", received);

	check("fi_close ep", fi_close(&ep->fid));
	check("fi_close cq", fi_close(&cq->fid));
	check("fi_close av", fi_close(&av->fid));
	check("fi_close domain", fi_close(&domain->fid));
	check("fi_close fabric", fi_close(&fabric->fid));
	fi_freeinfo(info);
	print_libraries();
	return strcmp(sent, received) != 0;
}
