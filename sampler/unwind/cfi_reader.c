/* SPDX-License-Identifier: Apache-2.0
 *
 * In: bytes of .eh_frame or .debug_frame. Out: CIEs, FDEs, and the row of rules at an address.
 */
#include "sampler/unwind/cfi_reader.h"

#include <string.h>

/* ---- bounded reads ---- */

uint64_t cfi_read_uint(struct cfi_reader *r, size_t bytes)
{
	if (r->failed || bytes > r->size - r->pos) {
		r->failed = true;
		return 0;
	}
	const uint8_t *p = r->data + r->pos;
	r->pos += bytes;
	switch (bytes) {
	case 1:
		return p[0];
	case 2: {
		uint16_t v;
		memcpy(&v, p, 2);
		return v;
	}
	case 4: {
		uint32_t v;
		memcpy(&v, p, 4);
		return v;
	}
	default: {
		uint64_t v;
		memcpy(&v, p, 8);
		return v;
	}
	}
}

uint64_t cfi_read_uleb(struct cfi_reader *r)
{
	if (r->pos < r->size && !r->failed && r->data[r->pos] < 0x80) /* nearly always one byte */
		return r->data[r->pos++];
	uint64_t v = 0;
	for (unsigned shift = 0;; shift += 7) {
		uint8_t b = cfi_read_uint(r, 1);
		if (shift < 64)
			v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return v;
	}
}

int64_t cfi_read_sleb(struct cfi_reader *r)
{
	uint64_t v = 0;
	for (unsigned shift = 0;;) {
		uint8_t b = cfi_read_uint(r, 1);
		if (shift < 64)
			v |= (uint64_t)(b & 0x7f) << shift;
		shift += 7;
		if (b & 0x80)
			continue;
		if (shift < 64 && (b & 0x40))
			v |= ~0ull << shift;
		return (int64_t)v;
	}
}

static uint64_t read_format(struct cfi_reader *r, uint8_t format)
{
	switch (format) {
	case CFI_PE_ABSPTR:
	case CFI_PE_UDATA8:
	case CFI_PE_SDATA8:
		return cfi_read_uint(r, 8);
	case CFI_PE_UDATA2:
		return cfi_read_uint(r, 2);
	case CFI_PE_UDATA4:
		return cfi_read_uint(r, 4);
	case CFI_PE_SDATA2:
		return (uint64_t)(int64_t)(int16_t)cfi_read_uint(r, 2);
	case CFI_PE_SDATA4:
		return (uint64_t)(int64_t)(int32_t)cfi_read_uint(r, 4);
	case CFI_PE_ULEB128:
		return cfi_read_uleb(r);
	case CFI_PE_SLEB128:
		return (uint64_t)cfi_read_sleb(r);
	default:
		r->failed = true;
		return 0;
	}
}

uint64_t cfi_read_encoded(struct cfi_reader *r, uint8_t encoding, const struct cfi_pointer_base *base)
{
	uint64_t here = r->vaddr + r->pos;
	if (encoding == CFI_PE_OMIT || (encoding & CFI_PE_INDIRECT)) {
		r->failed = true;
		return 0;
	}
	uint64_t v = read_format(r, encoding & 0x0f);
	switch (encoding & 0x70) {
	case 0:
		return v;
	case CFI_PE_PCREL:
		return v + here;
	case CFI_PE_DATAREL:
		return v + base->data;
	default:
		r->failed = true;
		return 0;
	}
}

/* ---- CIE and FDE ---- */

/* Length, 32- or 64-bit DWARF. Returns the width of offsets (4 or 8), 0 at the end or when it exceeds the section. */
static size_t read_length(struct cfi_reader *r, size_t *end)
{
	uint64_t len = cfi_read_uint(r, 4);
	size_t width = 4;
	if (len == 0xffffffff) {
		len = cfi_read_uint(r, 8);
		width = 8;
	}
	if (r->failed || len == 0 || len > r->size - r->pos)
		return 0;
	*end = r->pos + len;
	return width;
}

/* The letters after 'z'. An unknown letter is harmless as long as the data's length is known. */
static void read_augmentation(struct cfi_reader *r, const char *aug, struct cfi_cie *cie)
{
	for (aug++; *aug && !r->failed; aug++) {
		switch (*aug) {
		case 'R':
			cie->fde_encoding = cfi_read_uint(r, 1);
			break;
		case 'P': { /* personality: only its size matters */
			uint8_t enc = cfi_read_uint(r, 1);
			if ((enc & 0x70) == 0x50) { /* aligned */
				r->failed = true;
				break;
			}
			read_format(r, enc & 0x0f);
			break;
		}
		case 'L':
			cfi_read_uint(r, 1);
			break;
		case 'S':
			cie->signal = true;
			break;
		case 'B': /* aarch64: signed with key B; stripping is the same */
		case 'G': /* aarch64: memory tagging */
			break;
		default:
			return;
		}
	}
}

static bool read_cie(const struct cfi_section *sec, size_t pos, struct cfi_cie *cie)
{
	struct cfi_reader r = {sec->data, sec->size, pos, sec->vaddr, false};
	size_t end;
	size_t width = read_length(&r, &end);
	if (!width)
		return false;
	r.size = end;
	uint64_t id = cfi_read_uint(&r, sec->is_debug_frame ? width : 4);
	uint64_t expected = !sec->is_debug_frame ? 0 : width == 8 ? UINT64_MAX : UINT32_MAX;
	uint8_t version = cfi_read_uint(&r, 1);
	const char *aug = (const char *)r.data + r.pos;
	const uint8_t *nul = r.failed ? NULL : memchr(aug, 0, r.size - r.pos);
	if (id != expected || !nul || (version != 1 && version != 3 && version != 4))
		return false;
	r.pos = (size_t)(nul - r.data) + 1;
	*cie = (struct cfi_cie){.fde_encoding = CFI_PE_ABSPTR, .address_size = 8, .program_end = end};
	if (aug[0] == 'e' && aug[1] == 'h')
		cfi_read_uint(&r, 8);
	if (version == 4) {
		cie->address_size = cfi_read_uint(&r, 1);
		if (cfi_read_uint(&r, 1) != 0 || cie->address_size != 8) /* segmented, or another word size */
			return false;
	}
	cie->code_align = cfi_read_uleb(&r);
	cie->data_align = cfi_read_sleb(&r);
	uint64_t ra = version == 1 ? cfi_read_uint(&r, 1) : cfi_read_uleb(&r);
	cie->ra_reg = ra < CFI_REGS ? (uint8_t)ra : 0;
	cie->unsupported = ra >= CFI_REGS;
	if (aug[0] == 'z') {
		cie->has_augmentation_data = true;
		uint64_t len = cfi_read_uleb(&r);
		if (r.failed || len > r.size - r.pos)
			return false;
		size_t after = r.pos + len;
		read_augmentation(&r, aug, cie);
		if (r.failed)
			return false;
		r.pos = after;
	} else if (aug[0] != 0 && !(aug[0] == 'e' && aug[1] == 'h')) {
		return false; /* unknown data of unknown length follows */
	}
	cie->program = r.pos;
	return !r.failed;
}

enum cfi_entry_kind cfi_read_entry(const struct cfi_section *sec, size_t pos, struct cfi_fde *fde, size_t *next)
{
	struct cfi_reader r = {sec->data, sec->size, pos, sec->vaddr, pos > sec->size};
	size_t end, id_pos, cie_pos;
	*next = pos;
	size_t width = read_length(&r, &end);
	if (!width)
		return CFI_ENTRY_END;
	*next = end;
	r.size = end;
	id_pos = r.pos;
	uint64_t id = cfi_read_uint(&r, sec->is_debug_frame ? width : 4);
	if (r.failed)
		return CFI_ENTRY_BAD;
	if (sec->is_debug_frame ? id == (width == 8 ? UINT64_MAX : UINT32_MAX) : id == 0)
		return CFI_ENTRY_CIE;
	cie_pos = sec->is_debug_frame ? id : id_pos - id;
	if (cie_pos >= sec->size || !read_cie(sec, cie_pos, &fde->cie))
		return CFI_ENTRY_BAD;
	uint64_t start = cfi_read_encoded(&r, fde->cie.fde_encoding, &(struct cfi_pointer_base){0});
	uint64_t length = read_format(&r, fde->cie.fde_encoding & 0x0f);
	if (fde->cie.has_augmentation_data) {
		uint64_t len = cfi_read_uleb(&r);
		if (len > r.size - r.pos)
			return CFI_ENTRY_BAD;
		r.pos += len;
	}
	if (r.failed || start + length < start)
		return CFI_ENTRY_BAD;
	fde->section = sec;
	fde->offset = pos;
	fde->start = start;
	fde->end = start + length;
	fde->program = r.pos;
	fde->program_end = end;
	return CFI_ENTRY_FDE;
}

/* ---- the programs ---- */

#define MAX_REMEMBERED 16 /* DW_CFA_remember_state; compilers nest one or two */

struct saved_state {
	struct cfi_rule cfa;
	uint8_t cfa_reg;
	struct cfi_rule regs[CFI_REGS];
};

struct machine {
	const struct cfi_fde *fde;
	struct cfi_reader r;
	struct cfi_row *row;
	uint64_t loc, target;
	struct saved_state initial, saved[MAX_REMEMBERED];
	size_t n_saved;
	bool in_fde, done;
};

static void set_rule(struct machine *m, uint64_t reg, enum cfi_rule_kind kind, int64_t value, size_t expr_len)
{
	if (reg >= CFI_REGS) /* vector and flag registers: nobody asks */
		return;
	if (value != (int32_t)value || expr_len > UINT16_MAX) {
		m->row->unsupported = true;
		return;
	}
	m->row->regs[reg] = (struct cfi_rule){kind, (uint16_t)expr_len, (int32_t)value};
}

static void set_cfa(struct machine *m, uint64_t reg, int64_t off)
{
	if (reg >= CFI_REGS || off != (int32_t)off) {
		m->row->unsupported = true;
		return;
	}
	m->row->cfa_reg = (uint8_t)reg;
	m->row->cfa = (struct cfi_rule){CFI_REGISTER, 0, (int32_t)off};
}

/* Reads the block's length and steps over it; *at is where it begins in the section. */
static size_t read_block(struct machine *m, int64_t *at)
{
	uint64_t len = cfi_read_uleb(&m->r);
	if (len > m->r.size - m->r.pos) {
		m->r.failed = true;
		return 0;
	}
	*at = (int64_t)m->r.pos;
	m->r.pos += len;
	return len;
}

static void advance(struct machine *m, uint64_t delta)
{
	m->loc += delta * m->fde->cie.code_align;
	if (m->loc > m->target)
		m->done = true;
}

static void save(const struct machine *m, struct saved_state *s)
{
	s->cfa = m->row->cfa;
	s->cfa_reg = m->row->cfa_reg;
	memcpy(s->regs, m->row->regs, sizeof s->regs);
}

static void restore(struct machine *m, const struct saved_state *s)
{
	m->row->cfa = s->cfa;
	m->row->cfa_reg = s->cfa_reg;
	memcpy(m->row->regs, s->regs, sizeof s->regs);
}

static void restore_register(struct machine *m, uint64_t reg)
{
	if (reg < CFI_REGS)
		m->row->regs[reg] = m->in_fde ? m->initial.regs[reg] : (struct cfi_rule){0};
}

static void run_state(struct machine *m, uint8_t op)
{
	if (op == 0x0a) { /* remember_state */
		if (m->n_saved == MAX_REMEMBERED)
			m->row->unsupported = m->done = true;
		else
			save(m, &m->saved[m->n_saved++]);
	} else if (m->n_saved > 0) { /* restore_state */
		restore(m, &m->saved[--m->n_saved]);
	} else {
		m->row->unsupported = m->done = true;
	}
}

static void run_cfa(struct machine *m, uint8_t op)
{
	int64_t data_align = m->fde->cie.data_align, at;
	uint64_t reg = m->row->cfa_reg;
	bool by_register = m->row->cfa.kind == CFI_REGISTER;
	switch (op) {
	case 0x0c: /* def_cfa */
		reg = cfi_read_uleb(&m->r);
		set_cfa(m, reg, (int64_t)cfi_read_uleb(&m->r));
		break;
	case 0x12: /* def_cfa_sf */
		reg = cfi_read_uleb(&m->r);
		set_cfa(m, reg, (int64_t)((uint64_t)cfi_read_sleb(&m->r) * (uint64_t)data_align));
		break;
	case 0x0d: /* def_cfa_register */
		set_cfa(m, cfi_read_uleb(&m->r), by_register ? m->row->cfa.value : 0);
		m->row->unsupported |= !by_register;
		break;
	case 0x0e: /* def_cfa_offset */
		set_cfa(m, reg, (int64_t)cfi_read_uleb(&m->r));
		m->row->unsupported |= !by_register;
		break;
	case 0x13: /* def_cfa_offset_sf */
		set_cfa(m, reg, (int64_t)((uint64_t)cfi_read_sleb(&m->r) * (uint64_t)data_align));
		m->row->unsupported |= !by_register;
		break;
	case 0x0f: { /* def_cfa_expression */
		size_t len = read_block(m, &at);
		if (m->r.failed || at != (int32_t)at || len > UINT16_MAX)
			m->row->unsupported = true;
		else
			m->row->cfa = (struct cfi_rule){CFI_EXPR_VALUE, (uint16_t)len, (int32_t)at};
		break;
	}
	}
}

static void run_rule(struct machine *m, uint8_t op)
{
	uint64_t align = (uint64_t)m->fde->cie.data_align, reg = cfi_read_uleb(&m->r);
	int64_t at = 0;
	size_t len;
	switch (op) {
	case 0x05: /* offset_extended */
		set_rule(m, reg, CFI_AT_CFA, (int64_t)(cfi_read_uleb(&m->r) * align), 0);
		break;
	case 0x06:
		restore_register(m, reg);
		break;
	case 0x07:
		set_rule(m, reg, CFI_UNDEFINED, 0, 0);
		break;
	case 0x08:
		set_rule(m, reg, CFI_SAME, 0, 0);
		break;
	case 0x09:
		set_rule(m, reg, CFI_REGISTER, (int64_t)cfi_read_uleb(&m->r), 0);
		break;
	case 0x10: /* expression */
	case 0x16: /* val_expression */
		len = read_block(m, &at);
		set_rule(m, reg, op == 0x10 ? CFI_AT_EXPR : CFI_EXPR_VALUE, at, len);
		break;
	case 0x11: /* offset_extended_sf */
		set_rule(m, reg, CFI_AT_CFA, (int64_t)((uint64_t)cfi_read_sleb(&m->r) * align), 0);
		break;
	case 0x14: /* val_offset */
		set_rule(m, reg, CFI_CFA_PLUS, (int64_t)(cfi_read_uleb(&m->r) * align), 0);
		break;
	case 0x15: /* val_offset_sf */
		set_rule(m, reg, CFI_CFA_PLUS, (int64_t)((uint64_t)cfi_read_sleb(&m->r) * align), 0);
		break;
	case 0x2f: /* GNU_negative_offset_extended */
		set_rule(m, reg, CFI_AT_CFA, (int64_t)(0 - cfi_read_uleb(&m->r) * align), 0);
		break;
	}
}

static void run_extended(struct machine *m, uint8_t op)
{
	switch (op) {
	case 0x00: /* nop */
		break;
	case 0x01: { /* set_loc */
		m->loc = cfi_read_encoded(&m->r, m->fde->cie.fde_encoding, &(struct cfi_pointer_base){0});
		m->done |= m->loc > m->target;
		break;
	}
	case 0x02:
		advance(m, cfi_read_uint(&m->r, 1));
		break;
	case 0x03:
		advance(m, cfi_read_uint(&m->r, 2));
		break;
	case 0x04:
		advance(m, cfi_read_uint(&m->r, 4));
		break;
	case 0x0a:
	case 0x0b:
		run_state(m, op);
		break;
	case 0x0c ... 0x0f:
	case 0x12:
	case 0x13:
		run_cfa(m, op);
		break;
	case 0x05 ... 0x09:
	case 0x10:
	case 0x11:
	case 0x14 ... 0x16:
	case 0x2f:
		run_rule(m, op);
		break;
	case 0x2d: /* AARCH64_negate_ra_state (on SPARC: window_save) */
		m->row->ra_signed = !m->row->ra_signed;
		break;
	case 0x2e: /* GNU_args_size: of use to exception handling only */
		cfi_read_uleb(&m->r);
		break;
	default:
		m->row->unsupported = m->done = true;
	}
}

static void run_program(struct machine *m, size_t begin, size_t end)
{
	m->r.pos = begin;
	m->r.size = end;
	while (m->r.pos < end && !m->done && !m->r.failed) {
		uint8_t op = m->r.data[m->r.pos++];
		uint8_t low = op & 0x3f;
		switch (op & 0xc0) {
		case 0x40:
			advance(m, low);
			break;
		case 0x80:
			set_rule(m, low, CFI_AT_CFA, (int64_t)(cfi_read_uleb(&m->r) * (uint64_t)m->fde->cie.data_align), 0);
			break;
		case 0xc0:
			restore_register(m, low);
			break;
		default:
			run_extended(m, op);
		}
	}
	m->row->unsupported |= m->r.failed;
}

void cfi_run(const struct cfi_fde *fde, uint64_t vaddr, struct cfi_row *row)
{
	const struct cfi_section *sec = fde->section;
	struct machine m; /* not zeroed as a whole: that would cost more than most programs */
	*row = (struct cfi_row){.section = sec,
				.ra_reg = fde->cie.ra_reg,
				.signal = fde->cie.signal,
				.unsupported = fde->cie.unsupported,
				.fde_start = fde->start,
				.fde_end = fde->end};
	m.fde = fde;
	m.row = row;
	m.loc = fde->start;
	m.target = vaddr;
	m.r = (struct cfi_reader){.data = sec->data, .vaddr = sec->vaddr};
	m.n_saved = 0;
	m.in_fde = m.done = false;
	run_program(&m, fde->cie.program, fde->cie.program_end);
	save(&m, &m.initial);
	m.in_fde = true;
	m.n_saved = 0;
	m.loc = fde->start;
	m.done = row->unsupported;
	run_program(&m, fde->program, fde->program_end);
	if (row->cfa.kind == CFI_UNSPECIFIED)
		row->unsupported = true;
}
