/* SPDX-License-Identifier: Apache-2.0
 *
 * The ground truth as JSON: three lists (processes, waits, tolerated findings) and flat keys, in memory streams until the end.
 */
#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct site __start_sites[] __attribute__((weak));
extern const struct site __stop_sites[] __attribute__((weak));

struct list {
	FILE *out;
	char *text;
	size_t len;
	unsigned items;
};

struct truth {
	struct list keys, processes, waits, tolerated;
};

static FILE *item(struct list *l)
{
	if (!l->out) {
		l->out = open_memstream(&l->text, &l->len);
		if (!l->out)
			die("open_memstream");
	}
	if (l->items++)
		fputc(',', l->out);
	return l->out;
}

static void list_print(struct list *l, const char *key)
{
	if (l->out)
		fclose(l->out);
	printf(",\"%s\":[%s]", key, l->text ? l->text : "");
	free(l->text);
}

void truth_str(struct truth *t, const char *key, const char *v)
{
	fprintf(item(&t->keys), "\"%s\":\"%s\"", key, v);
}

void truth_int(struct truth *t, const char *key, uint64_t v)
{
	fprintf(item(&t->keys), "\"%s\":%llu", key, (unsigned long long)v);
}

void truth_num(struct truth *t, const char *key, double v)
{
	fprintf(item(&t->keys), "\"%s\":%.6g", key, v);
}

struct truth *truth_new(const char *program, const char *variant, const char *finding)
{
	struct truth *t = calloc(1, sizeof *t);
	if (!t)
		die("calloc");
	truth_str(t, "program", program);
	truth_str(t, "variant", variant);
	truth_str(t, "finding", finding);
	return t;
}

void truth_tolerate(struct truth *t, const char *finding)
{
	fprintf(item(&t->tolerated), "\"%s\"", finding);
}

void truth_process(struct truth *t, const char *role, pid_t pid)
{
	fprintf(item(&t->processes), "{\"role\":\"%s\",\"pid\":%d}", role, (int)pid);
}

static void put_site(FILE *out, const char *key, const char *label)
{
	if (!label)
		return;
	for (const struct site *s = __start_sites; s && s < __stop_sites; s++) {
		if (strcmp(s->label, label))
			continue;
		const char *base = strrchr(s->file, '/');
		fprintf(out, ",\"%s\":{\"function\":\"%s\",\"file\":\"%s\",\"line\":%ld}", key, s->function,
			base ? base + 1 : s->file, s->line);
		return;
	}
	fprintf(stderr, "example: no call site is named '%s'\n", label);
	exit(1);
}

void truth_wait(struct truth *t, const char *waiter, const char *waker, const char *cls, const char *kind,
		const char *waiter_label, const char *waker_label, uint64_t msg, uint64_t count)
{
	FILE *out = item(&t->waits);
	fprintf(out, "{\"waiter\":\"%s\",\"waker\":\"%s\",\"class\":\"%s\",\"channel\":\"%s\"", waiter, waker, cls, kind);
	put_site(out, "waits_at", waiter_label);
	put_site(out, "wakes_at", waker_label);
	if (msg)
		fprintf(out, ",\"message_bytes\":%llu", (unsigned long long)msg);
	if (count)
		fprintf(out, ",\"count\":%llu", (unsigned long long)count);
	fputc('}', out);
}

void truth_throughput(struct truth *t, uint64_t count, uint64_t ns)
{
	truth_int(t, "items", count);
	truth_num(t, "seconds", (double)ns / 1e9);
	truth_num(t, "items_per_s", ns ? (double)count * 1e9 / (double)ns : 0);
}

void truth_print(struct truth *t)
{
	fclose(t->keys.out);
	printf("{%s", t->keys.text);
	free(t->keys.text);
	list_print(&t->processes, "processes");
	list_print(&t->waits, "waits");
	list_print(&t->tolerated, "tolerated");
	printf("}\n");
	fflush(stdout);
	free(t);
}
