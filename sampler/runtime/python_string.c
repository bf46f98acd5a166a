/* SPDX-License-Identifier: Apache-2.0
 *
 * A Python str as UTF-8. In: the object's address; out: bytes in a buffer of ours. Compact strings only (PEP 393: all that
 * the compiler makes): 1, 2 or 4 bytes a character behind the head. Lengths come from the target and are bounded by our
 * buffer.
 */
#include "sampler/runtime/python.h"

#include <errno.h>
#include <string.h>

static size_t put_utf8(char *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 63));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 63));
		out[2] = (char)(0x80 | (c & 63));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 63));
	out[2] = (char)(0x80 | (c >> 6 & 63));
	out[3] = (char)(0x80 | (c & 63));
	return 4;
}

static uint32_t char_at(const uint8_t *raw, size_t i, unsigned kind)
{
	uint16_t c2;
	uint32_t c4;

	if (kind == 1)
		return raw[i];
	if (kind == 2) {
		memcpy(&c2, raw + 2 * i, 2);
		/* Lone surrogates (surrogateescape'd file names) are no UTF-8. */
		return c2 >= 0xd800 && c2 < 0xe000 ? 0xfffd : c2;
	}
	memcpy(&c4, raw + 4 * i, 4);
	return c4 > 0x10ffff || (c4 >= 0xd800 && c4 < 0xe000) ? 0xfffd : c4;
}

ssize_t python_string(struct target_memory *m, const struct python_layout *l, uint64_t str, char *buf, size_t len)
{
	uint8_t raw[4096];
	uint8_t head[64];
	uint64_t length;
	uint32_t state;
	unsigned kind;
	size_t take, n = 0;
	uint64_t data;

	if (len < 8 || l->str_state > sizeof head - 4 || l->str_length > sizeof head - 8)
		return -EINVAL;
	if (target_read(m, str, head, sizeof head) && target_read(m, str, head, l->str_state + 4))
		return -EFAULT;
	memcpy(&length, head + l->str_length, sizeof length);
	memcpy(&state, head + l->str_state, sizeof state);
	kind = state >> 2 & 7;
	if (!(state >> 5 & 1) || (kind != 1 && kind != 2 && kind != 4) || length > 1u << 30)
		return -EFAULT; /* no compact str */
	data = str + ((state >> 6 & 1) ? l->str_ascii : l->str_compact);
	take = sizeof raw / kind;
	if (take > length)
		take = length;
	if (take && target_read(m, data, raw, take * kind))
		return -EFAULT;
	for (size_t i = 0; i < take; i++) {
		uint32_t c = char_at(raw, i, kind);
		if (n + 4 + 3 >= len) { /* room for one more and the ellipsis */
			take = i;
			break;
		}
		n += put_utf8(buf + n, c ? c : 0xfffd);
	}
	if (take < length)
		n += put_utf8(buf + n, 0x2026);
	buf[n] = 0;
	return (ssize_t)n;
}
