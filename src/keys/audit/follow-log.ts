import type { AuditEntry, AuditRange } from '../../audit/audit-entry';
import type { AuditVerification } from '../../audit/audit-verification';

const PAGE = 500;
/** The least number that the column holds: an entry before the first is a forged one, and is to be found. */
const BEFORE_ALL = -(2 ** 31);
/** How often the key table is read again because entries were added meanwhile. */
const ATTEMPTS = 5;

/** Reads entries of a log. */
export type ListEntries = (range: AuditRange) => Promise<AuditEntry[]>;

/** Verifies the entries that follow those that were. */
export async function followLog(verification: AuditVerification, list: ListEntries): Promise<void> {
  let page: AuditEntry[];
  do {
    page = await list({ after: verification.entries || BEFORE_ALL, limit: PAGE });
    await verification.follow(page);
  } while (page.length === PAGE && verification.broken === undefined);
}

/** Follows a log until something else, such as the key table, was read without an entry being added meanwhile. */
export async function followToTheEnd<T>(
  verification: AuditVerification,
  list: ListEntries,
  read: () => Promise<T>,
): Promise<T> {
  await followLog(verification, list);
  for (let attempt = 1; ; attempt += 1) {
    const before = verification.entries;
    const found = await read();
    await followLog(verification, list);
    if (verification.entries === before || attempt === ATTEMPTS) return found;
  }
}
