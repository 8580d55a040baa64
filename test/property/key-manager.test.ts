import * as fc from 'fast-check';

import { KmsUnavailableError } from '../../src/errors';
import type { DataKey } from '../../src/keys/key-source';
import type { Process } from '../support/key-fixtures';
import {
  FakeKms,
  ManualClock,
  MAX_AGE_MS,
  sameKey,
  settle,
  startProcess,
  TTL_MS,
} from '../support/key-fixtures';
import { MemoryKeyStore } from '../support/memory-key-store';

const PROCESSES = 3;
const NAMES = ['default', 'medical'];

/** What must be true of the real system, kept without any of its code. */
interface Model {
  /** Versions that exist, by name. */
  readonly versions: Map<string, number>;
  /** What has been "written": prefix and the key as it was then. */
  readonly written: { readonly prefix: string; readonly key: DataKey }[];
  kmsDown: boolean;
}

interface Real {
  readonly store: MemoryKeyStore;
  readonly kms: FakeKms;
  readonly clock: ManualClock;
  readonly processes: readonly Process[];
}

type Command = fc.AsyncCommand<Model, Real>;

function processOf(real: Real, index: number): Process {
  const process = real.processes[index];
  if (process === undefined) throw new Error('no such process');
  return process;
}

function expectConsistent(model: Model, real: Real): void {
  for (const name of NAMES) {
    const rows = real.store.rows.filter((row) => row.name === name);
    const active = rows.filter((row) => row.state === 'active');
    const versions = model.versions.get(name) ?? 0;
    expect(rows).toHaveLength(versions);
    expect(active.map((row) => row.version)).toEqual(versions === 0 ? [] : [versions]);
  }
}

/** Prepares a process and, where that works, writes with the active key. */
class Write implements Command {
  constructor(
    readonly index: number,
    readonly name: string,
  ) {}

  check(): boolean {
    return true;
  }

  async run(model: Model, real: Real): Promise<void> {
    const { keys } = processOf(real, this.index);
    const outcome = await settled(keys.prepare([this.name], { index: false }));
    await settle();
    if (outcome !== undefined) {
      expect(outcome).toBeInstanceOf(KmsUnavailableError);
      expect(model.kmsDown).toBe(true);
      return;
    }
    if (!model.versions.has(this.name)) model.versions.set(this.name, 1);
    const key = keys.activeKey(this.name);
    // Durably committed before it is used, and never a version that does not exist.
    expect(real.store.rows.map((row) => row.id)).toContain(key.id);
    expect(key.version).toBeLessThanOrEqual(model.versions.get(this.name) ?? 0);
    model.written.push({ prefix: key.prefix, key });
    expectConsistent(model, real);
  }

  toString(): string {
    return `write(${String(this.index)}, ${this.name})`;
  }
}

/** Reads a value that some process wrote. */
class Read implements Command {
  constructor(
    readonly index: number,
    readonly which: number,
  ) {}

  check(model: Readonly<Model>): boolean {
    return model.written.length > 0;
  }

  async run(model: Model, real: Real): Promise<void> {
    const { keys } = processOf(real, this.index);
    const value = model.written[this.which % model.written.length];
    if (value === undefined) throw new Error('nothing written');
    await keys.load(keys.missing([value.prefix]));
    await settle();
    try {
      expect(sameKey(value.key, keys.keyByPrefix(value.prefix))).toBe(true);
    } catch (failure) {
      if (!(failure instanceof KmsUnavailableError)) throw failure;
      expect(model.kmsDown).toBe(true);
    }
  }

  toString(): string {
    return `read(${String(this.index)}, ${String(this.which)})`;
  }
}

/** Rotates in several processes at once. */
class Rotate implements Command {
  constructor(
    readonly indexes: readonly number[],
    readonly name: string,
  ) {}

  check(): boolean {
    return true;
  }

  async run(model: Model, real: Real): Promise<void> {
    const outcomes = await Promise.allSettled(
      this.indexes.map((index) => processOf(real, index).keys.rotate(this.name)),
    );
    if (model.kmsDown) {
      expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
      expectConsistent(model, real);
      return;
    }
    const version = (model.versions.get(this.name) ?? 0) + 1;
    model.versions.set(this.name, version);
    expect(outcomes).toEqual(
      this.indexes.map(() =>
        expect.objectContaining({ value: expect.objectContaining({ version }) as unknown }),
      ),
    );
    for (const index of this.indexes) {
      expect(processOf(real, index).keys.activeKey(this.name).version).toBe(version);
    }
    expectConsistent(model, real);
  }

  toString(): string {
    return `rotate([${this.indexes.join()}], ${this.name})`;
  }
}

class Wait implements Command {
  constructor(readonly ms: number) {}

  check(): boolean {
    return true;
  }

  async run(model: Model, real: Real): Promise<void> {
    real.clock.advance(this.ms);
    await settle();
    if (this.ms < MAX_AGE_MS) return;
    // Whatever happened before: nothing is used that has not been confirmed for that long.
    for (const { keys } of real.processes) {
      for (const name of NAMES) expect(() => keys.activeKey(name)).toThrow();
      for (const { prefix } of model.written) {
        expect(() => keys.keyByPrefix(prefix)).toThrow(KmsUnavailableError);
      }
    }
  }

  toString(): string {
    return `wait(${String(this.ms)})`;
  }
}

class SwitchKms implements Command {
  constructor(readonly down: boolean) {}

  check(): boolean {
    return true;
  }

  run(model: Model, real: Real): Promise<void> {
    model.kmsDown = this.down;
    real.kms.outage = this.down ? new Error('down') : undefined;
    // For which a failure is remembered.
    if (!this.down) real.clock.advance(1000);
    return Promise.resolve();
  }

  toString(): string {
    return this.down ? 'kmsDown' : 'kmsUp';
  }
}

class Restart implements Command {
  constructor(readonly index: number) {}

  check(): boolean {
    return true;
  }

  async run(_model: Model, real: Real): Promise<void> {
    const { keys } = processOf(real, this.index);
    await keys.close();
    for (const name of NAMES) expect(() => keys.activeKey(name)).toThrow();
  }

  toString(): string {
    return `restart(${String(this.index)})`;
  }
}

const index = fc.nat(PROCESSES - 1);
const name = fc.constantFrom(...NAMES);

const commands = fc.commands<Model, Real, false>(
  [
    fc.tuple(index, name).map(([i, n]) => new Write(i, n)),
    fc.tuple(index, fc.nat()).map(([i, which]) => new Read(i, which)),
    fc
      .tuple(fc.uniqueArray(index, { minLength: 1, maxLength: PROCESSES }), name)
      .map(([indexes, n]) => new Rotate(indexes, n)),
    fc.constantFrom(1, TTL_MS - 1, TTL_MS, 3 * TTL_MS, MAX_AGE_MS).map((ms) => new Wait(ms)),
    fc.boolean().map((down) => new SwitchKms(down)),
    index.map((i) => new Restart(i)),
  ],
  { maxCommands: 40, size: 'max' },
);

describe('any history of processes that write, read, rotate, wait, restart and lose the KMS', () => {
  it('has one active version of each key, and reads back all that was written', async () => {
    await fc.assert(
      fc.asyncProperty(commands, async (history) => {
        await fc.asyncModelRun(() => {
          const shared = {
            store: new MemoryKeyStore(),
            kms: new FakeKms(),
            clock: new ManualClock(),
          };
          const processes = Array.from({ length: PROCESSES }, () => startProcess(shared));
          const model: Model = { versions: new Map(), written: [], kmsDown: false };
          return { model, real: { ...shared, processes } };
        }, history);
      }),
      { numRuns: 150 },
    );
  });
});

async function settled(promise: Promise<void> | undefined): Promise<unknown> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return error;
  }
}
