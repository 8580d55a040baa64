import type { QueryRunner } from 'typeorm';

import type { AuditEvent, AuditOutcome } from '../../audit/audit-entry';
import type { KeyAudit } from '../../keys/audit/key-audit';
import type { Installation } from '../../typeorm/installation/installation';
import type { RunRow } from '../../typeorm/tables/run-tables';
import type { RunStore } from '../lease/run-store';

/**
 * The entries of a run in the audit log: one whenever it is started, and one for each such start that ended
 * before the rows were done.
 */
export class RunRecords {
  readonly #audit: KeyAudit<QueryRunner>;
  readonly #approvals: Installation['approvals'];
  readonly #store: RunStore;

  constructor({ approvals, audit }: Pick<Installation, 'approvals' | 'audit'>, store: RunStore) {
    this.#audit = audit;
    this.#approvals = approvals;
    this.#store = store;
  }

  /**
   * Records a start, and before it the interruptions that nobody recorded: a process that is killed cannot.
   *
   * @param isWorkedOn - whether other workers are at it, any of whom may be the one without an end.
   */
  async started(run: RunRow, isWorkedOn: boolean): Promise<void> {
    const unended = isWorkedOn ? 0 : await this.#unended(run);
    const interruptions = Array.from({ length: unended }, () => eventOf(run, 'interrupted'));
    const mark = this.#approvals.gate.mark();
    await this.#audit.record(...interruptions, {
      ...eventOf(run, 'started'),
      ...(mark && { mark }),
    });
  }

  /** Notes that a run ends which needed approval, so that nobody goes on with it once the log was cut off. */
  async ends({ id, mode }: RunRow): Promise<void> {
    const { gate } = this.#approvals;
    const operation = `data ${mode}` as Parameters<typeof gate.asksFor>[0];
    if (await gate.asksFor(operation)) await gate.uses.end(id);
  }

  /** Records that all rows of a run are done. */
  async done(run: RunRow): Promise<void> {
    await this.#audit.record(eventOf(run, 'done'));
  }

  /** Records that a run is left before its end, if it is. What fails here is recorded by the next start. */
  async left({ id }: Pick<RunRow, 'id'>): Promise<void> {
    const run = await this.#store.find(id).catch(() => undefined);
    if (run?.state === 'running') await this.#audit.note(eventOf(run, 'interrupted'));
  }

  async #unended({ id }: RunRow): Promise<number> {
    const entries = await this.#audit.referringTo(id);
    const of = (outcome: AuditOutcome): number =>
      entries.filter((entry) => entry.outcome === outcome).length;
    return Math.max(0, of('started') - of('interrupted'));
  }
}

function eventOf({ id, mode }: RunRow, outcome: AuditOutcome): AuditEvent {
  return { operation: `data ${mode}`, outcome, reference: id };
}
