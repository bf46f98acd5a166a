/* SPDX-License-Identifier: Apache-2.0
 * Read by test_report's line reports; never compiled. Lines are referred to by number. */
static int find(const int *list, int n, int x)
{
	for (int i = 0; i < n; i++)
		if (list[i] == x)
			return 1;
	return 0;
}

static int count(const int *list, int n, const int *wanted, int m)
{
	int found = 0;

	/* each look-up walks the whole list */
	for (int i = 0; i < m; i++)
		found += find(list, n, wanted[i]);
	return found;
}

int main(void)
{
	int list[1000], wanted[1000];

	while (next(list, wanted))
		count(list, 1000, wanted, 1000);
}
