/* SPDX-License-Identifier: Apache-2.0
 *
 * In: signals sent to lockstep; out: flags. The flags are the program's only mutable globals.
 */
#include "cli/signals.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t end_asked, forward_term, forward_hup;
static struct sigaction started_int, started_quit;

static void on_end(int sig)
{
	(void)sig;
	end_asked = 1;
}

static void on_forward(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (info->si_code == SI_KERNEL) /* the terminal hung up: the kernel tells CMD too */
		return;
	if (sig == SIGTERM)
		forward_term = 1;
	else
		forward_hup = 1;
}

/* A signal that was ignored when lockstep started (nohup, a background job of a script) stays ignored. */
static void handle(int sig, const struct sigaction *action)
{
	struct sigaction old;
	if (sigaction(sig, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
		sigaction(sig, action, NULL);
}

void signals_for_command(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct sigaction forward = {.sa_sigaction = on_forward, .sa_flags = SA_SIGINFO | SA_RESTART};

	sigaction(SIGINT, &ignore, &started_int);
	sigaction(SIGQUIT, &ignore, &started_quit);
	sigaction(SIGPIPE, &ignore, NULL);
	handle(SIGTERM, &forward);
	handle(SIGHUP, &forward);
}

void signals_for_attach(void)
{
	struct sigaction end = {.sa_handler = on_end, .sa_flags = SA_RESETHAND | SA_RESTART};

	handle(SIGINT, &end);
	handle(SIGTERM, &end);
	handle(SIGHUP, &end);
}

bool signals_end_asked(void)
{
	return end_asked;
}

void signals_forward(pid_t pid)
{
	if (forward_term) {
		forward_term = 0;
		kill(pid, SIGTERM);
	}
	if (forward_hup) {
		forward_hup = 0;
		kill(pid, SIGHUP);
	}
}

void signals_command_ended(void)
{
	sigaction(SIGINT, &started_int, NULL);
	sigaction(SIGQUIT, &started_quit, NULL);
}
