/* SPDX-License-Identifier: Apache-2.0
 * In: fields; out: their wire format, appended to a growing buffer. */
#include "report/protobuf.h"

#include <stdlib.h>
#include <string.h>

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LEN = 2 };

void pb_free(struct pb *b)
{
	free(b->data);
	memset(b, 0, sizeof *b);
}

void pb_reset(struct pb *b)
{
	b->len = 0;
}

static bool reserve(struct pb *b, size_t n)
{
	size_t cap = b->cap ? b->cap : 256;

	if (b->failed || b->len + n <= b->cap)
		return !b->failed;
	while (cap < b->len + n)
		cap *= 2;
	uint8_t *data = realloc(b->data, cap);
	if (!data) {
		b->failed = true;
		return false;
	}
	b->data = data;
	b->cap = cap;
	return true;
}

static void raw(struct pb *b, const void *data, size_t n)
{
	if (n && reserve(b, n)) {
		memcpy(b->data + b->len, data, n);
		b->len += n;
	}
}

static void varint(struct pb *b, uint64_t v)
{
	uint8_t bytes[10];
	size_t n = 0;

	do {
		bytes[n] = (uint8_t)(v & 0x7f);
		v >>= 7;
		bytes[n++] |= v ? 0x80 : 0;
	} while (v);
	raw(b, bytes, n);
}

static void tag(struct pb *b, uint32_t field, unsigned wire)
{
	varint(b, (uint64_t)field << 3 | wire);
}

void pb_varint(struct pb *b, uint32_t field, uint64_t v)
{
	tag(b, field, WIRE_VARINT);
	varint(b, v);
}

void pb_fixed64(struct pb *b, uint32_t field, uint64_t v)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(v >> (8 * i));
	tag(b, field, WIRE_FIXED64);
	raw(b, bytes, sizeof bytes);
}

void pb_double(struct pb *b, uint32_t field, double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof bits);
	pb_fixed64(b, field, bits);
}

void pb_bytes(struct pb *b, uint32_t field, const void *data, size_t len)
{
	tag(b, field, WIRE_LEN);
	varint(b, len);
	raw(b, data, len);
}

void pb_string(struct pb *b, uint32_t field, const char *s)
{
	pb_bytes(b, field, s, strlen(s));
}

void pb_message(struct pb *b, uint32_t field, const struct pb *sub)
{
	b->failed |= sub->failed;
	pb_bytes(b, field, sub->data, sub->len);
}

void pb_packed(struct pb *b, uint32_t field, const uint64_t *v, size_t n)
{
	struct pb sub = {0};

	for (size_t i = 0; i < n; i++)
		varint(&sub, v[i]);
	pb_message(b, field, &sub);
	pb_free(&sub);
}
