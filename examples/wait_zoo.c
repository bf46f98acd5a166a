/* SPDX-License-Identifier: Apache-2.0
 *
 * One thread per way to wait. A keeper process feeds every exhibit once per tick (20 ms), so each thread waits for about that long
 * again and again in a function of its own, and measures its waits itself: how many (calls that took longer than
 * half a millisecond), and how long in all (which includes the
 * time until it ran again). The truth prints both per exhibit, with the call site and the wait class it should be given.
 */
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TICK_NS 20000000
#define SHORT_NS 500000 /* a call shorter than this needed no wait (a lock that was free, a pipe with room) */
#define COLD_BYTES (1 << 20)

struct zoo; /* shared memory: what keeper and exhibits both know */
struct exhibit {
	const char *name, *cls, *channel;
	int (*wait)(void);  /* one wait; -1: failed with errno */
	void (*feed)(void); /* by the keeper process, once per tick; NULL: nobody or in process */
};

struct zoo {
	_Atomic uint32_t stop, ended;
	_Atomic uint32_t shared_word;
	_Atomic int32_t pause_tid, pid;
	sem_t sem;
};
static struct zoo *zoo;

static int pipe_r[2], pipe_w[2], fifo[2], stream[2], dgram[2], seq[2], full[2], tcp4[2], tcp6[2], udp[2], event, poll_pipe[2],
	select_pipe[2], epoll_pipe[2], epoll_fd, accept_tcp, accept_unix, file_rw, lock_fd;
static int sysv_msg, sysv_sem;
static mqd_t posix_mq;
static struct sockaddr_in accept_addr;
static struct sockaddr_un unix_addr;
static char dir[] = "/tmp/wait_zoo.XXXXXX", lock_path[64];
static _Atomic uint32_t private_word;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static unsigned char *cold;

#define EXHIBIT(NAME) NOINLINE static int wait_##NAME(void)
#define FEED(NAME) static void feed_##NAME(void)
#define READS(NAME, FD)                                                                                                          \
	{                                                                                                                        \
		char b[64];                                                                                                      \
		int r = (int)AT(#NAME, read(FD, b, sizeof b));                                                                   \
		return r < 0 ? -1 : 0;                                                                                           \
	}
#define WRITES(FD)                                                                                                               \
	{                                                                                                                        \
		if (write(FD, "feed", 4) != 4)                                                                                   \
			return;                                                                                                  \
	}

EXHIBIT(pipe_read)
READS(pipe_read, pipe_r[0])
FEED(pipe_read)
WRITES(pipe_r[1])
EXHIBIT(fifo_read)
READS(fifo_read, fifo[0]) FEED(fifo_read) WRITES(fifo[1]) EXHIBIT(unix_stream) READS(unix_stream, stream[0]) FEED(unix_stream)
	WRITES(stream[1]) EXHIBIT(unix_dgram) READS(unix_dgram, dgram[0]) FEED(unix_dgram) WRITES(dgram[1])
		EXHIBIT(unix_seqpacket) READS(unix_seqpacket, seq[0]) FEED(unix_seqpacket) WRITES(seq[1]) EXHIBIT(tcp4)
			READS(tcp4, tcp4[0]) FEED(tcp4) WRITES(tcp4[1]) EXHIBIT(tcp6) READS(tcp6, tcp6[0]) FEED(tcp6)
				WRITES(tcp6[1]) EXHIBIT(udp) READS(udp, udp[0]) FEED(udp) WRITES(udp[1])

					EXHIBIT(eventfd)
{
	uint64_t v;
	int r = (int)AT("eventfd", read(event, &v, sizeof v));
	return r < 0 ? -1 : 0;
}
FEED(eventfd)
{
	eventfd_write(event, 1);
}

EXHIBIT(pipe_write)
{
	static char page[4096];
	int r = (int)AT("pipe_write", write(pipe_w[1], page, sizeof page));
	return r < 0 ? -1 : 0;
}
FEED(pipe_write)
{
	char page[4096];
	int there;
	if (ioctl(pipe_w[0], FIONREAD, &there) || there < (int)sizeof page || read(pipe_w[0], page, sizeof page) < 0)
		return;
}

EXHIBIT(unix_write)
{
	static char page[4096];
	int r = (int)AT("unix_write", write(full[1], page, sizeof page));
	return r < 0 ? -1 : 0;
}
FEED(unix_write)
{
	char page[65536]; /* a stream socket wakes its writer when a good part is free */
	if (recv(full[0], page, sizeof page, MSG_DONTWAIT) < 0)
		return;
}

static int drained(int fd, int r)
{
	char b[64];
	return r < 0 || read(fd, b, sizeof b) < 0 ? -1 : 0;
}
EXHIBIT(poll)
{
	struct pollfd p = {.fd = poll_pipe[0], .events = POLLIN};
	int r = AT("poll", poll(&p, 1, -1));
	return drained(poll_pipe[0], r);
}
FEED(poll) WRITES(poll_pipe[1]) EXHIBIT(select)
{
	fd_set set;
	FD_ZERO(&set);
	FD_SET(select_pipe[0], &set);
	int r = AT("select", select(select_pipe[0] + 1, &set, NULL, NULL, NULL));
	return drained(select_pipe[0], r);
}
FEED(select) WRITES(select_pipe[1]) EXHIBIT(epoll)
{
	struct epoll_event e;
	int r = AT("epoll", epoll_wait(epoll_fd, &e, 1, -1));
	return drained(epoll_pipe[0], r);
}
FEED(epoll)
WRITES(epoll_pipe[1])

EXHIBIT(futex_private)
{
	uint32_t seen = atomic_load(&private_word);
	int r = (int)AT("futex_private", syscall(SYS_futex, &private_word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0));
	return r < 0 && errno != EAGAIN ? -1 : 0;
}
EXHIBIT(condvar)
{
	pthread_mutex_lock(&mutex);
	int r = AT("condvar", pthread_cond_wait(&cond, &mutex));
	pthread_mutex_unlock(&mutex);
	return r;
}
/* These two are fed from a thread of the same process. */
static void feed_inside(void)
{
	atomic_fetch_add(&private_word, 1);
	syscall(SYS_futex, &private_word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	pthread_mutex_lock(&mutex); /* signalled after it is free, or the woken one waits again */
	pthread_mutex_unlock(&mutex);
	pthread_cond_signal(&cond);
}

EXHIBIT(futex_shared)
{
	uint32_t seen = atomic_load(&zoo->shared_word);
	int r = (int)AT("futex_shared", syscall(SYS_futex, &zoo->shared_word, FUTEX_WAIT, seen, NULL, NULL, 0));
	return r < 0 && errno != EAGAIN ? -1 : 0;
}
FEED(futex_shared)
{
	atomic_fetch_add(&zoo->shared_word, 1);
	syscall(SYS_futex, &zoo->shared_word, FUTEX_WAKE, 1, NULL, NULL, 0);
}
EXHIBIT(posix_sem)
{
	int r = AT("posix_sem", sem_wait(&zoo->sem));
	return r ? -1 : 0;
}
FEED(posix_sem)
{
	sem_post(&zoo->sem);
}
EXHIBIT(posix_mq)
{
	char b[64];
	int r = (int)AT("posix_mq", mq_receive(posix_mq, b, sizeof b, NULL));
	return r < 0 ? -1 : 0;
}
FEED(posix_mq)
{
	mq_send(posix_mq, "feed", 4, 0);
}
struct letter {
	long type;
	char text[16];
};
EXHIBIT(sysv_msg)
{
	struct letter m;
	int r = (int)AT("sysv_msg", msgrcv(sysv_msg, &m, sizeof m.text, 0, 0));
	return r < 0 ? -1 : 0;
}
FEED(sysv_msg)
{
	struct letter m = {1, "feed"};
	msgsnd(sysv_msg, &m, sizeof m.text, IPC_NOWAIT);
}
EXHIBIT(sysv_sem)
{
	struct sembuf op = {0, -1, 0};
	int r = AT("sysv_sem", semop(sysv_sem, &op, 1));
	return r;
}
FEED(sysv_sem)
{
	struct sembuf op = {0, 1, IPC_NOWAIT};
	semop(sysv_sem, &op, 1);
}

EXHIBIT(accept)
{
	int fd = AT("accept", accept(accept_tcp, NULL, NULL));
	return fd < 0 ? -1 : close(fd);
}
FEED(accept)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&accept_addr, sizeof accept_addr) == 0)
		shutdown(fd, SHUT_RDWR);
	close(fd);
}
/* The listener's queue is full: a connect waits until the keeper accepts one. */
EXHIBIT(connect)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int r = AT("connect", connect(fd, (struct sockaddr *)&unix_addr, sizeof unix_addr));
	close(fd);
	return r;
}
FEED(connect)
{
	int fd = accept(accept_unix, NULL, NULL); /* never waits: the listener is non-blocking */
	if (fd >= 0)
		close(fd);
}

EXHIBIT(sigwait)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	int r = AT("sigwait", sigwaitinfo(&set, NULL));
	return r < 0 ? -1 : 0;
}
FEED(sigwait)
{
	kill(atomic_load(&zoo->pid), SIGRTMIN);
}
static void on_signal(int sig)
{
	(void)sig;
}
EXHIBIT(pause)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	atomic_store(&zoo->pause_tid, (int32_t)gettid());
	int r = AT("pause", pause());
	return r < 0 && errno != EINTR ? -1 : 0;
}
FEED(pause)
{
	if (atomic_load(&zoo->pause_tid))
		syscall(SYS_tgkill, atomic_load(&zoo->pid), atomic_load(&zoo->pause_tid), SIGUSR2);
}

/* A pause between two tries that is not the exhibit's wait: measured, to be taken off its time. */
static _Thread_local uint64_t rested_ns;
static void rest(void)
{
	struct timespec ts = {0, TICK_NS / 2};
	uint64_t t = now_ns();
	nanosleep(&ts, NULL);
	rested_ns += now_ns() - t;
}

EXHIBIT(child)
{
	uint64_t t = now_ns();
	pid_t pid = fork();
	if (pid == 0) {
		struct timespec ts = {0, TICK_NS};
		nanosleep(&ts, NULL);
		_exit(0);
	}
	rested_ns += now_ns() - t; /* forking is no wait */
	int status, r = AT("child", waitpid(pid, &status, 0));
	return r < 0 ? -1 : 0;
}
EXHIBIT(sleep)
{
	struct timespec ts = {0, TICK_NS};
	int r = AT("sleep", nanosleep(&ts, NULL));
	return r;
}

/* The keeper holds the file's locks through one half of each tick. */
EXHIBIT(flock)
{
	static int fd = -1;
	if (fd < 0)
		fd = open(lock_path, O_RDWR);
	int r = AT("flock", flock(fd, LOCK_EX));
	flock(fd, LOCK_UN);
	rest();
	return r;
}
EXHIBIT(fcntl_lock)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
	int r = AT("fcntl_lock", fcntl(lock_fd, F_SETLKW, &l));
	l.l_type = F_UNLCK;
	fcntl(lock_fd, F_SETLK, &l);
	rest();
	return r;
}

/* Disk: as long as the disk takes; on a memory file system no wait at all. */
EXHIBIT(fsync)
{
	rest();
	if (pwrite(file_rw, "x", 1, 0) != 1)
		return -1;
	int r = AT("fsync", fsync(file_rw));
	return r;
}
EXHIBIT(file_read)
{
	char b[4096];
	static off_t at;
	rest();
	at = (at + 65536) % COLD_BYTES;
	posix_fadvise(file_rw, 0, 0, POSIX_FADV_DONTNEED);
	int r = (int)AT("file_read", pread(file_rw, b, sizeof b, at));
	return r < 0 ? -1 : 0;
}
EXHIBIT(page_fault)
{
	static size_t at;
	rest();
	at = (at + 65536 + 4096) % COLD_BYTES;
	madvise(cold, COLD_BYTES, MADV_DONTNEED);
	posix_fadvise(file_rw, 0, 0, POSIX_FADV_DONTNEED);
	int v = AT("page_fault", ((volatile unsigned char *)cold)[at]);
	return v > 255 ? -1 : 0;
}

static const struct exhibit exhibits[] = {
	{"pipe_read", "pipe_read", "pipe", wait_pipe_read, feed_pipe_read},
	{"fifo_read", "pipe_read", "pipe", wait_fifo_read, feed_fifo_read},
	{"pipe_write", "pipe_write", "pipe", wait_pipe_write, feed_pipe_write},
	{"unix_stream", "unix_read", "unix", wait_unix_stream, feed_unix_stream},
	{"unix_dgram", "unix_read", "unix", wait_unix_dgram, feed_unix_dgram},
	{"unix_seqpacket", "unix_read", "unix", wait_unix_seqpacket, feed_unix_seqpacket},
	{"unix_write", "unix_write", "unix", wait_unix_write, feed_unix_write},
	{"tcp4", "tcp_read", "tcp", wait_tcp4, feed_tcp4},
	{"tcp6", "tcp_read", "tcp", wait_tcp6, feed_tcp6},
	{"udp", "tcp_read", "tcp", wait_udp, feed_udp},
	{"eventfd", "ipc_queue", "eventfd", wait_eventfd, feed_eventfd},
	{"poll", "poll", "pipe", wait_poll, feed_poll},
	{"select", "poll", "pipe", wait_select, feed_select},
	{"epoll", "poll", "pipe", wait_epoll, feed_epoll},
	{"futex_private", "futex", "futex", wait_futex_private, NULL},
	{"condvar", "futex", "futex", wait_condvar, NULL},
	{"futex_shared", "futex", "futex", wait_futex_shared, feed_futex_shared},
	{"posix_sem", "futex", "futex", wait_posix_sem, feed_posix_sem},
	{"posix_mq", "ipc_queue", "posix", wait_posix_mq, feed_posix_mq},
	{"sysv_msg", "ipc_queue", "sysv", wait_sysv_msg, feed_sysv_msg},
	{"sysv_sem", "ipc_queue|lock", "sysv", wait_sysv_sem, feed_sysv_sem},
	{"accept", "accept", "tcp", wait_accept, feed_accept},
	{"connect", "tcp_connect|unix_write|other", "unix", wait_connect, feed_connect},
	{"sigwait", "signal", "any", wait_sigwait, feed_sigwait},
	{"pause", "signal", "any", wait_pause, feed_pause},
	{"child", "child", "child", wait_child, NULL},
	{"sleep", "sleep", "timer|none", wait_sleep, NULL},
	{"flock", "lock", "any", wait_flock, NULL},
	{"fcntl_lock", "lock", "any", wait_fcntl_lock, NULL},
	{"fsync", "file_io", "file", wait_fsync, NULL},
	{"file_read", "file_io", "file", wait_file_read, NULL},
	{"page_fault", "page_fault", "file|none", wait_page_fault, NULL},
};
#define N_EXHIBITS (sizeof exhibits / sizeof exhibits[0])

struct seen {
	uint64_t calls, count, ns, max_ns;
	int32_t tid;
	int error;
};
static struct seen seen[N_EXHIBITS];

static void *exhibit_main(void *arg)
{
	size_t i = (size_t)(uintptr_t)arg;
	const struct exhibit *e = &exhibits[i];
	struct seen *s = &seen[i];
	s->tid = (int32_t)gettid();
	pthread_setname_np(pthread_self(), e->name);
	while (!atomic_load(&zoo->stop)) {
		rested_ns = 0;
		uint64_t t = now_ns();
		int r = e->wait();
		t = now_ns() - t - rested_ns;
		if (r) {
			s->error = errno;
			break;
		}
		s->calls++;
		s->count += t > SHORT_NS;
		s->ns += t;
		if (t > s->max_ns)
			s->max_ns = t;
	}
	atomic_fetch_add(&zoo->ended, 1);
	return NULL;
}

/* Feeds everybody once per tick until all have ended. */
static void *feed_inside_main(void *arg)
{
	(void)arg;
	pthread_setname_np(pthread_self(), "feeder");
	while (atomic_load(&zoo->ended) < N_EXHIBITS) {
		struct timespec ts = {0, TICK_NS};
		nanosleep(&ts, NULL);
		feed_inside();
	}
	return NULL;
}

static int keeper_main(void)
{
	int own = open(lock_path, O_RDWR);
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
	struct timespec half = {0, TICK_NS / 2};
	while (atomic_load(&zoo->ended) < N_EXHIBITS) {
		flock(own, LOCK_EX);
		l.l_type = F_WRLCK;
		fcntl(own, F_SETLKW, &l);
		nanosleep(&half, NULL);
		for (size_t i = 0; i < N_EXHIBITS; i++)
			if (exhibits[i].feed)
				exhibits[i].feed();
		l.l_type = F_UNLCK;
		fcntl(own, F_SETLK, &l);
		flock(own, LOCK_UN);
		nanosleep(&half, NULL);
	}
	return 0;
}

static void pair(int domain, int type, int fds[2])
{
	if (socketpair(domain, type, 0, fds))
		die("socketpair");
}

static int listener(int domain, struct sockaddr *a, socklen_t n, int backlog)
{
	int fd = socket(domain, SOCK_STREAM, 0);
	if (fd < 0 || bind(fd, a, n) || listen(fd, backlog))
		die("listen");
	return fd;
}

static void tcp_pair(struct sockaddr *a, socklen_t n, int fds[2])
{
	int l = listener(a->sa_family, a, n, 1);
	getsockname(l, a, &n);
	fds[1] = socket(a->sa_family, SOCK_STREAM, 0);
	if (connect(fds[1], a, n))
		die("connect");
	fds[0] = accept(l, NULL, NULL);
	close(l);
}

static void udp_pair(int fds[2])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	fds[0] = socket(AF_INET, SOCK_DGRAM, 0);
	fds[1] = socket(AF_INET, SOCK_DGRAM, 0);
	if (bind(fds[0], (struct sockaddr *)&a, n) || getsockname(fds[0], (struct sockaddr *)&a, &n) ||
	    connect(fds[1], (struct sockaddr *)&a, n))
		die("udp");
}

static void open_sockets(void)
{
	pair(AF_UNIX, SOCK_STREAM, stream);
	pair(AF_UNIX, SOCK_DGRAM, dgram);
	pair(AF_UNIX, SOCK_SEQPACKET, seq);
	pair(AF_UNIX, SOCK_STREAM, full);
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	accept_addr = a4;
	tcp_pair((struct sockaddr *)&a4, sizeof a4, tcp4);
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	tcp_pair((struct sockaddr *)&a6, sizeof a6, tcp6);
	udp_pair(udp);
	accept_tcp = listener(AF_INET, (struct sockaddr *)&accept_addr, sizeof accept_addr, 16);
	socklen_t n = sizeof accept_addr;
	getsockname(accept_tcp, (struct sockaddr *)&accept_addr, &n);
	unix_addr.sun_family = AF_UNIX;
	snprintf(unix_addr.sun_path, sizeof unix_addr.sun_path, "%s/socket", dir);
	accept_unix = listener(AF_UNIX, (struct sockaddr *)&unix_addr, sizeof unix_addr, 0);
	fcntl(accept_unix, F_SETFL, O_NONBLOCK);
}

static void open_pipes(void)
{
	char path[64];
	snprintf(path, sizeof path, "%s/fifo", dir);
	if (pipe(pipe_r) || pipe(pipe_w) || pipe(poll_pipe) || pipe(select_pipe) || pipe(epoll_pipe) || mkfifo(path, 0600))
		die("pipe");
	int both = open(path, O_RDWR); /* so that neither end waits for the other to be opened */
	fifo[0] = open(path, O_RDONLY);
	fifo[1] = open(path, O_WRONLY);
	close(both);
	event = eventfd(0, 0);
	epoll_fd = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN};
	if (event < 0 || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, epoll_pipe[0], &e))
		die("epoll");
}

static void open_files(void)
{
	char path[64];
	snprintf(path, sizeof path, "%s/data", dir);
	file_rw = open(path, O_RDWR | O_CREAT, 0600);
	static unsigned char block[COLD_BYTES];
	fill_message(block, sizeof block, 1);
	if (file_rw < 0 || !write_all(file_rw, block, sizeof block) || fsync(file_rw))
		die("data file");
	cold = mmap(NULL, COLD_BYTES, PROT_READ, MAP_SHARED, file_rw, 0);
	if (cold == MAP_FAILED)
		die("mmap");
	madvise(cold, COLD_BYTES, MADV_RANDOM);
	snprintf(lock_path, sizeof lock_path, "%s/lock", dir);
	lock_fd = open(lock_path, O_RDWR | O_CREAT, 0600);
	if (lock_fd < 0)
		die("lock file");
}

static void open_queues(void)
{
	char name[32];
	snprintf(name, sizeof name, "/wait_zoo.%d", (int)getpid());
	struct mq_attr attr = {.mq_maxmsg = 8, .mq_msgsize = 64};
	posix_mq = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	mq_unlink(name);
	sysv_msg = msgget(IPC_PRIVATE, 0600);
	sysv_sem = semget(IPC_PRIVATE, 1, 0600);
	if (posix_mq < 0 || sysv_msg < 0 || sysv_sem < 0 || sem_init(&zoo->sem, 1, 0))
		die("queues");
}

static void remove_all(void)
{
	static const char *const names[] = {"fifo", "data", "lock", "socket"};
	char path[64];
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
	msgctl(sysv_msg, IPC_RMID, NULL);
	semctl(sysv_sem, 0, IPC_RMID);
}

static void tell(uint64_t ns, pid_t keeper)
{
	struct truth *t = truth_new("wait_zoo", "control", "none");
	truth_process(t, "zoo", getpid());
	truth_process(t, "keeper", keeper);
	truth_num(t, "seconds", (double)ns / 1e9);
	truth_num(t, "tick_s", TICK_NS / 1e9);
	char key[64];
	for (size_t i = 0; i < N_EXHIBITS; i++) {
		const struct exhibit *e = &exhibits[i];
		truth_wait(t, e->name, e->feed ? "keeper" : "", e->cls, e->channel, e->name, NULL, 0, seen[i].count);
		snprintf(key, sizeof key, "%s_s", e->name);
		truth_num(t, key, (double)seen[i].ns / 1e9);
		snprintf(key, sizeof key, "%s_calls", e->name);
		truth_int(t, key, seen[i].calls);
		snprintf(key, sizeof key, "%s_tid", e->name);
		truth_int(t, key, (uint64_t)seen[i].tid);
		if (seen[i].error)
			fprintf(stderr, "wait_zoo: %s: %s\n", e->name, strerror(seen[i].error));
	}
	truth_print(t);
}

int main(int argc, char **argv)
{
	struct options o = {.seconds = 3};
	options_parse(&o, argc, argv, "seconds help", "one thread per way to wait");
	ignore_sigpipe();
	zoo = shared_new(sizeof *zoo);
	if (!mkdtemp(dir))
		die("mkdtemp");
	open_pipes();
	open_sockets();
	open_files();
	open_queues();
	struct sigaction handler = {.sa_handler = on_signal};
	sigaction(SIGUSR2, &handler, NULL);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	atomic_store(&zoo->pid, (int32_t)getpid());
	pid_t keeper = fork();
	if (keeper == 0) {
		die_with_parent();
		_exit(keeper_main());
	}
	uint64_t start = now_ns();
	pthread_t threads[N_EXHIBITS], feeder;
	if (keeper < 0 || pthread_create(&feeder, NULL, feed_inside_main, NULL))
		die("start");
	for (size_t i = 0; i < N_EXHIBITS; i++)
		if (pthread_create(&threads[i], NULL, exhibit_main, (void *)(uintptr_t)i))
			die("pthread_create");
	struct timespec ts = {(time_t)o.seconds, (long)((o.seconds - (double)(time_t)o.seconds) * 1e9)};
	nanosleep(&ts, NULL);
	atomic_store(&zoo->stop, 1);
	for (size_t i = 0; i < N_EXHIBITS; i++)
		pthread_join(threads[i], NULL);
	pthread_join(feeder, NULL);
	bool ok = reap(keeper);
	remove_all();
	tell(now_ns() - start, keeper);
	return ok ? 0 : 1;
}
