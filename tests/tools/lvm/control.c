/*
 * Real tools, and device mapper's ioctls answered by somebody else: with this library in LD_PRELOAD, what a process does
 * with /dev/mapper/control goes to the socket DM_SOCKET, and device mapper's major number is DM_MAJOR.
 *
 * To the socket go the ioctl's number and data_size (32 bits each) and the block; from it come the result (32 bits,
 * negative: -errno) and the block.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static int control = -1;

static int connect_control(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(address.sun_path, getenv("DM_SOCKET"), sizeof(address.sun_path) - 1);
	if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
		return -1;
	return control = fd;
}

#define OPEN(name)								\
int name(const char *path, int flags, ...)					\
{										\
	va_list more;								\
	mode_t mode;								\
										\
	va_start(more, flags);							\
	mode = va_arg(more, mode_t);						\
	va_end(more);								\
	if (!strcmp(path, "/dev/mapper/control"))				\
		return connect_control();					\
	return syscall(SYS_openat, AT_FDCWD, path, flags, mode);		\
}
OPEN(open)
OPEN(open64)
OPEN(__open_2)
OPEN(__open64_2)

#define FOPEN(name)								\
FILE *name(const char *path, const char *mode)					\
{										\
	static FILE *(*real)(const char *, const char *);			\
	static char devices[128];						\
	static char misc[] = "236 device-mapper\n";				\
										\
	if (!real)								\
		real = dlsym(RTLD_NEXT, #name);					\
	if (!strcmp(path, "/proc/devices")) {					\
		snprintf(devices, sizeof(devices),				\
			 "Character devices:\n 10 misc\n\nBlock devices:\n  7 loop\n%s device-mapper\n259 blkext\n", \
			 getenv("DM_MAJOR"));					\
		return fmemopen(devices, strlen(devices), "r");			\
	}									\
	if (!strcmp(path, "/proc/misc"))					\
		return fmemopen(misc, strlen(misc), "r");			\
	return real(path, mode);						\
}
FOPEN(fopen)
FOPEN(fopen64)

static int move(int fd, void *buffer, size_t size, int out)
{
	size_t done = 0;

	while (done < size) {
		char *at = (char *) buffer + done;
		ssize_t now = out ? write(fd, at, size - done) : read(fd, at, size - done);

		if (now <= 0)
			return -1;
		done += now;
	}
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list more;
	void *block;
	uint32_t head[2];
	int32_t result;

	va_start(more, request);
	block = va_arg(more, void *);
	va_end(more);
	if (fd < 0 || fd != control)
		return syscall(SYS_ioctl, fd, request, block);
	head[0] = request;
	head[1] = ((uint32_t *) block)[3];
	if (move(fd, head, sizeof(head), 1) || move(fd, block, head[1], 1) ||
	    move(fd, &result, sizeof(result), 0) || move(fd, block, head[1], 0)) {
		errno = EIO;
		return -1;
	}
	if (result < 0) {
		errno = -result;
		return -1;
	}
	return result;
}
