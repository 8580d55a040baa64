import type { AuditEntry, AuditRange } from './audit-entry';

/** Lists entries of the audit log. */
export type ListEntries = (range: AuditRange) => Promise<AuditEntry[]>;

const PAGE = 500;

/** Lists all entries of a range in their order, however many there are. */
export async function* everyEntry(
  list: ListEntries,
  { after = 0, ...range }: Omit<AuditRange, 'limit'> = {},
): AsyncGenerator<AuditEntry> {
  for (let last = after; ;) {
    const page = await list({ ...range, after: last, limit: PAGE });
    yield* page;
    if (page.length < PAGE) return;
    last = page.at(-1)?.seq ?? last;
  }
}
