/* SPDX-License-Identifier: Apache-2.0
 *
 * From an instruction to a line: the three table formats of CPython 3.8-3.14. In: the table's bytes (hostile ones too); out:
 * a line. Formats: Objects/lnotab_notes.txt (<= 3.9), PEP 626 (3.10), Objects/locations.md (3.11+).
 */
#include "sampler/runtime/python.h"

/* Pairs (bytecode delta, signed line delta); lines start at the address where they are added. */
static uint32_t line_lnotab(const uint8_t *t, size_t len, uint32_t line, int64_t offset)
{
	int64_t addr = 0;

	for (size_t i = 0; i + 1 < len; i += 2) {
		addr += t[i];
		if (addr > offset)
			break;
		line += (uint32_t)(int8_t)t[i + 1];
	}
	return line;
}

/* Pairs (bytes covered, signed line delta); -128: these bytes have no line. */
static uint32_t line_310(const uint8_t *t, size_t len, uint32_t line, int64_t offset)
{
	int64_t end = 0;

	if (offset < 0)
		return line;
	for (size_t i = 0; i + 1 < len; i += 2) {
		bool none = t[i + 1] == 0x80;
		end += t[i];
		if (!none)
			line += (uint32_t)(int8_t)t[i + 1];
		if (end > offset)
			return none ? 0 : line;
	}
	return 0;
}

struct cursor {
	const uint8_t *at, *end;
};

static void skip(struct cursor *c, ptrdiff_t n)
{
	c->at = c->end - c->at > n ? c->at + n : c->end;
}

static uint32_t varint(struct cursor *c)
{
	uint32_t v = 0;
	uint8_t b;

	for (unsigned shift = 0; c->at < c->end; shift += 6) {
		b = *c->at++;
		if (shift < 32)
			v |= (uint32_t)(b & 63) << shift;
		if (!(b & 64))
			break;
	}
	return v;
}

static uint32_t svarint(struct cursor *c)
{
	uint32_t v = varint(c);

	return v & 1 ? -(v >> 1) : v >> 1;
}

/* One entry: covers (b & 7) + 1 code units of two bytes. Sets *none when it has no line. */
static void location_entry(struct cursor *c, uint8_t b, uint32_t *line, bool *none)
{
	unsigned kind = b >> 3 & 15;

	*none = false;
	switch (kind) {
	case 15:
		*none = true;
		break;
	case 14:
		*line += svarint(c);
		varint(c);
		varint(c);
		varint(c);
		break;
	case 13:
		*line += svarint(c);
		break;
	case 12:
	case 11:
	case 10:
		*line += kind - 10;
		skip(c, 2);
		break;
	default:
		skip(c, 1);
	}
}

static uint32_t line_locations(const uint8_t *t, size_t len, uint32_t line, int64_t offset)
{
	struct cursor c = {t, t + len};
	int64_t end = 0;
	bool none;

	if (offset < 0)
		return line;
	while (c.at < c.end) {
		uint8_t b = *c.at++;
		location_entry(&c, b, &line, &none);
		end += ((b & 7) + 1) * 2;
		if (end > offset)
			return none ? 0 : line;
	}
	return 0;
}

uint32_t python_line(enum python_lines kind, const uint8_t *table, size_t len, uint32_t first_line, int64_t offset)
{
	switch (kind) {
	case PYTHON_LNOTAB:
		return line_lnotab(table, len, first_line, offset);
	case PYTHON_LINETABLE_310:
		return line_310(table, len, first_line, offset);
	default:
		return line_locations(table, len, first_line, offset);
	}
}
