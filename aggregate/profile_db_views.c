/* SPDX-License-Identifier: Apache-2.0
 *
 * Views: the profile file's tables joined and named, for people who open it with sqlite3. They are documented in docs/PROFILE.md;
 * lockstep itself never evaluates them. PIDs may repeat in a long run: names are those of the first process that had it.
 */
#include "aggregate/profile_db_schema.h"

#define SECONDS(ns) "round(" ns " / 1e9, 6)"
#define MICROS(ns) "round(" ns " / 1e3, 3)"
#define SPAN "(SELECT (end_ns - start_ns) / 1e9 FROM meta)"
/* A sub-select rather than a join over all processes: min(ix) picks the first bearer of a PID. */
#define NAMED(alias) "LEFT JOIN (SELECT pid, comm || ' [' || pid || ']' AS name, min(ix) FROM processes GROUP BY pid) " alias

const char *const db_views[] = {
	"CREATE VIEW stacks_named AS SELECT ix AS stack_ix,"
	" (SELECT function || CASE WHEN file IS NULL THEN '' ELSE ' ' || file || ':' || line END FROM stack_frames AS sf"
	" JOIN frames AS f ON f.ix = sf.frame_ix WHERE sf.stack_ix = s.ix AND sf.ord = 0) AS leaf,"
	" (SELECT group_concat(label, ' < ') FROM (SELECT function || CASE WHEN file IS NULL THEN '' ELSE ' ' || file || "
	"':' || line "
	"END"
	" AS label FROM stack_frames AS sf JOIN frames AS f ON f.ix = sf.frame_ix WHERE sf.stack_ix = s.ix ORDER BY "
	"sf.ord)) AS stack"
	" FROM stacks AS s",

	"CREATE VIEW processes_named AS SELECT pid, ppid, comm,"
	" (SELECT group_concat(arg, ' ') FROM (SELECT arg FROM process_args WHERE process_ix = p.ix ORDER BY ord)) AS "
	"cmdline,"
	" runtime, n_siblings, n_threads, " SECONDS("on_cpu_ns") " AS on_cpu_s, " SECONDS(
		"run_queue_ns") " AS run_queue_s, " SECONDS("blocked_ns") " AS blocked_s, " SECONDS("idle_ns") " AS "
													       "idle_s, "
													       "waits"
													       " FROM "
													       "processes"
													       " AS p "
													       "WHERE "
													       "in_tree "
													       "ORDER BY "
													       "blocked_"
													       "ns DESC",

	"CREATE VIEW waits_named AS SELECT n.name AS process, tid, class, c.kind AS channel_kind, c.name AS channel, "
	"count,"
	" round(count / " SPAN
	", 1) AS per_s, " SECONDS("blocked_ns") " AS blocked_s, " SECONDS("run_queue_ns") " AS run_queue_s, " SECONDS(
		"idle_ns") " AS idle_s, " MICROS("p50_ns") " AS p50_us, " MICROS("p99_ns") " AS p99_us, estimated, "
											   "s.leaf, s.stack"
											   " FROM waits AS w " NAMED(
												   "AS n ON n.pid = "
												   "w.pid") " LEFT JOIN "
													    "channels AS "
													    "c "
													    "ON c.id = "
													    "w.channel"
													    " LEFT JOIN "
													    "stacks_"
													    "named AS "
													    "s ON "
													    "s.stack_ix "
													    "= "
													    "w.stack_ix "
													    "ORDER BY "
													    "w.blocked_"
													    "ns "
													    "DESC",

	"CREATE VIEW edges_named AS SELECT a.name AS waiter, b.name AS waker, class, c.kind AS channel_kind, c.name AS "
	"channel, "
	"count,"
	" round(count / " SPAN ", 1) AS per_s, " SECONDS("blocked_ns") " AS blocked_s, " MICROS("p50_ns") " AS p50_us, " MICROS(
		"p99_ns") " AS p99_us, bytes_p50, bytes_p99, confidence, sa.stack AS waiter_stack, sb.stack AS "
			  "waker_stack"
			  " FROM edges AS e " NAMED("AS a ON a.pid = e.waiter_pid") " " NAMED(
				  "AS b ON b.pid = e.waker_pid") " LEFT JOIN channels AS c ON c.id = e.channel LEFT JOIN "
								 "stacks_named AS sa "
								 "ON sa.stack_ix = e.waiter_stack_ix"
								 " LEFT JOIN stacks_named AS sb ON sb.stack_ix = "
								 "e.waker_stack_ix ORDER BY "
								 "e.blocked_ns DESC",

	"CREATE VIEW hot_named AS SELECT n.name AS process, tid, samples, " SECONDS(
		"est_ns") " AS est_s, s.leaf, s.stack"
			  " FROM cpu " NAMED("AS n ON n.pid = cpu.pid") " LEFT JOIN stacks_named AS s ON s.stack_ix = "
									"cpu.stack_ix ORDER BY est_ns DESC",

	"CREATE VIEW findings_named AS SELECT id, kind, also, title, where_text, advice, round(100 * share_of_wall, 1) "
	"AS "
	"wall_percent,"
	" CASE WHEN speedup_high > 0 THEN speedup_low || ' - ' || speedup_high END AS speedup, confidence FROM findings "
	"ORDER BY id",

	NULL,
};
