import { SingleFlight } from '../../../src/async/single-flight';

describe('SingleFlight', () => {
  it('shares one run among concurrent callers of a key, and runs again afterwards', async () => {
    const flights = new SingleFlight<number>();
    let runs = 0;
    const work = async (): Promise<number> => {
      runs += 1;
      await Promise.resolve();
      return runs;
    };

    expect(await Promise.all([flights.run('a', work), flights.run('a', work)])).toEqual([1, 1]);
    expect(await flights.run('a', work)).toBe(2);
  });

  it('keeps keys apart', async () => {
    const flights = new SingleFlight<string>();
    const run = (key: string): Promise<string> => flights.run(key, () => Promise.resolve(key));
    expect(await Promise.all([run('a'), run('b')])).toEqual(['a', 'b']);
  });

  it('shares a failure and then forgets it', async () => {
    const flights = new SingleFlight<number>();
    const fail = (): Promise<number> => Promise.reject(new Error('down'));
    const outcomes = await Promise.allSettled([flights.run('a', fail), flights.run('a', fail)]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(await flights.run('a', () => Promise.resolve(1))).toBe(1);
  });

  it('lets nobody join what was in flight when it was cleared, nor end a newer run', async () => {
    const flights = new SingleFlight<number>();
    let endOld: (value: number) => void = () => undefined;
    const old = flights.run('a', () => new Promise((resolve) => (endOld = resolve)));
    flights.clear();
    let endNew: (value: number) => void = () => undefined;
    const newer = flights.run('a', () => new Promise((resolve) => (endNew = resolve)));

    endOld(1);
    await old;
    const joined = flights.run('a', () => Promise.resolve(3));
    endNew(2);

    expect(await Promise.all([newer, joined])).toEqual([2, 2]);
  });
});
