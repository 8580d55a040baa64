import { MergedAttempts } from '../../../src/access/merged-attempts';
import { currentActor, runAs } from '../../../src/audit/actor';
import type { AuditEvent } from '../../../src/audit/audit-entry';

const DENIED: AuditEvent = { operation: 'rotate', outcome: 'denied', reference: 'ERR_X' };

describe('MergedAttempts', () => {
  let recorded: { readonly event: AuditEvent; readonly actor: string | undefined }[];
  let isAway: boolean;
  let attempts: MergedAttempts;

  beforeEach(() => {
    jest.useFakeTimers();
    recorded = [];
    isAway = false;
    attempts = new MergedAttempts((event) => {
      if (!isAway) recorded.push({ event, actor: currentActor()?.id });
      return Promise.resolve(!isAway);
    });
  });
  afterEach(() => jest.useRealTimers());

  it('records who made attempts when their minute is over, not who was first', async () => {
    await runAs({ id: 'mallory' }, () => attempts.note(DENIED));
    await attempts.note(DENIED);
    await attempts.note(DENIED);
    await runAs({ id: 'ada' }, () => jest.advanceTimersByTimeAsync(60_000));
    expect(recorded.map(({ actor, event }) => [actor, event.counts])).toEqual([
      ['mallory', undefined],
      [undefined, undefined],
      [undefined, { attempts: 1 }],
    ]);
  });

  it('counts kinds beyond a thousand together, however many actors there are', async () => {
    for (let i = 0; i < 1_500; i += 1) {
      await runAs({ id: `stolen ${String(i)}` }, () => attempts.note(DENIED));
    }
    expect(recorded).toHaveLength(1_001);
    expect(recorded.at(-1)).toEqual({
      event: { operation: 'attempts', outcome: 'denied' },
      actor: undefined,
    });
    await jest.advanceTimersByTimeAsync(60_000);
    expect(recorded).toHaveLength(1_002);
    expect(recorded.at(-1)?.event.counts).toEqual({ attempts: 499 });
  });

  it('tries again, every minute, what could not be recorded', async () => {
    isAway = true;
    await attempts.note(DENIED);
    await attempts.note(DENIED);
    await jest.advanceTimersByTimeAsync(120_000);
    expect(recorded).toEqual([]);
    isAway = false;
    await jest.advanceTimersByTimeAsync(60_000);
    expect(recorded.map(({ event }) => event.counts)).toEqual([{ attempts: 2 }]);
    await jest.advanceTimersByTimeAsync(600_000);
    expect(recorded).toHaveLength(1);
  });

  it('records an attempt once that is being recorded while others end', async () => {
    const noted = [attempts.note(DENIED), attempts.note(DENIED), attempts.flush()];
    await Promise.all(noted);
    expect(recorded.map(({ event }) => event.counts)).toEqual([undefined, { attempts: 1 }]);
  });
});
