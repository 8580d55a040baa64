import { elapsedClock, turnClock } from '../../../src/async/clocks';

const HOUR_MS = 3_600_000;

/** Both clocks of a machine, which go together unless a test says otherwise. */
class Machine {
  monotonic = 1000;
  system = 1_800_000_000_000;
  readonly clock = elapsedClock(
    () => this.monotonic,
    () => Math.floor(this.system),
  );

  run(ms: number): void {
    this.monotonic += ms;
    this.system += ms;
  }
}

describe('elapsedClock', () => {
  it('counts the time in which the monotonic clock stood still', () => {
    const machine = new Machine();
    const before = machine.clock();
    machine.run(500);
    machine.system += HOUR_MS;
    machine.run(500);
    expect(machine.clock() - before).toBeCloseTo(HOUR_MS + 1000, -1);
  });

  it('goes on when the system clock is put back, and notices a suspension after that', () => {
    const machine = new Machine();
    const before = machine.clock();
    machine.system -= 5 * HOUR_MS;
    machine.run(1000);
    expect(machine.clock() - before).toBe(1000);
    machine.system += HOUR_MS;
    expect(machine.clock() - before).toBeCloseTo(HOUR_MS + 1000, -1);
  });

  it('does not run fast for the sake of a clock that is read often, or trembles', () => {
    const machine = new Machine();
    const before = machine.clock();
    for (let reading = 0; reading < 10_000; reading += 1) {
      machine.run(0.3);
      machine.system += reading % 2 === 0 ? 40 : -40;
      machine.clock();
    }
    expect(machine.clock() - before).toBeCloseTo(3000, 0);
  });
});

describe('turnClock', () => {
  it('is read once for all that happens in one go', async () => {
    const read = jest.fn(() => 7);
    const clock = turnClock(read);
    expect([clock(), clock(), clock()]).toEqual([7, 7, 7]);
    expect(read).toHaveBeenCalledTimes(1);
    await Promise.resolve();
    clock();
    expect(read).toHaveBeenCalledTimes(2);
  });
});
