/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables and columns of the profile file. In: aggregate/profile.h's row types; out: descriptors. Order matters: parents and
 * referred tables first, since rows are checked as they are read.
 */
#include "aggregate/profile_db_schema.h"

#include <math.h>

/* --- enums, by name --- */

/* UDP is shown as "tcp" in reports; the file keeps the two apart. */
static const char *kind_name(unsigned v)
{
	return v == CH_UDP ? "udp" : channel_kind_name((enum channel_kind)v);
}

static const char *class_name(unsigned v)
{
	return wait_class_name((enum wait_class)v);
}

static const char *runtime_name(unsigned v)
{
	return runtime_kind_name((enum runtime_kind)v);
}

static const char *language_name(unsigned v)
{
	return frame_language_name((enum frame_language)v);
}

static const char *blame_name(unsigned v)
{
	return blame_kind_name((enum blame_kind)v);
}

static const char *find_name(unsigned v)
{
	return finding_kind_name((enum finding_kind)v);
}

static const char *confidence_name(unsigned v)
{
	static const char *const names[] = {[CONF_LOW] = "low", [CONF_MEDIUM] = "medium", [CONF_HIGH] = "high"};
	return names[v];
}

/* 0 is no legal role, but an end may be known before its direction is. */
static const char *role_name(unsigned v)
{
	static const char *const names[] = {"unknown", [END_READER] = "reader", [END_WRITER] = "writer", [END_BOTH] = "both"};
	return names[v];
}

static const struct db_enum kinds = {kind_name, CH_COUNT}, classes = {class_name, WC_COUNT}, runtimes = {runtime_name, RT_COUNT},
			    languages = {language_name, LANG_COUNT}, blames = {blame_name, BLAME_COUNT},
			    find_kinds = {find_name, FIND_COUNT}, confidences = {confidence_name, CONF_HIGH + 1},
			    roles = {role_name, END_BOTH + 1};

/* --- derived columns: what a histogram says, for those who read with sqlite3 --- */

static double quantile_or_nan(const struct hist *h, double q)
{
	return hist_total(h) ? hist_quantile(h, q) : NAN;
}

static double wait_p50(const void *row)
{
	return quantile_or_nan(&((const struct wait_row *)row)->hist, 0.5);
}

static double wait_p99(const void *row)
{
	return quantile_or_nan(&((const struct wait_row *)row)->hist, 0.99);
}

static double edge_p50(const void *row)
{
	return quantile_or_nan(&((const struct edge_row *)row)->hist, 0.5);
}

static double edge_p99(const void *row)
{
	return quantile_or_nan(&((const struct edge_row *)row)->hist, 0.99);
}

static double edge_bytes_p50(const void *row)
{
	const struct size_hist *h = &((const struct edge_row *)row)->bytes;
	return h->total_count ? size_hist_quantile(h, 0.5) : NAN;
}

static double edge_bytes_p99(const void *row)
{
	const struct size_hist *h = &((const struct edge_row *)row)->bytes;
	return h->total_count ? size_hist_quantile(h, 0.99) : NAN;
}

static double ledger_blocked(const struct ledger *l)
{
	double sum = 0;

	for (unsigned c = 0; c < WC_COUNT; c++)
		sum += (double)l->blocked_ns[c];
	return sum;
}

static double process_blocked(const void *row)
{
	return ledger_blocked(&((const struct process_row *)row)->ledger);
}

static double thread_blocked(const void *row)
{
	return ledger_blocked(&((const struct thread_row *)row)->ledger);
}

/* --- columns: one a line --- */

/* clang-format off */

#define AT(row, field) offsetof(struct row, field)
#define I32(row, field, u) {.name = #field, .type = DB_I32, .offset = AT(row, field), .unit = u}
#define U32(row, field, u) {.name = #field, .type = DB_U32, .offset = AT(row, field), .unit = u}
#define U64(row, field, u) {.name = #field, .type = DB_U64, .offset = AT(row, field), .unit = u}
#define BOOL(row, field) {.name = #field, .type = DB_BOOL, .offset = AT(row, field), .unit = "0/1"}
#define TEXT(row, field) {.name = #field, .type = DB_TEXT, .offset = AT(row, field), .unit = ""}
#define TEXT_NULL(row, field) {.name = #field, .type = DB_TEXT_NULL, .offset = AT(row, field), .unit = ""}
#define ENUM(row, field, set) {.name = #field, .type = DB_ENUM, .offset = AT(row, field), .unit = "name", .values = &(set)}
#define CLASS(row) {.name = "class", .type = DB_ENUM, .offset = AT(row, cls), .unit = "name", .values = &classes}
#define IX(row, field, table) {.name = #field, .type = DB_IX, .offset = AT(row, field), .unit = "index", .ref = &(table)}
#define F64(row, field, u, lo, hi) {.name = #field, .type = DB_F64, .offset = AT(row, field), .unit = u, .min_f = lo, .max_f = hi}
#define HIST(row, field) {.name = #field, .type = DB_HIST, .offset = AT(row, field), .unit = "ns"}
#define DERIVED(n, u, fn) {.name = n, .type = DB_DERIVED, .unit = u, .derive = fn}
/* A member of a nested struct, under the member's own name. */
#define SUB_U64(row, sub, field, u) {.name = #field, .type = DB_U64, .offset = AT(row, sub.field), .unit = u}
#define LEDGER(row, blocked) \
	SUB_U64(row, ledger, on_cpu_ns, "ns"), \
	SUB_U64(row, ledger, run_queue_ns, "ns"), \
	DERIVED("blocked_ns", "ns", blocked), \
	SUB_U64(row, ledger, idle_ns, "ns"), \
	SUB_U64(row, ledger, lost_ns, "ns"), \
	SUB_U64(row, ledger, waits, "count"), \
	SUB_U64(row, ledger, preemptions, "count")

#define META_TEXT(field) {.name = #field, .type = DB_TEXT, .offset = AT(profile, meta.field), .unit = ""}
#define META_U64(field, u) SUB_U64(profile, meta, field, u)

#define COLUMNS(list) .columns = list, .n_columns = sizeof(list) / sizeof((list)[0])
#define ARRAY_OF(row, pointer, count) \
	.shape = DB_ARRAY, .rows_at = AT(row, pointer), .count_at = AT(row, count), \
	.count_size = sizeof(((struct row *)0)->count), .row_size = sizeof(*((struct row *)0)->pointer)

static const struct db_column meta_columns[] = {
	META_TEXT(version),
	META_TEXT(host),
	META_TEXT(kernel),
	META_TEXT(arch),
	META_TEXT(backend),
	META_TEXT(backend_costs),
	{.name = "cpus", .type = DB_U32, .offset = AT(profile, meta.cpus), .unit = "count", .max = 1 << 20},
	META_TEXT(started_at),
	META_U64(start_ns, "ns"),
	META_U64(end_ns, "ns"),
	{.name = "exit_status", .type = DB_I32, .offset = AT(profile, meta.exit_status), .unit = ""},
	{.name = "frequency_hz", .type = DB_U32, .offset = AT(profile, meta.frequency_hz), .unit = "1/s"},
	META_U64(lost_events, "count"),
	META_U64(lost_stacks, "count"),
	META_U64(lost_ns, "ns"),
	META_U64(n_events, "count"),
	META_U64(window_ns, "ns"),
	U64(profile, timeline_step_ns, "ns"),
};
static const struct db_table meta_table = {
	.name = "meta", .shape = DB_ONE, COLUMNS(meta_columns),
};

static const struct db_column argument_columns[] = {
	{.name = "arg", .type = DB_TEXT, .unit = ""},
};
static const struct db_table command_table = {
	.name = "command", .shape = DB_ARGV, .rows_at = AT(profile, meta.command), .row_size = sizeof(char *),
	COLUMNS(argument_columns),
};

static const struct db_column pid_columns[] = {
	{.name = "pid", .type = DB_I32, .unit = ""},
};
static const struct db_table roots_table = {
	.name = "root_pids", ARRAY_OF(profile, meta.root_pids, meta.n_root_pids), COLUMNS(pid_columns),
};

static const struct db_column frame_columns[] = {
	TEXT(frame_row, function),
	TEXT_NULL(frame_row, file),
	U32(frame_row, line, "line"),
	TEXT(frame_row, module),
	ENUM(frame_row, language, languages),
};
static const struct db_table frames_table = {
	.name = "frames", ARRAY_OF(profile, frames, n_frames), COLUMNS(frame_columns),
};

static const struct db_column stack_columns[] = {
	BOOL(stack_row, truncated),
};
static const struct db_table stacks_table = {
	.name = "stacks", ARRAY_OF(profile, stacks, n_stacks), COLUMNS(stack_columns),
};

static const struct db_column stack_frame_columns[] = {
	{.name = "frame_ix", .type = DB_IX, .unit = "index", .ref = &frames_table},
};
static const struct db_table stack_frames_table = {
	.name = "stack_frames", .parent = &stacks_table, .parent_key = "stack_ix", ARRAY_OF(stack_row, frame_ix, n),
	.max_rows = 1 << 16, COLUMNS(stack_frame_columns),
};

static const struct db_column process_columns[] = {
	I32(process_row, pid, ""),
	I32(process_row, ppid, ""),
	BOOL(process_row, in_tree),
	ENUM(process_row, runtime, runtimes),
	TEXT(process_row, comm),
	TEXT(process_row, exe),
	U64(process_row, started_ns, "ns"),
	U64(process_row, ended_ns, "ns"),
	I32(process_row, exit_status, ""),
	U32(process_row, n_threads, "count"),
	U32(process_row, peak_threads, "count"),
	U32(process_row, n_siblings, "count"),
	U64(process_row, observed_ns, "ns"),
	LEDGER(process_row, process_blocked),
	U64(process_row, rd_calls, "count"),
	U64(process_row, rd_bytes, "bytes"),
	U64(process_row, wr_calls, "count"),
	U64(process_row, wr_bytes, "bytes"),
	U64(process_row, spawn_ns, "ns"),
};
static const struct db_table processes_table = {
	.name = "processes", ARRAY_OF(profile, processes, n_processes), COLUMNS(process_columns),
};
static const struct db_table process_args_table = {
	.name = "process_args", .parent = &processes_table, .parent_key = "process_ix", .shape = DB_ARGV,
	.rows_at = AT(process_row, cmdline), .row_size = sizeof(char *), COLUMNS(argument_columns),
};

static const struct db_column class_columns[] = {
	{.name = "blocked_ns", .type = DB_U64, .unit = "ns"},
};
static const struct db_table process_blocked_table = {
	.name = "process_blocked", .parent = &processes_table, .parent_key = "process_ix", .shape = DB_CLASSES,
	.rows_at = AT(process_row, ledger.blocked_ns), .row_size = sizeof(uint64_t), COLUMNS(class_columns),
};

static const struct db_column thread_columns[] = {
	I32(thread_row, pid, ""),
	I32(thread_row, tid, ""),
	TEXT(thread_row, comm),
	U64(thread_row, started_ns, "ns"),
	U64(thread_row, ended_ns, "ns"),
	U32(thread_row, n_siblings, "count"),
	U64(thread_row, observed_ns, "ns"),
	LEDGER(thread_row, thread_blocked),
};
static const struct db_table threads_table = {
	.name = "threads", ARRAY_OF(profile, threads, n_threads), COLUMNS(thread_columns),
};
static const struct db_table thread_blocked_table = {
	.name = "thread_blocked", .parent = &threads_table, .parent_key = "thread_ix", .shape = DB_CLASSES,
	.rows_at = AT(thread_row, ledger.blocked_ns), .row_size = sizeof(uint64_t), COLUMNS(class_columns),
};

static const struct db_column channel_columns[] = {
	U32(channel_row, id, "id"),
	ENUM(channel_row, kind, kinds),
	TEXT(channel_row, name),
	U64(channel_row, capacity_bytes, "bytes"),
	BOOL(channel_row, remote),
};
static const struct db_table channels_table = {
	.name = "channels", ARRAY_OF(profile, channels, n_channels), COLUMNS(channel_columns),
};

static const struct db_column end_columns[] = {
	I32(channel_end, pid, ""),
	I32(channel_end, fd, ""),
	ENUM(channel_end, role, roles),
};
static const struct db_table channel_ends_table = {
	.name = "channel_ends", .parent = &channels_table, .parent_key = "channel_ix", ARRAY_OF(channel_row, ends, n_ends),
	COLUMNS(end_columns),
};

static const struct db_column wait_columns[] = {
	I32(wait_row, pid, ""),
	I32(wait_row, tid, ""),
	CLASS(wait_row),
	U32(wait_row, channel, "id"),
	IX(wait_row, stack_ix, stacks_table),
	BOOL(wait_row, estimated),
	U64(wait_row, count, "count"),
	U64(wait_row, blocked_ns, "ns"),
	U64(wait_row, run_queue_ns, "ns"),
	U64(wait_row, idle_ns, "ns"),
	U64(wait_row, in_progress, "count"),
	HIST(wait_row, hist),
	DERIVED("p50_ns", "ns", wait_p50),
	DERIVED("p99_ns", "ns", wait_p99),
};
static const struct db_table waits_table = {
	.name = "waits", ARRAY_OF(profile, waits, n_waits), COLUMNS(wait_columns),
};

static const struct db_column cpu_columns[] = {
	I32(cpu_row, pid, ""),
	I32(cpu_row, tid, ""),
	IX(cpu_row, stack_ix, stacks_table),
	U64(cpu_row, samples, "count"),
	U64(cpu_row, est_ns, "ns"),
};
static const struct db_table cpu_table = {
	.name = "cpu", ARRAY_OF(profile, cpu, n_cpu), COLUMNS(cpu_columns),
};

static const struct db_column edge_columns[] = {
	I32(edge_row, waiter_pid, ""),
	I32(edge_row, waker_pid, ""),
	U32(edge_row, channel, "id"),
	CLASS(edge_row),
	IX(edge_row, waiter_stack_ix, stacks_table),
	IX(edge_row, waker_stack_ix, stacks_table),
	ENUM(edge_row, confidence, confidences),
	BOOL(edge_row, estimated),
	U64(edge_row, count, "count"),
	U64(edge_row, blocked_ns, "ns"),
	U64(edge_row, run_queue_ns, "ns"),
	U64(edge_row, n_irq, "count"),
	HIST(edge_row, hist),
	DERIVED("p50_ns", "ns", edge_p50),
	DERIVED("p99_ns", "ns", edge_p99),
	{.name = "messages", .type = DB_U64, .offset = AT(edge_row, bytes.total_count), .unit = "count"},
	{.name = "message_bytes", .type = DB_U64, .offset = AT(edge_row, bytes.total_bytes), .unit = "bytes"},
	{.name = "sizes", .type = DB_SIZES, .offset = AT(edge_row, bytes), .unit = "bytes"},
	DERIVED("bytes_p50", "bytes", edge_bytes_p50),
	DERIVED("bytes_p99", "bytes", edge_bytes_p99),
};
static const struct db_table edges_table = {
	.name = "edges", ARRAY_OF(profile, edges, n_edges), COLUMNS(edge_columns),
};

static const struct db_column pair_columns[] = {
	I32(pair_row, pid_a, ""),
	I32(pair_row, pid_b, ""),
	U64(pair_row, active_ns, "ns"),
	U64(pair_row, queued_ns, "ns"),
	U64(pair_row, a_waits_b, "count"),
	U64(pair_row, b_waits_a, "count"),
	U64(pair_row, a_hands_b, "count"),
	U64(pair_row, b_hands_a, "count"),
	U64(pair_row, switches, "count"),
	U64(pair_row, turns, "count"),
	U64(pair_row, covered_ns, "ns"),
	U64(pair_row, run_both_ns, "ns"),
	U64(pair_row, run_either_ns, "ns"),
	U64(pair_row, ready_both_ns, "ns"),
	U64(pair_row, wake_latency_ns, "ns"),
	U64(pair_row, service_a_ns, "ns"),
	U64(pair_row, service_b_ns, "ns"),
	U64(pair_row, deeper_a_ns, "ns"),
	U64(pair_row, deeper_b_ns, "ns"),
};
static const struct db_table pairs_table = {
	.name = "pairs", ARRAY_OF(profile, pairs, n_pairs), COLUMNS(pair_columns),
};

static const struct db_column blame_columns[] = {
	I32(blame_row, waiter_pid, ""),
	I32(blame_row, pid, ""),
	ENUM(blame_row, kind, blames),
	CLASS(blame_row),
	U32(blame_row, channel, "id"),
	IX(blame_row, stack_ix, stacks_table),
	U64(blame_row, count, "count"),
	U64(blame_row, ns, "ns"),
};
static const struct db_table blames_table = {
	.name = "blames", ARRAY_OF(profile, blames, n_blames), COLUMNS(blame_columns),
};

static const struct db_column critical_columns[] = {
	I32(critical_row, pid, ""),
	ENUM(critical_row, kind, blames),
	CLASS(critical_row),
	U32(critical_row, channel, "id"),
	IX(critical_row, stack_ix, stacks_table),
	U64(critical_row, count, "count"),
	U64(critical_row, ns, "ns"),
};
static const struct db_table critical_table = {
	.name = "critical", ARRAY_OF(profile, critical, n_critical), COLUMNS(critical_columns),
};

static const struct db_column hop_columns[] = {
	I32(path_hop_row, pid, ""),
	I32(path_hop_row, waker_pid, ""),
	U32(path_hop_row, channel, "id"),
	U64(path_hop_row, count, "count"),
	U64(path_hop_row, latency_ns, "ns"),
};
static const struct db_table hops_table = {
	.name = "hops", ARRAY_OF(profile, hops, n_hops), COLUMNS(hop_columns),
};

static const struct db_column flow_columns[] = {
	U32(flow_row, channel, "id"),
	I32(flow_row, writer_pid, ""),
	I32(flow_row, reader_pid, ""),
	U64(flow_row, full_count, "count"),
	U64(flow_row, full_ns, "ns"),
	U64(flow_row, empty_count, "count"),
	U64(flow_row, empty_ns, "ns"),
	U64(flow_row, turns, "count"),
	U64(flow_row, switches, "count"),
	U64(flow_row, full_bytes, "bytes"),
	U64(flow_row, active_ns, "ns"),
	U64(flow_row, lock_count, "count"),
	U64(flow_row, lock_ns, "ns"),
};
static const struct db_table flows_table = {
	.name = "flows", ARRAY_OF(profile, flows, n_flows), COLUMNS(flow_columns),
};

static const struct db_column load_columns[] = {
	I32(load_row, pid, ""),
	U64(load_row, run_ns, "ns"),
	U64(load_row, alone_ns, "ns"),
	U64(load_row, charged_ns, "ns"),
	U64(load_row, waiters_ns, "ns"),
	U64(load_row, awaited_ns, "ns"),
	U64(load_row, excess_ns, "ns"),
	U32(load_row, waiters_max, "count"),
	U32(load_row, clients, "count"),
	U64(load_row, awaited_run_ns, "ns"),
	U32(load_row, answering, "count"),
};
static const struct db_table loads_table = {
	.name = "loads", ARRAY_OF(profile, loads, n_loads), COLUMNS(load_columns),
};

static const struct db_column parallel_columns[] = {
	U32(parallel_row, n, "count"),
	U64(parallel_row, ns, "ns"),
};
static const struct db_table parallel_table = {
	.name = "parallel", ARRAY_OF(profile, parallel, n_parallel), COLUMNS(parallel_columns),
};

static const struct db_column trace_columns[] = {
	U32(trace_row, window, "index"),
	I32(trace_row, pid, ""),
	I32(trace_row, tid, ""),
	CLASS(trace_row),
	{.name = "end_kind", .type = DB_ENUM, .offset = AT(trace_row, end), .unit = "name", .values = &blames},
	I32(trace_row, waker_tid, ""),
	U32(trace_row, channel, "id"),
	IX(trace_row, stack_ix, stacks_table),
	U32(trace_row, bytes, "bytes"),
	U64(trace_row, out_ns, "ns"),
	U64(trace_row, wake_ns, "ns"),
	U64(trace_row, run_ns, "ns"),
	U64(trace_row, folded_ns, "ns"),
	U32(trace_row, handoffs, "count"),
	I32(trace_row, handoff_tid, ""),
};
static const struct db_table trace_table = {
	.name = "trace", ARRAY_OF(profile, trace, n_trace), COLUMNS(trace_columns),
};

static const struct db_column interval_columns[] = {
	/* Readers may lay intervals out in an array by this number, hence the bound. */
	{.name = "interval", .type = DB_U32, .offset = AT(interval_row, index), .unit = "index", .max = (1 << 20) - 1},
	I32(interval_row, pid, ""),
	U64(interval_row, on_cpu_ns, "ns"),
	U64(interval_row, run_queue_ns, "ns"),
	U64(interval_row, blocked_ns, "ns"),
	U64(interval_row, waits, "count"),
	{.name = "top_class", .type = DB_ENUM8, .offset = AT(interval_row, top_class), .unit = "name", .values = &classes},
};
static const struct db_table intervals_table = {
	.name = "intervals", ARRAY_OF(profile, intervals, n_intervals), COLUMNS(interval_columns),
};

static const struct db_column finding_columns[] = {
	U32(finding, id, "id"),
	ENUM(finding, kind, find_kinds),
	{.name = "also", .type = DB_ENUM_SET, .offset = AT(finding, also), .unit = "names", .values = &find_kinds},
	TEXT(finding, title),
	{.name = "where_text", .type = DB_TEXT, .offset = AT(finding, where), .unit = ""},
	TEXT(finding, advice),
	F64(finding, share_of_wall, "share", 0, 1e6),
	F64(finding, round_trips_per_s, "1/s", -1, 1e12),
	F64(finding, bytes_p50, "bytes", -1, 1e18),
	F64(finding, bytes_p99, "bytes", -1, 1e18),
	F64(finding, speedup_low, "ratio", 0, 1e12),
	F64(finding, speedup_high, "ratio", 0, 1e12),
	ENUM(finding, confidence, confidences),
	BOOL(finding, estimated),
};
static const struct db_table findings_table = {
	.name = "findings", ARRAY_OF(profile, findings, n_findings), COLUMNS(finding_columns),
};
static const struct db_table finding_pids_table = {
	.name = "finding_pids", .parent = &findings_table, .parent_key = "finding_ix", ARRAY_OF(finding, pids, n_pids),
	COLUMNS(pid_columns),
};
static const struct db_column finding_channel_columns[] = {
	{.name = "channel", .type = DB_U32, .unit = "id"},
};
static const struct db_table finding_channels_table = {
	.name = "finding_channels", .parent = &findings_table, .parent_key = "finding_ix",
	ARRAY_OF(finding, channels, n_channels), COLUMNS(finding_channel_columns),
};
static const struct db_column evidence_columns[] = {
	TEXT(evidence, label),
	I32(evidence, pid, ""),
	IX(evidence, stack_ix, stacks_table),
};
static const struct db_table evidence_table = {
	.name = "evidence", .parent = &findings_table, .parent_key = "finding_ix", ARRAY_OF(finding, evidence, n_evidence),
	COLUMNS(evidence_columns),
};

/* clang-format on */

const struct db_table *const db_tables[] = {
	&meta_table,
	&command_table,
	&roots_table,
	&frames_table,
	&stacks_table,
	&stack_frames_table,
	&processes_table,
	&process_args_table,
	&process_blocked_table,
	&threads_table,
	&thread_blocked_table,
	&channels_table,
	&channel_ends_table,
	&waits_table,
	&cpu_table,
	&edges_table,
	&pairs_table,
	&blames_table,
	&critical_table,
	&hops_table,
	&flows_table,
	&loads_table,
	&parallel_table,
	&trace_table,
	&intervals_table,
	&findings_table,
	&finding_pids_table,
	&finding_channels_table,
	&evidence_table,
	NULL,
};
