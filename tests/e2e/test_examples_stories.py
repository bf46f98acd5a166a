# SPDX-License-Identifier: Apache-2.0
"""Every story of examples/stories once, broken and fixed: the first finding has the true kind, processes, channel and call sites, and
there is none on what is healthy. run_stories.py does the same ten times and compares speed-ups; here each is a test."""
import os
import types

from lib import EXAMPLES, LOCKSTEP, Case, judge, main

import run_stories
import servers

OPTIONS = types.SimpleNamespace(lockstep=LOCKSTEP, examples=EXAMPLES, seconds=1.5, verbose=False)
TRIES = 3


class Stories(Case):
    def check(self, story, args):
        """Tried again while others use the machine, at last a visible skip: with CPUs missing, the truth is another one."""
        env = dict(os.environ)
        try:
            with story.server() if story.server else open(os.devnull) as server:
                if story.server:
                    env["DB_ADDRESS"] = server.address
                for _ in range(TRIES):
                    with judge.Machine() as machine:
                        truth, report = run_stories.run_recorded(run_stories.argv_of(story, args, OPTIONS), env, OPTIONS, self.tmp.name)
                    checks = judge.judge(report, truth, story.expect)
                    if all(c.ok for c in checks):
                        return
                    if not machine.busy:
                        break
        except servers.Missing as e:
            self.skipTest(f"{e} is not installed")
        if machine.busy:
            self.skipTest(f"others use {machine.others:.0%} of the machine; said: {report.kinds()}")
        self.assert_checks(checks)


def add(story, variant, args):
    def test(self):
        self.check(story, args)

    words = "".join(c if c.isalnum() else "_" for c in story.name).strip("_")
    name = f"test_{words}_{variant}"
    test.__doc__ = f"{story.name}, {variant}"
    setattr(Stories, name, test)


for each in run_stories.STORIES:
    for variant_, args_ in (("broken", each.broken), ("fixed", each.fixed)):
        if args_ is not None:
            add(each, variant_, args_)

if __name__ == "__main__":
    main()
