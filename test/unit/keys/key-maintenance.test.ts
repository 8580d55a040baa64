import { SETTLING_MS } from '../../../src/keys/store/watched-key-store';
import type { KeyPolicies } from '../../../src/keys/policy/key-policy';
import { MaintenanceSchedule } from '../../../src/keys/lifecycle/maintenance-schedule';
import type { Process } from '../../support/key-fixtures';
import {
  FakeKms,
  MAX_AGE_MS,
  NO_ROWS,
  prepare,
  rowsCounted,
  settle,
  startProcess,
  TTL_MS,
} from '../../support/key-fixtures';
import { MemoryKeyStore } from '../../support/memory-key-store';

const DAY_MS = 86_400_000;

/** Processes over one table, whose clock a test moves. */
class Fleet {
  readonly store = new MemoryKeyStore();
  readonly kms = new FakeKms();
  now = new Date('2026-01-01T00:00:00Z').getTime();

  constructor() {
    this.store.time = () => this.now;
  }

  /** @param skewMs - how far its host's clock is ahead. */
  start(policies: KeyPolicies, skewMs?: number): Process {
    const wallClock = skewMs === undefined ? undefined : () => new Date(this.now + skewMs);
    return startProcess({ store: this.store, kms: this.kms, policies, wallClock });
  }

  get states(): string[] {
    return this.store.rows.map(({ version, state }) => `v${String(version)} ${state}`);
  }
}

const PERIODIC: KeyPolicies = { default: { rotation: { kind: 'periodic', everyDays: 30 } } };

async function startedFleet(policies: KeyPolicies): Promise<[Fleet, Process]> {
  const fleet = new Fleet();
  const process = fleet.start(policies);
  await prepare(process, ['default'], { index: false });
  return [fleet, process];
}

describe('maintain', () => {
  it('announces a version, waits, and activates it when it is due', async () => {
    const [fleet, { keys }] = await startedFleet(PERIODIC);
    const run = () => keys.operations.maintain({}, NO_ROWS);
    expect((await keys.list())[0]?.nextRotationAt).toEqual(new Date('2026-01-31T00:00:00Z'));

    fleet.now += 30 * DAY_MS - 2 * TTL_MS - 1;
    expect(await run()).toMatchObject({ announced: [], activated: [] });
    fleet.now += 1;
    expect(await run()).toMatchObject({ announced: [{ version: 2, state: 'preActive' }] });
    expect(await run()).toMatchObject({ announced: [], activated: [] });
    expect(keys.activeKey('default').version).toBe(1);
    fleet.now += 2 * TTL_MS;
    expect(await run()).toMatchObject({ activated: [{ version: 2, state: 'active' }] });
    expect(keys.activeKey('default').version).toBe(2);
    expect(fleet.states).toEqual(['v1 deactivated', 'v2 active']);
    expect(await run()).toEqual({
      announced: [],
      scopes: [],
      activated: [],
      destroyed: [],
      awaitingApproval: [],
      stillNeeded: [],
      failures: [],
    });
  });

  it('has an announced key read ahead by processes that only refresh', async () => {
    const [fleet, { keys }] = await startedFleet(PERIODIC);
    const reader = fleet.start({});
    await prepare(reader, ['default'], { index: false });
    fleet.now += 30 * DAY_MS;
    await keys.operations.maintain({}, NO_ROWS);
    const announced = fleet.store.rows[1]?.id ?? '';
    const prefix = Buffer.from(`01${announced}`, 'hex').toString('base64url');
    expect(reader.keys.missing([prefix])).toEqual([prefix]);

    reader.clock.advance(TTL_MS);
    await prepare(reader, ['default'], { index: false });
    await settle();
    fleet.kms.outage = new Error('down');

    expect(reader.keys.missing([prefix])).toEqual([]);
    expect(reader.keys.keyByPrefix(prefix).id).toBe(announced);
    expect(reader.keys.activeKey('default').version).toBe(1);
  });

  it('is done once by any number of processes, whatever their clocks say', async () => {
    const [fleet] = await startedFleet(PERIODIC);
    const processes = [0, -3_600_000, 3_600_000, 1, 2, 3, 4, 5].map((skew) =>
      fleet.start(PERIODIC, skew),
    );
    const all = () =>
      Promise.all(processes.map(({ keys }) => keys.operations.maintain({}, NO_ROWS)));
    fleet.now += 31 * DAY_MS;
    const announcements = await all();
    fleet.now += 7_200_000;
    const activations = await all();

    expect(announcements.flatMap(({ announced }) => announced)).toHaveLength(1);
    expect(activations.flatMap(({ activated }) => activated)).toHaveLength(1);
    expect(fleet.states).toEqual(['v1 deactivated', 'v2 active']);
  });

  it('activates an announced version at once when somebody rotates by hand', async () => {
    const [fleet, { keys }] = await startedFleet(PERIODIC);
    fleet.now += 30 * DAY_MS;
    await keys.operations.maintain({}, NO_ROWS);
    expect(await keys.rotate('default')).toMatchObject({ version: 2, state: 'active' });
    expect(fleet.states).toEqual(['v1 deactivated', 'v2 active']);
  });

  it('announces again where the announced version was revoked', async () => {
    const [fleet, { keys }] = await startedFleet(PERIODIC);
    fleet.now += 30 * DAY_MS;
    await keys.operations.maintain({}, NO_ROWS);
    await keys.operations.revoke(fleet.store.rows[1]?.id ?? '');
    await keys.operations.maintain({}, NO_ROWS);
    expect(fleet.states).toEqual(['v1 active', 'v2 compromised', 'v3 preActive']);
  });

  it('destroys what the retention policy gives up, after the grace period, unless rows need it', async () => {
    const policies: KeyPolicies = { '*': { retention: { kind: 'lastVersions', count: 2 } } };
    const [fleet, { keys }] = await startedFleet(policies);
    for (let rotation = 0; rotation < 3; rotation += 1) await keys.rotate('default');
    const needed = fleet.store.rows[1]?.id;
    const column = {
      entity: 'A',
      property: 'b',
      table: 'a',
      column: 'b',
      rows: 1,
      rowsUnderUnknownKeys: 0,
    };
    const rows = rowsCounted(({ id }) =>
      Promise.resolve([{ ...column, rowsUnderKey: id === needed ? 1 : 0 }]),
    );

    expect(await keys.operations.maintain({}, rows)).toMatchObject({ destroyed: [] });
    fleet.now += MAX_AGE_MS + SETTLING_MS;
    expect(await keys.operations.maintain({}, rows)).toMatchObject({
      destroyed: [{ version: 1, state: 'destroyed' }],
      stillNeeded: [{ version: 2 }],
      failures: [],
    });
    expect(fleet.states).toEqual(['v1 destroyed', 'v2 deactivated', 'v3 deactivated', 'v4 active']);
  });

  it('keeps a version that only claims to be of a name whose policy gives it up', async () => {
    const policies: KeyPolicies = {
      default: { retention: { kind: 'forever' } },
      other: { retention: { kind: 'untilReencrypted' } },
    };
    const [fleet, { keys }] = await startedFleet(policies);
    await keys.rotate('default');
    fleet.now += MAX_AGE_MS + SETTLING_MS;
    // Somebody renames the row, and back before its key is asked for.
    const { id = '' } = fleet.store.rows[0] ?? {};
    const list = fleet.store.list.bind(fleet.store);
    jest.spyOn(fleet.store, 'list').mockImplementation(async (...given) => {
      fleet.store.edit(id, { name: 'other', version: 77 });
      const rows = await list(...given);
      fleet.store.edit(id, { name: 'default', version: 1 });
      return rows;
    });

    expect(await keys.operations.maintain({}, NO_ROWS)).toMatchObject({
      destroyed: [],
      failures: [{ keyName: 'other', code: 'ERR_KEY_STATE' }],
    });
    expect(fleet.states).toEqual(['v1 deactivated', 'v2 active']);
  });

  it('changes nothing in a dry run', async () => {
    const [fleet, { keys }] = await startedFleet({
      '*': {
        rotation: { kind: 'periodic', everyDays: 30 },
        retention: { kind: 'untilReencrypted' },
      },
    });
    await keys.rotate('default');
    fleet.now += 31 * DAY_MS;
    const rows = fleet.store.rows;
    expect(await keys.operations.maintain({ dryRun: true }, NO_ROWS)).toMatchObject({
      announced: [{ version: 2 }],
      destroyed: [{ version: 1 }],
    });
    expect(fleet.store.rows).toEqual(rows);
  });

  it('goes on with other names when one fails', async () => {
    const policies: KeyPolicies = {
      '*': { rotation: { kind: 'periodic', everyDays: 30 } },
      broken: {
        retention: {
          kind: 'custom',
          keep: () => false,
        },
        rotation: { kind: 'periodic', everyDays: 30 },
      },
    };
    const fleet = new Fleet();
    const process = fleet.start(policies);
    await prepare(process, ['broken', 'default'], { index: false });
    const broken = fleet.store.rows.find(({ name }) => name === 'broken');
    fleet.store.edit(broken?.id ?? '', { kek: 'edited' });
    fleet.now += 30 * DAY_MS;
    expect(await process.keys.operations.maintain({}, NO_ROWS)).toMatchObject({
      announced: [{ name: 'default', version: 2 }],
      failures: [{ keyName: 'broken', code: 'ERR_KEY_UNWRAP' }],
    });
  });

  it('refuses to activate before every cache has been refreshed', async () => {
    const [, { keys }] = await startedFleet(PERIODIC);
    await expect(
      keys.operations.maintain({ announceMs: TTL_MS - 1 }, NO_ROWS),
    ).rejects.toMatchObject({ code: 'ERR_CONFIGURATION' });
  });
});

describe('MaintenanceSchedule', () => {
  const EMPTY = { announced: [], activated: [], destroyed: [], stillNeeded: [], failures: [] };

  it('runs now and again, survives failures, and stops after the run under way', async () => {
    jest.useFakeTimers({ doNotFake: ['setImmediate'] });
    const failure = new Error('down');
    const run = jest.fn().mockResolvedValueOnce(EMPTY).mockRejectedValueOnce(failure);
    run.mockResolvedValue(EMPTY);
    const onReport = jest.fn();
    const onError = jest.fn();
    const schedule = new MaintenanceSchedule(run, { everyMs: 1000, onReport, onError });
    await settle();
    expect(onReport).toHaveBeenCalledWith(EMPTY);
    jest.advanceTimersByTime(1000);
    await settle();
    expect(onError).toHaveBeenCalledWith(failure);
    jest.advanceTimersByTime(1000);
    await schedule.stop();
    jest.advanceTimersByTime(10_000);
    await settle();
    expect(run).toHaveBeenCalledTimes(3);
    jest.useRealTimers();
  });
});
