import { hostname, userInfo } from 'node:os';

import type { AuditEntry } from './audit-entry';

/** Options of the audit log. */
export interface AuditOptions {
  /**
   * Who does what is recorded; a function is asked each time. At most 256 characters. Defaults to
   * `user@host:pid` of the process.
   */
  actor?: string | (() => string);
  /**
   * Receives each entry before its transaction commits, in order, to be kept where those who control
   * the database have no say. An entry whose commit then fails comes with the same `seq` again. It
   * has 10 seconds.
   */
  sink?: (entry: AuditEntry) => void | Promise<void>;
  /**
   * What a failure of the sink does to the operation that is recorded: `'block'` fails it and
   * nothing is changed; `'warn'` lets it go on and emits an `auditFailed` event. Reads and writes of
   * rows never wait for either. Defaults to `'block'`.
   */
  onFailure?: 'block' | 'warn';
}

const MAX_ACTOR_CHARS = 256;

/** The actor to record, in one line. */
export function actorOf({ actor = processActor }: AuditOptions): string {
  const name = typeof actor === 'function' ? actor() : actor;
  return name.replace(/\p{Cc}/gu, ' ').slice(0, MAX_ACTOR_CHARS);
}

function processActor(): string {
  return `${userName()}@${hostname()}:${String(process.pid)}`;
}

/** In a container, the user id need not have a name. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${String(process.getuid?.() ?? '?')}`;
  }
}
