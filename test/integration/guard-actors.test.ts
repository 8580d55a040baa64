import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  Encrypted,
  fieldEncryption,
  RateLimitedError,
  runAs,
  UnsupportedValueError,
} from '../../src';
import type { Actor, GuardMessage } from '../../src';
import { describeDiagonal } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

@Entity()
class Patient {
  @PrimaryColumn() id!: number;
  @Encrypted() ssn!: string;
}

const CHANNEL = 'typeorm-field-encryption:guard';
const LIMIT = 5;
/** More than are counted at a time. */
const MANY = 12_000;

describeDiagonal('The guard and its actors', (kind) => {
  const cleanup = new Cleanup();
  let dataSource: DataSource;
  let logged: string[];
  let told: GuardMessage[];
  const listener = (message: unknown): void => void told.push(message as GuardMessage);

  beforeEach(async () => {
    [logged, told] = [[], []];
    subscribe(CHANNEL, listener);
    const database = await cleanup.create(kind, { entities: [Patient], synchronize: true });
    const guard = { reads: { values: LIMIT, action: 'refuse' as const, windowMs: 3_600_000 } };
    dataSource = await cleanup.add(protect(database, { guard })).initialize();
    await dataSource.getRepository(Patient).insert({ id: 1, ssn: 'canary' });
    jest.spyOn(dataSource.logger, 'log').mockImplementation((_, text) => logged.push(String(text)));
  });
  afterEach(async () => {
    unsubscribe(CHANNEL, listener);
    await cleanup.run();
  });

  const read = (actor: Actor): Promise<unknown> =>
    runAs(actor, () => dataSource.getRepository(Patient).findOneByOrFail({ id: 1 }));

  it('does not begin anew with one of them because of many others', async () => {
    for (let i = 0; i < LIMIT; i += 1) await read({ id: 'eve' });
    const values = fieldEncryption(dataSource).value('queue');
    const stored = await values.encrypt('canary');
    for (let i = 0; i < MANY; i += 1)
      await runAs({ id: `n${String(i)}` }, () => values.decrypt(stored));
    expect(await rejection(() => read({ id: 'eve' }))).toBeInstanceOf(RateLimitedError);
  });

  it('tells of each reason for which one breaks the glass, and takes no blank one', async () => {
    for (const reason of ['cardiac arrest', 'cardiac arrest', 'stroke']) {
      await read({ id: 'ada', breakGlass: true, reason });
    }
    expect(told.map(({ reason, values }) => [reason, values])).toEqual([
      ['cardiac arrest', 1],
      ['stroke', 1],
    ]);
    for (const reason of ['', ' ', '\n\t']) {
      expect(() => read({ id: 'ada', breakGlass: true, reason })).toThrow(UnsupportedValueError);
    }
  });

  it('shows an id in a line of a log as it is, and nothing that changes the line', async () => {
    const id = 'e\u009b31mve\u202e"\n';
    await read({ id, breakGlass: true, reason: 'round' });
    expect(logged).toEqual([expect.stringContaining('by "e 31mve \\"\\n"')]);
  });
});

describe('runAs', () => {
  it.each([
    { id: 'ada \udc00' },
    { id: 'ada', reason: '\ud83d' },
    { id: 'ada', requester: '\udc00' },
    { id: ' ' },
  ])('refuses texts that no log keeps as they are: %j', (actor) => {
    expect(() => runAs(actor, () => undefined)).toThrow(UnsupportedValueError);
  });
});
