/*
 * Prints how many bytes of the heap each peer costs: `known`, an address in the vector that is never talked to, or
 * `connected`, one with a session and nothing in flight. The endpoint talks to the last peer of all, so that what is
 * kept by number is full. The numbers of peers lie just beyond where tables grow.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <malloc.h>
#include <netinet/in.h>
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define KNOWN 22000
#define CONNECTED 600
#define NAME 32
#define SECONDS_MAX 50

static long bytes;

/* Every way to the heap that the library has; a block costs a word more than what can be used of it. */
#define COST(block) ((long)malloc_usable_size(block) + 8)

void *malloc(size_t size)
{
	static void *(*next)(size_t);
	void *block;

	if (!next)
		next = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
	block = next(size);
	bytes += block ? COST(block) : 0;
	return block;
}

int posix_memalign(void **result, size_t alignment, size_t size)
{
	static int (*next)(void **, size_t, size_t);
	int status;

	if (!next)
		next = (int (*)(void **, size_t, size_t))dlsym(RTLD_NEXT, "posix_memalign");
	status = next(result, alignment, size);
	bytes += status ? 0 : COST(*result);
	return status;
}

void free(void *block)
{
	static void (*next)(void *);

	if (!next)
		next = (void (*)(void *))dlsym(RTLD_NEXT, "free");
	bytes -= block ? COST(block) : 0;
	next(block);
}

static void check(const char *call, long result)
{
	if (result >= 0)
		return;
	fprintf(stderr, "%s: %ld (%s)\n", call, result, fi_strerror((int)-result));
	exit(1);
}

static struct fi_info *info;
static struct fid_fabric *fabric;
static struct fid_domain *domain;
static struct fid_cq *cq;
static struct fid_av *av;
static struct fid_ep *eps[CONNECTED];
static char names[CONNECTED][NAME];
static long sent, received;

static void open_domain(void)
{
	struct fi_info *hints = fi_allocinfo();
	struct fi_cq_attr cq_attr = {.format = FI_CQ_FORMAT_MSG, .size = 2048};
	struct fi_av_attr av_attr = {.type = FI_AV_TABLE};

	hints->caps = FI_MSG;
	hints->ep_attr->type = FI_EP_RDM;
	hints->domain_attr->progress = FI_PROGRESS_MANUAL;
	hints->fabric_attr->prov_name = strdup("polyfill");
	check("fi_getinfo", fi_getinfo(FI_VERSION(2, 0), "127.0.0.1", "0", FI_SOURCE, hints, &info));
	info->rx_attr->size = info->tx_attr->size = 1024;
	check("fi_fabric", fi_fabric(info->fabric_attr, &fabric, NULL));
	check("fi_domain", fi_domain(fabric, info, &domain, NULL));
	check("fi_cq_open", fi_cq_open(domain, &cq_attr, &cq, NULL));
	check("fi_av_open", fi_av_open(domain, &av_attr, &av, NULL));
}

static void open_endpoint(int index)
{
	size_t size = NAME;

	check("fi_endpoint", fi_endpoint(domain, info, &eps[index], NULL));
	check("fi_ep_bind", fi_ep_bind(eps[index], &cq->fid, FI_TRANSMIT | FI_RECV));
	check("fi_ep_bind", fi_ep_bind(eps[index], &av->fid, 0));
	check("fi_enable", fi_enable(eps[index]));
	check("fi_getname", fi_getname(&eps[index]->fid, names[index], &size));
}

static void poll_once(void)
{
	struct fi_cq_msg_entry entries[16];
	ssize_t count = fi_cq_read(cq, entries, 16);

	if (count == -FI_EAGAIN)
		return;
	check("fi_cq_read", count);
	for (ssize_t i = 0; i < count; i++)
		*(entries[i].flags & FI_RECV ? &received : &sent) += 1;
}

static void send_and_wait(fi_addr_t peer, long wanted)
{
	time_t start = time(NULL);

	if (peer != FI_ADDR_UNSPEC)
		check("fi_send", fi_send(eps[0], "x", 1, NULL, peer, NULL));
	while (sent < wanted) {
		poll_once();
		if (time(NULL) - start > SECONDS_MAX) {
			fprintf(stderr, "%ld of %ld messages within %d seconds\n", sent, wanted, SECONDS_MAX);
			exit(1);
		}
	}
	/* What is to be acknowledged. */
	for (int i = 0; i < 1000; i++)
		poll_once();
}

static fi_addr_t insert(const void *address)
{
	fi_addr_t number;

	check("fi_av_insert", fi_av_insert(av, address, 1, &number, 0, NULL) == 1 ? 0 : -FI_EADDRNOTAVAIL);
	return number;
}

static double known(void)
{
	long before;

	open_endpoint(0);
	open_endpoint(1);
	send_and_wait(insert(names[0]), 1);
	before = bytes;
	for (int i = 0; i < KNOWN; i++) {
		struct sockaddr_in nobody = {.sin_family = AF_INET, .sin_port = htons(9)};

		nobody.sin_addr.s_addr = htonl(0x7f400001u + i);
		insert(&nobody);
	}
	send_and_wait(insert(names[1]), 2);
	return (double)(bytes - before) / KNOWN;
}

/* The peers: they take what comes. */
static void run_peers(int channel)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	open_domain();
	for (int i = 0; i < CONNECTED; i++) {
		open_endpoint(i);
		check("fi_recv", fi_recv(eps[i], calloc(1, 1), 1, NULL, FI_ADDR_UNSPEC, NULL));
	}
	if (write(channel, names, sizeof names) != sizeof names)
		exit(1);
	for (;;)
		poll_once();
}

static double connected(void)
{
	fi_addr_t peers[CONNECTED];
	int ends[2];
	pid_t pid;
	long before;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		exit(1);
	pid = fork();
	if (pid == 0)
		run_peers(ends[1]);
	close(ends[1]);
	open_domain();
	open_endpoint(0);
	if (recv(ends[0], names, sizeof names, MSG_WAITALL) != sizeof names)
		exit(1);
	for (int i = 0; i < CONNECTED; i++)
		peers[i] = insert(names[i]);
	send_and_wait(peers[0], 1);
	before = bytes;
	for (int i = 1; i < CONNECTED; i++)
		check("fi_send", fi_send(eps[0], "x", 1, NULL, peers[i], NULL));
	send_and_wait(FI_ADDR_UNSPEC, CONNECTED);
	kill(pid, SIGKILL);
	return (double)(bytes - before) / (CONNECTED - 1);
}

int main(int argc, char **argv)
{
	double each;

	if (argc > 1 && !strcmp(argv[1], "connected")) {
		each = connected();
	} else {
		open_domain();
		each = known();
	}
	printf("%.1f bytes a peer\n", each);
	return 0;
}
